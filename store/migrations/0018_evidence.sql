-- Evidence of incidents: what the servers said when one opened. Same dialect rules as 0001.

CREATE TABLE evidence (
  incident_id TEXT NOT NULL,
  opening BIGINT NOT NULL,
  at BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (incident_id, opening)
);
