//! Keeps a clock by what a shared store says.

use crate::clock::{SharedClock, StoreClock, SystemClock};
use crate::store::redis::RedisStore;
use jiff::Timestamp;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Between two looks; machines' clocks drift by far less than a lease in this time.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// An answer that took longer is too old to be the time.
const FRESH: Duration = Duration::from_secs(1);

/// A clock that follows the store's for as long as somebody keeps it.
pub async fn follow(store: RedisStore) -> SharedClock {
    match store.time().await {
        Ok(time) => {
            let clock = Arc::new(StoreClock::at(time));
            tokio::spawn(look_again(store, Arc::downgrade(&clock)));
            clock
        }
        Err(error) => {
            tracing::warn!(%error, "Redis does not tell its time (TIME): the clocks of all machines must be right to the second");
            Arc::new(SystemClock)
        }
    }
}

async fn look_again(store: RedisStore, clock: Weak<StoreClock>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(clock) = clock.upgrade() else { return };
        match fresh_time(&store).await {
            Some(time) => clock.set(time),
            None => tracing::debug!("the store's time could not be told; this process's clock goes on"),
        }
    }
}

async fn fresh_time(store: &RedisStore) -> Option<Timestamp> {
    let asked = Instant::now();
    store.time().await.ok().filter(|_| asked.elapsed() <= FRESH)
}
