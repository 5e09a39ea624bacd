//! What happened, summed up by the minute and by the hour: enough for charts, and it outlives processes and records.

use super::Result;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How long a stretch one entry sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Kept for 26 hours.
    Minute,
    /// Kept for 35 days.
    Hour,
}

impl Step {
    pub const ALL: [Step; 2] = [Step::Minute, Step::Hour];

    pub fn length(self) -> SignedDuration {
        match self {
            Step::Minute => SignedDuration::from_mins(1),
            Step::Hour => SignedDuration::from_hours(1),
        }
    }

    pub fn kept_for(self) -> SignedDuration {
        match self {
            Step::Minute => SignedDuration::from_hours(26),
            Step::Hour => SignedDuration::from_hours(35 * 24),
        }
    }

    /// The start of the stretch that `at` lies in.
    pub fn start(self, at: Timestamp) -> Timestamp {
        let length = self.length().as_secs();
        Timestamp::from_second(at.as_second().div_euclid(length) * length).unwrap_or(at)
    }
}

/// What is summed up, of one queue or of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Attempts that ended as this.
    Succeeded,
    Failed,
    Cancelled,
    /// Attempts whose job is to be tried again.
    Retried,
    /// Attempts begun.
    Started,
    /// Seconds from when a job was due to its attempt, over all that began.
    WaitedS,
    /// Seconds from an attempt's start to its end, over all that ended.
    RanS,
    /// Slots in use, times seconds.
    UsedS,
    /// Slots open, times seconds.
    OpenS,
    /// Processors' time in use, as shares of the host times seconds; of no queue.
    BusyS,
    /// Seconds over which that was measured, host by host; of no queue.
    MeasuredS,
}

impl Measure {
    pub const ALL: [Measure; 11] = [
        Measure::Succeeded,
        Measure::Failed,
        Measure::Cancelled,
        Measure::Retried,
        Measure::Started,
        Measure::WaitedS,
        Measure::RanS,
        Measure::UsedS,
        Measure::OpenS,
        Measure::BusyS,
        Measure::MeasuredS,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Succeeded => "succeeded",
            Measure::Failed => "failed",
            Measure::Cancelled => "cancelled",
            Measure::Retried => "retried",
            Measure::Started => "started",
            Measure::WaitedS => "waited_s",
            Measure::RanS => "ran_s",
            Measure::UsedS => "used_s",
            Measure::OpenS => "open_s",
            Measure::BusyS => "busy_s",
            Measure::MeasuredS => "measured_s",
        }
    }

    pub fn parse(name: &str) -> Option<Measure> {
        Measure::ALL.into_iter().find(|measure| measure.as_str() == name)
    }
}

/// By queue; what belongs to none stands under the empty name.
pub type Sums = BTreeMap<String, BTreeMap<Measure, f64>>;

/// The sums of a stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    pub start: Timestamp,
    pub sums: Sums,
}

/// The history of all workers together.
#[async_trait::async_trait]
pub trait History {
    /// Adds to the minute and the hour that `now` lies in, and forgets what is past its time. One whose answer was lost may
    /// count twice: these are figures to look at, not to settle by.
    async fn add(&self, sums: Sums, now: Timestamp) -> Result<()>;
    /// The stretches from the one that `since` lies in up to the one of `now`, oldest first, without those in which nothing was
    /// added.
    async fn history(&self, step: Step, since: Timestamp, now: Timestamp) -> Result<Vec<Stretch>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_has_a_name_of_its_own() {
        for measure in Measure::ALL {
            assert_eq!(Measure::parse(measure.as_str()), Some(measure));
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.as_str());
        }
    }

    #[test]
    fn stretches_begin_on_the_clock() {
        let at: Timestamp = "2026-03-04T05:06:07.8Z".parse().unwrap();
        assert_eq!(Step::Minute.start(at).to_string(), "2026-03-04T05:06:00Z");
        assert_eq!(Step::Hour.start(at).to_string(), "2026-03-04T05:00:00Z");
    }
}
