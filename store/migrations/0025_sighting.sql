-- What each process of an installation cannot reach, for the others to hold against what they see.
-- One row a process; `at` is by the database's clock. Same dialect rules as 0001.

CREATE TABLE sighting (
  process TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  body TEXT NOT NULL
);
