//! Rows in and out: what the verbs share.

use super::{failed, outbox, search, turns, waits};
use crate::job::{Event, JobId, LogLine, Record, State};
pub use crate::store::document::{parse, text, time};
use crate::store::outbox::letters;
use crate::store::{Notice, Result, StoreError, transition, words};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, ToSql, params};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Lines kept of one job's log.
const LOG_LINES_MAX: i64 = 2000;

/// A transaction's view: the connection, and the notices that go out if it holds.
pub struct Tx<'c> {
    pub connection: &'c Connection,
    notices: Vec<Notice>,
    /// A job has ended that others wait for.
    pub ends: bool,
}

/// A job's row number and record.
pub struct Found {
    pub seq: i64,
    pub record: Record,
}

impl<'c> Tx<'c> {
    pub fn new(connection: &'c Connection) -> Self {
        Tx { connection, notices: Vec::new(), ends: false }
    }

    pub fn into_notices(self) -> Vec<Notice> {
        self.notices
    }

    pub fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    pub fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.connection.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(failed)
    }

    pub fn find(&self, id: JobId) -> Result<Found> {
        find(self.connection, id)
    }

    pub fn row(&self, seq: i64) -> Result<Found> {
        let found = self.select("SELECT seq, record FROM jobs WHERE seq = ?1", &[&seq])?;
        found.into_iter().next().ok_or(StoreError::NotFound("job"))
    }

    /// Records whose row numbers `sql` selects.
    pub fn select(&self, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<Found>> {
        rows(self.connection, sql, params, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?
            .into_iter()
            .map(|(seq, record)| Ok(Found { seq, record: parse(&record)? }))
            .collect()
    }

    /// Writes a new job with its turn, if it has one already.
    pub fn insert(&mut self, record: Record, turn: Option<i64>) -> Result<Found> {
        let (job, words) = (&record.job, words::of(&record));
        self.execute(
            "INSERT INTO jobs (id, queue, state, priority, run_at, attempt, expires_at, created_at, format, unique_key, upload, borrowed, fairness_key, turn, waiting, pipeline, step, owner, reuse_key, record, words)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
            params![
                job.id.to_string(),
                job.queue,
                state_number(job.state),
                job.priority,
                job.run_at.as_millisecond(),
                job.attempt,
                job.expires_at.map(Timestamp::as_millisecond),
                job.created_at.as_millisecond(),
                job.from.map(|f| f.id()),
                job.unique_key,
                record.upload,
                record.borrowed(),
                turns::key(job),
                turn,
                !job.waiting_on.is_empty(),
                job.pipeline.map(|id| id.to_string()),
                job.step,
                record.owner,
                record.reuse_key,
                text(&record)?,
                words,
            ],
        )?;
        let seq = self.connection.last_insert_rowid();
        search::index(self, seq, &words)?;
        Ok(Found { seq, record })
    }

    /// Writes a changed record back. `lease_until` is given when the change sets it. Whatever leaves the line loses its turn.
    pub fn save(&mut self, found: &Found, lease_until: Option<Timestamp>) -> Result<()> {
        let (record, job) = (&found.record, &found.record.job);
        self.execute(
            "UPDATE jobs SET state = ?2, priority = ?3, run_at = ?4, attempt = ?5, lease_until = CASE WHEN ?2 = 1 THEN coalesce(?6, lease_until) END,
             turn = CASE WHEN ?2 = 0 THEN turn END, expires_at = ?7, finished_at = ?8, has_bytes = ?9, waiting = ?10, record = ?11 WHERE seq = ?1",
            params![
                found.seq,
                state_number(job.state),
                job.priority,
                job.run_at.as_millisecond(),
                job.attempt,
                lease_until.map(Timestamp::as_millisecond),
                job.expires_at.map(Timestamp::as_millisecond),
                job.finished_at.map(Timestamp::as_millisecond),
                !record.artifacts.is_empty(),
                !job.waiting_on.is_empty(),
                text(record)?,
            ],
        )?;
        self.notice(Notice::Job(job.id));
        Ok(())
    }

    /// Saves a transition with its event and its letters; searches find the error code from now on.
    pub fn transition(&mut self, found: &Found, lease_until: Option<Timestamp>, kind: &str, now: Timestamp) -> Result<()> {
        self.save(found, lease_until)?;
        let job = &found.record.job;
        if job.state.is_terminal() {
            waits::ended(self, found, now)?;
            job.pipeline.into_iter().for_each(|id| self.notice(Notice::Pipeline(id)));
        }
        if job.error.is_some() && job.state.is_terminal() {
            let words = words::of(&found.record);
            self.forget_words(found.seq)?;
            self.execute("UPDATE jobs SET words = ?2 WHERE seq = ?1", params![found.seq, words])?;
            search::index(self, found.seq, &words)?;
        }
        if job.state == State::Queued {
            self.notice(Notice::Ready(job.queue.clone()));
        }
        self.event(kind, job.id, &job.queue, transition::detail(&found.record), now)?;
        outbox::write(self, letters(&found.record, kind, now))
    }

    pub fn event(&mut self, kind: &str, job: JobId, queue: &str, detail: Value, now: Timestamp) -> Result<()> {
        self.execute(
            "INSERT INTO events (at, kind, job, queue, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![now.as_millisecond(), kind, job.to_string(), queue, detail.to_string()],
        )?;
        self.notice(Notice::Job(job));
        Ok(())
    }

    /// Appends to a job's log; what is past the cap is dropped.
    pub fn append_log(&self, seq: i64, lines: &[LogLine]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let next: i64 = one(self.connection, "SELECT coalesce(max(n) + 1, 0) FROM job_log WHERE job = ?1", &[&seq], |r| r.get(0))?.unwrap_or(0);
        for (n, line) in (next..LOG_LINES_MAX).zip(lines) {
            self.execute("INSERT INTO job_log VALUES (?1, ?2, ?3)", params![seq, n, text(line)?])?;
        }
        Ok(())
    }

    pub fn delete(&self, seq: i64) -> Result<()> {
        self.forget_words(seq)?;
        for sql in ["DELETE FROM jobs WHERE seq = ?1", "DELETE FROM job_log WHERE job = ?1"] {
            self.execute(sql, [seq])?;
        }
        Ok(())
    }

    fn forget_words(&self, seq: i64) -> Result<()> {
        let words = one(self.connection, "SELECT words FROM jobs WHERE seq = ?1", &[&seq], |r| r.get::<_, String>(0))?;
        search::forget(self, seq, &words.unwrap_or_default())
    }
}

pub fn find(connection: &Connection, id: JobId) -> Result<Found> {
    let row = one(connection, "SELECT seq, record FROM jobs WHERE id = ?1", &[&id.to_string()], |r| Ok((r.get(0)?, r.get::<_, String>(1)?)))?;
    let (seq, record) = row.ok_or(StoreError::NotFound("job"))?;
    Ok(Found { seq, record: parse(&record)? })
}

pub fn one<T>(connection: &Connection, sql: &str, params: &[&dyn ToSql], read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>) -> Result<Option<T>> {
    connection.prepare_cached(sql).and_then(|mut s| s.query_row(params, read).optional()).map_err(failed)
}

pub fn rows<T>(connection: &Connection, sql: &str, params: &[&dyn ToSql], read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
    connection.prepare_cached(sql).and_then(|mut s| s.query_map(params, read)?.collect()).map_err(failed)
}

/// Documents of type `T` that `sql` selects as its only column.
pub fn documents<T: DeserializeOwned>(connection: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<T>> {
    rows(connection, sql, params, |r| r.get::<_, String>(0))?.iter().map(|text| parse(text)).collect()
}

pub fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        at: time(row.get(1)?),
        kind: row.get(2)?,
        job: row.get::<_, Option<String>>(3)?.and_then(|id| id.parse().ok()),
        queue: row.get(4)?,
        detail: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or(Value::Null),
    })
}

pub fn state_number(state: State) -> i64 {
    state as i64
}

pub fn state_from(number: i64) -> State {
    usize::try_from(number).ok().and_then(|n| State::ALL.get(n).copied()).unwrap_or(State::Failed)
}
