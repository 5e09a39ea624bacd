//! A job, as submitted.

use super::InputRef;
use crate::access::Quota;
use crate::failure::{Refusal, RefusalKind};
use crate::format::Format;
use crate::job::{JobId, OnPartial, Webhook};
use crate::limits::Span;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// One of several results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputRequest {
    /// Names the result within the job; the input's name by default.
    pub name: Option<String>,
    pub to: Option<Format>,
    pub preset: Option<String>,
    #[schema(value_type = Object)]
    pub options: Value,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobRequest)]
pub struct Request {
    pub input: InputRef,
    #[serde(default)]
    pub to: Option<Format>,
    /// Overrides what the bytes were recognised as.
    #[serde(default)]
    pub from: Option<Format>,
    #[serde(default)]
    pub preset: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub options: Value,
    /// Several results of one input, instead of `to`, `preset` and `options`. At most 32.
    #[serde(default)]
    pub outputs: Vec<OutputRequest>,
    #[serde(default)]
    pub on_partial: OnPartial,
    #[serde(default)]
    pub queue: Option<String>,
    /// 0 to 9; 9 is taken first.
    #[serde(default)]
    pub priority: Option<u8>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub run_at: Option<Timestamp>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub soft_time_limit: Option<Span>,
    #[serde(default)]
    pub hard_time_limit: Option<Span>,
    /// 1 to 100.
    #[serde(default)]
    pub max_attempts: Option<u32>,
    #[serde(default)]
    pub retry_delay: Option<Span>,
    #[serde(default)]
    pub webhook: Option<Webhook>,
    #[serde(default)]
    pub notify_email: Option<String>,
    /// Inherited by every job that this one causes. At most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// The client's own; at most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Jobs that must succeed before this one starts; if one does not, neither does this one (`dependency_failed`). At most 100.
    #[serde(default)]
    pub after: Vec<JobId>,
    /// At most one job with this key is queued or running.
    #[serde(default)]
    pub unique_key: Option<String>,
    #[serde(default)]
    pub fairness_key: Option<String>,
    /// The token that asks; its jobs are its own.
    #[serde(skip)]
    pub owner: Option<Owner>,
}

/// Who sends files and jobs, where that is a token that sees only its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub token: String,
    pub quota: Quota,
    /// Its jobs share nothing with others'.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

const OBJECT_MAX_BYTES: usize = 16 * 1024;
const OUTPUTS_MAX: usize = 32;
const AFTER_MAX: usize = 100;
const KEY_MAX_CHARS: usize = 200;

/// Equal requests have equal digests, whatever the order of their fields was.
pub fn digest(request: &impl Serialize) -> String {
    let canonical = serde_json::to_value(request).map(|v| v.to_string()).unwrap_or_default();
    hex::encode(Sha256::digest(canonical))
}

impl Request {
    /// A request with nothing but an input and a format.
    pub fn new(input: InputRef, to: Option<Format>) -> Self {
        Request {
            input,
            to,
            from: None,
            preset: None,
            options: Value::Null,
            outputs: Vec::new(),
            on_partial: OnPartial::default(),
            queue: None,
            priority: None,
            run_at: None,
            expires_at: None,
            soft_time_limit: None,
            hard_time_limit: None,
            max_attempts: None,
            retry_delay: None,
            webhook: None,
            notify_email: None,
            context: Map::new(),
            metadata: Map::new(),
            after: Vec::new(),
            unique_key: None,
            fairness_key: None,
            owner: None,
        }
    }

    /// What can be told without looking at the input.
    pub fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        let refuse = |field: &str, given: String, allowed: &str| {
            Err(Refusal::new(RefusalKind::InvalidRequest, format!("`{field}` must be {allowed}.")).field(field).given(given).allowed([allowed]))
        };
        if let Some(priority) = self.priority.filter(|p| *p > 9) {
            return refuse("priority", priority.to_string(), "0 to 9");
        }
        if let Some(attempts) = self.max_attempts.filter(|n| !(1..=100).contains(n)) {
            return refuse("max_attempts", attempts.to_string(), "1 to 100");
        }
        if let (Some(soft), Some(hard)) = (self.soft_time_limit, self.hard_time_limit)
            && soft > hard
        {
            return refuse("soft_time_limit", soft.to_string(), "no longer than hard_time_limit");
        }
        if let Some(expires_at) = self.expires_at.filter(|at| *at <= now) {
            return refuse("expires_at", expires_at.to_string(), "in the future");
        }
        if self.outputs.len() > OUTPUTS_MAX {
            return refuse("outputs", self.outputs.len().to_string(), "at most 32 outputs");
        }
        if self.after.len() > AFTER_MAX {
            return refuse("after", self.after.len().to_string(), "at most 100 jobs");
        }
        if !self.outputs.is_empty() && (self.to.is_some() || self.preset.is_some() || !self.options.is_null()) {
            return refuse("outputs", "outputs and to, preset or options".into(), "given alone: each output has its own to, preset and options");
        }
        for (field, object) in [("context", &self.context), ("metadata", &self.metadata)] {
            let size = serde_json::to_string(object).map_or(0, |text| text.len());
            if size > OBJECT_MAX_BYTES {
                return refuse(field, format!("{size} bytes"), "at most 16 KiB of JSON");
            }
        }
        for (field, key) in [("unique_key", &self.unique_key), ("fairness_key", &self.fairness_key)] {
            if let Some(key) = key.as_ref().filter(|k| k.is_empty() || k.chars().count() > KEY_MAX_CHARS) {
                return refuse(field, format!("{} characters", key.chars().count()), "1 to 200 characters");
            }
        }
        Ok(())
    }
}
