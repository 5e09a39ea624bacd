//! The client's verbs.

use super::change::Change;
use super::scripts::{EVENTS, INSERT, LIST, REMOVE};
use super::stored::{self, Stored, decode, is_nothing};
use super::{RedisStore, maybe_milliseconds, milliseconds, read_all, search};
use crate::job::{CancelMode, Event, Job, JobId, LogLine, Record};
use crate::store::{Filter, Inserted, Jobs, NewJob, Notice, Result, StoreError, document, transition};
use ::redis::{Cmd, Value, cmd};
use jiff::Timestamp;
use std::collections::HashMap;
use tokio::sync::broadcast;

/// What a schedule's fire must find, and leave.
pub struct Fire {
    pub name: String,
    pub expected: Timestamp,
    pub next: Timestamp,
    pub schedule: String,
}

/// What an insert came to.
pub enum Insertion {
    Done(Vec<Inserted>),
    /// Somebody else has fired the schedule.
    Fired,
}

/// An entry of the stream of events: `<number>-0`, and its fields.
type Entry = (String, HashMap<String, String>);

#[async_trait::async_trait]
impl Jobs for RedisStore {
    async fn insert(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Inserted>> {
        match self.insert_for(None, jobs, now).await? {
            Insertion::Done(inserted) => Ok(inserted),
            Insertion::Fired => Err(StoreError::Unavailable("no schedule was asked for".into())),
        }
    }

    async fn get(&self, id: JobId) -> Result<Record> {
        self.read(id).await.map(|stored| stored.record)
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Job>> {
        let filter = Filter { limit: filter.limit.clamp(1, 500), ..filter };
        let terms = search::terms(filter.text.as_deref().unwrap_or_default());
        let found = if terms.is_empty() { self.page(&filter).await? } else { self.search(&filter, &terms).await? };
        Ok(found.into_iter().map(|stored| stored.record.job).collect())
    }

    async fn cancel(&self, id: JobId, mode: CancelMode, now: Timestamp) -> Result<Job> {
        let cancelled = self.change(id, now, |record| match transition::cancel(record, mode, now) {
            Some(kind) => Ok(Change::transition(record, kind).asking_to_stop()),
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
            Ok(Change::transition(record, kind))
        });
        retried.await?.map(|record| record.job)
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
        let call = match job {
            Some(id) => EVENTS.call(self.link().prefix()).arg(id.to_string()).arg(after).arg(limit).clone(),
            None => {
                let first = format!("({after}-0");
                cmd("XRANGE").arg(self.link().key("events")).arg(first).arg("+").arg("COUNT").arg(limit).clone()
            }
        };
        let entries: Vec<Entry> = decode(self.link().ask_one(&call).await?)?;
        entries.into_iter().map(event).collect()
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
    pub async fn insert_for(&self, fire: Option<Fire>, jobs: Vec<NewJob>, now: Timestamp) -> Result<Insertion> {
        let mut call = INSERT.call(self.link().prefix());
        call.arg(milliseconds(now));
        match &fire {
            Some(fire) => call.arg(&fire.name).arg(milliseconds(fire.expected)).arg(milliseconds(fire.next)).arg(&fire.schedule),
            None => call.arg("").arg("").arg("").arg(""),
        };
        for new in &jobs {
            add_job(&mut call, new)?;
        }
        let answer = self.link().ask_one(&call).await?;
        if let Value::BulkString(text) = &answer {
            return match &text[..] {
                b"fired" => Ok(Insertion::Fired),
                b"missing" => Err(StoreError::NotFound("schedule")),
                _ => Err(StoreError::IdempotencyMismatch),
            };
        }
        let answers: Vec<Value> = decode(answer)?;
        let inserted = jobs.into_iter().zip(answers).map(|(new, answer)| {
            Ok(match Stored::read(answer)? {
                Some(existing) => Inserted::Existing(existing.record.job),
                None => Inserted::New(new.record.job),
            })
        });
        inserted.collect::<Result<_>>().map(Insertion::Done)
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
fn add_job(call: &mut Cmd, new: &NewJob) -> Result<()> {
    let (record, job) = (&new.record, &new.record.job);
    let (key, digest) = new.idempotency.as_ref().map_or(("", ""), |(key, digest)| (key, digest));
    call.arg(job.id.to_string()).arg(&job.queue).arg(job.attempt).arg(job.priority);
    call.arg(milliseconds(job.run_at)).arg(milliseconds(job.created_at)).arg(maybe_milliseconds(job.expires_at));
    call.arg(job.from.map(|f| f.id()).unwrap_or_default()).arg(job.unique_key.as_deref().unwrap_or_default());
    call.arg(record.upload.as_deref().unwrap_or_default()).arg(record.borrowed().unwrap_or_default());
    call.arg(Stored::body(&stored::index(record), record)?);
    call.arg(serde_json::json!({"converter": job.converter}).to_string()).arg(key).arg(digest);
    Ok(())
}

fn event((number, fields): Entry) -> Result<Event> {
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    Ok(Event {
        seq: number.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0),
        at: document::time(field("at").parse().unwrap_or(0)),
        kind: field("kind").to_owned(),
        job: field("job").parse().ok(),
        queue: field("queue").to_owned(),
        detail: document::parse(field("detail"))?,
    })
}
