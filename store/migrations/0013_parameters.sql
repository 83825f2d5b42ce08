-- What operations keep beside their story: wished parameters, archived slow logs, approvals. Same
-- dialect rules as 0001.

CREATE TABLE parameter (
  service TEXT NOT NULL,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  volatile TEXT NOT NULL,
  operation TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (service, name)
);

-- Slow logs taken before they were reset: command shapes only, never a value.
CREATE TABLE slowlog_archive (
  operation TEXT NOT NULL,
  instance TEXT NOT NULL,
  tenant TEXT NOT NULL,
  service TEXT NOT NULL,
  entries BIGINT NOT NULL,
  last_id BIGINT NOT NULL,
  body TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (operation, instance)
);
CREATE INDEX slowlog_archive_service ON slowlog_archive (service, at);

CREATE TABLE approval (
  operation TEXT NOT NULL REFERENCES operation (id),
  decided_by TEXT NOT NULL,
  person TEXT NOT NULL,
  plan_hash TEXT NOT NULL,
  decision TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (operation, person)
);

-- How many other persons must agree, until when; not before when a worker may take it.
ALTER TABLE operation ADD COLUMN created_person TEXT NOT NULL DEFAULT '';
ALTER TABLE operation ADD COLUMN approvals_needed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operation ADD COLUMN approve_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operation ADD COLUMN not_before BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operation ADD COLUMN pause_requested BOOLEAN NOT NULL DEFAULT FALSE;
