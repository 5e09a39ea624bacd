//! `millrace bench`: what a job costs beside its conversion, on this host and its disk. Jobs go one by one for the latency,
//! then all at once for the throughput, through the same store, pools and jail as the service.

use super::table::Table;
use super::{Exit, complain, environment, options, print, runtime};
use crate::app::{App, Purpose};
use crate::config::{Config, Inputs};
use crate::converters;
use crate::format::Format;
use crate::intake::{InputRef, Request};
use crate::job::{Job, JobId, State};
use crate::queue::CONCURRENCY_MAX;
use crate::sandbox::ForkServer;
use crate::store::{Notice, Tuning};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to convert; without it the no-op of builds with the feature `testing`.
    #[arg(long, requires = "to")]
    input: Option<PathBuf>,
    #[arg(long, requires = "input")]
    to: Option<String>,
    /// An option of the converter, as quality=80. May be repeated.
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Jobs of each of the two runs.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    jobs: u32,
    /// Slots of the queue while all jobs are there at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u32,
    /// Where the temporary data folder is made: its disk is measured along. The current folder by default.
    #[arg(long, default_value = ".")]
    data_dir: PathBuf,
    #[arg(long)]
    json: bool,
}

/// Jobs before the first one that counts.
const WARM_UP: u32 = 20;
/// Submissions under way at the same time in the second run.
const CLIENTS: usize = 8;
/// Between two looks at whether the second run is over.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Milliseconds of each job of the first run, sorted.
#[derive(Default)]
struct Latency(Vec<f64>);

struct Measured {
    submit_to_succeeded: Latency,
    /// What an attempt costs: from the lease to the news of its end, the conversion included.
    lease_to_finish: Latency,
    /// Processor time of the attempts.
    cpu: Latency,
    /// The most memory that one of them had.
    memory_max_bytes: u64,
    jobs_per_s: f64,
}

pub fn run(args: &Args, fork_server: ForkServer) -> Exit {
    let to = match &args.to {
        Some(name) => options::format(Some(name)),
        None => noop(),
    };
    let prepared = to.and_then(|to| options::nested(&args.options).map(|options| (to, options)));
    let (to, options) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    let measured = runtime().map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(measure(args, to, options, fork_server)));
    match measured {
        Ok(measured) => {
            print(&report(args, &measured));
            Exit::Done
        }
        Err(error) => {
            complain(error);
            Exit::Failed
        }
    }
}

fn noop() -> Result<Option<Format>, String> {
    let known = Format::parse("noop").filter(|noop| Format::parse("txt").is_some_and(|txt| converters::find(txt, *noop).is_some()));
    known.map(Some).ok_or_else(|| "this build has no no-op converter: name a conversion with --input and --to, or use scripts/bench engine".into())
}

async fn measure(args: &Args, to: Option<Format>, options: serde_json::Value, fork_server: ForkServer) -> Result<Measured, String> {
    let data = tempfile::Builder::new().prefix("millrace-bench-").tempdir_in(&args.data_dir).map_err(|e| e.to_string())?;
    let input = match &args.input {
        Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
        None => text_file(data.path())?,
    };
    let inputs = Inputs { roots: vec![PathBuf::from("/")], ..Inputs::default() };
    let config = Config { inputs, ..Config::load(None, &environment())? }.alone_in(&data.path().join("data"));
    let app = App::start(&config, Purpose::Service, fork_server).await?;
    let request = Request { options, max_attempts: Some(1), ..Request::new(InputRef::Path(input), to) };
    let measured = both(args, &app, &request).await;
    app.stop().await;
    measured
}

async fn both(args: &Args, app: &App, request: &Request) -> Result<Measured, String> {
    for _ in 0..WARM_UP {
        timed(app, request).await?;
    }
    let (mut whole, mut attempt, mut cpu, mut memory_max_bytes) = (Latency::default(), Latency::default(), Latency::default(), 0);
    for _ in 0..args.jobs {
        let timed = timed(app, request).await?;
        whole.0.push(timed.submitted_ms);
        attempt.0.push(timed.leased_ms);
        cpu.0.push(timed.cpu_ms);
        memory_max_bytes = memory_max_bytes.max(timed.memory_peak_bytes);
    }
    for latency in [&mut whole, &mut attempt, &mut cpu] {
        latency.0.sort_by(f64::total_cmp);
    }
    let jobs_per_s = all_at_once(args, app, request).await?;
    Ok(Measured { submit_to_succeeded: whole, lease_to_finish: attempt, cpu, memory_max_bytes, jobs_per_s })
}

/// One job: milliseconds from its submission and from its lease to the news of its end, and what its attempt used.
struct Timed {
    submitted_ms: f64,
    leased_ms: f64,
    cpu_ms: f64,
    memory_peak_bytes: u64,
}

async fn timed(app: &App, request: &Request) -> Result<Timed, String> {
    let mut notices = app.intake.store.notices();
    let started = Instant::now();
    let id = submit(app, request).await?;
    let job = ended(app, &mut notices, id).await?;
    let submitted_ms = started.elapsed().as_secs_f64() * 1e3;
    let attempt = job.attempts.last();
    Ok(Timed {
        submitted_ms,
        leased_ms: attempt.map_or(submitted_ms, |a| Timestamp::now().duration_since(a.started_at).as_secs_f64() * 1e3),
        cpu_ms: attempt.map_or(0.0, |a| a.cpu_ms as f64),
        memory_peak_bytes: attempt.map_or(0, |a| a.memory_peak_bytes),
    })
}

async fn submit(app: &App, request: &Request) -> Result<JobId, String> {
    app.intake.submit(request.clone(), None, app.clock.now()).await.map(|inserted| inserted.job().id).map_err(|e| e.to_string())
}

async fn ended(app: &App, notices: &mut tokio::sync::broadcast::Receiver<Notice>, id: JobId) -> Result<Job, String> {
    loop {
        let job = app.intake.store.get(id).await.map_err(|e| e.to_string())?.job;
        match job.state {
            State::Succeeded => return Ok(job),
            state if state.is_terminal() => return Err(job.error.map_or_else(|| state.as_str().to_owned(), |e| e.to_string())),
            // A lost notice costs one look.
            _ => drop(tokio::time::timeout(Duration::from_secs(1), notices.recv()).await),
        }
    }
}

/// Jobs a second from the first submission to the last end.
async fn all_at_once(args: &Args, app: &App, request: &Request) -> Result<f64, String> {
    let store = &app.intake.store;
    let queue = app.intake.plan(request.clone(), app.clock.now()).await.map_err(|e| e.to_string())?.job.queue;
    let tuning = Tuning { concurrency: Some(args.concurrency), ..Tuning::default() };
    store.tune(&queue, tuning, app.clock.now()).await.map_err(|e| e.to_string())?;
    let started = Instant::now();
    let mut submissions = futures::stream::iter(0..args.jobs).map(|_| submit(app, request)).buffer_unordered(CLIENTS);
    while let Some(submitted) = submissions.next().await {
        submitted?;
    }
    loop {
        let counts = store.counts().await.map_err(|e| e.to_string())?;
        let count = |state| counts.get(&queue).and_then(|states| states.get(&state)).copied().unwrap_or(0);
        if count(State::Failed) > 0 {
            return Err("jobs failed under load; run it again with MILLRACE_LOG=warn".into());
        }
        if count(State::Queued) + count(State::Running) == 0 {
            return Ok(f64::from(args.jobs) / started.elapsed().as_secs_f64());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn text_file(folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join("input.txt");
    std::fs::write(&path, "The mill turns.\n").map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

impl Latency {
    /// The value that `share` (0 to 1) of all are not above.
    fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

fn report(args: &Args, measured: &Measured) -> String {
    let rows = [("submit to succeeded", &measured.submit_to_succeeded), ("lease to finish", &measured.lease_to_finish)];
    if args.json {
        let latency = |l: &Latency| json!({"p50": l.at(0.5), "p99": l.at(0.99), "max": l.at(1.0)});
        let body = json!({
            "jobs": args.jobs,
            "submit_to_succeeded_ms": latency(rows[0].1),
            "lease_to_finish_ms": latency(rows[1].1),
            "attempt_cpu_ms": latency(&measured.cpu),
            "attempt_memory_max_bytes": measured.memory_max_bytes,
            "jobs_per_s": measured.jobs_per_s,
            "concurrency": args.concurrency,
        });
        return format!("{body}\n");
    }
    let mut table = Table::new(["ONE BY ONE", "P50", "P99", "SLOWEST"]);
    for (name, latency) in rows {
        let ms = |share| format!("{:.2} ms", latency.at(share));
        table.row([name.into(), ms(0.5), ms(0.99), ms(1.0)]);
    }
    format!("{table}\n{:.0} jobs a second, {} jobs at once in {} slots\n", measured.jobs_per_s, args.jobs, args.concurrency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let latency = Latency((1..=101).map(f64::from).collect());
        assert_eq!((latency.at(0.0), latency.at(0.5), latency.at(0.99), latency.at(1.0)), (1.0, 51.0, 100.0, 101.0));
        assert_eq!(Latency::default().at(0.5), 0.0);
    }
}
