//! The transitions of one record, as pure functions: every keeper applies these inside its own transaction.

use super::{Finish, OutputDone, Renewal, Tuning};
use crate::failure::{Code, Failure};
use crate::job::{Attempt, CancelMode, ItemError, JobId, Lease, Media, Record, State, Stats};
use crate::progress::Progress;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Leases that may be lost before the job is given up.
pub const RECOVERIES_MAX: u32 = 3;

/// What a transition tells the world: the event's kind.
pub type Kind = &'static str;

/// Small facts for a transition's event: the attempt, and for an end in failure its code.
pub fn detail(record: &Record) -> Value {
    let job = &record.job;
    match job.error.as_ref().filter(|_| job.state.is_terminal()) {
        Some(error) => json!({"attempt": job.attempt, "code": error.code}),
        None => json!({"attempt": job.attempt}),
    }
}

pub fn is_held(record: &Record, lease: Lease) -> bool {
    record.job.state == State::Running && record.job.attempt == lease.attempt
}

/// `queued -> running`, one attempt more.
pub fn lease(record: &mut Record, worker: &str, sandbox_level: u8, now: Timestamp) -> Kind {
    let job = &mut record.job;
    job.state = State::Running;
    job.attempt += 1;
    job.started_at.get_or_insert(now);
    job.error = None;
    job.progress = Progress::default();
    job.attempts.push(Attempt {
        number: job.attempt,
        worker: worker.to_owned(),
        started_at: now,
        finished_at: None,
        cause: None,
        cpu_ms: 0,
        memory_peak_bytes: 0,
        scratch_peak_bytes: 0,
        sandbox_level,
    });
    "started"
}

pub fn renew(record: &mut Record, renewal: &Renewal) {
    measured(record, renewal.media.as_ref());
    let job = &mut record.job;
    if let Some(progress) = &renewal.progress {
        job.progress = progress.clone();
    }
    for (group, progress) in &renewal.outputs {
        if let Some(output) = job.outputs.iter_mut().find(|o| o.group == *group && !o.state.is_terminal()) {
            output.state = State::Running;
            output.progress = progress.clone();
        }
    }
}

/// Replaces an output's entry by what came of it: one entry per file.
pub fn output_done(record: &mut Record, done: OutputDone) -> Kind {
    let job = &mut record.job;
    let ready = done.entries.iter().all(|o| o.state == State::Succeeded);
    let at = job.outputs.iter().position(|o| o.group == done.group).unwrap_or(job.outputs.len());
    job.outputs.retain(|o| o.group != done.group);
    let at = at.min(job.outputs.len());
    job.outputs.splice(at..at, done.entries);
    record.artifacts.extend(done.artifacts);
    record.job.stats = stats(record);
    if ready { "output_ready" } else { "output_failed" }
}

/// `running -> succeeded | failed | cancelled`, or `queued` again when there is a time to retry at.
pub fn finish(record: &mut Record, finish: &Finish, now: Timestamp) -> Kind {
    close_attempt(record, finish, now);
    measured(record, finish.media.as_ref());
    let job = &mut record.job;
    let Some(failure) = &finish.failure else {
        job.state = State::Succeeded;
        job.partial = job.outputs.iter().any(|o| o.state == State::Failed);
        job.reused = finish.reused;
        job.progress = Progress { percent: 100.0, stage: "done".into(), eta_s: Some(0.0), ..std::mem::take(&mut job.progress) };
        return end(record, now);
    };
    let cancelled = failure.code == Code::Cancelled || (job.cancel.is_some() && finish.retry_at.is_some());
    let failure = if cancelled { Failure::new(Code::Cancelled, "The job was cancelled.") } else { failure.clone() };
    job.error = Some(Failure { attempt: job.attempt, ..failure });
    if cancelled {
        job.state = State::Cancelled;
        return end(record, now);
    }
    job.failures += 1;
    match finish.retry_at {
        Some(at) => {
            job.state = State::Queued;
            job.run_at = at;
            reopen_outputs(record);
            "retrying"
        }
        None => {
            job.state = State::Failed;
            end(record, now)
        }
    }
}

/// `running -> queued`: interrupted by our own shutdown; nothing is counted.
pub fn release(record: &mut Record, now: Timestamp) -> Kind {
    close_cause(record, "interrupted", now);
    requeue(record, now, "interrupted")
}

/// `running -> queued` because the lease ran out; the third time the job is given up.
pub fn reap(record: &mut Record, now: Timestamp) -> Kind {
    close_cause(record, Code::WorkerLost.as_str(), now);
    record.job.recoveries += 1;
    if record.job.recoveries < RECOVERIES_MAX {
        return requeue(record, now, "retrying");
    }
    let job = &mut record.job;
    let failure = Failure::new(Code::WorkerLost, format!("The worker was lost {} times while it ran this job.", job.recoveries));
    job.error = Some(Failure { attempt: job.attempt, ..failure });
    job.state = State::Failed;
    end(record, now)
}

/// Asks for an end; a queued job has it at once. None: nothing changed.
pub fn cancel(record: &mut Record, mode: CancelMode, now: Timestamp) -> Option<Kind> {
    let job = &mut record.job;
    match job.state {
        State::Queued => {
            job.state = State::Cancelled;
            job.error = Some(Failure { attempt: job.attempt, ..Failure::new(Code::Cancelled, "The job was cancelled before it ran.") });
            Some(end(record, now))
        }
        State::Running if job.cancel != Some(CancelMode::Kill) && job.cancel != Some(mode) => {
            job.cancel = Some(mode);
            Some("cancelling")
        }
        _ => None,
    }
}

/// `queued -> failed` because its time has passed.
pub fn expire(record: &mut Record, now: Timestamp) -> Kind {
    let job = &mut record.job;
    job.state = State::Failed;
    job.error = Some(Failure { attempt: job.attempt, ..Failure::new(Code::Expired, "The job was not started before its expires_at.") });
    end(record, now)
}

/// A job this one waits for has ended as `state`: one less to wait for, and with the last one it is due; or its own end, where it
/// came after that one's success. An equal job that it follows lets it go whatever became of that.
pub fn dependency_ended(record: &mut Record, dependency: JobId, state: State, now: Timestamp) -> Option<Kind> {
    if state != State::Succeeded && record.job.after.contains(&dependency) {
        return Some(dependency_failed(record, dependency, state, now));
    }
    let job = &mut record.job;
    job.waiting_on.retain(|id| *id != dependency);
    if job.waiting_on.is_empty() {
        job.run_at = job.run_at.max(now);
    }
    None
}

/// `queued -> failed` because a job this one waits for has ended as `state`.
pub fn dependency_failed(record: &mut Record, dependency: JobId, state: State, now: Timestamp) -> Kind {
    let job = &mut record.job;
    let how = if state == State::Cancelled { "was cancelled" } else { "failed" };
    let failure = Failure::new(Code::DependencyFailed, format!("The job {dependency}, which this one waits for, {how}."));
    job.state = State::Failed;
    job.error = Some(Failure { attempt: job.attempt, ..failure });
    end(record, now)
}

/// Whether [`retry`] applies: an ended job that has not fully succeeded.
pub fn can_retry(record: &Record) -> bool {
    matches!(record.job.state, State::Failed | State::Cancelled) || record.job.partial
}

/// An ended job is queued again; what it has already made is kept.
pub fn retry(record: &mut Record, now: Timestamp) -> Kind {
    let job = &mut record.job;
    job.state = State::Queued;
    job.run_at = now;
    (job.failures, job.recoveries, job.partial) = (0, 0, false);
    (job.error, job.finished_at, job.cancel, job.expires_at) = (None, None, None, None);
    job.progress = Progress::default();
    reopen_outputs(record);
    record.job.stats = stats(record);
    "queued"
}

/// The queue's live settings reach the job, but for what its client set itself.
pub fn tune(record: &mut Record, tuning: &Tuning) {
    let (job, asked) = (&mut record.job, &record.asked);
    let soft = asked.soft_time_limit.or(tuning.soft_time_limit).unwrap_or(job.soft_time_limit);
    let hard = asked.hard_time_limit.or(tuning.hard_time_limit).unwrap_or(job.hard_time_limit);
    (job.soft_time_limit, job.hard_time_limit) = match asked.hard_time_limit {
        Some(hard) => (soft.min(hard), hard),
        None => (soft, hard.max(soft)),
    };
    job.max_attempts = asked.max_attempts.or(tuning.max_attempts).unwrap_or(job.max_attempts);
    job.retry_delay = asked.retry_delay.or(tuning.retry_delay).unwrap_or(job.retry_delay);
}

/// The outputs' bytes are gone; returns their keys.
pub fn forget_outputs(record: &mut Record) -> Vec<String> {
    for output in &mut record.job.outputs {
        output.url = None;
    }
    std::mem::take(&mut record.artifacts).into_values().collect()
}

fn measured(record: &mut Record, media: Option<&Media>) {
    if let (Some(media), Some(input)) = (media, &mut record.job.input) {
        input.media = media.clone();
    }
}

fn requeue(record: &mut Record, now: Timestamp, kind: Kind) -> Kind {
    if record.job.cancel.is_some() {
        record.job.state = State::Cancelled;
        record.job.error = Some(Failure { attempt: record.job.attempt, ..Failure::new(Code::Cancelled, "The job was cancelled.") });
        return end(record, now);
    }
    record.job.state = State::Queued;
    record.job.run_at = now;
    reopen_outputs(record);
    kind
}

fn end(record: &mut Record, now: Timestamp) -> Kind {
    let job = &mut record.job;
    job.finished_at = Some(now);
    job.cancel = None;
    // Queued again, it follows nobody.
    job.waiting_on.retain(|id| job.after.contains(id));
    for output in job.outputs.iter_mut().filter(|o| !o.state.is_terminal()) {
        output.state = if job.state == State::Succeeded { State::Failed } else { job.state };
        output.error = output.error.take().or_else(|| job.error.clone());
    }
    record.job.stats = stats(record);
    record.job.state.as_str()
}

fn reopen_outputs(record: &mut Record) {
    for output in record.job.outputs.iter_mut().filter(|o| o.state != State::Succeeded) {
        output.state = State::Queued;
        output.error = None;
        output.progress = Progress::default();
    }
}

fn close_attempt(record: &mut Record, finish: &Finish, now: Timestamp) {
    close_cause(record, finish.failure.as_ref().map_or("succeeded", |f| f.code.as_str()), now);
    if let Some(attempt) = record.job.attempts.last_mut() {
        attempt.cpu_ms = finish.cpu_ms;
        attempt.memory_peak_bytes = finish.memory_peak_bytes;
        attempt.scratch_peak_bytes = finish.scratch_peak_bytes;
        attempt.sandbox_level = finish.sandbox_level;
    }
}

fn close_cause(record: &mut Record, cause: &str, now: Timestamp) {
    if let Some(attempt) = record.job.attempts.last_mut() {
        attempt.finished_at = Some(now);
        attempt.cause = Some(cause.to_owned());
    }
}

fn stats(record: &Record) -> Stats {
    let outputs = &record.job.outputs;
    let count = |state| outputs.iter().filter(|o| o.state == state).count() as u64;
    let errors = outputs.iter().filter_map(|o| o.error.clone().map(|error| ItemError { item: o.name.clone(), error })).collect();
    Stats { items_total: outputs.len() as u64, items_done: count(State::Succeeded), items_failed: count(State::Failed), errors }
}
