-- Version 2: the order and the rate of leases, jobs that wait for others, workers. Executed on top of schema.sql.
ALTER TABLE jobs ADD COLUMN fairness_key TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN turn INTEGER;  -- given when a queued job is due; nothing else has one
ALTER TABLE jobs ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;  -- for other jobs
UPDATE jobs SET fairness_key = coalesce(json_extract(record, '$.job.fairness_key'), '');
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (queue, priority DESC, turn, id) WHERE state = 0 AND turn IS NOT NULL;
CREATE INDEX jobs_later ON jobs (queue, run_at, id) WHERE state = 0 AND turn IS NULL AND waiting = 0;
CREATE INDEX jobs_age   ON jobs (queue, waiting, run_at) WHERE state = 0;

-- The highest turn leased of a queue's jobs of one priority, and the last turn given to each fairness key among them.
CREATE TABLE turns_leased (queue TEXT NOT NULL, priority INTEGER NOT NULL, turn INTEGER NOT NULL, PRIMARY KEY (queue, priority)) WITHOUT ROWID;
CREATE TABLE turns_given (
  queue TEXT NOT NULL, priority INTEGER NOT NULL, fairness_key TEXT NOT NULL, turn INTEGER NOT NULL,
  PRIMARY KEY (queue, priority, fairness_key)
) WITHOUT ROWID;

-- When a job of a rate-limited queue last started; microseconds since 1970.
CREATE TABLE starts (queue TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;

-- Who waits for whom, and the ends of jobs whose dependents have not all been told.
CREATE TABLE waits (dependency TEXT NOT NULL, job INTEGER NOT NULL, PRIMARY KEY (dependency, job)) WITHOUT ROWID;
CREATE INDEX waits_job ON waits (job);
CREATE TABLE ends (job TEXT PRIMARY KEY, state INTEGER NOT NULL, at INTEGER NOT NULL);

CREATE TABLE workers (id TEXT PRIMARY KEY, seen_at INTEGER NOT NULL, ordered TEXT, presence TEXT NOT NULL) WITHOUT ROWID;
