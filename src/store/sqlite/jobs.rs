//! The client's verbs.

use super::SqliteStore;
use super::tables::{self, Found, Tx, one, rows, state_number};
use super::{outbox, turns, waits};
use crate::job::{CancelMode, Event, Job, JobId, LogLine, Record};
use crate::store::outbox::letters;
use crate::store::{Filter, Inserted, Jobs, NewJob, Notice, Result, StoreError, transition};
use jiff::Timestamp;
use rusqlite::{Connection, ToSql, params};
use std::collections::BTreeSet;
use tokio::sync::broadcast;

#[async_trait::async_trait]
impl Jobs for SqliteStore {
    async fn insert(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Inserted>> {
        self.write(move |tx| jobs.into_iter().map(|job| insert(tx, job, now)).collect()).await
    }

    async fn get(&self, id: JobId) -> Result<Record> {
        self.read(move |c| tables::find(c, id).map(|found| found.record)).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Job>> {
        self.read(move |c| {
            let (sql, values) = list_query(&filter);
            let params: Vec<&dyn ToSql> = values.iter().map(|v| &**v as &dyn ToSql).collect();
            let records: Vec<Record> = tables::documents(c, &sql, &params)?;
            Ok(records.into_iter().map(|r| r.job).collect())
        })
        .await
    }

    async fn cancel(&self, id: JobId, mode: CancelMode, now: Timestamp) -> Result<Job> {
        self.write(move |tx| {
            let mut found = tx.find(id)?;
            if let Some(kind) = transition::cancel(&mut found.record, mode, now) {
                tx.transition(&found, None, kind, now)?;
                tx.notice(Notice::Cancel(id));
            }
            Ok(found.record.job)
        })
        .await
    }

    async fn retry(&self, id: JobId, now: Timestamp) -> Result<Job> {
        self.write(move |tx| {
            let mut found = tx.find(id)?;
            if !transition::can_retry(&found.record) {
                return Err(StoreError::WrongState(found.record.job.state));
            }
            let failed = waits::look(tx, &mut found.record)?;
            let kind = transition::retry(&mut found.record, now);
            tx.transition(&found, None, kind, now)?;
            waits::begin(tx, &mut found, failed, now)?;
            Ok(found.record.job)
        })
        .await
    }

    async fn remove(&self, id: JobId) -> Result<Vec<String>> {
        self.write(move |tx| {
            let found = tx.find(id)?;
            if !found.record.job.state.is_terminal() {
                return Err(StoreError::WrongState(found.record.job.state));
            }
            tx.delete(found.seq)?;
            unneeded(tx, found.record.artifacts.into_values())
        })
        .await
    }

    async fn log(&self, id: JobId, from: usize) -> Result<Vec<LogLine>> {
        self.read(move |c| {
            let seq = tables::find(c, id)?.seq;
            tables::documents(c, "SELECT line FROM job_log WHERE job = ?1 AND n >= ?2 ORDER BY n", &[&seq, &(from as i64)])
        })
        .await
    }

    async fn events(&self, after: u64, job: Option<JobId>, limit: usize) -> Result<Vec<Event>> {
        let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), limit as i64);
        self.read(move |c| match job.map(|id| id.to_string()) {
            Some(id) => {
                let sql = "SELECT * FROM events WHERE job = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2";
                rows(c, sql, &[&after, &limit, &id], tables::event)
            }
            None => rows(c, "SELECT * FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2", &[&after, &limit], tables::event),
        })
        .await
    }

    async fn last_event(&self) -> Result<u64> {
        // Not the newest row: that one may be purged, its number stays used.
        self.read(|c| one(c, "SELECT seq FROM sqlite_sequence WHERE name = 'events'", &[], |r| r.get::<_, i64>(0)))
            .await
            .map(|seq| seq.map_or(0, i64::unsigned_abs))
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.writer.notices()
    }
}

/// Inserts one job, unless its idempotency key or its unique key stands for one already.
pub fn insert(tx: &mut Tx<'_>, new: NewJob, now: Timestamp) -> Result<Inserted> {
    if let Some((key, digest)) = &new.idempotency {
        let known = one(tx.connection, "SELECT digest, job FROM idempotency WHERE key = ?1", &[key], |r| {
            Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))
        })?;
        // A key whose job was removed stands for nothing any more.
        if let Some((known_digest, job)) = known
            && let Some(found) = job.parse().ok().and_then(|id| tx.find(id).ok())
        {
            return if known_digest == *digest { Ok(Inserted::Existing(found.record.job)) } else { Err(StoreError::IdempotencyMismatch) };
        }
        tx.execute(
            "INSERT OR REPLACE INTO idempotency VALUES (?1, ?2, ?3, ?4)",
            params![key, digest, new.record.job.id.to_string(), now.as_millisecond()],
        )?;
    }
    if let Some(key) = &new.record.job.unique_key {
        let twin: Option<Found> = tx.select("SELECT seq, record FROM jobs WHERE unique_key = ?1 AND state < 2", &[key])?.into_iter().next();
        if let Some(found) = twin {
            return Ok(Inserted::Existing(found.record.job));
        }
    }
    let mut record = new.record;
    record.job.waiting_on = distinct(&record.job.after);
    let failed = waits::look(tx, &mut record)?;
    let turn = turns::first(tx, &record.job, now)?;
    let mut found = tx.insert(record, turn)?;
    let job = &found.record.job;
    tx.notice(Notice::Ready(job.queue.clone()));
    tx.event("queued", job.id, &job.queue, serde_json::json!({"converter": job.converter}), now)?;
    outbox::write(tx, letters(&found.record, "queued", now))?;
    waits::begin(tx, &mut found, failed, now)?;
    Ok(Inserted::New(found.record.job))
}

fn distinct(ids: &[JobId]) -> Vec<JobId> {
    let mut seen = BTreeSet::new();
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

/// Those of an ended job's blobs that no waiting or running job reads; the orphan search finds the others later.
pub fn unneeded(tx: &Tx<'_>, keys: impl IntoIterator<Item = String>) -> Result<Vec<String>> {
    let mut free = Vec::new();
    for key in keys {
        if !is_borrowed(tx.connection, &key)? {
            free.push(key);
        }
    }
    Ok(free)
}

pub fn is_borrowed(connection: &Connection, key: &str) -> Result<bool> {
    Ok(one(connection, "SELECT 1 FROM jobs WHERE state < 2 AND borrowed = ?1", &[&key], |_| Ok(()))?.is_some())
}

/// Keyset pagination, never OFFSET; text search by prefix through the full-text index.
fn list_query(filter: &Filter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = String::from("SELECT record FROM jobs WHERE 1");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut narrow = |clause: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(&clause.replace('?', &format!("?{}", values.len())));
    };
    if let Some(state) = filter.state {
        narrow(" AND state = ?", Box::new(state_number(state)));
    }
    if let Some(queue) = &filter.queue {
        narrow(" AND queue = ?", Box::new(queue.clone()));
    }
    if let Some(format) = filter.format {
        narrow(" AND format = ?", Box::new(format.id()));
    }
    if let Some(pipeline) = filter.pipeline {
        narrow(" AND pipeline = ?", Box::new(pipeline.to_string()));
    }
    if let Some(step) = &filter.step {
        narrow(" AND step = ?", Box::new(step.clone()));
    }
    if let Some(since) = filter.since {
        narrow(" AND created_at >= ?", Box::new(since.as_millisecond()));
    }
    if let Some(until) = filter.until {
        narrow(" AND created_at < ?", Box::new(until.as_millisecond()));
    }
    if let Some(owner) = &filter.owner {
        narrow(" AND owner = ?", Box::new(owner.clone()));
    }
    if let Some(before) = filter.before {
        narrow(" AND seq < (SELECT seq FROM jobs WHERE id = ?)", Box::new(before.to_string()));
    }
    if let Some(words) = filter.text.as_deref().map(match_words).filter(|w| !w.is_empty()) {
        narrow(" AND seq IN (SELECT rowid FROM job_text WHERE words MATCH ? ORDER BY rowid DESC LIMIT 10000)", Box::new(words));
    }
    narrow(" ORDER BY seq DESC LIMIT ?", Box::new(filter.limit.clamp(1, 500) as i64));
    (sql, values)
}

/// Every word as a quoted prefix, so that no character of the client's has a meaning in FTS5's query language.
fn match_words(text: &str) -> String {
    let word = |w: &str| format!("\"{}\"*", w.replace('"', ""));
    text.split_whitespace().filter(|w| w.chars().any(char::is_alphanumeric)).map(word).collect::<Vec<_>>().join(" ")
}
