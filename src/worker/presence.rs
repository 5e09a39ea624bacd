//! What this process says of itself, and the orders it is given.

use super::running::Running;
use super::{Engine, TICK};
use crate::store::{Notice, Presence, WorkerOrder, WorkerState};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

/// A worker without news says so this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(10);

pub struct Desk {
    engine: Arc<Engine>,
    running: Arc<Running>,
    notices: Receiver<Notice>,
    presence: Presence,
    /// When it was last said, and with which pools and state.
    said: Option<(Instant, Presence)>,
}

impl Desk {
    pub fn new(engine: Arc<Engine>, running: Arc<Running>) -> Self {
        let now = engine.clock.now();
        let presence = Presence {
            id: engine.name.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now,
            seen_at: now,
            state: WorkerState::Running,
            order: None,
            queues: Vec::new(),
            memory_bytes: 0,
            sandbox_level: engine.sandbox_level,
        };
        Desk { notices: engine.store.notices(), engine, running, presence, said: None }
    }

    /// The next order; none when the process is to stop. The wake-up comes with a notice, and within a tick without one.
    pub async fn order(&mut self, stop: &CancellationToken) -> Option<WorkerOrder> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = ordered(&mut self.notices, &self.presence.id) => {}
                () = stop.cancelled() => return None,
            }
            self.announce().await;
            match self.engine.store.take_order(&self.presence.id).await {
                Ok(None) => {}
                Ok(order) => return order,
                Err(error) => tracing::warn!(%error, "orders could not be read"),
            }
        }
    }

    pub async fn enter(&mut self, state: WorkerState) {
        self.presence.state = state;
        self.announce().await;
    }

    /// An earlier process of the same name leaves no order behind.
    pub async fn leave(&self) {
        if let Err(error) = self.engine.store.leave(&self.presence.id).await {
            tracing::warn!(%error, "the list of workers could not be left");
        }
    }

    async fn announce(&mut self) {
        self.presence.queues = self.running.pools();
        let fresh = |(at, said): &(Instant, Presence)| {
            at.elapsed() < ANNOUNCE_EVERY && (said.state, &said.queues) == (self.presence.state, &self.presence.queues)
        };
        if self.said.as_ref().is_some_and(fresh) {
            return;
        }
        self.presence.memory_bytes = resident_bytes();
        match self.engine.store.announce(self.presence.clone(), self.engine.clock.now()).await {
            Ok(()) => self.said = Some((Instant::now(), self.presence.clone())),
            Err(error) => tracing::warn!(%error, "this worker could not be announced"),
        }
    }
}

/// Returns when this worker may have an order.
async fn ordered(notices: &mut Receiver<Notice>, id: &str) {
    loop {
        match notices.recv().await {
            Ok(Notice::Worker(worker)) if worker == id => return,
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
            Ok(_) => {}
        }
    }
}

/// Of this process; 0 where /proc does not tell (proc(5), statm: pages).
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
