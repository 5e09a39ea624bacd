//! Notices slots that stand idle while jobs of their queue are due: something between them and the store is amiss.

use super::line::Line;
use super::{Engine, TICK};
use crate::store;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A job that is due has a free slot within a tick, however many notices were lost.
const IDLE_MAX: SignedDuration = SignedDuration::from_secs(2);

pub struct Watchdog {
    engine: Arc<Engine>,
    lines: Vec<(Arc<Line>, Watch)>,
    drain: CancellationToken,
}

impl Watchdog {
    pub fn new(engine: Arc<Engine>, lines: Vec<Arc<Line>>, drain: CancellationToken) -> Self {
        lines.iter().for_each(|line| engine.meters.watched(&line.name));
        Watchdog { engine, lines: lines.into_iter().map(|line| (line, Watch::default())).collect(), drain }
    }

    /// Watches until drained.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = self.drain.cancelled() => return,
                _ = tick.tick() => {}
            }
            // A store that does not answer is told of by those who need it.
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the queues could not be watched");
            }
        }
    }

    async fn look(&mut self) -> store::Result<()> {
        let now = self.engine.clock.now();
        let mut is_any_idle = false;
        for (line, watch) in &mut self.lines {
            is_any_idle |= watch.is_idle_too_long(line.has_free_slot(), now);
        }
        if !is_any_idle {
            return Ok(());
        }
        let due = self.engine.store.due_since().await?;
        let waits = |line: &Line| due.get(&line.name).is_some_and(|since| now.duration_since(*since) > IDLE_MAX);
        if !self.lines.iter().any(|(line, watch)| watch.is_idle && waits(line)) {
            self.lines.iter_mut().for_each(|(_, watch)| watch.is_told = false);
            return Ok(());
        }
        let tunings = self.engine.store.tunings().await?;
        for (line, watch) in &mut self.lines {
            let tuning = tunings.get(&line.name).cloned().unwrap_or_default();
            let is_held_back = tuning.paused == Some(true) || tuning.rate_limit.unwrap_or(line.queue.settings.rate_limit).is_some();
            if watch.begins(waits(line) && !is_held_back) {
                self.engine.meters.stalled(&line.name);
                tracing::warn!(queue = line.name, "a slot has stood idle for over {IDLE_MAX:#} while jobs are due");
            }
        }
        Ok(())
    }
}

/// What is known of one pool.
#[derive(Debug, Default)]
struct Watch {
    free_since: Option<Timestamp>,
    is_idle: bool,
    /// The episode was counted.
    is_told: bool,
}

impl Watch {
    fn is_idle_too_long(&mut self, has_free_slot: bool, now: Timestamp) -> bool {
        self.free_since = if has_free_slot { self.free_since.or(Some(now)) } else { None };
        self.is_idle = self.free_since.is_some_and(|since| now.duration_since(since) > IDLE_MAX);
        self.is_told &= self.is_idle;
        self.is_idle
    }

    /// True once an episode.
    fn begins(&mut self, jobs_wait: bool) -> bool {
        let begins = self.is_idle && jobs_wait && !self.is_told;
        self.is_told = self.is_idle && jobs_wait;
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_once_and_short_ones_are_not() {
        let mut watch = Watch::default();
        let mut told = |second: i64, free: bool, jobs_wait: bool| {
            watch.is_idle_too_long(free, Timestamp::from_second(second).unwrap());
            watch.begins(jobs_wait)
        };
        assert!(![0, 1, 2].into_iter().any(|second| told(second, true, true)), "not idle for long enough");
        assert!(told(3, true, true));
        assert!(!told(4, true, true), "the same episode");
        assert!(!told(5, true, false));
        assert!(told(6, true, true), "a further one");
        assert!(!told(7, false, true) && !told(8, true, true), "a slot that works begins anew");
    }
}
