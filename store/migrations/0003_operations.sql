-- Operations with their steps, journal and locks; incidents with every decision; how far runbooks
-- may go. Rows of an operation are written under its fence only.

CREATE TABLE operation (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  kind_version BIGINT NOT NULL,
  idem_key TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  system TEXT NOT NULL,
  service TEXT NOT NULL,
  plan TEXT NOT NULL,
  plan_hash TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  cancel_requested BOOLEAN NOT NULL,
  lease_owner TEXT NOT NULL,
  lease_until BIGINT NOT NULL,
  fence BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  why TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  incident TEXT,
  outcome TEXT NOT NULL
);
CREATE INDEX operation_state ON operation (state, lease_until);
CREATE INDEX operation_service ON operation (service, created_at);
CREATE INDEX operation_created ON operation (created_at);

CREATE TABLE step (
  operation_id TEXT NOT NULL REFERENCES operation (id),
  seq BIGINT NOT NULL,
  kind TEXT NOT NULL,
  target TEXT NOT NULL,
  title TEXT NOT NULL,
  args TEXT NOT NULL,
  commands TEXT NOT NULL,
  timeout_ms BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  repeatable BOOLEAN NOT NULL,
  point_of_no_return BOOLEAN NOT NULL,
  state TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  undo_attempt BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  seen_before TEXT NOT NULL,
  seen_after TEXT NOT NULL,
  error TEXT NOT NULL,
  PRIMARY KEY (operation_id, seq)
);

CREATE TABLE operation_event (
  operation_id TEXT NOT NULL REFERENCES operation (id),
  n BIGINT NOT NULL,
  seq BIGINT,
  at BIGINT NOT NULL,
  fence BIGINT NOT NULL,
  what TEXT NOT NULL,
  line TEXT NOT NULL,
  PRIMARY KEY (operation_id, n)
);

CREATE TABLE operation_lock (
  key TEXT PRIMARY KEY,
  operation_id TEXT NOT NULL REFERENCES operation (id),
  fence BIGINT NOT NULL
);

CREATE TABLE incident (
  id TEXT PRIMARY KEY,
  runbook TEXT NOT NULL,
  tenant TEXT,
  system TEXT,
  service TEXT,
  instance TEXT,
  alert_id TEXT NOT NULL,
  alertname TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  count BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  closed_at BIGINT,
  operation TEXT
);
CREATE INDEX incident_open ON incident (closed_at, opened_at);
CREATE INDEX incident_alert ON incident (alert_id);
CREATE INDEX incident_service ON incident (service, opened_at);

CREATE TABLE decision (
  incident_id TEXT NOT NULL REFERENCES incident (id),
  n BIGINT NOT NULL,
  at BIGINT NOT NULL,
  verb TEXT NOT NULL,
  guard TEXT NOT NULL,
  reason TEXT NOT NULL,
  guards TEXT NOT NULL,
  plan TEXT NOT NULL,
  PRIMARY KEY (incident_id, n)
);
CREATE INDEX decision_at ON decision (at);

CREATE TABLE runbook_mode (
  runbook TEXT NOT NULL,
  scope TEXT NOT NULL,
  mode TEXT NOT NULL,
  reason TEXT NOT NULL,
  set_by TEXT NOT NULL,
  at BIGINT NOT NULL,
  rev BIGINT NOT NULL,
  PRIMARY KEY (runbook, scope)
);

CREATE TABLE kill_switch (
  scope TEXT PRIMARY KEY,
  active BOOLEAN NOT NULL,
  reason TEXT NOT NULL,
  set_by TEXT NOT NULL,
  at BIGINT NOT NULL,
  rev BIGINT NOT NULL
);
