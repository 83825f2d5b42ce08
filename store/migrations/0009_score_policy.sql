-- Score policies: append-only revisions of each scope's document, numbered over the whole platform, so
-- that one number names a moment of all of them. Beside them, who said what the profile of a service
-- is: what differs from the default was given by somebody. Same dialect rules as 0001.

CREATE TABLE score_policy_revision (
  rev BIGINT NOT NULL PRIMARY KEY,
  scope TEXT NOT NULL,
  tenant TEXT NOT NULL,
  body TEXT NOT NULL,
  actor TEXT NOT NULL,
  approver TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX score_policy_revision_scope ON score_policy_revision (scope, rev);

ALTER TABLE service ADD COLUMN profile_from TEXT NOT NULL DEFAULT 'default';
UPDATE service SET profile_from = 'given' WHERE profile <> 'store';
