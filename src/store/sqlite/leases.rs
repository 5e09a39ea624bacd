//! The worker's verbs.

use super::SqliteStore;
use super::tables::{self, Found, Tx, one, parse, rows, text};
use super::{access, outbox, turns, waits};
use crate::job::{Job, Lease, LogLine, Record};
use crate::limits::Rate;
use crate::store::outbox::{letters, progress_letters};
use crate::store::{Finish, LeaseLost, LeaseRequest, Leases, OutputDone, Renewal, Renewed, Result, Tuning, transition};
use jiff::Timestamp;
use rusqlite::{Connection, params};

type Fenced<T> = std::result::Result<T, LeaseLost>;

#[async_trait::async_trait]
impl Leases for SqliteStore {
    async fn lease(&self, request: LeaseRequest, now: Timestamp) -> Result<Vec<Record>> {
        self.write(move |tx| lease(tx, &request, now)).await
    }

    async fn next_start(&self, queue: &str, rate_limit: Option<Rate>, now: Timestamp) -> Result<Option<Timestamp>> {
        let queue = queue.to_owned();
        self.read(move |c| {
            let Some(rate) = tuning(c, &queue)?.rate_limit.unwrap_or(rate_limit) else { return Ok(None) };
            Ok(Some(rate.opens(last_start(c, &queue)?)).filter(|opens| *opens > now))
        })
        .await
    }

    async fn renew(&self, renewals: Vec<Renewal>, until: Timestamp, now: Timestamp) -> Result<Vec<Renewed>> {
        self.write(move |tx| renewals.iter().map(|renewal| renew(tx, renewal, until, now)).collect()).await
    }

    async fn output_done(&self, lease: Lease, done: OutputDone, now: Timestamp) -> Result<Fenced<()>> {
        self.write(move |tx| {
            fenced(tx, lease, |tx, found| {
                output_done(tx, found, done, now)?;
                tx.save(found, None)
            })
        })
        .await
    }

    async fn finish(&self, end: Finish, now: Timestamp) -> Result<Fenced<Job>> {
        self.write(move |tx| finish(tx, &end, now)).await
    }

    async fn finish_and_lease(&self, end: Finish, request: LeaseRequest, now: Timestamp) -> Result<(Fenced<Job>, Vec<Record>)> {
        self.write(move |tx| Ok((finish(tx, &end, now)?, lease(tx, &request, now)?))).await
    }

    async fn release(&self, lease: Lease, log: Vec<LogLine>, now: Timestamp) -> Result<Fenced<()>> {
        self.write(move |tx| {
            fenced(tx, lease, |tx, found| {
                let kind = transition::release(&mut found.record, now);
                tx.transition(found, None, kind, now)?;
                tx.append_log(found.seq, &log)
            })
        })
        .await
    }

    async fn reap(&self, limit: Timestamp, now: Timestamp) -> Result<Vec<Lease>> {
        self.write(move |tx| {
            waits::tell(tx)?;
            expire(tx, None, now)?;
            let lost = tx.select(
                "SELECT seq, record FROM jobs INDEXED BY jobs_leased WHERE state = 1 AND lease_until < ?1 LIMIT 100",
                &[&limit.as_millisecond()],
            )?;
            let mut leases = Vec::with_capacity(lost.len());
            for mut found in lost {
                leases.push(Lease { job: found.record.job.id, attempt: found.record.job.attempt });
                let kind = transition::reap(&mut found.record, now);
                tx.transition(&found, None, kind, now)?;
            }
            Ok(leases)
        })
        .await
    }
}

fn lease(tx: &mut Tx<'_>, request: &LeaseRequest, now: Timestamp) -> Result<Vec<Record>> {
    let tuning = tuning(tx.connection, &request.queue)?;
    if tuning.paused == Some(true) {
        return Ok(Vec::new());
    }
    expire(tx, Some(&request.queue), now)?;
    turns::promote(tx, &request.queue, now)?;
    let (rate, last) = (tuning.rate_limit.unwrap_or(request.rate_limit), last_start(tx.connection, &request.queue)?);
    let max = rate.map_or(request.max, |rate| rate.allows(last, now, request.max));
    let mut left = access::slots_left(tx)?;
    let full: Vec<&String> = left.iter().filter(|(_, left)| **left <= 0).map(|(token, _)| token).collect();
    // Only due jobs have a turn: the cost is flat however many wait for a later `run_at`.
    let sql = "SELECT seq, priority, turn FROM jobs INDEXED BY jobs_ready
               WHERE state = 0 AND turn IS NOT NULL AND queue = ?1 AND (expires_at IS NULL OR expires_at >= ?2)
               AND (owner IS NULL OR owner NOT IN (SELECT value FROM json_each(?4)))
               ORDER BY priority DESC, turn, id LIMIT ?3";
    let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(0)?, r.get::<_, u8>(1)?, r.get::<_, i64>(2)?));
    let heads = rows(tx.connection, sql, &[&request.queue, &now.as_millisecond(), &(max as i64), &text(&full)?], read)?;
    let mut leased = Vec::with_capacity(heads.len());
    for (seq, priority, turn) in heads {
        let mut found = tx.row(seq)?;
        if let Some(left) = found.record.owner.as_ref().and_then(|owner| left.get_mut(owner)) {
            // Its last slot was taken by the one before.
            if *left <= 0 {
                continue;
            }
            *left -= 1;
        }
        transition::tune(&mut found.record, &tuning);
        let kind = transition::lease(&mut found.record, &request.worker, request.sandbox_level, now);
        tx.transition(&found, Some(request.until), kind, now)?;
        turns::leased(tx, &request.queue, priority, turn)?;
        leased.push(found.record);
    }
    if let Some(rate) = rate.filter(|_| !leased.is_empty()) {
        let last = rate.last(last, now, leased.len());
        tx.execute("INSERT OR REPLACE INTO starts VALUES (?1, ?2)", params![request.queue, last.as_microsecond()])?;
    }
    Ok(leased)
}

fn finish(tx: &mut Tx<'_>, end: &Finish, now: Timestamp) -> Result<Fenced<Job>> {
    fenced(tx, end.lease, |tx, found| {
        if let Some(done) = end.output.clone() {
            output_done(tx, found, done, now)?;
        }
        let kind = transition::finish(&mut found.record, end, now);
        tx.transition(found, None, kind, now)?;
        tx.append_log(found.seq, &end.log)?;
        Ok(found.record.job.clone())
    })
}

/// Changes the record and tells of it; the caller saves.
fn output_done(tx: &mut Tx<'_>, found: &mut Found, done: OutputDone, now: Timestamp) -> Result<()> {
    let detail = serde_json::json!({"output": done.group, "files": done.entries.len()});
    let kind = transition::output_done(&mut found.record, done);
    let job = &found.record.job;
    tx.event(kind, job.id, &job.queue, detail, now)?;
    outbox::write(tx, letters(&found.record, kind, now))
}

fn renew(tx: &mut Tx<'_>, renewal: &Renewal, until: Timestamp, now: Timestamp) -> Result<Renewed> {
    let Ok(mut found) = tx.find(renewal.lease.job) else { return Ok(Renewed::Lost) };
    if !transition::is_held(&found.record, renewal.lease) {
        return Ok(Renewed::Lost);
    }
    let before = found.record.job.progress.percent;
    transition::renew(&mut found.record, renewal);
    tx.save(&found, Some(until))?;
    outbox::write(tx, progress_letters(&found.record, before, now))?;
    tx.append_log(found.seq, &renewal.log)?;
    let job = found.record.job;
    Ok(Renewed::Held { cancel: job.cancel, soft_time_limit: job.soft_time_limit, hard_time_limit: job.hard_time_limit })
}

/// Runs `change` if the lease still holds.
fn fenced<T>(tx: &mut Tx<'_>, lease: Lease, change: impl FnOnce(&mut Tx<'_>, &mut Found) -> Result<T>) -> Result<Fenced<T>> {
    match tx.find(lease.job) {
        Ok(mut found) if transition::is_held(&found.record, lease) => change(tx, &mut found).map(Ok),
        Ok(_) | Err(crate::store::StoreError::NotFound(_)) => Ok(Err(LeaseLost)),
        Err(error) => Err(error),
    }
}

fn expire(tx: &mut Tx<'_>, queue: Option<&str>, now: Timestamp) -> Result<()> {
    // The index is named here, as elsewhere: without statistics SQLite takes the one of all queued jobs and reads them all.
    let sql = "SELECT seq, record FROM jobs INDEXED BY jobs_expiry
               WHERE state = 0 AND expires_at IS NOT NULL AND expires_at < ?1 AND (?2 IS NULL OR queue = ?2) LIMIT 100";
    for mut found in tx.select(sql, &[&now.as_millisecond(), &queue])? {
        let kind = transition::expire(&mut found.record, now);
        tx.transition(&found, None, kind, now)?;
    }
    Ok(())
}

/// When a job of this rate-limited queue last started; long ago if none has.
fn last_start(connection: &Connection, queue: &str) -> Result<Timestamp> {
    let at = one(connection, "SELECT at FROM starts WHERE queue = ?1", &[&queue], |r| r.get::<_, i64>(0))?;
    Ok(at.and_then(|at| Timestamp::from_microsecond(at).ok()).unwrap_or(Timestamp::MIN))
}

pub fn tuning(connection: &Connection, queue: &str) -> Result<Tuning> {
    let row = one(connection, "SELECT tuning FROM tunings WHERE queue = ?1", &[&queue], |r| r.get::<_, String>(0))?;
    row.map_or_else(|| Ok(Tuning::default()), |text| parse(&text))
}

pub fn is_live(connection: &Connection, lease: Lease) -> Result<bool> {
    match tables::find(connection, lease.job) {
        Ok(found) => Ok(transition::is_held(&found.record, lease)),
        Err(crate::store::StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
