//! A worker's life is a row of shifts: pools lease and run until an order or the end of the process ends them.

use super::Engine;
use super::chronicle::Chronicle;
use super::heartbeat::Heartbeat;
use super::pool::{Pool, PoolSpec};
use super::presence::Desk;
use super::running::Running;
use super::watchdog::Watchdog;
use crate::store::{WorkerOrder, WorkerState};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub struct Shifts {
    pub engine: Arc<Engine>,
    pub pools: Vec<PoolSpec>,
    pub running: Arc<Running>,
    /// Ends the last shift.
    pub stop: CancellationToken,
}

impl Shifts {
    /// Shift after shift until stopped; returns once everything is given back.
    pub async fn run(self) {
        let heartbeat = tokio::spawn(Heartbeat::new(self.engine.clone(), self.running.clone(), self.stop.clone()).run());
        let chronicle = tokio::spawn(Chronicle::new(self.engine.clone(), self.running.clone()).run(self.stop.clone()));
        let mut desk = Desk::new(self.engine.clone(), self.running.clone());
        desk.leave().await;
        while self.shift(&mut desk).await {
            tracing::info!("the pools start anew");
        }
        // They end with the last attempt; an error would be their own panic, logged already.
        let _ = heartbeat.await;
        let _ = chronicle.await;
        desk.leave().await;
    }

    /// One shift. True: another one follows.
    async fn shift(&self, desk: &mut Desk) -> bool {
        let (drain, pools) = (self.stop.child_token(), TaskTracker::new());
        self.running.resume();
        let mut lines = Vec::with_capacity(self.pools.len());
        for spec in &self.pools {
            let pool = Pool::new(self.engine.clone(), spec, self.running.clone(), drain.clone());
            lines.push(pool.line.clone());
            pools.spawn(pool.run());
        }
        pools.spawn(Watchdog::new(self.engine.clone(), lines, drain.clone()).run());
        pools.close();
        desk.enter(WorkerState::Running).await;
        let mut order = desk.order(&self.stop).await;
        while order == Some(WorkerOrder::Drain) {
            tracing::info!("draining: what runs ends, nothing more is leased");
            drain.cancel();
            desk.enter(WorkerState::Draining).await;
            order = desk.order(&self.stop).await;
        }
        drain.cancel();
        self.running.interrupt();
        if order.is_some() {
            desk.enter(WorkerState::Draining).await;
        }
        pools.wait().await;
        if order == Some(WorkerOrder::Restart)
            && let Err(error) = self.engine.launcher.renew().await
        {
            tracing::error!(error, "the zygotes could not be replaced; the old ones go on");
        }
        order == Some(WorkerOrder::Restart) && !self.stop.is_cancelled()
    }
}
