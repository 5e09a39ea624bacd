//! The worker's verbs.

use super::SqliteStore;
use super::tables::{self, Found, Tx, one, parse};
use crate::job::{Job, Lease, LogLine, Record};
use crate::store::{Finish, LeaseLost, LeaseRequest, Leases, OutputDone, Renewal, Renewed, Result, Tuning, transition};
use jiff::Timestamp;

type Fenced<T> = std::result::Result<T, LeaseLost>;

#[async_trait::async_trait]
impl Leases for SqliteStore {
    async fn lease(&self, request: LeaseRequest, now: Timestamp) -> Result<Vec<Record>> {
        self.write(move |tx| lease(tx, &request, now)).await
    }

    async fn renew(&self, renewals: Vec<Renewal>, until: Timestamp, now: Timestamp) -> Result<Vec<Renewed>> {
        let _ = now;
        self.write(move |tx| renewals.iter().map(|renewal| renew(tx, renewal, until)).collect()).await
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
            expire(tx, None, now)?;
            let lost = tx.select("SELECT seq, record FROM jobs WHERE state = 1 AND lease_until < ?1 LIMIT 100", &[&limit.as_millisecond()])?;
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
    let tuning = tuning(tx, &request.queue)?;
    if tuning.paused == Some(true) {
        return Ok(Vec::new());
    }
    expire(tx, Some(&request.queue), now)?;
    let mut leased = Vec::new();
    // One seek per priority keeps the cost flat however many jobs wait for a later `run_at`.
    for priority in (0..=9).rev() {
        let wanted = request.max.saturating_sub(leased.len());
        if wanted == 0 {
            break;
        }
        let sql = "SELECT seq, record FROM jobs WHERE state = 0 AND queue = ?1 AND priority = ?2 AND run_at <= ?3 ORDER BY run_at, seq LIMIT ?4";
        for mut found in tx.select(sql, &[&request.queue, &priority, &now.as_millisecond(), &(wanted as i64)])? {
            transition::tune(&mut found.record, &tuning);
            let kind = transition::lease(&mut found.record, &request.worker, request.sandbox_level, now);
            tx.transition(&found, Some(request.until), kind, now)?;
            leased.push(found.record);
        }
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
    tx.event(kind, job.id, &job.queue, detail, now)
}

fn renew(tx: &mut Tx<'_>, renewal: &Renewal, until: Timestamp) -> Result<Renewed> {
    let Ok(mut found) = tx.find(renewal.lease.job) else { return Ok(Renewed::Lost) };
    if !transition::is_held(&found.record, renewal.lease) {
        return Ok(Renewed::Lost);
    }
    transition::renew(&mut found.record, renewal);
    tx.save(&found, Some(until))?;
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
    let sql = "SELECT seq, record FROM jobs WHERE state = 0 AND expires_at IS NOT NULL AND expires_at < ?1 AND (?2 IS NULL OR queue = ?2) LIMIT 100";
    for mut found in tx.select(sql, &[&now.as_millisecond(), &queue])? {
        let kind = transition::expire(&mut found.record, now);
        tx.transition(&found, None, kind, now)?;
    }
    Ok(())
}

pub fn tuning(tx: &Tx<'_>, queue: &str) -> Result<Tuning> {
    let row = one(tx.connection, "SELECT tuning FROM tunings WHERE queue = ?1", &[&queue], |r| r.get::<_, String>(0))?;
    row.map_or_else(|| Ok(Tuning::default()), |text| parse(&text))
}

pub fn is_live(connection: &rusqlite::Connection, lease: Lease) -> Result<bool> {
    match tables::find(connection, lease.job) {
        Ok(found) => Ok(transition::is_held(&found.record, lease)),
        Err(crate::store::StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
