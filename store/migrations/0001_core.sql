-- What every other table leans on: settings, the audit chains, secrets, idempotency and the tree.
-- One text for SQLite and PostgreSQL: TEXT, BIGINT, BOOLEAN, DOUBLE PRECISION only; times are
-- milliseconds UTC; JSON is text and never queried; bytes are base64 text.

CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE audit_chain (
  chain TEXT PRIMARY KEY,
  seq BIGINT NOT NULL,
  hash TEXT NOT NULL
);

CREATE TABLE audit (
  chain TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  scope TEXT NOT NULL,
  result TEXT NOT NULL,
  hash TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (chain, seq)
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE idempotency (
  actor TEXT NOT NULL,
  key TEXT NOT NULL,
  request_hash TEXT NOT NULL,
  status BIGINT NOT NULL,
  answer TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (actor, key)
);

CREATE TABLE site (
  id TEXT PRIMARY KEY,
  display TEXT NOT NULL
);
CREATE TABLE zone (
  id TEXT PRIMARY KEY,
  site TEXT NOT NULL REFERENCES site (id)
);
CREATE TABLE host (
  id TEXT PRIMARY KEY,
  zone TEXT NOT NULL REFERENCES zone (id),
  address TEXT NOT NULL,
  provider TEXT NOT NULL,
  rack TEXT NOT NULL,
  memory_bytes BIGINT NOT NULL,
  cpu BIGINT NOT NULL
);
CREATE TABLE tenant (
  id TEXT PRIMARY KEY,
  display TEXT NOT NULL,
  networks TEXT NOT NULL
);
CREATE TABLE system (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL REFERENCES tenant (id),
  display TEXT NOT NULL,
  env TEXT NOT NULL,
  owner TEXT NOT NULL,
  cmdb TEXT NOT NULL
);
CREATE TABLE service (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL REFERENCES tenant (id),
  system TEXT NOT NULL REFERENCES system (id),
  display TEXT NOT NULL,
  tier TEXT NOT NULL,
  class TEXT NOT NULL,
  mode TEXT NOT NULL,
  profile TEXT NOT NULL,
  managed BOOLEAN NOT NULL,
  sentinel_master TEXT NOT NULL,
  replicas_wanted BIGINT NOT NULL,
  auth_user TEXT NOT NULL,
  secret_id TEXT
);
CREATE TABLE instance (
  id TEXT PRIMARY KEY,
  service TEXT NOT NULL REFERENCES service (id),
  kind TEXT NOT NULL,
  zone TEXT NOT NULL REFERENCES zone (id),
  host TEXT REFERENCES host (id),
  shard BIGINT NOT NULL
);
CREATE INDEX instance_service ON instance (service);

CREATE TABLE data_key (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  wrapped TEXT NOT NULL,
  nonce TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE TABLE secret (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  service TEXT NOT NULL,
  ciphertext TEXT NOT NULL,
  nonce TEXT NOT NULL,
  key_id TEXT NOT NULL REFERENCES data_key (id),
  rev BIGINT NOT NULL
);
