-- Version 8: pages and searches that take no longer among millions of jobs. Executed on top of version 7; words.rs fills job_words.
DROP TABLE job_text;
ALTER TABLE jobs ADD COLUMN words TEXT NOT NULL DEFAULT '';  -- what a search finds it by, parted by blanks
CREATE TABLE job_words (word TEXT NOT NULL, job INTEGER NOT NULL, PRIMARY KEY (word, job)) WITHOUT ROWID;

-- Each queue and state is a lane in the order of the lists.
DROP INDEX jobs_state;
DROP INDEX jobs_queue;
DROP INDEX jobs_owner;
CREATE INDEX jobs_lane   ON jobs (queue, state, created_at);
CREATE INDEX jobs_format ON jobs (format, queue, state, created_at) WHERE format IS NOT NULL;
CREATE INDEX jobs_owner  ON jobs (owner, state, created_at) WHERE owner IS NOT NULL;
