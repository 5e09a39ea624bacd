//! How often one caller may ask: as often as the configuration says, at once or spread out.

use crate::limits::Rate;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Requests between two looks for callers that have not asked for long.
const FORGET_EVERY: u32 = 4096;

/// By digest: what a token reads is kept nowhere.
type Key = [u8; 32];

#[derive(Default)]
pub struct Rates {
    limiter: Option<DefaultKeyedRateLimiter<Key>>,
    asked: AtomicU32,
}

impl Rates {
    pub fn new(rate: Option<Rate>) -> Rates {
        let quota = rate.and_then(|rate| Some(Quota::with_period(rate.interval())?.allow_burst(NonZeroU32::new(rate.count())?)));
        Rates { limiter: quota.map(RateLimiter::keyed), asked: AtomicU32::new(0) }
    }

    /// How long to wait, if it is too soon. Whoever sends a wrong token counts by its address as well as that token.
    pub fn admit(&self, client: Option<IpAddr>, bearer: &str) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
        }
        let key = if bearer.is_empty() { format!("address {}", client.map_or(String::new(), |c| c.to_string())) } else { format!("token {bearer}") };
        let key: Key = Sha256::digest(key).into();
        limiter.check_key(&key).map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }
}
