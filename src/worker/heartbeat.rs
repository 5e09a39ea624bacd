//! Keeps leases alive: carries progress and logs to the store, brings back cancels and changed limits, reaps what others lost.

use super::running::{Cause, Running};
use super::{Engine, TICK};
use crate::store::{Notice, Renewal, Renewed, Result, StoreError};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub struct Heartbeat {
    engine: Arc<Engine>,
    running: Arc<Running>,
    stop: CancellationToken,
    confirmed: Instant,
    /// The time at the last beat, by the store's clock and by one that nobody sets.
    beat_at: (Timestamp, Instant),
}

impl Heartbeat {
    pub fn new(engine: Arc<Engine>, running: Arc<Running>, stop: CancellationToken) -> Self {
        let (now, confirmed) = (engine.clock.now(), Instant::now());
        Heartbeat { engine, running, stop, confirmed, beat_at: (now, confirmed) }
    }

    /// Beats until the worker is stopped and its last attempt is over.
    pub async fn run(mut self) {
        let mut notices = self.engine.store.notices();
        let mut tick = tokio::time::interval(TICK);
        let (stop, running) = (self.stop.clone(), self.running.clone());
        let over = async {
            stop.cancelled().await;
            running.emptied().await;
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                _ = tick.tick() => self.beat(false).await,
                () = &mut over => break,
                notice = notices.recv() => if matches!(notice, Ok(Notice::Cancel(_))) {
                    self.beat(true).await;
                },
            }
        }
    }

    async fn beat(&mut self, all: bool) {
        let (now, asked) = (self.engine.clock.now(), Instant::now());
        let all = all || self.confirmed.elapsed() >= self.engine.renew_every() || self.was_set_forward(now, asked);
        let renewals = self.running.renewals(all);
        let leases: Vec<_> = renewals.iter().map(|r| r.lease).collect();
        match self.renew(renewals, now).await {
            Ok(answers) => {
                if all {
                    self.confirmed = asked;
                }
                for (lease, answer) in leases.into_iter().zip(answers) {
                    self.heed(lease, answer);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a heartbeat failed");
                if self.confirmed.elapsed() >= self.engine.confirm_within() {
                    self.running.lose_all();
                }
                // A store that does not answer is not waited for twice: the leases run out meanwhile.
                return;
            }
        }
        // Waiting for it longer would keep the next beat.
        match tokio::time::timeout(self.engine.renew_every(), self.engine.store.reap(now, now)).await.unwrap_or_else(|_| Err(too_late())) {
            Ok(lost) => {
                self.engine.meters.reaped(lost.len());
                lost.iter().for_each(|lease| tracing::warn!(job = %lease.job, attempt = lease.attempt, "a lease was lost"));
            }
            Err(error) => tracing::warn!(%error, "expired leases could not be reaped"),
        }
    }

    /// Asks the store, until an answer would come too late; one that is late already gets a last chance.
    async fn renew(&self, renewals: Vec<Renewal>, now: Timestamp) -> Result<Vec<Renewed>> {
        let patience = self.engine.confirm_within().saturating_sub(self.confirmed.elapsed()).max(TICK);
        let renewing = self.engine.store.renew(renewals, self.engine.lease_until(now), now);
        tokio::time::timeout(patience, renewing).await.unwrap_or_else(|_| Err(too_late()))
    }

    /// Whether the clock has been set forward since the last beat: then every lease looks older than it is, and none of our own
    /// may be reaped for it.
    fn was_set_forward(&mut self, now: Timestamp, at: Instant) -> bool {
        let (then, then_at) = std::mem::replace(&mut self.beat_at, (now, at));
        let passed = Duration::try_from(now.duration_since(then)).unwrap_or_default();
        passed.saturating_sub(at - then_at) >= self.engine.renew_every()
    }

    fn heed(&self, lease: crate::job::Lease, answer: Renewed) {
        let Some(attempt) = self.running.get(lease) else { return };
        match answer {
            Renewed::Lost => {
                self.engine.meters.lost_lease();
                attempt.end(Cause::LeaseLost);
            }
            Renewed::Held { cancel, soft_time_limit, hard_time_limit } => {
                attempt.set_limits(soft_time_limit.as_millis(), hard_time_limit.as_millis());
                if let Some(mode) = cancel {
                    attempt.cancel(mode);
                }
            }
        }
    }
}

fn too_late() -> StoreError {
    StoreError::Unavailable("it took too long to answer".into())
}
