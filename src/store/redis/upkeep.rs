//! The engine's own verbs.

use super::change::{Change, Outcome, pipeline};
use super::jobs::{Guard, Insertion};
use super::scripts::{DUE, ORPHANS, PUT_UPLOAD, TUNE};
use super::stored::{Stored, decode};
use super::{RedisStore, milliseconds, purge};
use crate::job::{CancelMode, Lease, Record, State, Upload};
use crate::store::transition::{self, Kind};
use crate::store::{Counts, NewJob, PurgePolicy, Purged, Result, Schedule, StoreError, Tuning, Upkeep, document};
use ::redis::{Cmd, cmd};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// Jobs read and changed in one step of a verb that concerns many.
const STEP: usize = 200;
/// Far more than all workers have slots.
const RUNNING_MAX: usize = 100_000;

#[async_trait::async_trait]
impl Upkeep for RedisStore {
    async fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for (name, n) in self.table::<u64>("counts").await? {
            let state = name.split_once(':').and_then(|(state, queue)| Some((*State::ALL.get(state.parse::<usize>().ok()?)?, queue)));
            if let Some((state, queue)) = state {
                counts.entry(queue.to_owned()).or_default().insert(state, n);
            }
        }
        Ok(counts)
    }

    async fn due_since(&self) -> Result<BTreeMap<String, Timestamp>> {
        let due: BTreeMap<String, i64> = decode(self.link().ask_one(&DUE.call(self.link().prefix())).await?)?;
        Ok(due.into_iter().map(|(queue, at)| (queue, document::time(at))).collect())
    }

    async fn tunings(&self) -> Result<BTreeMap<String, Tuning>> {
        let found = self.table::<String>("tunings").await?;
        found.into_iter().map(|(queue, text)| Ok((queue, document::parse(&text)?))).collect()
    }

    async fn tune(&self, queue: &str, change: Tuning, now: Timestamp) -> Result<Tuning> {
        let changes_limits = change.soft_time_limit.is_some() || change.hard_time_limit.is_some();
        let new = self.replace_tuning(queue, change, now).await?;
        if changes_limits {
            let running = self.select("leased", None, RUNNING_MAX).await?;
            for stored in running.into_iter().filter(|stored| stored.record.job.queue == queue) {
                let tuned = self.change(stored.id(), now, |record| {
                    transition::tune(record, &new);
                    Ok::<_, StoreError>(Change::default())
                });
                // A job that was removed meanwhile needs no limits.
                match tuned.await {
                    Ok(_) | Err(StoreError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(new)
    }

    async fn purge_queue(&self, queue: &str, now: Timestamp) -> Result<u64> {
        let index = format!("jobs:{}:{queue}", State::Queued as u8);
        let mut cancelled = 0;
        loop {
            let waiting = self.select(&index, None, STEP).await?;
            if waiting.is_empty() {
                let turns = |priority: u8| cmd("DEL").arg(self.link().key(&format!("turns:{priority}:{queue}"))).clone();
                self.together(&(0..=9).map(turns).collect::<Vec<_>>()).await?;
                return Ok(cancelled);
            }
            let done = self.change_all(waiting, now, |record| transition::cancel(record, CancelMode::Soft, now)).await?;
            cancelled += done.into_iter().filter(|done| *done).count() as u64;
        }
    }

    async fn put_upload(&self, upload: Upload) -> Result<()> {
        let mut call = PUT_UPLOAD.call(self.link().prefix());
        call.arg(&upload.id).arg(milliseconds(upload.expires_at)).arg(document::text(&upload)?);
        self.link().ask_one(&call).await?;
        Ok(())
    }

    async fn upload(&self, id: &str) -> Result<Upload> {
        let found: Option<String> = decode(self.link().ask_one(cmd("GET").arg(self.link().key(&format!("upload:{id}")))).await?)?;
        let found = found.ok_or(StoreError::NotFound("upload"))?;
        document::parse(found.split_once(' ').map_or("", |(_, json)| json))
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        let found: BTreeMap<String, String> = self.table("schedules").await?.into_iter().collect();
        found.values().map(|text| document::parse(text)).collect()
    }

    async fn put_schedule(&self, schedule: Schedule) -> Result<()> {
        let schedule = kept(schedule);
        let (text, due) = (document::text(&schedule)?, milliseconds(schedule.next_fire));
        let set = |table: &str, value: &str| cmd("HSET").arg(self.link().key(table)).arg(&schedule.name).arg(value).clone();
        self.together(&[set("schedules", &text), set("due", &due)]).await.map(drop)
    }

    async fn delete_schedule(&self, name: &str) -> Result<()> {
        let delete = |table: &str| cmd("HDEL").arg(self.link().key(table)).arg(name).clone();
        match self.together(&[delete("schedules"), delete("due")]).await?.first() {
            Some(0) => Err(StoreError::NotFound("schedule")),
            _ => Ok(()),
        }
    }

    async fn fire(&self, name: &str, expected: Timestamp, next: Timestamp, jobs: Vec<NewJob>, now: Timestamp) -> Result<bool> {
        let text: Option<String> = decode(self.link().ask_one(cmd("HGET").arg(self.link().key("schedules")).arg(name)).await?)?;
        let schedule: Schedule = document::parse(&text.ok_or(StoreError::NotFound("schedule"))?)?;
        let last_fire = if jobs.is_empty() { schedule.last_fire } else { Some(now) };
        let schedule = document::text(&kept(Schedule { last_fire, next_fire: next, ..schedule }))?;
        let (expected, next) = (milliseconds(expected), milliseconds(next));
        let guard = Guard { kind: "schedule", name: name.to_owned(), expected, next, document: schedule, letter: None };
        Ok(matches!(self.insert_if(Some(guard), jobs, now).await?, Insertion::Done(_)))
    }

    async fn purge(&self, policy: PurgePolicy, now: Timestamp) -> Result<Purged> {
        purge::purge(self, &policy, now).await
    }

    async fn orphans(&self, keys: Vec<String>) -> Result<Vec<String>> {
        let mut orphans = Vec::new();
        for keys in keys.chunks(STEP) {
            let found: Vec<String> = decode(self.link().ask_one(ORPHANS.call(self.link().prefix()).arg(keys)).await?)?;
            orphans.extend(found);
        }
        Ok(orphans)
    }

    async fn is_live(&self, lease: Lease) -> Result<bool> {
        match self.read(lease.job).await {
            Ok(stored) => Ok(transition::is_held(&stored.record, lease)),
            Err(StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl RedisStore {
    /// Applies a transition to these records and commits those that nobody has changed meanwhile; true for each of them.
    pub async fn change_all(&self, found: Vec<Stored>, now: Timestamp, mut apply: impl FnMut(&mut Record) -> Option<Kind>) -> Result<Vec<bool>> {
        let mut changes = Vec::with_capacity(found.len());
        let mut is_changed = Vec::with_capacity(found.len());
        for mut stored in found {
            let kind = apply(&mut stored.record);
            is_changed.push(kind.is_some());
            changes.extend(kind.map(|kind| {
                let change = Change::transition(&stored.record, kind, now);
                (stored, change)
            }));
        }
        let mut outcomes = self.commit(&changes, now).await?.into_iter();
        Ok(is_changed.into_iter().map(|is_changed| is_changed && matches!(outcomes.next(), Some(Outcome::Done | Outcome::Ended))).collect())
    }

    async fn replace_tuning(&self, queue: &str, change: Tuning, now: Timestamp) -> Result<Tuning> {
        let known: Option<String> = decode(self.link().ask_one(cmd("HGET").arg(self.link().key("tunings")).arg(queue)).await?)?;
        let mut known = known.unwrap_or_default();
        loop {
            let old: Tuning = if known.is_empty() { Tuning::default() } else { document::parse(&known)? };
            let new = old.changed(change.clone());
            let text = document::text(&new)?;
            let paused = if new.paused == Some(true) { "1" } else { "" };
            let call = TUNE.call(self.link().prefix()).arg(milliseconds(now)).arg(queue).arg(&known).arg(&text).arg(paused).clone();
            let answer: String = decode(self.link().ask_one(&call).await?)?;
            if answer == "done" || answer == text {
                return Ok(new);
            }
            known = answer;
        }
    }

    pub async fn table<V: ::redis::FromRedisValue>(&self, name: &str) -> Result<HashMap<String, V>> {
        decode(self.link().ask_one(cmd("HGETALL").arg(self.link().key(name))).await?)
    }

    /// Runs plain commands, all or none.
    pub async fn together(&self, commands: &[Cmd]) -> Result<Vec<u64>> {
        let answers = self.link().ask(|_| {
            let mut transaction = pipeline(commands);
            transaction.atomic();
            transaction
        });
        answers.await?.into_iter().map(decode).collect()
    }
}

/// To the millisecond, as every time that is compared: `fire` does.
fn kept(schedule: Schedule) -> Schedule {
    Schedule { next_fire: document::time(schedule.next_fire.as_millisecond()), ..schedule }
}
