-- Backups: one row per kept file; the files of one operation are a set. Same dialect rules as 0001.

CREATE TABLE backup (
  id TEXT PRIMARY KEY,
  operation_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  system TEXT NOT NULL,
  service TEXT NOT NULL,
  shard BIGINT NOT NULL,
  instance TEXT NOT NULL,
  path TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  key_count BIGINT NOT NULL,
  expire_count BIGINT NOT NULL,
  engine_version TEXT NOT NULL,
  replid TEXT NOT NULL,
  repl_offset BIGINT NOT NULL,
  slots TEXT NOT NULL,
  taken_at BIGINT NOT NULL
);
CREATE INDEX backup_service ON backup (service, taken_at);
