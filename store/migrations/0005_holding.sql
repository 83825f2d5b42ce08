-- What an unfinished piece of work must remember over a crash.

-- How often an incident was opened again after it had closed: each opening may make one operation.
ALTER TABLE incident ADD COLUMN reopened BIGINT NOT NULL DEFAULT 0;

-- Time somebody has worked on the step, ms: a resumed step goes on with what is left of its own.
ALTER TABLE step ADD COLUMN spent_ms BIGINT NOT NULL DEFAULT 0;

-- The memory of grades: one row per scored object (`instance:…`) and one for all roll-ups (`rollup`).
CREATE TABLE grade (
  object TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  at BIGINT NOT NULL
);

-- A fact of one tenant is not another's. Facts hold for ten minutes: nothing is worth moving.
DROP TABLE alert_fact;
CREATE TABLE alert_fact (
  kind TEXT NOT NULL,
  tenant TEXT NOT NULL,
  subject TEXT NOT NULL,
  at BIGINT NOT NULL,
  until_at BIGINT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (kind, tenant, subject)
);

-- Housekeeping finds what is old without reading what is not.
CREATE INDEX idempotency_at ON idempotency (at);
CREATE INDEX session_expires ON session (expires_at);
CREATE INDEX login_at ON login (at);
CREATE INDEX operation_ended ON operation (ended_at);
CREATE INDEX operation_incident ON operation (incident);
CREATE INDEX incident_closed ON incident (closed_at);
CREATE INDEX alert_ends_at ON alert (ends_at);
