-- Messages that were signed: each nonce is taken once. Same dialect rules as 0001.

CREATE TABLE intake_nonce (
  source TEXT NOT NULL,
  nonce TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (source, nonce)
);
CREATE INDEX intake_nonce_at ON intake_nonce (at);
