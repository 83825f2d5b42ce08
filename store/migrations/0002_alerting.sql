-- Policies, alerts, their history and delivery. Same dialect rules as 0001.

CREATE TABLE policy_revision (
  policy TEXT NOT NULL,
  scope TEXT NOT NULL,
  selector TEXT NOT NULL,
  rev BIGINT NOT NULL,
  body TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (policy, scope, selector, rev)
);

-- One row per occurrence. open_key holds the fingerprint while the alert is open, so that a
-- fingerprint can be open once only.
CREATE TABLE alert (
  id TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  source TEXT NOT NULL,
  tenant TEXT,
  service TEXT,
  instance TEXT,
  alertname TEXT NOT NULL,
  policy TEXT NOT NULL,
  level TEXT NOT NULL,
  phase TEXT NOT NULL,
  labels TEXT NOT NULL,
  annotations TEXT NOT NULL,
  value DOUBLE PRECISION,
  threshold DOUBLE PRECISION,
  runbooks TEXT NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT,
  last_seen BIGINT NOT NULL,
  reason TEXT NOT NULL,
  open_key TEXT UNIQUE
);
CREATE INDEX alert_fingerprint ON alert (fingerprint, starts_at);
CREATE INDEX alert_starts_at ON alert (starts_at);
CREATE INDEX alert_name ON alert (alertname, starts_at);

CREATE TABLE transition (
  alert_id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  from_phase TEXT NOT NULL,
  to_phase TEXT NOT NULL,
  value DOUBLE PRECISION,
  threshold DOUBLE PRECISION,
  reason TEXT NOT NULL,
  PRIMARY KEY (alert_id, seq)
);

-- What the evaluator must know again after a restart, one row per instance with a live state.
CREATE TABLE alert_state (
  cell TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  at BIGINT NOT NULL
);

-- State of delivery of an occurrence to a receiver. resolved: what was accepted was its end.
CREATE TABLE delivery (
  alert_id TEXT NOT NULL,
  receiver TEXT NOT NULL,
  state TEXT NOT NULL,
  resolved BOOLEAN NOT NULL,
  at BIGINT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (alert_id, receiver)
);

-- An end that arrived before its beginning; a beginning that arrives late is then ignored.
CREATE TABLE tombstone (
  fingerprint TEXT PRIMARY KEY,
  ends_at BIGINT NOT NULL,
  at BIGINT NOT NULL
);

-- Facts the guards of remediation ask for: a truncated message, a mass event.
CREATE TABLE alert_fact (
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  at BIGINT NOT NULL,
  until_at BIGINT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (kind, subject)
);
