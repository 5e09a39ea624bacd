//! Records as the keepers write them: JSON and milliseconds.

use super::{Result, StoreError};
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
