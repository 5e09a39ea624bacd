//! The clocks of one attempt, and the limits they are held against.

use super::running::{Cause, RunningAttempt};
use crate::limits::Limits;
use std::time::{Duration, Instant};

/// How long a converter that was asked to stop may tidy up before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// The clocks of one attempt.
pub struct Watch {
    pub started: Instant,
    pub asked_at: Option<Instant>,
    /// When it last made progress or used the processor.
    busy_at: Instant,
    cpu_ms: u64,
}

impl Watch {
    pub fn start() -> Watch {
        let started = Instant::now();
        Watch { started, asked_at: None, busy_at: started, cpu_ms: 0 }
    }

    pub fn busy(&mut self) {
        self.busy_at = Instant::now();
    }

    pub fn enforce(&mut self, attempt: &RunningAttempt, limits: &Limits, cpu_ms: Option<u64>) {
        let (soft, hard) = attempt.limits();
        let elapsed = self.started.elapsed().as_millis() as u64;
        if cpu_ms.is_some_and(|ms| ms > self.cpu_ms) {
            self.cpu_ms = cpu_ms.unwrap_or(self.cpu_ms);
            self.busy();
        }
        if elapsed >= hard {
            attempt.end(Cause::HardTimeLimit);
            attempt.kill.cancel();
        } else if elapsed >= soft {
            attempt.end(Cause::SoftTimeLimit);
        } else if self.busy_at.elapsed() >= limits.stall.duration() {
            attempt.end(Cause::Stalled);
        }
        // After a soft time limit the hard one is the grace.
        if self.asked_at.is_some_and(|at| at.elapsed() >= GRACE) && attempt.cause() != Some(Cause::SoftTimeLimit) {
            attempt.kill.cancel();
        }
    }
}
