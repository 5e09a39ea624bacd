//! A job as the scripts give it: its record as of the last commit, and what has happened since.

use super::{maybe_milliseconds, milliseconds};
use crate::job::{JobId, Lease, Record, State};
use crate::progress::Progress;
use crate::store::{Renewal, Result, StoreError, document, transition};
use ::redis::{FromRedisValue, Value, from_redis_value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A record with what it takes to write it back.
#[derive(Clone)]
pub struct Stored {
    pub version: u64,
    pub words: String,
    pub record: Record,
}

/// What a lease adds to a record; kept beside it until the next commit, so that the script need not write JSON.
#[derive(Serialize, Deserialize)]
pub struct Facts {
    pub worker: String,
    pub sandbox_level: u8,
    pub now: Timestamp,
}

pub fn decode<T: FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(|e| StoreError::Unavailable(format!("an answer cannot be read: {e}")))
}

/// Nothing was found: nil, or the empty text a script says instead.
pub fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Nil) || matches!(value, Value::BulkString(text) if text.is_empty())
}

impl Stored {
    /// Reads what `found` in shared.lua returns.
    pub fn read(value: Value) -> Result<Option<Stored>> {
        if is_nothing(&value) {
            return Ok(None);
        }
        let (version, body, facts, tuning, waiting, run): (u64, String, String, String, Option<String>, HashMap<String, String>) = decode(value)?;
        let (words, json) = body.split_once('\n').unwrap_or(("", &body));
        let mut record: Record = document::parse(json)?;
        if let Some(waiting) = waiting {
            record.job.waiting_on = waiting.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
        }
        if !facts.is_empty() {
            leased(&mut record, &facts, &tuning)?;
        }
        if !run.is_empty() {
            let lease = Lease { job: record.job.id, attempt: record.job.attempt };
            transition::renew(&mut record, &renewal(lease, &run)?);
        }
        Ok(Some(Stored { version, words: words.to_owned(), record }))
    }

    pub fn id(&self) -> JobId {
        self.record.job.id
    }

    /// What is written as `:body:<id>`.
    pub fn body(words: &str, record: &Record) -> Result<String> {
        Ok(format!("{words}\n{}", document::text(record)?))
    }
}

/// What a lease has made of a record, under the queue's live settings then.
pub fn leased(record: &mut Record, facts: &str, tuning: &str) -> Result<()> {
    if !tuning.is_empty() {
        transition::tune(record, &document::parse(tuning)?);
    }
    // The last one it waited for may have succeeded since that commit.
    record.job.waiting_on.clear();
    let facts: Facts = document::parse(facts)?;
    transition::lease(record, &facts.worker, facts.sandbox_level, facts.now);
    Ok(())
}

/// What REST in shared.lua names, in its order.
pub fn rest(record: &Record) -> Result<String> {
    let job = &record.job;
    let waiting = if job.state == State::Queued { ids(&job.waiting_on) } else { String::new() };
    let lines = [
        job.from.map(|f| f.id()).unwrap_or_default(),
        &maybe_milliseconds(job.expires_at),
        &job.pipeline.map(|id| format!("{id} {}", job.step.as_deref().unwrap_or_default())).unwrap_or_default(),
        &job.queue,
        &job.priority.to_string(),
        &milliseconds(job.run_at),
        &milliseconds(job.created_at),
        &maybe_milliseconds(job.finished_at),
        &kept(record),
        record.upload.as_deref().unwrap_or_default(),
        record.borrowed().unwrap_or_default(),
        job.unique_key.as_deref().unwrap_or_default(),
        &document::text(&job.fairness_key.as_deref().unwrap_or_default())?,
        record.owner.as_deref().unwrap_or_default(),
        &waiting,
    ];
    Ok(lines.join("\n"))
}

/// What is kept of its outputs, and for whom, as shared.lua has it.
fn kept(record: &Record) -> String {
    let has_bytes = !record.artifacts.is_empty();
    match &record.reuse_key {
        None if has_bytes => "1".into(),
        None => String::new(),
        Some(key) if record.is_whole() => format!("2{key}"),
        Some(key) => format!("{}{key}", u8::from(has_bytes)),
    }
}

/// Ids as the scripts have them.
fn ids(ids: &[JobId]) -> String {
    ids.iter().map(JobId::to_string).collect::<Vec<_>>().join(" ")
}

/// The renewals since the last commit, as one.
fn renewal(lease: Lease, run: &HashMap<String, String>) -> Result<Renewal> {
    let outputs = run.iter().filter_map(|(name, text)| Some((name.strip_prefix("output:")?, text)));
    Ok(Renewal {
        lease,
        progress: run.get("progress").map(|text| document::parse(text)).transpose()?,
        outputs: outputs.map(|(group, text)| Ok((group.to_owned(), document::parse::<Progress>(text)?))).collect::<Result<_>>()?,
        media: run.get("media").map(|text| document::parse(text)).transpose()?,
        log: Vec::new(),
    })
}

/// The facts of one renewal, by the names `renewal` reads them back by.
pub fn facts(renewal: &Renewal) -> Result<Vec<(String, String)>> {
    let mut facts = Vec::new();
    if let Some(progress) = &renewal.progress {
        facts.push(("progress".to_owned(), document::text(progress)?));
    }
    if let Some(media) = &renewal.media {
        facts.push(("media".to_owned(), document::text(media)?));
    }
    for (group, progress) in &renewal.outputs {
        facts.push((format!("output:{group}"), document::text(progress)?));
    }
    Ok(facts)
}
