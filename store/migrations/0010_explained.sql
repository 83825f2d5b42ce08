-- Scores as they were shown: one row per transition of a grade or gate, and one an hour per service.
-- `at` is the moment the row tells of; the body is the whole explanation. Same dialect rules as 0001.

CREATE TABLE explained (
  level TEXT NOT NULL,
  object TEXT NOT NULL,
  at BIGINT NOT NULL,
  why TEXT NOT NULL,
  tenant TEXT NOT NULL,
  system TEXT NOT NULL,
  service TEXT NOT NULL,
  score DOUBLE PRECISION,
  grade TEXT NOT NULL,
  gates TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (level, object, at)
);
CREATE INDEX explained_by_time ON explained (at);
