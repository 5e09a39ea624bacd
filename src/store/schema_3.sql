-- Version 3: what happened, summed up by the minute and by the hour. Executed on top of schema_2.sql.
CREATE TABLE history (
  step_s INTEGER NOT NULL, start INTEGER NOT NULL, queue TEXT NOT NULL, measure TEXT NOT NULL, value REAL NOT NULL,
  PRIMARY KEY (step_s, start, queue, measure)
) WITHOUT ROWID;
