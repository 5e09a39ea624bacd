//! The list of workers.

use super::scripts::{ANNOUNCE, ORDER, TAKE_ORDER};
use super::stored::decode;
use super::{RedisStore, milliseconds};
use crate::store::{Presence, Result, StoreError, WORKER_GONE_AFTER, WorkerOrder, Workers, document};
use ::redis::cmd;
use jiff::Timestamp;
use std::collections::BTreeMap;

#[async_trait::async_trait]
impl Workers for RedisStore {
    async fn announce(&self, presence: Presence, now: Timestamp) -> Result<()> {
        let presence = Presence { seen_at: now, order: None, ..presence };
        let mut call = ANNOUNCE.call(self.link().prefix());
        call.arg(milliseconds(now)).arg(gone(now)).arg(&presence.id).arg(document::text(&presence)?);
        self.link().ask_one(&call).await?;
        Ok(())
    }

    async fn take_order(&self, worker: &str) -> Result<Option<WorkerOrder>> {
        let call = TAKE_ORDER.call(self.link().prefix()).arg(worker).arg(self.operation()).clone();
        let order: String = decode(self.link().ask_one(&call).await?)?;
        if order.is_empty() { Ok(None) } else { document::parse(&order).map(Some) }
    }

    async fn leave(&self, worker: &str) -> Result<()> {
        let delete = |table: &str| cmd("HDEL").arg(self.link().key(table)).arg(worker).clone();
        self.together(&["workers", "orders", "taken"].map(delete)).await.map(drop)
    }

    async fn workers(&self, now: Timestamp) -> Result<Vec<Presence>> {
        let said: BTreeMap<String, String> = self.table("workers").await?.into_iter().collect();
        let orders = self.table::<String>("orders").await?;
        let last_word = gone(now);
        let mut found = Vec::with_capacity(said.len());
        for (id, text) in said {
            let (seen_at, json) = text.split_once(' ').unwrap_or_default();
            if seen_at.parse::<i64>().is_ok_and(|at| at > last_word) {
                let order = orders.get(&id).map(|order| document::parse(order)).transpose()?;
                found.push(Presence { order, ..document::parse(json)? });
            }
        }
        Ok(found)
    }

    async fn order(&self, worker: &str, order: WorkerOrder, now: Timestamp) -> Result<Presence> {
        let call = ORDER.call(self.link().prefix()).arg(gone(now)).arg(worker).arg(document::text(&order)?).clone();
        let said: String = decode(self.link().ask_one(&call).await?)?;
        if said.is_empty() {
            return Err(StoreError::NotFound("worker"));
        }
        Ok(Presence { order: Some(order), ..document::parse(&said)? })
    }
}

/// Who spoke then, or before, is gone.
fn gone(now: Timestamp) -> i64 {
    now.saturating_sub(WORKER_GONE_AFTER).unwrap_or(Timestamp::MIN).as_millisecond()
}
