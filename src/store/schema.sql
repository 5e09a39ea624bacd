-- The SQLite store. One row per job: what is searched stands in columns, the whole record as JSON beside it.
CREATE TABLE jobs (
  seq         INTEGER PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  queue       TEXT NOT NULL,
  state       INTEGER NOT NULL,          -- 0 queued, 1 running, 2 succeeded, 3 failed, 4 cancelled
  priority    INTEGER NOT NULL,
  run_at      INTEGER NOT NULL,          -- milliseconds since 1970, as all times here
  attempt     INTEGER NOT NULL,
  lease_until INTEGER,
  expires_at  INTEGER,
  finished_at INTEGER,
  created_at  INTEGER NOT NULL,
  format      TEXT,
  unique_key  TEXT,
  upload      TEXT,
  borrowed    TEXT,                      -- blob key of another job's output that is this one's input
  has_bytes   INTEGER NOT NULL DEFAULT 0, -- published outputs are still stored
  record      TEXT NOT NULL
);
CREATE INDEX jobs_ready   ON jobs (queue, priority, run_at, seq) WHERE state = 0;
CREATE INDEX jobs_expiry  ON jobs (expires_at) WHERE state = 0 AND expires_at IS NOT NULL;
CREATE INDEX jobs_leased  ON jobs (lease_until) WHERE state = 1;
CREATE INDEX jobs_state   ON jobs (state, seq);
CREATE INDEX jobs_queue   ON jobs (queue, seq);
CREATE INDEX jobs_ended   ON jobs (queue, finished_at) WHERE state > 1;
CREATE INDEX jobs_bytes   ON jobs (queue, finished_at) WHERE state > 1 AND has_bytes = 1;
CREATE INDEX jobs_upload  ON jobs (upload) WHERE state < 2 AND upload IS NOT NULL;
CREATE INDEX jobs_borrowed ON jobs (borrowed) WHERE state < 2 AND borrowed IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key) WHERE state < 2 AND unique_key IS NOT NULL;

CREATE VIRTUAL TABLE job_text USING fts5(words, content='', contentless_delete=1, prefix='2 3');

CREATE TABLE counts (queue TEXT NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (queue, state)) WITHOUT ROWID;
CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
  INSERT INTO counts VALUES (new.queue, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN old.state <> new.state BEGIN
  UPDATE counts SET n = n - 1 WHERE queue = old.queue AND state = old.state;
  INSERT INTO counts VALUES (new.queue, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
  UPDATE counts SET n = n - 1 WHERE queue = old.queue AND state = old.state;
END;

CREATE TABLE job_log (job INTEGER NOT NULL, n INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (job, n)) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, job TEXT, queue TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX events_at ON events (at);
CREATE INDEX events_job ON events (job, seq) WHERE job IS NOT NULL;
CREATE TABLE idempotency (key TEXT PRIMARY KEY, digest TEXT NOT NULL, job TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);
CREATE TABLE uploads (id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, upload TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX uploads_expiry ON uploads (expires_at);
CREATE TABLE tunings (queue TEXT PRIMARY KEY, tuning TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE schedules (name TEXT PRIMARY KEY, next_fire INTEGER NOT NULL, schedule TEXT NOT NULL) WITHOUT ROWID;
