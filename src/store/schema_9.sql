-- Version 9: results that equal jobs have in common. Executed on top of version 8.
ALTER TABLE jobs ADD COLUMN reuse_key TEXT;
CREATE INDEX jobs_equal ON jobs (reuse_key, state, waiting, has_bytes, finished_at) WHERE reuse_key IS NOT NULL;
