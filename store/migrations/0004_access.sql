-- Who may come in: accounts, what is granted to them, sessions, tokens and every attempt to sign in.
-- Nothing here lets its reader in: passwords are argon2id, tokens and sessions SHA-256.

CREATE TABLE account (
  id TEXT PRIMARY KEY,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  staff_id TEXT NOT NULL,
  display TEXT NOT NULL,
  password TEXT NOT NULL,
  password_at BIGINT NOT NULL,
  disabled BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (issuer, subject)
);

CREATE TABLE setup_token (
  hash TEXT PRIMARY KEY,
  expires_at BIGINT NOT NULL
);

CREATE TABLE grant_row (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL REFERENCES account (id),
  role TEXT NOT NULL,
  scope TEXT NOT NULL,
  until BIGINT,
  source TEXT NOT NULL,
  reason TEXT NOT NULL,
  granted_by TEXT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX grant_account ON grant_row (account);

CREATE TABLE session (
  hash TEXT PRIMARY KEY,
  account TEXT NOT NULL REFERENCES account (id),
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  address TEXT NOT NULL,
  ended_at BIGINT,
  ended_why TEXT NOT NULL
);
CREATE INDEX session_account ON session (account, created_at);

CREATE TABLE token (
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL,
  kind TEXT NOT NULL,
  account TEXT NOT NULL REFERENCES account (id),
  name TEXT NOT NULL,
  rights TEXT NOT NULL,
  scopes TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT,
  revoked_at BIGINT
);
CREATE INDEX token_account ON token (account);

CREATE TABLE login (
  id TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  account TEXT,
  subject TEXT NOT NULL,
  method TEXT NOT NULL,
  result TEXT NOT NULL,
  address TEXT NOT NULL
);
CREATE INDEX login_account ON login (account, at);
