//! Keeps leases alive: carries progress and logs to the store, brings back cancels and changed limits, reaps what others lost.

use super::running::{Cause, Running};
use super::{CONFIRM_WITHIN, Engine, LEASE, TICK};
use crate::store::{Notice, Renewed};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A lease without news is renewed this often.
const RENEW_EVERY: Duration = Duration::from_secs(10);

pub struct Heartbeat {
    engine: Arc<Engine>,
    running: Arc<Running>,
    stop: CancellationToken,
    confirmed: Instant,
}

impl Heartbeat {
    pub fn new(engine: Arc<Engine>, running: Arc<Running>, stop: CancellationToken) -> Self {
        Heartbeat { engine, running, stop, confirmed: Instant::now() }
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
        let all = all || self.confirmed.elapsed() >= RENEW_EVERY;
        let renewals = self.running.renewals(all);
        let leases: Vec<_> = renewals.iter().map(|r| r.lease).collect();
        match self.engine.store.renew(renewals, now.saturating_add(LEASE).unwrap_or(Timestamp::MAX), now).await {
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
                if self.confirmed.elapsed() > CONFIRM_WITHIN {
                    self.running.lose_all();
                }
                // A store that does not answer is not waited for twice: the leases run out meanwhile.
                return;
            }
        }
        match self.engine.store.reap(now, now).await {
            Ok(lost) => {
                self.engine.meters.reaped(lost.len());
                lost.iter().for_each(|lease| tracing::warn!(job = %lease.job, attempt = lease.attempt, "a lease was lost"));
            }
            Err(error) => tracing::warn!(%error, "expired leases could not be reaped"),
        }
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
