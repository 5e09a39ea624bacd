//! The client's verbs.

use super::SqliteStore;
use super::tables::{self, Found, Tx, one, rows};
use super::{outbox, pages, reuse, search, turns, waits};
use crate::job::{CancelMode, Event, Job, JobId, LogLine, Record};
use crate::store::outbox::letters;
use crate::store::{Filter, Inserted, Jobs, NewJob, Notice, Result, StoreError, transition, words};
use jiff::Timestamp;
use rusqlite::{Connection, params};
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
        let filter = Filter { limit: filter.limit.clamp(1, 500), ..filter };
        let terms = words::terms(filter.text.as_deref().unwrap_or_default());
        self.read(move |c| {
            let records = if terms.is_empty() { pages::page(c, &filter) } else { search::search(c, &filter, &terms) };
            Ok(records?.into_iter().map(|record| record.job).collect())
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
    reuse::follow(tx, &mut record, now)?;
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
