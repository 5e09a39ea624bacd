//! Equal jobs, as [`Reuse`] has them.

use super::tables::{Tx, documents, one};
use super::{SqliteStore, turns};
use crate::job::{JobId, Record};
use crate::store::{Result, Reuse, StoreError};
use jiff::Timestamp;

#[async_trait::async_trait]
impl Reuse for SqliteStore {
    async fn answer(&self, reuse_key: &str) -> Result<Option<Record>> {
        let key = reuse_key.to_owned();
        let sql = "SELECT record FROM jobs INDEXED BY jobs_equal WHERE reuse_key = ?1 AND state = 2 AND waiting = 0 AND has_bytes = 1
                   AND NOT json_extract(record, '$.job.partial') ORDER BY finished_at DESC, id DESC LIMIT 1";
        self.read(move |c| Ok(documents(c, sql, &[&key])?.into_iter().next())).await
    }
}

/// Lets a job that is about to be inserted, and would be due, follow an equal one in flight.
pub fn follow(tx: &Tx<'_>, record: &mut Record, now: Timestamp) -> Result<()> {
    let (Some(key), job, now) = (&record.reuse_key, &record.job, now.as_millisecond()) else { return Ok(()) };
    if !job.waiting_on.is_empty() || job.run_at.as_millisecond() > now {
        return Ok(());
    }
    let sql = "SELECT id FROM jobs INDEXED BY jobs_equal WHERE reuse_key = ?1 AND state < 2 AND waiting = 0 AND owner IS ?2
               AND (state = 1 OR (run_at <= max(?3, created_at) AND priority >= ?4 AND fairness_key = ?5)) ORDER BY created_at, id LIMIT 1";
    let leader = one(tx.connection, sql, &[key, &record.owner, &now, &job.priority, &turns::key(job)], |r| r.get::<_, String>(0))?;
    let leader = leader.map(|id| id.parse::<JobId>()).transpose().map_err(|e| StoreError::Unavailable(format!("an id cannot be read: {e}")))?;
    record.job.waiting_on.extend(leader);
    Ok(())
}
