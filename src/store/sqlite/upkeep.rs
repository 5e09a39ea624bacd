//! The engine's own verbs.

use super::SqliteStore;
use super::tables::{self, Tx, documents, one, parse, rows, state_from, text, time};
use super::{access, jobs, leases, outbox, pipelines, turns};
use crate::job::{JobId, Lease, State, Upload};
use crate::store::{Counts, NewJob, Notice, PurgePolicy, Purged, Result, Schedule, StoreError, Tuning, Upkeep, transition};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long events can be read back.
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Events or keys that one call of a purge forgets, while which leases wait.
const OLD_MAX: i64 = 1000;

#[async_trait::async_trait]
impl Upkeep for SqliteStore {
    async fn counts(&self) -> Result<Counts> {
        self.read(count).await
    }

    async fn due_since(&self) -> Result<BTreeMap<String, Timestamp>> {
        self.read(|c| {
            let waiting = rows(c, "SELECT queue FROM counts WHERE state = 0 AND n > 0", &[], |r| r.get::<_, String>(0))?;
            let mut since = BTreeMap::new();
            for queue in waiting {
                let sql = "SELECT min(run_at) FROM jobs INDEXED BY jobs_age WHERE state = 0 AND waiting = 0 AND queue = ?1";
                let head = one(c, sql, &[&queue], |r| r.get::<_, Option<i64>>(0))?.flatten();
                since.extend(head.map(|head| (queue, time(head))));
            }
            Ok(since)
        })
        .await
    }

    async fn tunings(&self) -> Result<BTreeMap<String, Tuning>> {
        self.read(|c| {
            let found = rows(c, "SELECT queue, tuning FROM tunings", &[], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
            found.into_iter().map(|(queue, tuning)| Ok((queue, parse(&tuning)?))).collect()
        })
        .await
    }

    async fn tune(&self, queue: &str, change: Tuning, now: Timestamp) -> Result<Tuning> {
        let queue = queue.to_owned();
        self.write(move |tx| {
            let (soft, hard) = (change.soft_time_limit, change.hard_time_limit);
            let new = leases::tuning(tx.connection, &queue)?.changed(change);
            tx.execute("INSERT OR REPLACE INTO tunings VALUES (?1, ?2)", params![queue, text(&new)?])?;
            if soft.is_some() || hard.is_some() {
                for mut found in tx.select("SELECT seq, record FROM jobs INDEXED BY jobs_lane WHERE state = 1 AND queue = ?1", &[&queue])? {
                    transition::tune(&mut found.record, &new);
                    tx.save(&found, None)?;
                }
            }
            let detail = text(&new)?;
            tx.execute("INSERT INTO events (at, kind, queue, detail) VALUES (?1, 'queue', ?2, ?3)", params![now.as_millisecond(), queue, detail])?;
            tx.notice(Notice::Tuning(queue));
            Ok(new)
        })
        .await
    }

    async fn purge_queue(&self, queue: &str, now: Timestamp) -> Result<u64> {
        let queue = queue.to_owned();
        let mut cancelled = 0;
        loop {
            let queue = queue.clone();
            let step: u64 = self
                .write(move |tx| {
                    let waiting =
                        tx.select("SELECT seq, record FROM jobs INDEXED BY jobs_age WHERE state = 0 AND queue = ?1 LIMIT 200", &[&queue])?;
                    let n = waiting.len() as u64;
                    for mut found in waiting {
                        if let Some(kind) = transition::cancel(&mut found.record, crate::job::CancelMode::Soft, now) {
                            tx.transition(&found, None, kind, now)?;
                        }
                    }
                    if n == 0 {
                        turns::forget(tx, &queue)?;
                    }
                    Ok(n)
                })
                .await?;
            cancelled += step;
            if step == 0 {
                return Ok(cancelled);
            }
        }
    }

    async fn put_upload(&self, upload: Upload) -> Result<()> {
        self.write(move |tx| {
            tx.execute("INSERT OR REPLACE INTO uploads VALUES (?1, ?2, ?3)", params![upload.id, upload.expires_at.as_millisecond(), text(&upload)?])
                .map(drop)
        })
        .await
    }

    async fn upload(&self, id: &str) -> Result<Upload> {
        let id = id.to_owned();
        self.read(move |c| {
            let found = documents(c, "SELECT upload FROM uploads WHERE id = ?1", &[&id])?;
            found.into_iter().next().ok_or(StoreError::NotFound("upload"))
        })
        .await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.read(|c| documents(c, "SELECT schedule FROM schedules ORDER BY name", &[])).await
    }

    async fn put_schedule(&self, schedule: Schedule) -> Result<()> {
        self.write(move |tx| put_schedule(tx, &schedule)).await
    }

    async fn delete_schedule(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.write(move |tx| match tx.execute("DELETE FROM schedules WHERE name = ?1", [&name])? {
            0 => Err(StoreError::NotFound("schedule")),
            _ => Ok(()),
        })
        .await
    }

    async fn fire(&self, name: &str, expected: Timestamp, next: Timestamp, jobs: Vec<NewJob>, now: Timestamp) -> Result<bool> {
        let name = name.to_owned();
        self.write(move |tx| {
            let found = one(tx.connection, "SELECT schedule FROM schedules WHERE name = ?1", &[&name], |r| r.get::<_, String>(0))?;
            let schedule: Schedule = parse(&found.ok_or(StoreError::NotFound("schedule"))?)?;
            if schedule.next_fire.as_millisecond() != expected.as_millisecond() {
                return Ok(false);
            }
            let last_fire = if jobs.is_empty() { schedule.last_fire } else { Some(now) };
            put_schedule(tx, &Schedule { last_fire, next_fire: next, ..schedule })?;
            for job in jobs {
                jobs::insert(tx, job, now)?;
            }
            Ok(true)
        })
        .await
    }

    async fn purge(&self, policy: PurgePolicy, now: Timestamp) -> Result<Purged> {
        self.write(move |tx| {
            let mut purged = Purged::default();
            purge_outputs(tx, &policy, &mut purged)?;
            purge_records(tx, &policy, &mut purged)?;
            purge_uploads(tx, policy.limit, now, &mut purged)?;
            pipelines::purge(tx, &policy, &mut purged)?;
            turns::forget_passed(tx)?;
            outbox::purge(tx, now)?;
            access::purge(tx, now)?;
            for (sql, kept) in [
                ("DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE at < ?1 LIMIT ?2)", IDEMPOTENCY_KEPT),
                ("DELETE FROM pipeline_keys WHERE key IN (SELECT key FROM pipeline_keys WHERE at < ?1 LIMIT ?2)", IDEMPOTENCY_KEPT),
                ("DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ?1 LIMIT ?2)", EVENTS_KEPT),
            ] {
                let before = now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
                purged.more |= tx.execute(sql, params![before.as_millisecond(), OLD_MAX])? as i64 == OLD_MAX;
            }
            Ok(purged)
        })
        .await
    }

    async fn orphans(&self, keys: Vec<String>) -> Result<Vec<String>> {
        self.read(move |c| {
            let mut orphans = Vec::new();
            for key in keys {
                if !is_referenced(c, &key)? {
                    orphans.push(key);
                }
            }
            Ok(orphans)
        })
        .await
    }

    async fn is_live(&self, lease: Lease) -> Result<bool> {
        self.read(move |c| leases::is_live(c, lease)).await
    }
}

pub fn count(connection: &Connection) -> Result<Counts> {
    let mut counts = Counts::new();
    let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, String>(0)?, r.get(1)?, r.get::<_, i64>(2)?));
    for (queue, state, n) in rows(connection, "SELECT queue, state, n FROM counts", &[], read)? {
        counts.entry(queue).or_default().insert(state_from(state), u64::try_from(n).unwrap_or(0));
    }
    Ok(counts)
}

fn put_schedule(tx: &Tx<'_>, schedule: &Schedule) -> Result<()> {
    let next = schedule.next_fire.as_millisecond();
    // Kept to the millisecond, as every time here: `fire` compares it.
    let kept = Schedule { next_fire: time(next), ..schedule.clone() };
    tx.execute("INSERT OR REPLACE INTO schedules VALUES (?1, ?2, ?3)", params![kept.name, next, text(&kept)?]).map(drop)
}

fn purge_outputs(tx: &mut Tx<'_>, policy: &PurgePolicy, purged: &mut Purged) -> Result<()> {
    let sql = "SELECT seq, record FROM jobs WHERE state > 1 AND has_bytes = 1 AND queue = ?1 AND finished_at < ?2 AND NOT EXISTS (SELECT 1 FROM pipelines WHERE pipelines.id = jobs.pipeline AND pipelines.state = 1) LIMIT ?3";
    for (queue, before) in &policy.outputs_before {
        for mut found in tx.select(sql, &[queue, &before.as_millisecond(), &(policy.limit as i64)])? {
            purged.blobs.extend(jobs::unneeded(tx, transition::forget_outputs(&mut found.record))?);
            tx.save(&found, None)?;
            purged.outputs += 1;
        }
    }
    purged.more |= purged.outputs >= policy.limit;
    Ok(())
}

fn purge_records(tx: &mut Tx<'_>, policy: &PurgePolicy, purged: &mut Purged) -> Result<()> {
    let sql = "SELECT seq, record FROM jobs WHERE state > 1 AND queue = ?1 AND finished_at < ?2 AND NOT EXISTS (SELECT 1 FROM pipelines WHERE pipelines.id = jobs.pipeline AND pipelines.state = 1) LIMIT ?3";
    for (queue, before) in &policy.records_before {
        for found in tx.select(sql, &[queue, &before.as_millisecond(), &(policy.limit as i64)])? {
            tx.delete(found.seq)?;
            purged.blobs.extend(jobs::unneeded(tx, found.record.artifacts.into_values())?);
            purged.records += 1;
        }
    }
    purged.more |= purged.records >= policy.limit;
    Ok(())
}

fn purge_uploads(tx: &mut Tx<'_>, limit: usize, now: Timestamp, purged: &mut Purged) -> Result<()> {
    let sql =
        "SELECT upload FROM uploads WHERE expires_at < ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE state < 2 AND jobs.upload = uploads.id) LIMIT ?2";
    let expired: Vec<Upload> = documents(tx.connection, sql, &[&now.as_millisecond(), &(limit as i64)])?;
    for upload in &expired {
        tx.execute("DELETE FROM uploads WHERE id = ?1", [&upload.id])?;
        purged.blobs.push(upload.blob_key());
    }
    purged.uploads = expired.len();
    purged.more |= expired.len() >= limit;
    Ok(())
}

/// Does a record point at this key, or may one still do so (a running attempt that has published and not yet said so)?
fn is_referenced(connection: &Connection, key: &str) -> Result<bool> {
    let mut parts = key.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("uploads"), Some(id), None) => {
            let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM uploads WHERE id = ?1) OR EXISTS (SELECT 1 FROM jobs WHERE state < 2 AND upload = ?1)";
            Ok(one(connection, sql, &[&id], |_| Ok(()))?.is_some())
        }
        (Some("jobs"), Some(id), Some(attempt)) => {
            if jobs::is_borrowed(connection, key)? {
                return Ok(true);
            }
            let (Ok(id), Ok(attempt)) = (id.parse::<JobId>(), attempt.parse::<u32>()) else { return Ok(false) };
            match tables::find(connection, id) {
                Ok(found) => {
                    let running = found.record.job.state == State::Running && found.record.job.attempt == attempt;
                    Ok(running || found.record.artifacts.values().any(|k| k == key))
                }
                Err(StoreError::NotFound(_)) => Ok(false),
                Err(error) => Err(error),
            }
        }
        _ => Ok(false),
    }
}
