-- How a service is reached beside its passwords, and which networks a zone stands in.

ALTER TABLE service ADD COLUMN sentinel_user TEXT NOT NULL DEFAULT '';
ALTER TABLE service ADD COLUMN tls TEXT NOT NULL DEFAULT '';
ALTER TABLE zone ADD COLUMN networks TEXT NOT NULL DEFAULT '[]';
