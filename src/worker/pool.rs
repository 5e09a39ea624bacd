//! One queue's slots in this process. A slot is taken first, then the work: nothing waits in memory, the queue is the store.

use super::autoscale::{Autoscaler, Demand};
use super::load::Sensor;
use super::running::Running;
use super::{Engine, TICK, attempt};
use crate::limits::Rate;
use crate::queue::{Autoscale, CONCURRENCY_MAX, Queue};
use crate::store::{LeaseRequest, Notice, Tuning};
use jiff::Timestamp;
use serde::Deserialize;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A pool to start: `video`, or `video:2` for as many slots in this process, whatever the queue is set to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PoolSpec {
    pub queue: String,
    pub slots: Option<u32>,
}

impl FromStr for PoolSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((queue, slots)) = text.split_once(':') else { return Ok(PoolSpec { queue: text.to_owned(), slots: None }) };
        match slots.parse() {
            Ok(slots) if slots <= CONCURRENCY_MAX => Ok(PoolSpec { queue: queue.to_owned(), slots: Some(slots) }),
            _ => Err(format!("`{text}`: write a pool as `video`, or `video:2` for 0 to {CONCURRENCY_MAX} slots in this process")),
        }
    }
}

impl TryFrom<String> for PoolSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

pub struct Pool {
    engine: Arc<Engine>,
    name: String,
    /// This process's own number of slots.
    slots: Option<u32>,
    queue: Queue,
    running: Arc<Running>,
    drain: CancellationToken,
    tuning: Tuning,
    scaler: Autoscaler,
    sensor: Sensor,
}

impl Pool {
    pub fn new(engine: Arc<Engine>, spec: &PoolSpec, running: Arc<Running>, drain: CancellationToken) -> Self {
        let queue = engine.queues.get(&spec.queue).cloned().unwrap_or_default();
        Pool {
            engine,
            name: spec.queue.clone(),
            slots: spec.slots,
            queue,
            running,
            drain,
            tuning: Tuning::default(),
            scaler: Autoscaler::default(),
            sensor: Sensor::default(),
        }
    }

    /// Leases and runs until drained. The wake-up is armed before each look, and the tick repeats the look: losing every
    /// notice costs one tick.
    pub async fn run(mut self) {
        let mut notices = self.engine.store.notices();
        let mut tick = tokio::time::interval(TICK);
        let mut slots = JoinSet::new();
        loop {
            let next_start = self.fill(&mut slots).await;
            tokio::select! {
                _ = self.drain.cancelled() => break,
                () = self.engine.clock.sleep_until(next_start.unwrap_or(Timestamp::MAX)), if next_start.is_some() => {}
                _ = tick.tick() => {
                    self.read_tuning().await;
                    self.scale(slots.len()).await;
                }
                Some(_) = slots.join_next(), if !slots.is_empty() => {}
                () = relevant(&mut notices, &self.name) => self.read_tuning().await,
            }
        }
        self.running.set_slots(&self.name, 0);
        while slots.join_next().await.is_some() {}
    }

    /// Leases for the free slots. Returns when the rate limit lets more start, if it is what holds them back.
    async fn fill(&self, slots: &mut JoinSet<()>) -> Option<Timestamp> {
        let concurrency = match (self.slots, self.autoscale()) {
            (Some(own), _) => own,
            (None, Some(range)) => self.scaler.slots(range),
            (None, None) => self.tuning.concurrency.unwrap_or(self.queue.settings.concurrency),
        };
        self.running.set_slots(&self.name, concurrency);
        let free = (concurrency as usize).saturating_sub(slots.len());
        if free == 0 || self.tuning.paused == Some(true) {
            return None;
        }
        let now = self.engine.clock.now();
        let request = LeaseRequest {
            queue: self.name.clone(),
            worker: self.engine.name.clone(),
            max: free,
            rate_limit: self.queue.settings.rate_limit,
            until: self.engine.lease_until(now),
            sandbox_level: self.engine.sandbox_level,
        };
        let records = self.engine.store.lease(request, now).await.unwrap_or_else(|error| {
            tracing::warn!(queue = self.name, %error, "no lease could be taken");
            Vec::new()
        });
        let held_back = records.len() < free && self.rate_limit().is_some();
        for record in records {
            slots.spawn(attempt::run(self.engine.clone(), self.running.clone(), self.queue.clone(), record));
        }
        match held_back {
            // An error costs one tick.
            true => self.engine.store.next_start(&self.name, self.queue.settings.rate_limit, now).await.ok().flatten(),
            false => None,
        }
    }

    /// Follows the load, where the queue is set to.
    async fn scale(&mut self, busy: usize) {
        let Some(range) = self.autoscale() else { return };
        let now = self.engine.clock.now();
        let due = match self.engine.store.due_since().await {
            Ok(due) => due.get(&self.name).is_some_and(|since| *since <= now),
            Err(error) => return tracing::warn!(queue = self.name, %error, "the backlog could not be looked at"),
        };
        let demand = Demand { busy: u32::try_from(busy).unwrap_or(u32::MAX), waiting: due && self.tuning.paused != Some(true) };
        self.scaler.decide(range, demand, self.sensor.read(), now);
    }

    fn autoscale(&self) -> Option<Autoscale> {
        self.tuning.autoscale.unwrap_or(self.queue.settings.autoscale)
    }

    fn rate_limit(&self) -> Option<Rate> {
        self.tuning.rate_limit.unwrap_or(self.queue.settings.rate_limit)
    }

    async fn read_tuning(&mut self) {
        match self.engine.store.tunings().await {
            Ok(mut tunings) => self.tuning = tunings.remove(&self.name).unwrap_or_default(),
            Err(error) => tracing::warn!(queue = self.name, %error, "live settings could not be read"),
        }
    }
}

/// Returns when this queue has news. A lagging or closed channel wakes too, the latter never: the tick is left.
async fn relevant(notices: &mut tokio::sync::broadcast::Receiver<Notice>, queue: &str) {
    loop {
        match notices.recv().await {
            Ok(Notice::Ready(name) | Notice::Tuning(name)) if name == queue => return,
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
            Ok(_) => {}
        }
    }
}
