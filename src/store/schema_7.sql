-- Version 7: whose a pipeline is, the keys that pipelines were sent with, and how many jobs of a token may run. Executed on top of version 6.
ALTER TABLE pipelines ADD COLUMN owner TEXT;  -- the token that sent it
CREATE INDEX pipelines_owner ON pipelines (owner, seq) WHERE owner IS NOT NULL;
CREATE TABLE pipeline_keys (key TEXT PRIMARY KEY, digest TEXT NOT NULL, pipeline TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX pipeline_keys_at ON pipeline_keys (at);

ALTER TABLE tokens ADD COLUMN slots INTEGER;
CREATE INDEX jobs_running ON jobs (owner) WHERE state = 1 AND owner IS NOT NULL;
