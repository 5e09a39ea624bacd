//! The list of workers.

use super::SqliteStore;
use super::tables::{Tx, documents, one, parse, rows, text};
use crate::store::{Notice, Presence, Result, StoreError, WORKER_GONE_AFTER, WorkerOrder, Workers};
use jiff::Timestamp;
use rusqlite::{Row, params};

#[async_trait::async_trait]
impl Workers for SqliteStore {
    async fn announce(&self, presence: Presence, now: Timestamp) -> Result<()> {
        self.write(move |tx| {
            let presence = Presence { seen_at: now, order: None, ..presence };
            tx.execute("DELETE FROM workers WHERE seen_at <= ?1", [gone(now)])?;
            let sql =
                "INSERT INTO workers VALUES (?1, ?2, NULL, ?3) ON CONFLICT DO UPDATE SET seen_at = excluded.seen_at, presence = excluded.presence";
            tx.execute(sql, params![presence.id, now.as_millisecond(), text(&presence)?]).map(drop)
        })
        .await
    }

    async fn take_order(&self, worker: &str) -> Result<Option<WorkerOrder>> {
        let worker = worker.to_owned();
        self.write(move |tx| {
            let sql = "SELECT ordered FROM workers WHERE id = ?1 AND ordered IS NOT NULL";
            let Some(order) = one(tx.connection, sql, &[&worker], |r| r.get::<_, String>(0))? else { return Ok(None) };
            tx.execute("UPDATE workers SET ordered = NULL WHERE id = ?1", [&worker])?;
            parse(&order).map(Some)
        })
        .await
    }

    async fn leave(&self, worker: &str) -> Result<()> {
        let worker = worker.to_owned();
        self.write(move |tx| tx.execute("DELETE FROM workers WHERE id = ?1", [&worker]).map(drop)).await
    }

    async fn workers(&self, now: Timestamp) -> Result<Vec<Presence>> {
        self.read(move |c| {
            let sql = "SELECT presence, ordered FROM workers WHERE seen_at > ?1 ORDER BY id";
            let read = |r: &Row<'_>| Ok((r.get::<_, String>(0)?, r.get::<_, Option<String>>(1)?));
            let found = rows(c, sql, &[&gone(now)], read)?;
            let with_order = |(presence, order): (String, Option<String>)| {
                let order = order.map(|order| parse(&order)).transpose()?;
                Ok(Presence { order, ..parse(&presence)? })
            };
            found.into_iter().map(with_order).collect()
        })
        .await
    }

    async fn order(&self, worker: &str, order: WorkerOrder, now: Timestamp) -> Result<Presence> {
        let worker = worker.to_owned();
        self.write(move |tx| give(tx, worker, order, now)).await
    }
}

fn give(tx: &mut Tx<'_>, worker: String, order: WorkerOrder, now: Timestamp) -> Result<Presence> {
    let sql = "SELECT presence FROM workers WHERE id = ?1 AND seen_at > ?2";
    let found: Vec<Presence> = documents(tx.connection, sql, &[&worker, &gone(now)])?;
    let presence = found.into_iter().next().ok_or(StoreError::NotFound("worker"))?;
    tx.execute("UPDATE workers SET ordered = ?2 WHERE id = ?1", params![worker, text(&order)?])?;
    tx.notice(Notice::Worker(worker));
    Ok(Presence { order: Some(order), ..presence })
}

/// Who spoke then, or before, is gone.
fn gone(now: Timestamp) -> i64 {
    now.saturating_sub(WORKER_GONE_AFTER).unwrap_or(Timestamp::MIN).as_millisecond()
}
