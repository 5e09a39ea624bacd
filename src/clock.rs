//! Time is an argument: loops own a [`Clock`], store verbs take `now`, tests move a [`ManualClock`].

use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    /// Returns once `now() >= deadline`.
    async fn sleep_until(&self, deadline: Timestamp) {
        // Woken at least once a second, so that a clock set forward is noticed.
        while let Some(left) = until(self.now(), deadline) {
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}

pub type SharedClock = Arc<dyn Clock>;

/// The machine's own time.
pub struct SystemClock;

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The time of a store that many machines share. Between two looks at it this clock goes on evenly, whatever is done to the
/// machine's own: one machine with a wrong time would else take the others' leases for expired, or its own for endless.
pub struct StoreClock {
    looked: Mutex<(Timestamp, Instant)>,
}

impl StoreClock {
    /// A clock by what the store says this moment.
    pub fn at(time: Timestamp) -> Self {
        StoreClock { looked: Mutex::new((time, Instant::now())) }
    }

    /// Follows what the store says this moment.
    pub fn set(&self, time: Timestamp) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = (time, Instant::now());
    }
}

#[async_trait::async_trait]
impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        let (time, at) = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        time.saturating_add(at.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

/// Time that moves only when a test moves it.
pub struct ManualClock {
    now: Mutex<Timestamp>,
    moved: tokio::sync::Notify,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(ManualClock { now: Mutex::new(now), moved: tokio::sync::Notify::new() })
    }

    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX)).unwrap_or(Timestamp::MAX);
        drop(now);
        self.moved.notify_waiters();
    }
}

#[async_trait::async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if until(self.now(), deadline).is_none() {
                return;
            }
            moved.await;
        }
    }
}

/// What is left from `now` to `deadline`; none once it is reached.
fn until(now: Timestamp, deadline: Timestamp) -> Option<Duration> {
    Duration::try_from(deadline.duration_since(now)).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn a_store_clock_goes_on_from_what_it_was_told() {
        let told = Timestamp::from_second(1_000_000).unwrap();
        let clock = StoreClock::at(told);
        let (first, second) = (clock.now(), clock.now());
        assert!(told <= first && first <= second && second.duration_since(told) < SignedDuration::from_hours(1), "{first} {second}");
        let earlier = told - SignedDuration::from_hours(24);
        clock.set(earlier);
        assert!(clock.now() < told);
    }
}
