//! What the slots of one pool share: the queue they work for, and how many of them it wants.

use super::running::Running;
use super::{Engine, attempt};
use crate::job::{Job, Record};
use crate::queue::Queue;
use crate::store::{self, Finish, LeaseLost, LeaseRequest};
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

pub struct Line {
    pub engine: Arc<Engine>,
    pub running: Arc<Running>,
    pub name: String,
    pub queue: Queue,
    pub drain: CancellationToken,
    /// Slots that may be busy.
    wanted: AtomicUsize,
    /// Slots that are.
    busy: AtomicUsize,
}

/// Why a slot closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It looked for a job and found none.
    NothingFound,
    /// It did not look.
    NotLooked,
}

/// What became of an attempt's end, and the slot's next job.
pub type Finished = (Result<Job, LeaseLost>, Next);

pub type Next = Result<Record, Closed>;

impl Line {
    pub fn new(engine: Arc<Engine>, running: Arc<Running>, name: &str, drain: CancellationToken) -> Arc<Line> {
        let queue = engine.queues.get(name).cloned().unwrap_or_default();
        Arc::new(Line { engine, running, name: name.to_owned(), queue, drain, wanted: AtomicUsize::new(0), busy: AtomicUsize::new(0) })
    }

    /// Sets the number of slots; returns how many are free.
    pub fn open(&self, slots: u32) -> usize {
        self.running.set_slots(&self.name, slots);
        self.wanted.store(slots as usize, Ordering::Relaxed);
        (slots as usize).saturating_sub(self.busy.load(Ordering::Relaxed))
    }

    pub fn has_free_slot(&self) -> bool {
        self.busy.load(Ordering::Relaxed) < self.wanted.load(Ordering::Relaxed)
    }

    /// Takes work for so many slots.
    pub async fn lease(&self, max: usize, now: Timestamp) -> store::Result<Vec<Record>> {
        self.engine.store.lease(self.request(max, now), now).await
    }

    /// Ends an attempt. The slot gets its next job in the same round trip, unless it is to close.
    pub async fn finish(&self, end: Finish) -> store::Result<Finished> {
        let (store, now) = (&self.engine.store, self.engine.clock.now());
        if self.drain.is_cancelled() || self.busy.load(Ordering::Relaxed) > self.wanted.load(Ordering::Relaxed) {
            return Ok((store.finish(end, now).await?, Err(Closed::NotLooked)));
        }
        let (ended, mut records) = store.finish_and_lease(end, self.request(1, now), now).await?;
        Ok((ended, records.pop().ok_or(Closed::NothingFound)))
    }

    fn request(&self, max: usize, now: Timestamp) -> LeaseRequest {
        LeaseRequest {
            queue: self.name.clone(),
            worker: self.engine.name.clone(),
            max,
            rate_limit: self.queue.settings.rate_limit,
            until: self.engine.lease_until(now),
            sandbox_level: self.engine.sandbox_level,
        }
    }
}

/// A busy slot; it is free again when this is gone.
pub struct Slot(Arc<Line>);

impl Slot {
    pub fn take(line: &Arc<Line>) -> Slot {
        line.busy.fetch_add(1, Ordering::Relaxed);
        Slot(line.clone())
    }

    /// Runs job after job while the slot is wanted and finds one.
    pub async fn work(self, first: Record) -> Closed {
        let mut next = Ok(first);
        loop {
            match next {
                Ok(record) => next = attempt::run(&self.0, record).await,
                Err(closed) => return closed,
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
