-- Changes of whole zones: operations that are parts of others, and zones that masters were moved out
-- of. Same dialect rules as 0001.

ALTER TABLE operation ADD COLUMN parent TEXT;
CREATE INDEX operation_parent ON operation (parent);

-- homes: the masters that were there; benched: nodes kept from being promoted, with what they had.
CREATE TABLE evacuation (
  zone TEXT PRIMARY KEY,
  operation_id TEXT NOT NULL,
  homes TEXT NOT NULL,
  benched TEXT NOT NULL,
  actor TEXT NOT NULL,
  at BIGINT NOT NULL
);
