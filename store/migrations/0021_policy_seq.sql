-- Every revision of every policy has a number of its own over the whole platform, so that a change is
-- decided on what is in force, also by two processes at once; and a layer can be taken out of force.
-- Same dialect rules as 0001.

ALTER TABLE policy_revision ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE policy_revision ADD COLUMN retired BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE policy_revision SET seq = (SELECT count(*) FROM policy_revision q WHERE
  (q.at, q.policy, q.scope, q.selector, q.rev) <= (policy_revision.at, policy_revision.policy,
  policy_revision.scope, policy_revision.selector, policy_revision.rev));
CREATE UNIQUE INDEX policy_revision_seq ON policy_revision (seq);
