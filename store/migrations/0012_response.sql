-- Calendars, maintenances, silences, acknowledgements, and what was told to whom. Same dialect rules
-- as 0001.

CREATE TABLE calendar (
  id TEXT PRIMARY KEY,
  rev BIGINT NOT NULL,
  body TEXT NOT NULL,
  actor TEXT NOT NULL,
  at BIGINT NOT NULL
);

CREATE TABLE maintenance (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  tenant TEXT,
  system TEXT,
  service TEXT,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  ended_by TEXT NOT NULL
);
CREATE INDEX maintenance_ends ON maintenance (ends_at);

-- keeper: the Alertmanager that has it, of which this is the latest copy; empty: it is kept here,
-- for no Alertmanager is configured.
CREATE TABLE silence (
  keeper TEXT NOT NULL,
  id TEXT NOT NULL,
  matchers TEXT NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  comment TEXT NOT NULL,
  PRIMARY KEY (keeper, id)
);
CREATE INDEX silence_ends ON silence (ends_at);

CREATE TABLE alert_ack (
  alert_id TEXT PRIMARY KEY,
  actor TEXT NOT NULL,
  at BIGINT NOT NULL,
  note TEXT NOT NULL
);

-- An alert that began while something withheld it. released_at: when its receivers were told.
CREATE TABLE alert_hold (
  alert_id TEXT PRIMARY KEY,
  why TEXT NOT NULL,
  withheld_at BIGINT NOT NULL,
  released_at BIGINT
);

-- What the built-in notifier told a receiver of a group last.
CREATE TABLE notification (
  receiver TEXT NOT NULL,
  group_key TEXT NOT NULL,
  body TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (receiver, group_key)
);

ALTER TABLE transition ADD COLUMN in_maintenance BOOLEAN NOT NULL DEFAULT FALSE;

-- When an Alertmanager last listed an alert evaluated elsewhere, and in how many rounds since it did not.
ALTER TABLE alert ADD COLUMN listed_at BIGINT;
ALTER TABLE alert ADD COLUMN missed BIGINT NOT NULL DEFAULT 0;

CREATE INDEX alert_policy ON alert (policy, starts_at);
