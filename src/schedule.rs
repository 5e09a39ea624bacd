//! Schedules submit jobs when they are due. Each fire is a compare-and-set in the store, so it happens once however many
//! processes look; fires missed while nothing ran are made up for by one.

use crate::cleanup::{PURGE_RECORDS, PURGE_STAGING};
use crate::clock::SharedClock;
use crate::intake::engine_job;
use crate::queue::Queues;
use crate::store::{NewJob, Schedule, Store, StoreError};
use croner::Cron;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::str::FromStr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The longest sleep: a schedule put by another process is seen within this time.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

pub struct Scheduler {
    pub store: Arc<dyn Store>,
    pub queues: Arc<Queues>,
    pub clock: SharedClock,
    /// IANA name, for the shipped schedules.
    pub time_zone: String,
}

/// When `cron` fires next after `after`, in this time zone.
pub fn next_fire(cron: &str, time_zone: &str, after: Timestamp) -> Result<Timestamp, String> {
    let zone = TimeZone::get(time_zone).map_err(|_| format!("`{time_zone}` is not an IANA time zone"))?;
    let pattern = Cron::from_str(cron).map_err(|e| format!("`{cron}` is not a cron expression: {e}"))?;
    pattern.find_next_occurrence(&after.to_zoned(zone), false).map(|next| next.timestamp()).map_err(|e| format!("`{cron}` never fires: {e}"))
}

impl Scheduler {
    /// Puts the shipped schedules, unless a row of that name is there.
    pub async fn install(&self) -> Result<(), String> {
        let known = self.store.schedules().await.map_err(|e| e.to_string())?;
        for (name, cron, converter) in [("purge-staging", "0 */6 * * *", PURGE_STAGING), ("purge-records", "0 3 * * *", PURGE_RECORDS)] {
            if known.iter().any(|s| s.name == name) {
                continue;
            }
            let next_fire = next_fire(cron, &self.time_zone, self.clock.now())?;
            let time_zone = self.time_zone.clone();
            let schedule =
                Schedule { name: name.into(), cron: cron.into(), time_zone, converter: converter.into(), enabled: true, last_fire: None, next_fire };
            self.store.put_schedule(schedule).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Fires what is due until cancelled.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let next = self.fire_due().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "schedules could not be looked at");
                None
            });
            let latest = self.clock.now().saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
            tokio::select! {
                () = self.clock.sleep_until(next.unwrap_or(latest).min(latest)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Fires each schedule that is due, once; returns when the next one is.
    pub async fn fire_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        for schedule in self.store.schedules().await?.into_iter().filter(|s| s.enabled && s.next_fire <= now) {
            let next = match next_fire(&schedule.cron, &schedule.time_zone, now) {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(schedule = schedule.name, error, "a schedule cannot be computed");
                    continue;
                }
            };
            let job = NewJob { record: engine_job(&self.queues, &schedule.converter, now), idempotency: None };
            self.store.fire(&schedule.name, schedule.next_fire, next, job, now).await?;
        }
        Ok(self.store.schedules().await?.into_iter().filter(|s| s.enabled).map(|s| s.next_fire).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_the_morning_is_three_on_the_wall() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(next_fire("0 3 * * *", "Europe/Berlin", at("2026-07-01T12:00:00Z")), Ok(at("2026-07-02T01:00:00Z")));
        assert_eq!(next_fire("0 3 * * *", "Europe/Berlin", at("2026-12-01T12:00:00Z")), Ok(at("2026-12-02T02:00:00Z")));
        assert!(next_fire("0 3 * *", "UTC", at("2026-07-01T12:00:00Z")).is_err());
        assert!(next_fire("0 3 * * *", "Mars/Base", at("2026-07-01T12:00:00Z")).is_err());
    }
}
