-- What is remembered of weeks: peaks of each shard by day, and each service's seconds. Same dialect
-- rules as 0001.

-- One row a shard and day (days since 1970, UTC); the body holds the peaks of its hours.
CREATE TABLE usage_day (
  service TEXT NOT NULL,
  shard BIGINT NOT NULL,
  day BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (service, shard, day)
);
CREATE INDEX usage_day_day ON usage_day (day);

-- Good, bad and unknown seconds of each service.
CREATE TABLE slo_account (
  service TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  at BIGINT NOT NULL
);
