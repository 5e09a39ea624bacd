//! A queue's live settings.

use crate::limits::{Rate, Span};
use crate::queue::Autoscale;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// Live settings of a queue, on top of its file; what is absent is the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// Slots, 0 to 1024; without `autoscale` beside it, this ends an autoscale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Slots that follow the load instead; null goes back to the fixed number.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<Autoscale>)]
    pub autoscale: Option<Option<Autoscale>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_time_limit: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_time_limit: Option<Span>,
    /// Starts over all workers; null lifts the file's limit.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<Rate>)]
    pub rate_limit: Option<Option<Rate>>,
    /// 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<Span>,
    /// No new leases while true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

impl Tuning {
    /// These settings with the fields that `change` gives.
    pub fn changed(self, change: Tuning) -> Tuning {
        let fixed = change.concurrency.map(|_| None);
        Tuning {
            concurrency: change.concurrency.or(self.concurrency),
            autoscale: change.autoscale.or(fixed).or(self.autoscale),
            soft_time_limit: change.soft_time_limit.or(self.soft_time_limit),
            hard_time_limit: change.hard_time_limit.or(self.hard_time_limit),
            rate_limit: change.rate_limit.or(self.rate_limit),
            max_attempts: change.max_attempts.or(self.max_attempts),
            retry_delay: change.retry_delay.or(self.retry_delay),
            paused: change.paused.or(self.paused),
        }
    }
}

/// Null is a value of its own here, other than a field that is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(d).map(Some)
}
