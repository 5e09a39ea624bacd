-- Version 5: letters to those who are told of jobs. Executed on top of version 4.
CREATE TABLE deliveries (
  id       TEXT PRIMARY KEY,     -- sorts by time
  state    INTEGER NOT NULL,     -- 0 pending, 1 delivered, 2 dead
  due      INTEGER NOT NULL,     -- of a pending one; a taken one is due again when its lease ends
  job      TEXT NOT NULL,
  delivery TEXT NOT NULL,
  told     TEXT NOT NULL         -- the job, as it was then
) WITHOUT ROWID;
CREATE INDEX deliveries_due   ON deliveries (due) WHERE state = 0;
CREATE INDEX deliveries_state ON deliveries (state, id);
CREATE INDEX deliveries_job   ON deliveries (job, id);

-- Webhooks that want nothing more.
CREATE TABLE endpoints_off (url TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
