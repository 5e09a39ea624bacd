//! The client's verbs.

use super::change::{Change, unknown_dependency};
use super::scripts::{EVENTS, INSERT, LIST, REMOVE};
use super::stored::{self, Stored, decode, is_nothing};
use super::{RedisStore, milliseconds, outbox, read_all, search};
use crate::job::{CancelMode, Event, Job, JobId, LogLine, Record};
use crate::store::outbox::letters;
use crate::store::{Filter, Inserted, Jobs, Letter, NewJob, Notice, Result, StoreError, document, transition, words};
use ::redis::{Cmd, Value, cmd};
use jiff::Timestamp;
use std::collections::BTreeSet;
use tokio::sync::broadcast;

/// Jobs read in one step of a search for a token's own, and such steps in one call.
const OWNED_STEP: usize = 500;
const OWNED_STEPS_MAX: usize = 200;

/// What an insert must find, and leaves: the schedule that fires, or the pipeline that goes on.
pub struct Guard {
    pub kind: &'static str,
    pub name: String,
    pub expected: String,
    pub next: String,
    pub document: String,
    /// What the pipeline tells.
    pub letter: Option<Letter>,
}

/// What an insert came to.
pub enum Insertion {
    Done(Vec<Inserted>),
    /// Somebody else was faster.
    Late,
}

/// An entry of the stream of events: `<number>-0`, and its fields.
type Entry = (String, Vec<(String, String)>);

#[async_trait::async_trait]
impl Jobs for RedisStore {
    async fn insert(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Inserted>> {
        match self.insert_if(None, jobs, now).await? {
            Insertion::Done(inserted) => Ok(inserted),
            Insertion::Late => Err(StoreError::Unavailable("nothing was to be compared".into())),
        }
    }

    async fn get(&self, id: JobId) -> Result<Record> {
        self.read(id).await.map(|stored| stored.record)
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Job>> {
        let filter = Filter { limit: filter.limit.clamp(1, 500), ..filter };
        let found = match &filter.owner {
            Some(owner) => self.owned_by(owner, &filter).await?,
            None => self.found(&filter).await?,
        };
        Ok(found.into_iter().map(|stored| stored.record.job).collect())
    }

    async fn cancel(&self, id: JobId, mode: CancelMode, now: Timestamp) -> Result<Job> {
        let cancelled = self.change(id, now, |record| match transition::cancel(record, mode, now) {
            Some(kind) => Ok(Change::transition(record, kind, now).asking_to_stop()),
            None => Err(Box::new(record.job.clone())),
        });
        Ok(cancelled.await?.map_or_else(|unchanged| *unchanged, |record| record.job))
    }

    async fn retry(&self, id: JobId, now: Timestamp) -> Result<Job> {
        let retried = self.change(id, now, |record| {
            if !transition::can_retry(record) {
                return Err(StoreError::WrongState(record.job.state));
            }
            let kind = transition::retry(record, now);
            Ok(Change::transition(record, kind, now))
        });
        let job = retried.await?.map(|record| record.job)?;
        if job.waiting_on.is_empty() { Ok(job) } else { self.after_others(id).await }
    }

    async fn remove(&self, id: JobId) -> Result<Vec<String>> {
        let mut stored = self.read(id).await?;
        loop {
            if !stored.record.job.state.is_terminal() {
                return Err(StoreError::WrongState(stored.record.job.state));
            }
            match removal(self.link().ask_one(&self.remove_call(&stored)).await?)? {
                Removal::Done(keys) => return Ok(keys),
                Removal::Newer(newer) => stored = *newer,
                Removal::Gone => return Err(StoreError::NotFound("job")),
            }
        }
    }

    async fn log(&self, id: JobId, from: usize) -> Result<Vec<LogLine>> {
        let key = self.link().key(&format!("log:{id}"));
        let lines: Vec<String> = decode(self.link().ask_one(cmd("LRANGE").arg(key).arg(from).arg(-1)).await?)?;
        if lines.is_empty() {
            self.read(id).await?;
        }
        lines.iter().map(|line| document::parse(line)).collect()
    }

    async fn events(&self, after: u64, job: Option<JobId>, limit: usize) -> Result<Vec<Event>> {
        if let Some(id) = job {
            let call = EVENTS.call(self.link().prefix()).arg(id.to_string()).arg(after).arg(limit).clone();
            let events: Vec<(u64, String)> = decode(self.link().ask_one(&call).await?)?;
            return events.into_iter().map(|(seq, text)| event(seq, &text)).collect();
        }
        // As many entries as there are events to find: more than enough, and the first may begin before the one asked for.
        let call = cmd("XRANGE").arg(self.link().key("events")).arg(format!("({after}-0")).arg("+").arg("COUNT").arg(limit).clone();
        let entries: Vec<Entry> = decode(self.link().ask_one(&call).await?)?;
        let events = entries.iter().map(|(number, fields)| entry(number, fields)).collect::<Result<Vec<_>>>()?;
        Ok(events.into_iter().flatten().filter(|event| event.seq > after).take(limit).collect())
    }

    async fn last_event(&self) -> Result<u64> {
        let last: Option<u64> = decode(self.link().ask_one(cmd("GET").arg(self.link().key("seq"))).await?)?;
        Ok(last.unwrap_or(0))
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.0.notices.subscribe()
    }
}

/// What became of a removal.
pub enum Removal {
    /// The blobs nobody needs any more.
    Done(Vec<String>),
    Newer(Box<Stored>),
    Gone,
}

impl RedisStore {
    /// A job that has begun to wait for others, some of which may have ended before.
    async fn after_others(&self, id: JobId) -> Result<Job> {
        self.tell().await?;
        Ok(self.read(id).await?.record.job)
    }

    async fn found(&self, filter: &Filter) -> Result<Vec<Stored>> {
        let terms = words::terms(filter.text.as_deref().unwrap_or_default());
        if terms.is_empty() { self.page(filter).await } else { self.search(filter, &terms).await }
    }

    /// No index has a token's jobs: they are read among those of others, as far as one call goes.
    async fn owned_by(&self, owner: &str, filter: &Filter) -> Result<Vec<Stored>> {
        let mut step = Filter { limit: OWNED_STEP, ..filter.clone() };
        let mut page = Vec::new();
        for _ in 0..OWNED_STEPS_MAX {
            let found = self.found(&step).await?;
            let is_last = found.len() < OWNED_STEP;
            step.before = found.last().map(Stored::id);
            page.extend(found.into_iter().filter(|stored| stored.record.owner.as_deref() == Some(owner)));
            if is_last || page.len() >= filter.limit {
                break;
            }
        }
        page.truncate(filter.limit);
        Ok(page)
    }

    pub async fn insert_if(&self, guard: Option<Guard>, mut jobs: Vec<NewJob>, now: Timestamp) -> Result<Insertion> {
        for job in jobs.iter_mut().map(|new| &mut new.record.job) {
            let mut seen = BTreeSet::new();
            job.waiting_on = job.after.iter().copied().filter(|id| seen.insert(*id)).collect();
        }
        let mut call = INSERT.call(self.link().prefix());
        call.arg(milliseconds(now));
        match &guard {
            Some(guard) => call.arg(guard.kind).arg(&guard.name).arg(&guard.expected).arg(&guard.next).arg(&guard.document),
            None => call.arg(&["", "", "", "", ""]),
        };
        outbox::add_letters(&mut call, guard.as_ref().and_then(|guard| guard.letter.as_ref()))?;
        for new in &jobs {
            add_job(&mut call, new, now)?;
        }
        let answer = self.link().ask_one(&call).await?;
        if let Value::BulkString(text) = &answer {
            return match &text[..] {
                b"late" => Ok(Insertion::Late),
                b"missing" => Err(StoreError::NotFound("schedule")),
                b"mismatch" => Err(StoreError::IdempotencyMismatch),
                _ => Err(unknown_dependency(&String::from_utf8_lossy(text))),
            };
        }
        let answers: Vec<Value> = decode(answer)?;
        let mut inserted = Vec::with_capacity(jobs.len());
        for (mut new, answer) in jobs.into_iter().zip(answers) {
            if let Value::BulkString(leader) = &answer
                && let Ok(leader) = String::from_utf8_lossy(leader).parse()
            {
                new.record.job.waiting_on = vec![leader];
                inserted.push(Inserted::New(new.record.job));
                continue;
            }
            inserted.push(match Stored::read(answer)? {
                Some(existing) => Inserted::Existing(existing.record.job),
                None if new.record.job.waiting_on.is_empty() => Inserted::New(new.record.job),
                None => Inserted::New(self.after_others(new.record.job.id).await?),
            });
        }
        Ok(Insertion::Done(inserted))
    }

    async fn page(&self, filter: &Filter) -> Result<Vec<Stored>> {
        let mut call = LIST.call(self.link().prefix());
        call.arg(filter.limit).arg(filter.before.map(|id| id.to_string()).unwrap_or_default());
        search::narrow(&mut call, filter);
        read_all(decode(self.link().ask_one(&call).await?)?)
    }

    pub fn remove_call(&self, stored: &Stored) -> Cmd {
        let mut call = REMOVE.call(self.link().prefix());
        call.arg(stored.id().to_string()).arg(stored.version);
        for key in stored.record.artifacts.values() {
            call.arg(key);
        }
        call
    }
}

pub fn removal(answer: Value) -> Result<Removal> {
    if is_nothing(&answer) {
        return Ok(Removal::Gone);
    }
    if let Value::Array(items) = &answer
        && matches!(items.first(), Some(Value::BulkString(word)) if word == b"removed")
    {
        let mut keys: Vec<String> = decode(answer)?;
        keys.remove(0);
        return Ok(Removal::Done(keys));
    }
    Ok(Stored::read(answer)?.map_or(Removal::Gone, |stored| Removal::Newer(Box::new(stored))))
}

/// One job's arguments, as insert.lua lists them.
fn add_job(call: &mut Cmd, new: &NewJob, now: Timestamp) -> Result<()> {
    let (record, job) = (&new.record, &new.record.job);
    let (key, digest) = new.idempotency.as_ref().map_or(("", ""), |(key, digest)| (key, digest));
    call.arg(job.id.to_string()).arg(job.attempt).arg(stored::rest(record)?);
    call.arg(Stored::body(&words::of(record), record)?);
    call.arg(serde_json::json!({"converter": job.converter}).to_string()).arg(key).arg(digest);
    call.arg(outbox::watch(record)?);
    outbox::add_letters(call, &letters(record, "queued", now))
}

/// The events of one entry of the stream, the last of which has the entry's number.
fn entry(number: &str, fields: &[(String, String)]) -> Result<Vec<Event>> {
    let last: u64 = number.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let first = (last + 1).saturating_sub(fields.len() as u64);
    (first..).zip(fields).map(|(seq, (_, text))| event(seq, text)).collect()
}

/// When, kind, job, queue and detail, a line each.
fn event(seq: u64, text: &str) -> Result<Event> {
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (at, kind, job, queue, detail) = (line(), line(), line(), line(), line());
    Ok(Event {
        seq,
        at: document::time(at.parse().unwrap_or(0)),
        kind: kind.to_owned(),
        job: job.parse().ok(),
        queue: queue.to_owned(),
        detail: document::parse(detail)?,
    })
}
