-- Version 4: pipelines. Executed on top of schema_3.sql.
ALTER TABLE jobs ADD COLUMN pipeline TEXT;
ALTER TABLE jobs ADD COLUMN step TEXT;
CREATE INDEX jobs_pipeline ON jobs (pipeline, seq) WHERE pipeline IS NOT NULL;

CREATE TABLE pipelines (
  seq         INTEGER PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  version     INTEGER NOT NULL,
  state       INTEGER NOT NULL,          -- as a job's; one that runs is 1
  created_at  INTEGER NOT NULL,
  finished_at INTEGER,
  document    TEXT NOT NULL
);
CREATE INDEX pipelines_state ON pipelines (state, seq);
CREATE INDEX pipelines_ended ON pipelines (finished_at) WHERE state > 1;

-- A pipeline's jobs by step and state.
CREATE TABLE step_counts (
  pipeline TEXT NOT NULL, step TEXT NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (pipeline, step, state)
) WITHOUT ROWID;
CREATE TRIGGER step_inserted AFTER INSERT ON jobs WHEN new.pipeline IS NOT NULL BEGIN
  INSERT INTO step_counts VALUES (new.pipeline, new.step, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER step_moved AFTER UPDATE OF state ON jobs WHEN new.pipeline IS NOT NULL AND old.state <> new.state BEGIN
  UPDATE step_counts SET n = n - 1 WHERE pipeline = old.pipeline AND step = old.step AND state = old.state;
  INSERT INTO step_counts VALUES (new.pipeline, new.step, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER step_deleted AFTER DELETE ON jobs WHEN old.pipeline IS NOT NULL BEGIN
  UPDATE step_counts SET n = n - 1 WHERE pipeline = old.pipeline AND step = old.step AND state = old.state;
END;
