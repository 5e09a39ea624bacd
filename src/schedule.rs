//! Schedules submit jobs when they are due. Each fire is a compare-and-set in the store, so it happens once however many
//! processes look; fires missed while nothing ran are made up for by one.

use crate::cleanup::{PURGE_RECORDS, PURGE_STAGING};
use crate::clock::SharedClock;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::{engine_job, store as refusal};
use crate::job::Job;
use crate::queue::Queues;
use crate::store::{NewJob, Schedule, Store, StoreError};
use croner::parser::{CronParser, Seconds, Year};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Deserialize;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// The longest sleep: a schedule put by another process is seen within this time.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

pub struct Scheduler {
    pub store: Arc<dyn Store>,
    pub queues: Arc<Queues>,
    pub clock: SharedClock,
    /// IANA name, for the shipped schedules.
    pub time_zone: String,
}

/// A schedule, as put by a client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// Five fields, with names where cron has them, or `@daily` and its like.
    pub cron: String,
    /// IANA name; the configured zone by default.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// The engine's job it submits: `cleanup.purge-staging` or `cleanup.purge-records`.
    pub converter: String,
    /// True by default.
    #[serde(default)]
    pub enabled: Option<bool>,
}

const NAME_MAX_CHARS: usize = 64;

/// When `cron` fires next after `after`, in this time zone. The refusal names the field.
pub fn next_fire(cron: &str, time_zone: &str, after: Timestamp) -> Result<Timestamp, Refusal> {
    let refuse = |field: &str, given: &str, text: String| Refusal::new(RefusalKind::InvalidRequest, text).field(field).given(given);
    let zone = TimeZone::get(time_zone).map_err(|_| refuse("time_zone", time_zone, format!("`{time_zone}` is not an IANA time zone.")))?;
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let pattern = parser.parse(cron).map_err(|e| refuse("cron", cron, format!("`{cron}` is not a cron expression of five fields: {e}")))?;
    let next = pattern.find_next_occurrence(&after.to_zoned(zone), false).map(|next| next.timestamp());
    next.map_err(|e| refuse("cron", cron, format!("`{cron}` never fires: {e}")))
}

pub async fn find(store: &dyn Store, name: &str) -> Result<Schedule, Refusal> {
    let missing = || Refusal::new(RefusalKind::NotFound, "There is no such schedule.").given(name);
    store.schedules().await.map_err(refusal)?.into_iter().find(|s| s.name == name).ok_or_else(missing)
}

/// Makes or replaces a schedule; it fires next at the first time after `now`.
pub async fn put(store: &dyn Store, name: &str, request: ScheduleRequest, zone: &str, now: Timestamp) -> Result<Schedule, Refusal> {
    let refuse = |field: &str, given: &str, text: &str| Refusal::new(RefusalKind::InvalidRequest, text).field(field).given(given);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > NAME_MAX_CHARS || !name.chars().all(plain) {
        return Err(refuse("name", name, "A schedule's name is 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`."));
    }
    let jobs = [PURGE_STAGING, PURGE_RECORDS];
    if !jobs.contains(&request.converter.as_str()) {
        return Err(refuse("converter", &request.converter, "A schedule submits one of the engine's own jobs.").allowed(jobs));
    }
    let time_zone = request.time_zone.unwrap_or_else(|| zone.to_owned());
    let next_fire = next_fire(&request.cron, &time_zone, now)?;
    let last_fire = find(store, name).await.ok().and_then(|known| known.last_fire);
    let (cron, converter, enabled) = (request.cron, request.converter, request.enabled.unwrap_or(true));
    let schedule = Schedule { name: name.to_owned(), cron, time_zone, converter, enabled, last_fire, next_fire };
    store.put_schedule(schedule.clone()).await.map_err(refusal)?;
    Ok(schedule)
}

/// Submits a schedule's job now, beside its times. One that waits already is not doubled.
pub async fn run_now(store: &dyn Store, queues: &Queues, name: &str, now: Timestamp) -> Result<Job, Refusal> {
    let schedule = find(store, name).await?;
    let job = NewJob { record: engine_job(queues, &schedule.converter, now), idempotency: None };
    let inserted = store.insert(vec![job], now).await.map_err(refusal)?;
    inserted.first().map(|i| i.job().clone()).ok_or_else(|| Refusal::new(RefusalKind::Unavailable, "The store gave no answer."))
}

impl Scheduler {
    /// Puts the shipped schedules, unless a row of that name is there.
    pub async fn install(&self) -> Result<(), String> {
        let known = self.store.schedules().await.map_err(|e| e.to_string())?;
        for (name, cron, converter) in [("purge-staging", "0 */6 * * *", PURGE_STAGING), ("purge-records", "0 3 * * *", PURGE_RECORDS)] {
            if known.iter().any(|s| s.name == name) {
                continue;
            }
            let next_fire = next_fire(cron, &self.time_zone, self.clock.now()).map_err(|e| e.message)?;
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
                    tracing::error!(schedule = schedule.name, %error, "a schedule cannot be computed");
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
    }

    #[test]
    fn five_fields_names_and_nicknames_are_cron_and_nothing_else_is() {
        let field = |cron: &str, zone: &str| next_fire(cron, zone, Timestamp::UNIX_EPOCH).map_err(|e| e.field.unwrap());
        for cron in ["*/5 * * * *", "0 3 * jan,JUL mon-fri", "@daily", "@hourly", "0 0 29 2 *"] {
            assert!(field(cron, "Europe/Berlin").is_ok(), "{cron}");
        }
        for cron in ["", "0 3 * *", "* * * * * *", "61 * * * *", "@never", "0 0 30 2 *", "a b c d e"] {
            assert_eq!(field(cron, "UTC"), Err("cron".into()), "{cron}");
        }
        assert_eq!(field("@daily", "Mars/Base"), Err("time_zone".into()));
    }
}
