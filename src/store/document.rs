//! Records as the keepers write them: JSON, milliseconds, and the words a search finds them by.

use super::{Result, StoreError};
use crate::job::Record;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Unavailable(e.to_string()))
}

pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| StoreError::Unavailable(format!("a record cannot be read: {e}")))
}

pub fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

/// What a search finds a job by, beside its id.
pub fn words(record: &Record) -> String {
    let job = &record.job;
    let mut words = vec![job.converter.clone()];
    words.extend(job.input.as_ref().map(|i| i.name.clone()));
    words.extend(job.outputs.iter().map(|o| o.name.clone()));
    words.extend(job.error.as_ref().map(|e| e.code.to_string()));
    words.extend(job.fairness_key.clone());
    words.extend(job.metadata.values().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)));
    words.join(" ")
}
