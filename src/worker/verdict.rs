//! How an attempt is judged: the first final cause wins, then the child's own word, then how it died.

use super::running::Cause;
use crate::failure::{Code, Failure, RetryPolicy};
use crate::job::Job;
use crate::queue::Settings;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// What an attempt came to.
pub enum Verdict {
    Succeeded,
    Failed(Box<Failure>),
    /// Goes back to its queue; nothing is counted.
    Interrupted,
    /// Not ours any more: say nothing.
    Abandoned,
}

/// The failure that an outside cause stands for.
pub fn from_cause(cause: Cause, soft_ms: u64, hard_ms: u64) -> Verdict {
    let span = crate::limits::Span;
    let failure = match cause {
        Cause::Interrupted => return Verdict::Interrupted,
        Cause::LeaseLost => return Verdict::Abandoned,
        Cause::Cancelled => Failure::new(Code::Cancelled, "The job was cancelled."),
        Cause::SoftTimeLimit => Failure::new(Code::SoftTimeLimit, format!("The conversion took longer than {}.", span(soft_ms))),
        Cause::HardTimeLimit => Failure::new(Code::HardTimeLimit, format!("The conversion did not end within {} and was killed.", span(hard_ms))),
        Cause::Stalled => Failure::new(Code::HardTimeLimit, "The conversion made no progress any more and was killed."),
    };
    Verdict::Failed(Box::new(failure))
}

/// When to try again after this failure, if at all.
pub fn retry_at(job: &Job, failure: &Failure, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    let before = job.attempts.iter().filter(|a| a.cause.as_deref() == Some(failure.code.as_str())).count();
    let again = match failure.code.retry_policy() {
        RetryPolicy::Never => false,
        RetryPolicy::Once => before == 0,
        RetryPolicy::UntilMaxAttempts => true,
    };
    let wait = backoff(job, settings.retry_delay_max.as_millis());
    (again && job.failures + 1 < job.max_attempts).then(|| now.saturating_add(wait).unwrap_or(Timestamp::MAX))
}

/// Doubles with each failure, up to the cap; jitter of a fifth either way, seeded by the attempt so that it can be told again.
fn backoff(job: &Job, cap_ms: u64) -> SignedDuration {
    let base = job.retry_delay.as_millis().saturating_mul(1 << job.failures.min(20)).min(cap_ms);
    let seed = Sha256::digest(format!("{}:{}", job.id, job.attempt));
    let jitter = f64::from(seed[0]) / 255.0 * 0.4 + 0.8;
    SignedDuration::from_millis((base as f64 * jitter) as i64)
}
