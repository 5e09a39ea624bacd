//! Turns: the order in which a queue's due jobs are leased, as [`Leases::lease`](crate::store::Leases::lease) has it.

use super::tables::{Tx, one, rows};
use crate::job::{Job, State};
use crate::store::Result;
use jiff::Timestamp;
use rusqlite::params;

/// Jobs that one call promotes at most, so that a million that become due together stall nobody.
const PROMOTED_MAX: i64 = 1000;

/// Gives every queued job that has become due its turn, in order of `run_at`, then id. True: none is left over.
pub fn promote(tx: &Tx<'_>, queue: &str, now: Timestamp) -> Result<bool> {
    let sql = "SELECT seq, priority, fairness_key FROM jobs INDEXED BY jobs_later
               WHERE state = 0 AND turn IS NULL AND waiting = 0 AND queue = ?1 AND run_at <= ?2 ORDER BY run_at, id LIMIT ?3";
    let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, i64>(0)?, r.get::<_, u8>(1)?, r.get::<_, String>(2)?));
    let due = rows(tx.connection, sql, &[&queue, &now.as_millisecond(), &PROMOTED_MAX], read)?;
    for (seq, priority, key) in &due {
        let turn = give(tx, queue, *priority, key)?;
        tx.execute("UPDATE jobs SET turn = ?2 WHERE seq = ?1", [*seq, turn])?;
    }
    Ok((due.len() as i64) < PROMOTED_MAX)
}

/// The turn of a job that is about to be inserted; none while it is not due.
pub fn first(tx: &Tx<'_>, job: &Job, now: Timestamp) -> Result<Option<i64>> {
    // As the row keeps it, or a job could be due here and not in the index.
    let due = job.state == State::Queued && job.waiting_on.is_empty() && job.run_at.as_millisecond() <= now.as_millisecond();
    match due && promote(tx, &job.queue, now)? {
        true => give(tx, &job.queue, job.priority, key(job)).map(Some),
        false => Ok(None),
    }
}

/// Jobs without a fairness key share the empty one, which no client can give.
pub fn key(job: &Job) -> &str {
    job.fairness_key.as_deref().unwrap_or_default()
}

/// A job with this turn is leased: nobody who comes later gets an earlier one.
pub fn leased(tx: &Tx<'_>, queue: &str, priority: u8, turn: i64) -> Result<()> {
    let sql = "INSERT INTO turns_leased VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET turn = max(turn, excluded.turn)";
    tx.execute(sql, params![queue, priority, turn]).map(drop)
}

/// Forgets keys whose last turn has gone by: they stand where a new one would.
pub fn forget_passed(tx: &Tx<'_>) -> Result<()> {
    let passed = "(SELECT turn FROM turns_leased l WHERE l.queue = turns_given.queue AND l.priority = turns_given.priority)";
    tx.execute(&format!("DELETE FROM turns_given WHERE turn <= {passed}"), []).map(drop)
}

/// Forgets all keys of a queue in which nothing waits.
pub fn forget(tx: &Tx<'_>, queue: &str) -> Result<()> {
    tx.execute("DELETE FROM turns_given WHERE queue = ?1", [queue]).map(drop)
}

fn give(tx: &Tx<'_>, queue: &str, priority: u8, key: &str) -> Result<i64> {
    let last = "SELECT max(coalesce((SELECT turn FROM turns_leased WHERE queue = ?1 AND priority = ?2), 0),
                           coalesce((SELECT turn FROM turns_given WHERE queue = ?1 AND priority = ?2 AND fairness_key = ?3), 0))";
    let turn = one(tx.connection, last, &[&queue, &priority, &key], |r| r.get::<_, i64>(0))?.unwrap_or(0) + 1;
    tx.execute("INSERT OR REPLACE INTO turns_given VALUES (?1, ?2, ?3, ?4)", params![queue, priority, key, turn])?;
    Ok(turn)
}
