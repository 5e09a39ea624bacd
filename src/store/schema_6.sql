-- Version 6: who may do what, and whose a job is. Executed on top of version 5.
ALTER TABLE jobs ADD COLUMN owner TEXT;  -- the token that sent it
CREATE INDEX jobs_owner ON jobs (owner, seq) WHERE owner IS NOT NULL;
CREATE INDEX jobs_owned ON jobs (owner) WHERE state < 2 AND owner IS NOT NULL;
CREATE TABLE tokens (id TEXT PRIMARY KEY, token TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE spent  (token TEXT NOT NULL, day INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (token, day)) WITHOUT ROWID;
CREATE TABLE audit  (id TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID;
