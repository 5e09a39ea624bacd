//! Schedules submit jobs when they are due. Each fire is a compare-and-set in the store, so it happens once however many
//! processes look; what was missed while nothing ran is made up for as the schedule says.
//!
//! Cron follows the clock on the wall through a change of it: a fixed time that is left out fires at the first moment after the
//! gap, one that comes twice fires the first time, and `*` fires in every hour there is. Intervals know no wall.
//!
//! A schedule may send a task to Celery: that is a job as any other, and the task has its id ([`TaskQueues`]).

use crate::cleanup::{PURGE_RECORDS, PURGE_STAGING};
use crate::clock::SharedClock;
use crate::failure::{Code, Failure, Refusal, RefusalKind};
use crate::intake::{engine_job, store as refusal};
use crate::job::{Job, JobId, Record};
use crate::limits::Span;
use crate::queue::Queues;
use crate::store::{CeleryTask, Missed, NewJob, Schedule, Store, StoreError};
use croner::parser::{CronParser, Seconds, Year};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Deserialize;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// The engine's job that sends a task to Celery.
pub const SEND_TASK: &str = "celery.send";
/// Where such a job keeps its task, in `metadata`.
const TASK_KEPT: &str = "celery";

/// The longest sleep: a schedule put by another process is seen within this time.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// What passed within this time was not missed, only late.
const LATE: SignedDuration = SignedDuration::from_secs(60);
/// Jobs that make up for missed times in one step; further ones follow in the next.
const MADE_UP_MAX: usize = 100;
/// The shortest interval.
const EVERY_MIN: Span = Span::from_secs(1);

pub struct Scheduler {
    pub store: Arc<dyn Store>,
    pub queues: Arc<Queues>,
    pub clock: SharedClock,
    /// IANA name, for the shipped schedules.
    pub time_zone: String,
}

/// Celery's queues, for who sends into them.
#[async_trait::async_trait]
pub trait TaskQueues: Send + Sync {
    /// Sends a task under this id, once, however often it is asked to; returns its queue.
    async fn send(&self, id: JobId, task: &CeleryTask) -> Result<String, String>;
}

/// A schedule, as put by a client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// Five fields, with names where cron has them, or `@daily` and its like. Either this or `every`.
    #[serde(default)]
    pub cron: Option<String>,
    /// Between two fires; at least a second.
    #[serde(default)]
    pub every: Option<Span>,
    /// For times that pass while nothing runs: `once` by default.
    #[serde(default)]
    pub missed: Missed,
    /// IANA name; the configured zone by default.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// The engine's job it submits: `cleanup.purge-staging` or `cleanup.purge-records`. Either this or `celery`.
    #[serde(default)]
    pub converter: Option<String>,
    /// The task it sends to Celery.
    #[serde(default)]
    pub celery: Option<CeleryTask>,
    /// True by default.
    #[serde(default)]
    pub enabled: Option<bool>,
}

const NAME_MAX_CHARS: usize = 64;
const WORD_MAX_BYTES: usize = 255;
const ARGUMENTS_MAX_BYTES: usize = 8 << 10;

/// When `cron` fires next after `after`, in this time zone. The refusal names the field.
fn next_of_cron(cron: &str, time_zone: &str, after: Timestamp) -> Result<Timestamp, Refusal> {
    let refuse = |field: &str, given: &str, text: String| Refusal::new(RefusalKind::InvalidRequest, text).field(field).given(given);
    let zone = TimeZone::get(time_zone).map_err(|_| refuse("time_zone", time_zone, format!("`{time_zone}` is not an IANA time zone.")))?;
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let pattern = parser.parse(cron).map_err(|e| refuse("cron", cron, format!("`{cron}` is not a cron expression of five fields: {e}")))?;
    let next = pattern.find_next_occurrence(&after.to_zoned(zone), false).map(|next| next.timestamp());
    next.map_err(|e| refuse("cron", cron, format!("`{cron}` never fires: {e}")))
}

/// When a schedule fires next after `after`.
fn next_fire(schedule: &Schedule, after: Timestamp) -> Result<Timestamp, Refusal> {
    match (&schedule.cron, schedule.every) {
        (Some(cron), None) => next_of_cron(cron, &schedule.time_zone, after),
        (None, Some(every)) if every >= EVERY_MIN => Ok(next_of_interval(schedule.next_fire, every, after)),
        (None, Some(every)) => {
            let text = "`every` must be at least 1s.";
            Err(Refusal::new(RefusalKind::InvalidRequest, text).field("every").given(every).allowed(["at least 1s"]))
        }
        _ => Err(Refusal::new(RefusalKind::InvalidRequest, "Say when: `cron` or `every`, one of them.").field("cron")),
    }
}

/// On the grid that `fire` lies on, so that a late look moves nothing.
fn next_of_interval(fire: Timestamp, every: Span, after: Timestamp) -> Timestamp {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    let past = after.as_millisecond() - fire.as_millisecond();
    let next = fire.as_millisecond().saturating_add((past.div_euclid(every) + 1).saturating_mul(every));
    Timestamp::from_millisecond(next).unwrap_or(Timestamp::MAX)
}

/// The times at which a schedule that is due owes a job, oldest first, and its next time after them.
fn owed(schedule: &Schedule, now: Timestamp) -> Result<(Vec<Timestamp>, Timestamp), Refusal> {
    if schedule.missed != Missed::All {
        let next = next_fire(schedule, now)?;
        let late = now.saturating_sub(LATE).unwrap_or(Timestamp::MIN);
        let fires = schedule.missed == Missed::Once || next_fire(schedule, late.max(before(schedule.next_fire)))? <= now;
        return Ok((if fires { vec![now] } else { Vec::new() }, next));
    }
    let (mut times, mut next) = (Vec::new(), schedule.next_fire);
    while next <= now && times.len() < MADE_UP_MAX {
        times.push(next);
        next = next_fire(schedule, next)?;
    }
    Ok((times, next))
}

fn before(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MIN)
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
    let converter = match (request.converter, &request.celery) {
        (Some(converter), None) if jobs.contains(&converter.as_str()) => converter,
        // As the schedule itself says it, which may be put again as it was read.
        (None, Some(task)) => sendable(task).map(|()| SEND_TASK.to_owned())?,
        (Some(converter), Some(task)) if converter == SEND_TASK => sendable(task).map(|()| converter)?,
        (converter, _) => {
            let text = "A schedule submits one of the engine's own jobs, or sends a task to Celery (`celery`).";
            return Err(refuse("converter", &converter.unwrap_or_default(), text).allowed(jobs));
        }
    };
    let time_zone = request.time_zone.unwrap_or_else(|| zone.to_owned());
    let last_fire = find(store, name).await.ok().and_then(|known| known.last_fire);
    let ScheduleRequest { cron, every, missed, celery, enabled, .. } = request;
    let enabled = enabled.unwrap_or(true);
    let mut schedule = Schedule { name: name.to_owned(), cron, every, missed, time_zone, converter, celery, enabled, last_fire, next_fire: now };
    schedule.next_fire = next_fire(&schedule, now)?;
    store.put_schedule(schedule.clone()).await.map_err(refusal)?;
    Ok(schedule)
}

/// Submits a schedule's job now, beside its times. One that waits already is not doubled.
pub async fn run_now(store: &dyn Store, queues: &Queues, name: &str, now: Timestamp) -> Result<Job, Refusal> {
    let schedule = find(store, name).await?;
    let job = NewJob { record: record(&schedule, queues, now), idempotency: None };
    let inserted = store.insert(vec![job], now).await.map_err(refusal)?;
    inserted.first().map(|i| i.job().clone()).ok_or_else(|| Refusal::new(RefusalKind::Unavailable, "The store gave no answer."))
}

/// A name that both sides can read, and arguments that fit in a row.
fn sendable(task: &CeleryTask) -> Result<(), Refusal> {
    let refuse = |field: &str, given: &str, text: String| Err(Refusal::new(RefusalKind::InvalidRequest, text).field(field).given(given));
    let is_name = |name: &str| !name.is_empty() && name.len() <= WORD_MAX_BYTES && !name.contains(|c: char| c.is_control() || c.is_whitespace());
    if !is_name(&task.task) {
        return refuse("celery.task", &task.task, format!("A task's name has 1 to {WORD_MAX_BYTES} bytes, without spaces."));
    }
    if let Some(queue) = task.queue.as_deref().filter(|queue| !is_name(queue)) {
        return refuse("celery.queue", queue, format!("A queue's name has 1 to {WORD_MAX_BYTES} bytes, without spaces."));
    }
    let size = serde_json::to_vec(&(&task.args, &task.kwargs)).map_or(usize::MAX, |text| text.len());
    if size > ARGUMENTS_MAX_BYTES {
        return refuse("celery.args", &format!("{size} bytes"), format!("Arguments have at most {ARGUMENTS_MAX_BYTES} bytes, as JSON."));
    }
    Ok(())
}

/// The job of a schedule.
fn record(schedule: &Schedule, queues: &Queues, now: Timestamp) -> Record {
    let mut record = engine_job(queues, &schedule.converter, now);
    if let Some(task) = &schedule.celery {
        // One that waits already is not doubled; what another schedule sends is another one.
        record.job.unique_key = Some(format!("schedule:{}", schedule.name));
        record.job.metadata.insert(TASK_KEPT.into(), serde_json::json!(task));
    }
    record
}

/// Sends the task of a job of [`SEND_TASK`]; returns a sentence for its log.
pub async fn send(queues: Option<&dyn TaskQueues>, job: &Job) -> Result<String, Failure> {
    let task = job.metadata.get(TASK_KEPT).and_then(|kept| serde_json::from_value::<CeleryTask>(kept.clone()).ok());
    let task = task.ok_or_else(|| Failure::internal("the job has no task"))?;
    let queues = queues.ok_or_else(|| {
        let text = "This server knows no broker of Celery's.";
        Failure::new(Code::InvalidOption, text).hint("Set celery.broker_url for each process that works on the queue `cleanup`.")
    })?;
    match queues.send(job.id, &task).await {
        Ok(queue) => Ok(format!("sent {} to {queue}", task.task)),
        Err(cause) => Err(Failure::new(Code::Internal, "Celery's broker did not take the task.").detail(cause)),
    }
}

impl Scheduler {
    /// Puts the shipped schedules, unless a row of that name is there.
    pub async fn install(&self) -> Result<(), String> {
        let known = self.store.schedules().await.map_err(|e| e.to_string())?;
        for (name, cron, converter) in [("purge-staging", "0 */6 * * *", PURGE_STAGING), ("purge-records", "0 3 * * *", PURGE_RECORDS)] {
            if known.iter().any(|s| s.name == name) {
                continue;
            }
            let (cron, time_zone) = (Some(cron.to_owned()), Some(self.time_zone.clone()));
            let converter = Some(converter.to_owned());
            let request = ScheduleRequest { cron, every: None, missed: Missed::Once, time_zone, converter, celery: None, enabled: None };
            put(&*self.store, name, request, &self.time_zone, self.clock.now()).await.map_err(|e| e.message)?;
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

    /// Fires each schedule that is due; returns when the next one is.
    pub async fn fire_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        for schedule in self.store.schedules().await?.into_iter().filter(|s| s.enabled && s.next_fire <= now) {
            let (times, next) = match owed(&schedule, now) {
                Ok(owed) => owed,
                Err(error) => {
                    tracing::error!(schedule = schedule.name, %error, "a schedule cannot be computed");
                    continue;
                }
            };
            let jobs = times.into_iter().map(|time| self.job(&schedule, time, now)).collect();
            self.store.fire(&schedule.name, schedule.next_fire, next, jobs, now).await?;
        }
        Ok(self.store.schedules().await?.into_iter().filter(|s| s.enabled).map(|s| s.next_fire).min())
    }

    fn job(&self, schedule: &Schedule, time: Timestamp, now: Timestamp) -> NewJob {
        let mut record = record(schedule, &self.queues, now);
        if schedule.missed == Missed::All {
            // Each time has a job of its own, however many wait.
            record.job.unique_key = Some(format!("schedule:{}:{time}", schedule.name));
        }
        NewJob { record, idempotency: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The times after this one, while they are before the end.
    fn times(cron: &str, from: &str, to: &str) -> Vec<String> {
        let next = |after: &Timestamp| next_of_cron(cron, "Europe/Berlin", *after).ok();
        let times = std::iter::successors(next(&at(from)), next);
        times.take_while(|time| *time < at(to)).map(|time| time.to_string()).collect()
    }

    fn due(missed: Missed, next_fire: &str) -> Schedule {
        let (every, next_fire) = (Some(Span::from_secs(3600)), at(next_fire));
        let (name, time_zone, converter) = ("s".into(), "UTC".into(), PURGE_RECORDS.into());
        Schedule { name, cron: None, every, missed, time_zone, converter, celery: None, enabled: true, last_fire: None, next_fire }
    }

    #[test]
    fn what_was_missed_is_made_up_for_as_asked() {
        let owed = |missed, now: &str| {
            let (times, next) = owed(&due(missed, "2026-05-01T10:00:00Z"), at(now)).unwrap();
            (times, next.to_string())
        };
        // Three hours and a half too late: 10, 11, 12 and 13 have passed.
        let (late, next) = ("2026-05-01T13:30:00Z", "2026-05-01T14:00:00Z".to_owned());
        assert_eq!(owed(Missed::Skip, late), (vec![], next.clone()));
        assert_eq!(owed(Missed::Once, late), (vec![at(late)], next.clone()));
        let all: Vec<_> = (10..14).map(|hour| at(&format!("2026-05-01T{hour}:00:00Z"))).collect();
        assert_eq!(owed(Missed::All, late), (all, next));
        // On time, or nearly.
        for missed in [Missed::Skip, Missed::Once, Missed::All] {
            let (times, next) = owed(missed, "2026-05-01T10:00:05Z");
            assert_eq!((times.len(), next.as_str()), (1, "2026-05-01T11:00:00Z"), "{missed:?}");
        }
        // Long too late, but the last time has just passed.
        assert_eq!(owed(Missed::Skip, "2026-05-01T13:00:30Z").0.len(), 1);
        let (times, next) = owed(Missed::All, "2026-06-01T10:00:00Z");
        assert_eq!((times.len(), next.as_str()), (MADE_UP_MAX, "2026-05-05T14:00:00Z"), "a step at a time");
    }

    #[test]
    fn an_interval_keeps_its_grid() {
        let next = |after| next_of_interval(at("2026-03-29T00:30:00Z"), Span::from_secs(900), at(after)).to_string();
        assert_eq!(next("2026-03-29T00:30:00Z"), "2026-03-29T00:45:00Z");
        assert_eq!(next("2026-03-29T01:07:13Z"), "2026-03-29T01:15:00Z");
        assert_eq!(next("2026-03-29T00:29:00Z"), "2026-03-29T00:30:00Z");
    }

    #[test]
    fn in_spring_a_time_that_is_left_out_fires_after_the_gap() {
        // 02:00 to 03:00 is not there on the 29th: the clock goes on at 01:00Z.
        assert_eq!(
            times("30 2 * * *", "2026-03-27T12:00:00Z", "2026-03-31T00:00:00Z"),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            times("*/30 * * * *", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
        );
    }

    #[test]
    fn in_autumn_a_time_that_comes_twice_fires_once_and_every_hour_fires() {
        // 02:00 to 03:00 is there twice on the 25th: from 00:00Z and from 01:00Z.
        assert_eq!(
            times("30 2 * * *", "2026-10-23T12:00:00Z", "2026-10-27T00:00:00Z"),
            ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        assert_eq!(
            times("30 * * * *", "2026-10-24T23:45:00Z", "2026-10-25T03:00:00Z"),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]
        );
    }

    #[test]
    fn three_in_the_morning_is_three_on_the_wall() {
        assert_eq!(times("0 3 * * *", "2026-07-01T12:00:00Z", "2026-07-02T12:00:00Z"), ["2026-07-02T01:00:00Z"]);
        assert_eq!(times("0 3 * * *", "2026-12-01T12:00:00Z", "2026-12-02T12:00:00Z"), ["2026-12-02T02:00:00Z"]);
    }

    #[test]
    fn five_fields_names_and_nicknames_are_cron_and_nothing_else_is() {
        let field = |cron: &str, zone: &str| next_of_cron(cron, zone, Timestamp::UNIX_EPOCH).map_err(|e| e.field.unwrap());
        for cron in ["*/5 * * * *", "0 3 * jan,JUL mon-fri", "@daily", "@hourly", "0 0 29 2 *"] {
            assert!(field(cron, "Europe/Berlin").is_ok(), "{cron}");
        }
        for cron in ["", "0 3 * *", "* * * * * *", "61 * * * *", "@never", "0 0 30 2 *", "a b c d e"] {
            assert_eq!(field(cron, "UTC"), Err("cron".into()), "{cron}");
        }
        assert_eq!(field("@daily", "Mars/Base"), Err("time_zone".into()));
    }
}
