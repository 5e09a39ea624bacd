//! Jobs that wait for others, as [`Jobs::insert`](crate::store::Jobs::insert) has it.

use super::tables::{Found, Tx, one, state_from, state_number, time};
use crate::job::{JobId, Record, State};
use crate::store::{Notice, Result, StoreError, transition};
use jiff::Timestamp;
use rusqlite::params;

/// Dependents that one transaction tells of an end.
const TOLD_MAX: usize = 1000;

/// Takes those that have succeeded off a job's list; the first that has ended otherwise, if one has.
pub fn look(tx: &Tx<'_>, record: &mut Record) -> Result<Option<(JobId, State)>> {
    let (mut waiting, mut failed) = (Vec::new(), None);
    for id in std::mem::take(&mut record.job.waiting_on) {
        let state = one(tx.connection, "SELECT state FROM jobs WHERE id = ?1", &[&id.to_string()], |r| r.get(0))?.map(state_from);
        let state = state.ok_or(StoreError::UnknownDependency(id))?;
        if state != State::Succeeded {
            waiting.push(id);
        }
        if matches!(state, State::Failed | State::Cancelled) {
            failed.get_or_insert((id, state));
        }
    }
    record.job.waiting_on = waiting;
    Ok(failed)
}

/// Lets a queued job wait for what is on its list, or fail for what [`look`] has found.
pub fn begin(tx: &mut Tx<'_>, found: &mut Found, failed: Option<(JobId, State)>, now: Timestamp) -> Result<()> {
    if let Some((dependency, state)) = failed {
        let kind = transition::dependency_failed(&mut found.record, dependency, state, now);
        return tx.transition(found, None, kind, now);
    }
    for id in &found.record.job.waiting_on {
        tx.execute("INSERT OR IGNORE INTO waits VALUES (?1, ?2)", params![id.to_string(), found.seq])?;
    }
    Ok(())
}

/// Notes the end of a job, for [`tell`].
pub fn ended(tx: &mut Tx<'_>, found: &Found, now: Timestamp) -> Result<()> {
    let job = &found.record.job;
    if !job.after.is_empty() || found.record.reuse_key.is_some() {
        tx.execute("DELETE FROM waits WHERE job = ?1", [found.seq])?;
    }
    let sql = "INSERT OR REPLACE INTO ends SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM waits WHERE dependency = ?1)";
    let noted = tx.execute(sql, params![job.id.to_string(), state_number(job.state), now.as_millisecond()])?;
    tx.ends |= noted > 0;
    Ok(())
}

/// Tells dependents of the ends that were noted; theirs are noted in turn, so a chain needs no recursion.
pub fn tell(tx: &mut Tx<'_>) -> Result<()> {
    let mut left = TOLD_MAX;
    while left > 0 {
        let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, String>(0)?, r.get(1)?, r.get(2)?));
        let Some((id, state, at)) = one(tx.connection, "SELECT job, state, at FROM ends LIMIT 1", &[], read)? else { return Ok(()) };
        let sql = "SELECT seq, record FROM waits JOIN jobs ON jobs.seq = waits.job WHERE dependency = ?1 ORDER BY waits.job LIMIT ?2";
        let dependents = tx.select(sql, &[&id, &(left as i64)])?;
        if dependents.len() < left {
            tx.execute("DELETE FROM ends WHERE job = ?1", [&id])?;
        }
        left -= dependents.len();
        let dependency: JobId = id.parse().map_err(|e| StoreError::Unavailable(format!("an id cannot be read: {e}")))?;
        for mut found in dependents {
            tx.execute("DELETE FROM waits WHERE dependency = ?1 AND job = ?2", params![id, found.seq])?;
            told(tx, &mut found, dependency, state_from(state), time(at))?;
        }
    }
    Ok(())
}

fn told(tx: &mut Tx<'_>, found: &mut Found, dependency: JobId, state: State, at: Timestamp) -> Result<()> {
    if let Some(kind) = transition::dependency_ended(&mut found.record, dependency, state, at) {
        return tx.transition(found, None, kind, at);
    }
    if found.record.job.waiting_on.is_empty() {
        tx.notice(Notice::Ready(found.record.job.queue.clone()));
    }
    tx.save(found, None)
}
