-- The nightly report on the quality of alerts, one a day. Same dialect rules as 0001.

CREATE TABLE quality_report (
  day TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  body TEXT NOT NULL
);
