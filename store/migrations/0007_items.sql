-- Custom monitoring items: append-only revisions; the newest of (name, scope) is in force. Same
-- dialect rules as 0001.

CREATE TABLE item_revision (
  name TEXT NOT NULL,
  scope TEXT NOT NULL,
  rev BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  deleted BOOLEAN NOT NULL,
  body TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (name, scope, rev)
);
CREATE INDEX item_revision_tenant ON item_revision (tenant, name);
