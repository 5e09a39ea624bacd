//! One attempt, from lease to finish, in a straight line.

use super::line::{Closed, Line, Next};
use super::publish::Publisher;
use super::room::{Amount, Place};
use super::running::{Cause, RunningAttempt};
use super::verdict::{self, Verdict};
use super::watch::Watch;
use super::{Engine, reuse};
use crate::cleanup;
use crate::convert::{Level, Produced};
use crate::converters;
use crate::failure::{Code, Failure};
use crate::fetch::fetch;
use crate::job::{Job, Lease, OnPartial, Record, State};
use crate::limits::Limits;
use crate::sandbox::{self, Child, End, Exit, InputOrder, Launcher, Order, OutputOrder, Report, Work};
use crate::schedule;
use crate::store::{Finish, LeaseLost, OutputDone};
use crate::trace;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Between two looks at the time limits and at the child's use of the processor.
const WATCH: Duration = Duration::from_millis(250);

/// What an attempt leaves for its record.
#[derive(Default)]
struct Rest {
    cpu_ms: u64,
    memory_peak_bytes: u64,
    scratch_peak_bytes: u64,
    sandbox_level: u8,
    /// Its only output; one of several is told as soon as it is there.
    output: Option<OutputDone>,
    reused: bool,
}

/// One output on its way out.
#[derive(Default)]
struct Published {
    /// Counts for the job.
    failure: Option<Failure>,
    /// To be told with the end of the attempt.
    untold: Option<OutputDone>,
}

/// Runs a leased job and tells the store how it ended; returns the slot's next one. Never fails: every way out is a verdict.
pub async fn run(line: &Line, record: Record) -> Next {
    let span = span(&record.job);
    work(line, record).instrument(span).await
}

/// The attempt's place in its job's trace, by the names of OpenTelemetry's conventions for messaging.
fn span(job: &Job) -> Span {
    let span = tracing::info_span!(
        "attempt",
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "millrace",
        messaging.operation.type = "process",
        messaging.destination.name = job.queue,
        messaging.message.id = %job.id,
        millrace.attempt = job.attempt,
        millrace.converter = job.converter,
    );
    trace::follow(&span, job.context.get(trace::TRACEPARENT).and_then(Value::as_str));
    span
}

async fn work(line: &Line, record: Record) -> Next {
    let Line { engine, running, queue, .. } = line;
    let job = &record.job;
    let lease = Lease { job: job.id, attempt: job.attempt };
    let limits = Limits { soft_time_limit: job.soft_time_limit, hard_time_limit: job.hard_time_limit, ..queue.limits.clone() };
    let attempt = RunningAttempt::new(lease, &job.queue, limits.soft_time_limit.as_millis(), limits.hard_time_limit.as_millis());
    let _enrolled = running.add(attempt.clone());
    engine.meters.leased(job, engine.clock.now());
    attempt.log(engine.clock.now(), Level::Info, "worker", &format!("attempt {} on {}", lease.attempt, engine.name));
    let mut rest = Rest { sandbox_level: engine.sandbox_level, ..Rest::default() };
    let worked = match job.input {
        Some(_) => convert(engine, &attempt, &limits, &record, &mut rest).await,
        None => own_work(engine, job).await.map(|summary| attempt.log(engine.clock.now(), Level::Info, "worker", &summary)),
    };
    let verdict = match (attempt.cause(), worked) {
        // The work was done before the order to stop took effect.
        (Some(Cause::Cancelled | Cause::SoftTimeLimit | Cause::Interrupted) | None, Ok(())) => Verdict::Succeeded,
        (Some(cause), _) => verdict::from_cause(cause, attempt.limits().0, attempt.limits().1),
        (None, Err(failure)) => Verdict::Failed(Box::new(failure)),
    };
    settle(line, &attempt, job, rest, verdict).await
}

/// One of the engine's own jobs; returns a sentence for its log.
async fn own_work(engine: &Engine, job: &Job) -> Result<String, Failure> {
    let Engine { store, blobs, staging, queues, pieces, .. } = engine;
    match job.converter.as_str() {
        schedule::SEND_TASK => schedule::send(engine.task_queues.as_deref(), job).await,
        _ => cleanup::run(store, blobs, staging, queues, pieces, &job.converter, engine.clock.now()).await,
    }
}

/// answer, or enter -> fetch -> launch -> watch -> prove and publish -> judge
async fn convert(engine: &Engine, attempt: &RunningAttempt, limits: &Limits, record: &Record, rest: &mut Rest) -> Result<(), Failure> {
    let files = AtomicUsize::new(0);
    if let Some(outputs) = reuse::answer(engine, attempt, record, &files).await {
        rest.reused = true;
        for done in outputs {
            rest.output = tell(engine, attempt, record, done).await?;
        }
        return Ok(());
    }
    let place = enter(engine, attempt, limits, &record.job).await?;
    let staging = engine.staging.for_attempt(attempt.lease).map_err(|e| Failure::internal(e).stage("staging"))?;
    // From another machine this takes its time.
    let input = tokio::select! {
        input = fetch(&*engine.blobs, record.source.as_ref(), staging.path()).instrument(tracing::info_span!("fetch")) => input?,
        () = attempt.stop.cancelled() => return Err(Failure::new(Code::Cancelled, "Stopped before the input was there.")),
        () = attempt.kill.cancelled() => return Err(Failure::new(Code::Cancelled, "Stopped before the input was there.")),
    };
    let order = order(engine, limits, record, input.path().to_owned(), staging.path().to_owned())?;
    let child = engine.launcher.launch(order).await.map_err(|e| Failure::internal(e).stage("launch"))?;
    let publisher = Publisher { engine, attempt, limits, staging: &staging, files: &files };
    let (exit, published) = watch(attempt, limits, record, &publisher, &place, child).instrument(tracing::info_span!("convert")).await?;
    let Exit { cpu_ms, memory_peak_bytes, scratch_peak_bytes, sandbox_level, .. } = exit;
    *rest = Rest { cpu_ms, memory_peak_bytes, scratch_peak_bytes, sandbox_level, output: published.untold, reused: false };
    if exit.end == End::Clean {
        let wanted = sandbox::output_folder(staging.path(), 0);
        staging.give_back(&wanted);
    }
    match exit.failure().or(published.failure) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Waits until this machine has room for it.
async fn enter(engine: &Engine, attempt: &RunningAttempt, limits: &Limits, job: &Job) -> Result<Place, Failure> {
    let need = Amount::expected(engine, job, limits).await;
    let tell = |left: Amount| {
        engine.meters.held_back(job);
        attempt.log(engine.clock.now(), Level::Info, "worker", &format!("waits for room: it is expected to take {need}; left are {left}"));
    };
    tokio::select! {
        place = engine.room.enter(attempt.lease, need, tell) => Ok(place),
        () = attempt.stop.cancelled() => Err(Failure::new(Code::Cancelled, "Stopped before there was room for it.")),
        () = attempt.kill.cancelled() => Err(Failure::new(Code::Cancelled, "Stopped before there was room for it.")),
    }
}

fn order(engine: &Engine, limits: &Limits, record: &Record, path: PathBuf, staging: PathBuf) -> Result<Order, Failure> {
    let job = &record.job;
    let input = job.input.as_ref().ok_or_else(|| Failure::internal("the job has no input"))?;
    let (family, _) = converters::by_id(&job.converter).ok_or_else(|| Failure::internal(format!("no converter {}", job.converter)))?;
    let outputs = pending(job).map(|(index, o)| OutputOrder {
        index,
        converter: o.converter.clone(),
        options: o.options.clone(),
        to: o.to,
        name: o.name.clone(),
    });
    Ok(Order {
        zygote: family.zygote,
        work: Work::Convert(outputs.collect()),
        input: InputOrder { path, format: input.format, name: input.name.clone(), size_bytes: input.size_bytes },
        staging,
        limits: limits.clone(),
        threads: engine.threads,
    })
}

/// The outputs that are still to be made, with their position.
fn pending(job: &Job) -> impl Iterator<Item = (usize, &crate::job::Output)> {
    job.outputs.iter().enumerate().filter(|(_, o)| o.state != State::Succeeded)
}

/// Listens to the child until it is gone and all it made is published; enforces the limits all the while. Returns how it
/// ended and what came of its outputs.
async fn watch(
    attempt: &RunningAttempt,
    limits: &Limits,
    record: &Record,
    publisher: &Publisher<'_>,
    place: &Place,
    mut child: Child,
) -> Result<(Exit, Published), Failure> {
    let engine = publisher.engine;
    let mut watch = Watch::start();
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + WATCH, WATCH);
    let total = pending(&record.job).count();
    let (mut gone, mut held, mut all) = (false, None, Published::default());
    let mut publishing = FuturesOrdered::new();
    while !gone || !publishing.is_empty() {
        tokio::select! {
            report = child.reports.recv(), if !gone => match report {
                None => {
                    gone = true;
                    publishing.extend(held.take().map(|(index, result)| publish(engine, attempt, record, publisher, index, result)));
                }
                Some(Report::Progress { output, progress }) => {
                    watch.busy();
                    if let Some((n, (_, planned))) = pending(&record.job).enumerate().find(|(_, (index, _))| *index == output) {
                        attempt.progress(&planned.group, (n, total), watch.started.elapsed().as_secs_f64(), progress);
                    }
                }
                Some(Report::Log { level, message }) => attempt.log(engine.clock.now(), level, "child", &message),
                Some(Report::Violation(what)) => {
                    attempt.log(engine.clock.now(), Level::Error, "worker", &format!("the jail refused {what}"));
                }
                Some(Report::Probed(media)) => media.into_iter().for_each(|m| attempt.media(m)),
                // Nobody asks a converting child for its plans.
                Some(Report::Planned { .. }) => {}
                // One of several is shown at once; the only one when its maker has ended.
                Some(Report::Output { output, result }) if total == 1 => held = Some((output, result)),
                Some(Report::Output { output, result }) => publishing.push_back(publish(engine, attempt, record, publisher, output, result)),
            },
            Some(published) = publishing.next(), if !publishing.is_empty() => {
                watch.busy();
                let Published { failure, untold } = published?;
                all = Published { failure: all.failure.or(failure), untold: all.untold.or(untold) };
            }
            () = attempt.stop.cancelled(), if watch.asked_at.is_none() => {
                watch.asked_at = Some(Instant::now());
                child.control.stop();
            }
            () = attempt.kill.cancelled() => {
                child.control.kill();
                break;
            }
            _ = tick.tick() => {
                if !publishing.is_empty() {
                    watch.busy();
                }
                let usage = child.control.usage();
                usage.into_iter().for_each(|usage| place.uses(usage));
                watch.enforce(attempt, limits, usage.map(|u| u.cpu_ms));
            }
        }
    }
    let exit = (&mut child.exit).await.map_err(|e| Failure::internal(e).stage("wait"))?;
    Ok((exit, all))
}

/// Publishes one output and, if it is one of several, tells the store; its failure is the job's unless partial results are
/// welcome.
async fn publish(
    engine: &Engine,
    attempt: &RunningAttempt,
    record: &Record,
    publisher: &Publisher<'_>,
    index: usize,
    result: Result<Produced, Failure>,
) -> Result<Published, Failure> {
    let Some(planned) = record.job.outputs.get(index) else {
        return Err(Failure::new(Code::PolicyViolation, "The converter named an output that does not exist."));
    };
    let stopped = matches!(&result, Err(f) if f.code == Code::Cancelled);
    if stopped && attempt.cause().is_some() {
        return Ok(Published { failure: result.err(), untold: None });
    }
    let done = publisher.output(record, planned, index, result).instrument(tracing::info_span!("publish", millrace.output = planned.name)).await;
    let failure = done.entries.iter().find_map(|e| e.error.clone());
    if let Some(failure) = &failure {
        let cause = failure.detail.as_deref().unwrap_or_default();
        attempt.log(engine.clock.now(), Level::Error, "worker", &format!("{}: {} {cause}", planned.name, failure));
    }
    let failure = failure.filter(|_| record.job.on_partial == OnPartial::Fail || record.job.outputs.len() == 1);
    Ok(Published { failure, untold: tell(engine, attempt, record, done).await? })
}

/// Tells the store of one of several outputs; the only one is left for the end of the attempt.
async fn tell(engine: &Engine, attempt: &RunningAttempt, record: &Record, done: OutputDone) -> Result<Option<OutputDone>, Failure> {
    if record.job.outputs.len() == 1 {
        return Ok(Some(done));
    }
    match engine.store.output_done(attempt.lease, done, engine.clock.now()).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => attempt.end(Cause::LeaseLost),
        Err(error) => return Err(Failure::internal(error).stage("publish")),
    }
    Ok(None)
}

/// Tells the store, fenced by the lease; a store that does not answer is asked again until the lease is lost anyway.
async fn settle(line: &Line, attempt: &RunningAttempt, job: &Job, rest: Rest, verdict: Verdict) -> Next {
    let engine = &line.engine;
    let failure = match verdict {
        Verdict::Abandoned => return Err(Closed::NotLooked),
        Verdict::Interrupted => {
            if let Err(error) = engine.store.release(attempt.lease, attempt.take_rest().1, engine.clock.now()).await {
                tracing::error!(job = %job.id, %error, "an interrupted job could not be given back");
            }
            return Err(Closed::NotLooked);
        }
        Verdict::Succeeded => None,
        Verdict::Failed(failure) => Some(*failure),
    };
    if let Some(failure) = &failure {
        Span::current().record("otel.status_code", "ERROR").record("error.type", failure.code.as_str());
        tracing::warn!(job = %job.id, attempt = job.attempt, code = %failure.code, stage = failure.stage, cause = failure.detail, "attempt failed: {}", failure.message);
    }
    let retry_at = failure.as_ref().and_then(|f| verdict::retry_at(job, f, &line.queue.settings, engine.clock.now()));
    let (media, log) = attempt.take_rest();
    let finish = Finish {
        lease: attempt.lease,
        failure,
        retry_at,
        cpu_ms: rest.cpu_ms,
        memory_peak_bytes: rest.memory_peak_bytes,
        scratch_peak_bytes: rest.scratch_peak_bytes,
        sandbox_level: rest.sandbox_level,
        media,
        output: rest.output,
        reused: rest.reused,
        log,
    };
    while !attempt.kill.is_cancelled() || attempt.cause() != Some(Cause::LeaseLost) {
        match line.finish(finish.clone()).instrument(tracing::info_span!("finish")).await {
            Ok((ended, next)) => {
                match ended {
                    Ok(job) => {
                        engine.meters.ended(&job, engine.clock.now());
                        engine.experience.learn(&job);
                    }
                    Err(LeaseLost) => tracing::warn!(job = %job.id, attempt = job.attempt, "the lease was lost before the end"),
                }
                return next;
            }
            Err(error) => tracing::error!(job = %job.id, %error, "the end of an attempt could not be recorded; trying again"),
        }
        tokio::time::sleep(super::TICK).await;
    }
    Err(Closed::NotLooked)
}
