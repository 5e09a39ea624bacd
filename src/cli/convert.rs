//! `millrace convert`: files converted in the foreground by the same intake, jail and limits as the service, in a data folder
//! that lives as long as the command.

use super::client::refusal_line;
use super::save::Target;
use super::{Exit, bars, complain, options, plan, print, runtime};
use crate::app::{App, Purpose};
use crate::config::{Config, Inputs};
use crate::failure::{Code, Refusal};
use crate::format::Format;
use crate::intake::{InputRef, Request};
use crate::job::{CancelMode, Job, JobId, State};
use crate::limits::Span;
use crate::queue::CONCURRENCY_MAX;
use crate::sandbox::ForkServer;
use crate::store::{Notice, Tuning};
use futures::StreamExt;
use indicatif::{MultiProgress, ProgressBar};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// IN OUT, or IN... with --out-dir. `-` is standard input or output.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The format to make; OUT's extension by default.
    #[arg(long)]
    to: Option<String>,
    /// Overrides what the input was recognised as.
    #[arg(long)]
    from: Option<String>,
    #[arg(long)]
    preset: Option<String>,
    /// An option of the converter, as video.crf=30. May be repeated.
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    options: Vec<String>,
    #[arg(long)]
    out_dir: Option<PathBuf>,
    /// How many are converted at once, 1 to 1024; the slots of their queues by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_MAX)))]
    jobs: Option<u32>,
    #[arg(long)]
    soft_limit: Option<Span>,
    #[arg(long)]
    hard_limit: Option<Span>,
    /// One JSON line per step on standard output.
    #[arg(long)]
    json: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    plan: bool,
}

/// One file to convert and where its result goes.
struct Item {
    input: PathBuf,
    output: Target,
}

/// A file that was not converted: how the command ends, and why in words.
type Failed = (Exit, String);

pub fn run(args: Args, fork_server: ForkServer) -> Exit {
    let planned = request(&args).and_then(|request| items(&args).map(|items| (request, items)));
    let (request, items) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    match runtime().map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(convert_all(&args, &request, &items, fork_server))) {
        Ok(exit) => exit,
        Err(error) => {
            complain(error);
            Exit::Unavailable
        }
    }
}

fn request(args: &Args) -> Result<Request, String> {
    let mut request = Request::new(InputRef::Path(PathBuf::new()), options::format(args.to.as_deref())?);
    if request.to.is_none() && args.preset.is_none() && args.out_dir.is_none() {
        request.to = args.files.get(1).and_then(|out| Format::from_file_name(&out.to_string_lossy()));
    }
    request.from = options::format(args.from.as_deref())?;
    request.preset = args.preset.clone();
    request.options = options::nested(&args.options)?;
    request.soft_time_limit = args.soft_limit;
    request.hard_time_limit = args.hard_limit;
    request.max_attempts = Some(1);
    Ok(request)
}

fn items(args: &Args) -> Result<Vec<Item>, String> {
    if let Some(folder) = &args.out_dir {
        return Ok(args.files.iter().map(|input| Item { input: input.clone(), output: Target::Folder(folder.clone()) }).collect());
    }
    match &args.files[..] {
        [input, output] => Ok(vec![Item { input: input.clone(), output: Target::parse(output) }]),
        _ => Err("give IN and OUT, or IN... with --out-dir".into()),
    }
}

async fn convert_all(args: &Args, request: &Request, items: &[Item], fork_server: ForkServer) -> Result<Exit, String> {
    let data = tempfile::Builder::new().prefix("millrace-").tempdir().map_err(|e| e.to_string())?;
    let roots = vec![PathBuf::from("/")];
    let config = Config { inputs: Inputs { roots, ..Inputs::default() }, ..Config::load(None, &super::environment())? }.alone_in(data.path());
    let purpose = Purpose::errand(items.first().map_or(Path::new(""), |item| &item.input));
    let app = App::start(&config, purpose, fork_server).await?;
    let slots = slots(args, &app).await?;
    let run = Run { args, request, app: &app, bars: MultiProgress::new(), interrupts: interrupts()?, written: Mutex::default() };
    // Twice the slots: the next file is looked at while the last one is being written.
    let run = &run;
    let runs = futures::stream::iter(items.iter().enumerate()).map(|(n, item)| async move { (n, run.one(item).await.err()) });
    let ended: BTreeMap<usize, Option<Failed>> = runs.buffer_unordered(2 * slots).collect().await;
    app.stop().await;
    let failed: Vec<(&Item, Failed)> = items.iter().zip(ended.into_values()).filter_map(|(item, failed)| failed.map(|f| (item, f))).collect();
    for (item, (_, text)) in &failed {
        complain(format!("{}: {text}", super::table::plain(&item.input.to_string_lossy())));
    }
    if items.len() > 1 {
        complain(format!("{} converted, {} failed", items.len() - failed.len(), failed.len()));
    }
    Ok(overall(failed.iter().map(|(_, (exit, _))| *exit)))
}

/// How many run at once; with `--jobs` every queue of this command is set to it.
async fn slots(args: &Args, app: &App) -> Result<usize, String> {
    let Some(jobs) = args.jobs else {
        return Ok(app.engine.queues.iter().map(|(_, q)| q.settings.concurrency).max().unwrap_or(1) as usize);
    };
    for name in app.engine.queues.names() {
        let tuning = Tuning { concurrency: Some(jobs), ..Tuning::default() };
        app.engine.store.tune(name, tuning, app.clock.now()).await.map_err(|e| e.to_string())?;
    }
    Ok(jobs as usize)
}

/// Failures of one kind end the command as one alone would; a mixture counts as failed conversions, unless somebody cancelled.
fn overall(mut exits: impl Iterator<Item = Exit> + Clone) -> Exit {
    let Some(first) = exits.next() else { return Exit::Done };
    if exits.clone().all(|e| e == first) {
        return first;
    }
    if first == Exit::Cancelled || exits.any(|e| e == Exit::Cancelled) { Exit::Cancelled } else { Exit::Failed }
}

/// Counts Ctrl-C: the first asks what runs to stop and starts nothing new, the second kills.
fn interrupts() -> Result<watch::Receiver<u32>, String> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let (count, counted) = watch::channel(0);
    tokio::spawn(async move {
        while interrupt.recv().await.is_some() {
            count.send_modify(|n| *n += 1);
        }
    });
    Ok(counted)
}

struct Run<'a> {
    args: &'a Args,
    request: &'a Request,
    app: &'a App,
    bars: MultiProgress,
    interrupts: watch::Receiver<u32>,
    /// Names given out in the target folder: two inputs of one name do not overwrite each other.
    written: Mutex<BTreeSet<String>>,
}

impl Run<'_> {
    async fn one(&self, item: &Item) -> Result<(), Failed> {
        if *self.interrupts.borrow() > 0 {
            return Err((Exit::Cancelled, "cancelled: not started".into()));
        }
        if self.args.plan {
            return self.plan(item).await;
        }
        let id = self.submit(item).await.inspect_err(|(_, text)| self.tell(&json!({"input": item.input, "state": "refused", "error": text})))?;
        let name = item.input.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let bar = bars::conversion(&self.bars, &name, !self.args.json);
        let job = self.ended(id, &bar).await.map_err(|e| (Exit::Unavailable, e))?;
        bar.finish_and_clear();
        judge(&job)?;
        self.deliver(&job, &item.output).await.map_err(|e| (Exit::Failed, e))
    }

    async fn plan(&self, item: &Item) -> Result<(), Failed> {
        let request = self.request_for(item).await?;
        let plan = self.app.prober.plan(&self.app.intake, request, self.app.clock.now()).await.map_err(refused)?;
        print(&if self.args.json { format!("{}\n", json!(plan)) } else { plan::lines(&plan) });
        Ok(())
    }

    async fn submit(&self, item: &Item) -> Result<JobId, Failed> {
        let request = self.request_for(item).await?;
        Ok(self.app.intake.submit(request, None, self.app.clock.now()).await.map_err(refused)?.job().id)
    }

    async fn request_for(&self, item: &Item) -> Result<Request, Failed> {
        let now = self.app.clock.now();
        let input = if item.input.as_os_str() == "-" {
            InputRef::Upload(self.app.intake.receive("stdin", tokio::io::stdin(), now).await.map_err(refused)?.id)
        } else {
            InputRef::Path(std::path::absolute(&item.input).map_err(|e| (Exit::Usage, e.to_string()))?)
        };
        Ok(Request { input, ..self.request.clone() })
    }

    async fn ended(&self, id: JobId, bar: &ProgressBar) -> Result<Job, String> {
        let store = &self.app.intake.store;
        let mut notices = store.notices();
        let mut interrupts = self.interrupts.clone();
        loop {
            let job = store.get(id).await.map_err(|e| e.to_string())?.job;
            self.tell(&json!({"id": id, "state": job.state, "progress": job.progress, "error": job.error}));
            bars::show(bar, &job.progress);
            if job.state.is_terminal() {
                return Ok(job);
            }
            tokio::select! {
                () = about(&mut notices, id) => {}
                _ = tokio::time::sleep(Duration::from_secs(1)) => {}
                Ok(()) = interrupts.changed() => {
                    let mode = if *interrupts.borrow_and_update() == 1 { CancelMode::Soft } else { CancelMode::Kill };
                    store.cancel(id, mode, self.app.clock.now()).await.map_err(|e| e.to_string())?;
                }
            }
        }
    }

    async fn deliver(&self, job: &Job, target: &Target) -> Result<(), String> {
        target.check(job.outputs.len())?;
        let record = self.app.intake.store.get(job.id).await.map_err(|e| e.to_string())?;
        for output in &job.outputs {
            let key = record.artifacts.get(&output.name).ok_or_else(|| format!("{} is not there", output.name))?;
            let mut bytes = self.app.intake.blobs.open(key, None).await.map_err(|e| e.to_string())?.bytes;
            target.write(&self.name(&output.name), &mut bytes).await?;
        }
        Ok(())
    }

    fn name(&self, wanted: &str) -> String {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let name = crate::intake::unused_name(wanted, |n| written.contains(n));
        written.insert(name.clone());
        name
    }

    fn tell(&self, line: &serde_json::Value) {
        if self.args.json {
            print(&format!("{line}\n"));
        }
    }
}

/// Returns when there is news of this job.
async fn about(notices: &mut tokio::sync::broadcast::Receiver<Notice>, id: JobId) {
    while !matches!(notices.recv().await, Ok(Notice::Job(job)) if job == id) {}
}

/// How a job's end ends the command.
pub fn judge(job: &Job) -> Result<(), Failed> {
    let Some(error) = job.error.as_ref().filter(|_| job.state != State::Succeeded) else { return Ok(()) };
    let exit = match error.code {
        Code::Cancelled => Exit::Cancelled,
        Code::SoftTimeLimit | Code::HardTimeLimit => Exit::TimedOut,
        _ => Exit::Failed,
    };
    Err((exit, super::table::plain(&format!("{}: {} {}", error.code, error.message, error.hint))))
}

pub fn refused(refusal: Refusal) -> Failed {
    let code = serde_json::to_value(refusal.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let allowed: Vec<&str> = refusal.allowed.iter().map(String::as_str).collect();
    // Which file is said by the caller.
    let named = refusal.field.filter(|field| field != "input");
    let given = named.as_ref().and(refusal.given);
    (Exit::Usage, refusal_line(&code, &refusal.message, named.as_deref(), given.as_deref(), &allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_failures_end_as_one() {
        assert_eq!(overall([].into_iter()), Exit::Done);
        assert_eq!(overall([Exit::Usage, Exit::Usage].into_iter()), Exit::Usage);
        assert_eq!(overall([Exit::Usage, Exit::TimedOut].into_iter()), Exit::Failed);
        assert_eq!(overall([Exit::Usage, Exit::Cancelled].into_iter()), Exit::Cancelled);
    }
}
