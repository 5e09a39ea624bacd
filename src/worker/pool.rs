//! One queue's slots in this process. A slot is taken first, then the work: nothing waits in memory, the queue is the store.

use super::autoscale::{Autoscaler, Demand};
use super::line::{Closed, Line, Slot};
use super::load::Sensor;
use super::running::Running;
use super::{Engine, TICK};
use crate::limits::Rate;
use crate::queue::{Autoscale, CONCURRENCY_MAX};
use crate::store::{Notice, Tuning};
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
    pub line: Arc<Line>,
    /// This process's own number of slots.
    slots: Option<u32>,
    /// There was news while no slot was free.
    news_waits: bool,
    tuning: Tuning,
    scaler: Autoscaler,
    sensor: Sensor,
}

impl Pool {
    pub fn new(engine: Arc<Engine>, spec: &PoolSpec, running: Arc<Running>, drain: CancellationToken) -> Self {
        Pool {
            line: Line::new(engine, running, &spec.queue, drain),
            slots: spec.slots,
            news_waits: false,
            tuning: Tuning::default(),
            scaler: Autoscaler::default(),
            sensor: Sensor::default(),
        }
    }

    /// Leases for free slots until drained; a busy slot takes its next job itself. The wake-up is armed before each look, and the
    /// tick repeats the look: losing every notice costs one tick.
    pub async fn run(mut self) {
        let line = self.line.clone();
        let mut notices = line.engine.store.notices();
        let mut tick = tokio::time::interval(TICK);
        let mut slots = JoinSet::new();
        loop {
            let next_start = self.fill(&mut slots).await;
            tokio::select! {
                _ = line.drain.cancelled() => break,
                () = line.engine.clock.sleep_until(next_start.unwrap_or(Timestamp::MAX)), if next_start.is_some() => {}
                _ = tick.tick() => {
                    self.read_tuning().await;
                    self.scale(slots.len()).await;
                }
                () = self.slot_to_fill(&mut slots) => {}
                news = relevant(&mut notices, &line.name) => if news == News::Settings {
                    self.read_tuning().await;
                },
            }
        }
        line.running.set_slots(&line.name, 0);
        while slots.join_next().await.is_some() {}
    }

    /// Leases for the free slots, all in one round trip. Returns when the rate limit lets more start, if it is what holds them back.
    async fn fill(&mut self, slots: &mut JoinSet<Closed>) -> Option<Timestamp> {
        let line = self.line.clone();
        let free = line.open(match (self.slots, self.autoscale()) {
            (Some(own), _) => own,
            (None, Some(range)) => self.scaler.slots(range),
            (None, None) => self.tuning.concurrency.unwrap_or(line.queue.settings.concurrency),
        });
        self.news_waits = free == 0;
        if free == 0 || self.tuning.paused == Some(true) {
            return None;
        }
        let now = line.engine.clock.now();
        let records = line.lease(free, now).await.unwrap_or_else(|error| {
            tracing::warn!(queue = line.name, %error, "no lease could be taken");
            Vec::new()
        });
        let held_back = records.len() < free && self.rate_limit().is_some();
        for record in records {
            slots.spawn(Slot::take(&line).work(record));
        }
        match held_back {
            // An error costs one tick.
            true => line.engine.store.next_start(&line.name, line.queue.settings.rate_limit, now).await.ok().flatten(),
            false => None,
        }
    }

    /// Returns when a slot has closed for which it is worth to look: not after one that has just found nothing, unless there was
    /// news meanwhile, or a rate limit is why.
    async fn slot_to_fill(&self, slots: &mut JoinSet<Closed>) {
        loop {
            match slots.join_next().await {
                None => std::future::pending().await,
                Some(Ok(Closed::NothingFound)) if !self.news_waits && self.rate_limit().is_none() => {}
                Some(_) => return,
            }
        }
    }

    /// Follows the load, where the queue is set to.
    async fn scale(&mut self, busy: usize) {
        let Some(range) = self.autoscale() else { return };
        let (engine, queue) = (&self.line.engine, &self.line.name);
        let now = engine.clock.now();
        let due = match engine.store.due_since().await {
            Ok(due) => due.get(queue).is_some_and(|since| *since <= now),
            Err(error) => return tracing::warn!(queue, %error, "the backlog could not be looked at"),
        };
        let demand = Demand { busy: u32::try_from(busy).unwrap_or(u32::MAX), waiting: due && self.tuning.paused != Some(true) };
        self.scaler.decide(range, demand, self.sensor.read(), now);
    }

    fn autoscale(&self) -> Option<Autoscale> {
        self.tuning.autoscale.unwrap_or(self.line.queue.settings.autoscale)
    }

    fn rate_limit(&self) -> Option<Rate> {
        self.tuning.rate_limit.unwrap_or(self.line.queue.settings.rate_limit)
    }

    async fn read_tuning(&mut self) {
        match self.line.engine.store.tunings().await {
            Ok(mut tunings) => self.tuning = tunings.remove(&self.line.name).unwrap_or_default(),
            Err(error) => tracing::warn!(queue = self.line.name, %error, "live settings could not be read"),
        }
    }
}

/// What a queue has been told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Jobs,
    Settings,
}

/// Returns when this queue has news. A lagging channel may have lost any; a closed one has none: the tick is left.
async fn relevant(notices: &mut tokio::sync::broadcast::Receiver<Notice>, queue: &str) -> News {
    loop {
        match notices.recv().await {
            Ok(Notice::Ready(name)) if name == queue => return News::Jobs,
            Ok(Notice::Tuning(name)) if name == queue => return News::Settings,
            Err(RecvError::Lagged(_)) => return News::Settings,
            Err(RecvError::Closed) => std::future::pending().await,
            Ok(_) => {}
        }
    }
}
