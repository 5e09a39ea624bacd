//! Takes messages as long as there is room for them, and keeps those that were taken from being restored by others.

use super::Edge;
use super::events::HEARTBEAT;
use super::keys::SEPARATOR;
use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Value, cmd};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Messages of one take.
const BATCH: usize = 64;
/// While nothing comes, lists of other priorities than the usual one are looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long a connection waits for a message of the usual priority; a stop waits for it.
const BLOCK_S: u64 = 1;
/// Between two tries to connect.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Leases are renewed at least this often; it is also the sign of life.
const RENEW: Duration = Duration::from_secs(2);

impl Edge {
    pub fn spawn_gateway(self: Arc<Self>) {
        for queue in self.consumed() {
            self.clone().spawn_waiter(queue);
        }
        self.work.spawn(self.clone().take_all());
        self.work.spawn(self.clone().renew_all());
        self.work.spawn(self.clone().beat());
    }

    pub fn spawn_waiter(self: Arc<Self>, queue: String) {
        let work = self.work.clone();
        work.spawn(async move {
            self.wait_for(&queue).await;
            // What came last is not taken any more: nobody consumes the queue.
            if let Err(error) = self.empty_inbox(&queue).await {
                tracing::warn!(%error, queue, "an inbox is not empty; it is given back when this process ends");
            }
        });
    }

    async fn empty_inbox(&self, queue: &str) -> crate::link::Result<()> {
        let keys = &self.broker.keys;
        let (inbox, list) = (format!("{}{queue}", keys.inboxes(&keys.instance)), keys.list(queue, 0));
        let back = cmd("LMOVE").arg(inbox).arg(list).arg("LEFT").arg("RIGHT").clone();
        while !matches!(self.broker.messages.ask_one(&back).await?, Value::Nil) {}
        Ok(())
    }

    async fn take_all(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let room = self.settings.prefetch.saturating_sub(self.desk.held(self.clock.now()));
            // Enough is held as it is where it is less: a few more are not worth a question each.
            let is_room = room >= self.settings.prefetch.div_ceil(4);
            let taken = match is_room {
                false => Vec::new(),
                true => self.broker.take(&self.consumed(), room.min(BATCH)).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "messages cannot be taken");
                    Vec::new()
                }),
            };
            let is_idle = taken.is_empty();
            self.looked.send_replace(is_room && is_idle);
            for message in taken {
                self.desk.open(&message.tag);
                self.work.spawn(self.clone().accept(message));
            }
            if is_idle {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
    }

    /// Once the queues are empty: moves a queue's next message into our inbox as soon as it comes, and wakes the taker. Even while it is
    /// on its way a message is in a list that others know of.
    async fn wait_for(&self, queue: &str) {
        let mut connection: Option<MultiplexedConnection> = None;
        let mut looked = self.looked.subscribe();
        while !self.stop.is_cancelled() && self.consumed().iter().any(|q| q == queue) {
            // What is there the taker takes by the dozen.
            if !*looked.borrow_and_update() {
                let _ = tokio::time::timeout(LOOK_AGAIN, looked.changed()).await;
                continue;
            }
            let moved = match &mut connection {
                Some(connection) => self.move_next(connection, queue).await,
                None => match self.connect(queue).await {
                    Ok(fresh) => {
                        connection = Some(fresh);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match moved {
                Ok(false) => {}
                Ok(true) => {
                    looked.mark_unchanged();
                    self.wake.notify_one();
                    // A look that is under way may have missed it; the next one does not.
                    let _ = tokio::time::timeout(LOOK_AGAIN, looked.changed()).await;
                }
                Err(error) => {
                    tracing::debug!(%error, queue, "a queue cannot be waited for");
                    connection = None;
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    async fn connect(&self, queue: &str) -> ::redis::RedisResult<MultiplexedConnection> {
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(BLOCK_S * 2)));
        let client = self.broker.messages.client().await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await?;
        // Whoever gives back what we have finds the inbox by this.
        let inboxes = format!("{}:inboxes", self.broker.keys.tags(&self.broker.keys.instance));
        let () = cmd("SADD").arg(inboxes).arg(queue).query_async(&mut connection).await?;
        Ok(connection)
    }

    async fn move_next(&self, connection: &mut MultiplexedConnection, queue: &str) -> ::redis::RedisResult<bool> {
        let keys = &self.broker.keys;
        let (list, inbox) = (keys.list(queue, 0), format!("{}{queue}", keys.inboxes(&keys.instance)));
        let moved: Value = cmd("BLMOVE").arg(list).arg(inbox).arg("RIGHT").arg("LEFT").arg(BLOCK_S).query_async(connection).await?;
        Ok(!matches!(moved, Value::Nil))
    }

    /// Renews what is ours, finds what we took without knowing it (an answer was lost), and gives back what belongs to the dead.
    async fn renew_all(self: Arc<Self>) {
        let every = RENEW.min(self.settings.visibility_timeout.duration() / 3);
        let mut strange = HashSet::new();
        while self.pause(every).await.is_some() {
            if let Err(error) = self.renew_once(&mut strange).await {
                tracing::warn!(%error, "the leases of messages cannot be renewed");
            }
        }
    }

    async fn renew_once(&self, strange: &mut HashSet<String>) -> crate::link::Result<()> {
        let tags = self.broker.renew().await?;
        let unknown: HashSet<String> = tags.into_iter().filter(|tag| !self.desk.knows(tag)).collect();
        // A take may be under way: what was strange the last time too is.
        let lost: Vec<String> = unknown.intersection(strange).cloned().collect();
        *strange = unknown;
        if !lost.is_empty() {
            tracing::warn!(messages = lost.len(), "messages were taken and their answer lost; they are given back");
            self.broker.give_back_these(&lost).await?;
        }
        for instance in self.broker.instances().await?.iter().filter(|i| **i != self.broker.keys.instance) {
            if let Some(given) = self.broker.give_back_all(instance).await? {
                tracing::warn!(instance, messages = given, "a worker is gone; its messages are given back");
            }
        }
        self.load_revoked().await
    }

    async fn beat(self: Arc<Self>) {
        while self.pause(HEARTBEAT).await.is_some() {
            self.events.worker("worker-heartbeat", self.heartbeat());
        }
    }

    pub fn heartbeat(&self) -> serde_json::Value {
        let active = self.desk.all().iter().filter(|task| task.state().started_at.is_some()).count();
        json!({
            "freq": HEARTBEAT.as_secs_f64(), "active": active, "processed": self.processed(), "loadavg": super::events::load(),
            "sw_ident": "millrace", "sw_ver": env!("CARGO_PKG_VERSION"), "sw_sys": "Linux",
        })
    }

    /// Makes a queue known to clients that publish through exchanges.
    pub async fn bind(&self, queue: &str) -> crate::link::Result<()> {
        let member = format!("{queue}{SEPARATOR}{SEPARATOR}{queue}");
        for exchange in [queue.to_owned(), format!("permanent.{queue}")] {
            let key = match exchange.strip_prefix("permanent.") {
                Some(name) => self.broker.keys.key(&format!("_kombu.binding_permanent.{name}")),
                None => self.broker.keys.binding(&exchange),
            };
            self.broker.messages.ask_one(cmd("SADD").arg(key).arg(&member)).await?;
        }
        Ok(())
    }
}
