//! What this process's worker counts and times, for `/metrics` and for the history.

use crate::job::{Job, State};
use crate::store::{Measure, Sums};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    queue: String,
    /// What the job became: `succeeded`, `failed`, `cancelled`, or `queued` to be tried again.
    state: &'static str,
    /// The failure's code; empty after a success.
    code: &'static str,
}

type Seconds = Family<Queue, Histogram, fn() -> Histogram>;

/// The worker's instruments and the registry they are told from.
pub struct Meters {
    pub registry: Registry,
    waited: Seconds,
    ran: Seconds,
    ended: Family<Ended, Counter>,
    published: Family<Queue, Counter>,
    reused: Family<Queue, Counter>,
    held_back: Family<Queue, Counter>,
    leases_lost: Counter,
    leases_reaped: Counter,
    stalls: Family<Queue, Counter>,
    /// For the history, since they were taken last.
    sums: Mutex<Sums>,
}

/// 10 ms to 3 hours.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 20))
}

impl Default for Meters {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("millrace");
        let (waited, ran) = (Seconds::new_with_constructor(seconds), Seconds::new_with_constructor(seconds));
        let (ended, published, leases_lost, leases_reaped) = (Family::default(), Family::default(), Counter::default(), Counter::default());
        let (reused, held_back, stalls) = (Family::default(), Family::default(), Family::default());
        registry.register_with_unit("job_wait", "From when a job is due to the start of its attempt, by queue", Unit::Seconds, waited.clone());
        registry.register_with_unit("job_run", "From the start of an attempt to its end, by queue", Unit::Seconds, ran.clone());
        registry.register("attempts_ended", "Attempts that ended here, by queue, what became of the job, and the failure's code", ended.clone());
        registry.register_with_unit("blob_published", "Outputs published from here, by queue", Unit::Bytes, published.clone());
        registry.register("jobs_reused", "Jobs answered here from an equal one that had finished, by queue", reused.clone());
        registry.register("attempts_held_back", "Attempts that waited for memory or scratch space, by queue", held_back.clone());
        registry.register("leases_lost", "Attempts of this worker whose lease was lost", leases_lost.clone());
        registry.register("leases_reaped", "Leases of lost workers that this one took back", leases_reaped.clone());
        registry.register("slots_stalled", "Times that a slot stood idle for over 2 s while jobs of its queue were due", stalls.clone());
        Meters { registry, waited, ran, ended, published, reused, held_back, leases_lost, leases_reaped, stalls, sums: Mutex::default() }
    }
}

impl Meters {
    pub fn leased(&self, job: &Job, now: Timestamp) {
        let waited_s = since(job.run_at, now);
        self.waited.get_or_create(&of(job)).observe(waited_s);
        self.add(job, &[(Measure::Started, 1.0), (Measure::WaitedS, waited_s)]);
    }

    /// `job` as the end of its attempt has left it.
    pub fn ended(&self, job: &Job, now: Timestamp) {
        let became = match job.state {
            State::Succeeded => Measure::Succeeded,
            State::Failed => Measure::Failed,
            State::Cancelled => Measure::Cancelled,
            State::Queued | State::Running => Measure::Retried,
        };
        self.add(job, &[(became, 1.0)]);
        if let Some(attempt) = job.attempts.last() {
            let ran_s = since(attempt.started_at, now);
            self.ran.get_or_create(&of(job)).observe(ran_s);
            self.add(job, &[(Measure::RanS, ran_s)]);
        }
        let code = job.error.as_ref().filter(|_| job.state != State::Succeeded).map_or("", |error| error.code.as_str());
        self.ended.get_or_create(&Ended { queue: job.queue.clone(), state: job.state.as_str(), code }).inc();
    }

    fn add(&self, job: &Job, values: &[(Measure, f64)]) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let measures = sums.entry(job.queue.clone()).or_default();
        values.iter().for_each(|(measure, value)| *measures.entry(*measure).or_default() += value);
    }

    /// What has come together since the last call.
    pub fn take_sums(&self) -> Sums {
        std::mem::take(&mut *self.sums.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn published(&self, queue: &str, bytes: u64) {
        self.published.get_or_create(&Queue { queue: queue.to_owned() }).inc_by(bytes);
    }

    pub fn held_back(&self, job: &Job) {
        self.held_back.get_or_create(&of(job)).inc();
    }

    pub fn reused(&self, job: &Job) {
        self.reused.get_or_create(&of(job)).inc();
    }

    pub fn lost_lease(&self) {
        self.leases_lost.inc();
    }

    /// Lets this queue's stalls be told from the start: a counter that begins with its first event is no increase.
    pub fn watched(&self, queue: &str) {
        drop(self.stalls.get_or_create(&Queue { queue: queue.to_owned() }));
    }

    pub fn stalled(&self, queue: &str) {
        self.stalls.get_or_create(&Queue { queue: queue.to_owned() }).inc();
    }

    pub fn reaped(&self, leases: usize) {
        self.leases_reaped.inc_by(leases as u64);
    }
}

fn of(job: &Job) -> Queue {
    Queue { queue: job.queue.clone() }
}

fn since(then: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(then).as_secs_f64().max(0.0)
}
