//! `millrace convert`: files converted in the foreground by the same intake, jail and limits as the service, in a data folder
//! that lives as long as the command.

use super::{Exit, complain, print, runtime};
use crate::app::App;
use crate::config::{Config, Inputs};
use crate::failure::Code;
use crate::format::Format;
use crate::intake::{InputRef, Request};
use crate::job::{CancelMode, Job, JobId, State};
use crate::limits::Span;
use crate::store::Notice;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

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
    #[arg(long)]
    soft_limit: Option<Span>,
    #[arg(long)]
    hard_limit: Option<Span>,
    /// One JSON line per step on standard output.
    #[arg(long)]
    json: bool,
}

/// One file to convert and where its result goes.
struct Item {
    input: PathBuf,
    output: Target,
}

enum Target {
    File(PathBuf),
    Folder(PathBuf),
    Stdout,
}

pub fn run(args: Args) -> Exit {
    let planned = request(&args).and_then(|request| items(&args).map(|items| (request, items)));
    let (request, items) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    match runtime().map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(convert_all(&args, &request, &items))) {
        Ok(exit) => exit,
        Err(error) => {
            complain(error);
            Exit::Unavailable
        }
    }
}

fn request(args: &Args) -> Result<Request, String> {
    let format = |name: &Option<String>| match name {
        None => Ok(None),
        Some(name) => Format::parse(name).map(Some).ok_or_else(|| format!("`{name}` is not a known format; see `millrace formats`")),
    };
    let mut request = Request::new(InputRef::Path(PathBuf::new()), format(&args.to)?);
    if request.to.is_none() && args.preset.is_none() && args.out_dir.is_none() {
        request.to = args.files.get(1).and_then(|out| Format::from_file_name(&out.to_string_lossy()));
    }
    request.from = format(&args.from)?;
    request.preset = args.preset.clone();
    request.options = options(&args.options)?;
    request.soft_time_limit = args.soft_limit;
    request.hard_time_limit = args.hard_limit;
    request.max_attempts = Some(1);
    Ok(request)
}

/// `video.crf=30` becomes `{"video": {"crf": 30}}`: a value that is JSON is taken as such, all else is text.
fn options(pairs: &[String]) -> Result<Value, String> {
    let mut root = Map::new();
    for pair in pairs {
        let (path, text) = pair.split_once('=').ok_or_else(|| format!("`{pair}`: write options as KEY=VALUE"))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        let mut at = &mut root;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            if keys.peek().is_none() {
                at.insert(key.to_owned(), value);
                break;
            }
            let inner = at.entry(key).or_insert_with(|| Value::Object(Map::new()));
            at = inner.as_object_mut().ok_or_else(|| format!("`{pair}`: `{key}` already has a value"))?;
        }
    }
    Ok(if root.is_empty() { Value::Null } else { Value::Object(root) })
}

fn items(args: &Args) -> Result<Vec<Item>, String> {
    if let Some(folder) = &args.out_dir {
        return Ok(args.files.iter().map(|input| Item { input: input.clone(), output: Target::Folder(folder.clone()) }).collect());
    }
    match &args.files[..] {
        [input, output] if output.as_os_str() == "-" => Ok(vec![Item { input: input.clone(), output: Target::Stdout }]),
        [input, output] if output.is_dir() || output.to_string_lossy().ends_with('/') => {
            Ok(vec![Item { input: input.clone(), output: Target::Folder(output.clone()) }])
        }
        [input, output] => Ok(vec![Item { input: input.clone(), output: Target::File(output.clone()) }]),
        _ => Err("give IN and OUT, or IN... with --out-dir".into()),
    }
}

async fn convert_all(args: &Args, request: &Request, items: &[Item]) -> Result<Exit, String> {
    let data = tempfile::Builder::new().prefix("millrace-").tempdir().map_err(|e| e.to_string())?;
    let roots = vec![PathBuf::from("/")];
    let config = Config { data_dir: data.path().to_owned(), inputs: Inputs { roots }, ..Config::load(None, &super::environment())? };
    let app = App::start(&config, false).await?;
    let bars = MultiProgress::new();
    let mut exit = Exit::Done;
    let mut failed = 0;
    let runs: Vec<_> = items.iter().map(|item| convert_one(args, request, item, &app, &bars)).collect();
    for (item, result) in items.iter().zip(futures::future::join_all(runs).await) {
        if let Err((code, text)) = result {
            failed += 1;
            exit = code;
            complain(format!("{}: {text}", item.input.display()));
        }
    }
    if items.len() > 1 {
        complain(format!("{} converted, {failed} failed", items.len() - failed));
    }
    app.stop().await;
    Ok(exit)
}

async fn convert_one(args: &Args, request: &Request, item: &Item, app: &App, bars: &MultiProgress) -> Result<(), (Exit, String)> {
    let now = app.clock.now();
    let input = if item.input.as_os_str() == "-" {
        let upload = app.intake.receive("stdin", tokio::io::stdin(), now).await.map_err(refused)?;
        InputRef::Upload(upload.id)
    } else {
        let path = std::path::absolute(&item.input).map_err(|e| (Exit::Usage, e.to_string()))?;
        InputRef::Path(path)
    };
    let request = Request { input, ..request.clone() };
    let mut notices = app.intake.store.notices();
    let id = app.intake.submit(request, None, now).await.map_err(refused)?.job().id;
    let show = !args.json && std::io::stderr().is_terminal();
    let bar = if show { bars.add(progress_bar(&item.input)) } else { ProgressBar::hidden() };
    let mut interrupts = 0;
    let job = loop {
        let job = app.intake.store.get(id).await.map_err(|e| (Exit::Unavailable, e.to_string()))?.job;
        if args.json {
            print(&format!("{}\n", json!({"id": id, "state": job.state, "progress": job.progress})));
        }
        bar.set_position((job.progress.percent * 10.0) as u64);
        bar.set_message(job.progress.stage.clone());
        if job.state.is_terminal() {
            break job;
        }
        tokio::select! {
            () = about(&mut notices, id) => {}
            _ = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = tokio::signal::ctrl_c() => {
                let mode = if interrupts == 0 { CancelMode::Soft } else { CancelMode::Kill };
                interrupts += 1;
                app.intake.store.cancel(id, mode, app.clock.now()).await.map_err(|e| (Exit::Unavailable, e.to_string()))?;
            }
        }
    };
    bar.finish_and_clear();
    judge(&job)?;
    deliver(app, id, &job, &item.output).await.map_err(|e| (Exit::Failed, e))
}

/// Returns when there is news of this job.
async fn about(notices: &mut tokio::sync::broadcast::Receiver<Notice>, id: JobId) {
    while !matches!(notices.recv().await, Ok(Notice::Job(job)) if job == id) {}
}

fn judge(job: &Job) -> Result<(), (Exit, String)> {
    let Some(error) = job.error.as_ref().filter(|_| job.state != State::Succeeded) else { return Ok(()) };
    let exit = match error.code {
        Code::Cancelled => Exit::Cancelled,
        Code::SoftTimeLimit | Code::HardTimeLimit => Exit::TimedOut,
        _ => Exit::Failed,
    };
    Err((exit, format!("{}: {} {}", error.code, error.message, error.hint)))
}

/// Writes the results to where they were asked for; a file appears whole or not at all.
async fn deliver(app: &App, id: JobId, job: &Job, target: &Target) -> Result<(), String> {
    let record = app.intake.store.get(id).await.map_err(|e| e.to_string())?;
    if job.outputs.len() > 1 && !matches!(target, Target::Folder(_)) {
        return Err(format!("this makes {} files: give a folder", job.outputs.len()));
    }
    for output in &job.outputs {
        let key = record.artifacts.get(&output.name).ok_or_else(|| format!("{} is not there", output.name))?;
        let mut bytes = app.intake.blobs.open(key, None).await.map_err(|e| e.to_string())?.bytes;
        let path = match target {
            Target::Stdout => {
                let mut out = tokio::io::stdout();
                tokio::io::copy(&mut bytes, &mut out).await.map_err(|e| e.to_string())?;
                out.flush().await.map_err(|e| e.to_string())?;
                continue;
            }
            Target::File(path) => path.clone(),
            Target::Folder(folder) => folder.join(&output.name),
        };
        write_whole(&path, &mut bytes).await.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

async fn write_whole(path: &Path, bytes: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(folder).await?;
    let (file, temporary) = tempfile::NamedTempFile::new_in(folder)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    tokio::io::copy(bytes, &mut file).await?;
    file.sync_all().await?;
    // As any program would have made it: readable by all that the umask allows.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666 & !mask.bits());
    tokio::fs::set_permissions(&temporary, mode).await?;
    temporary.persist(path).map_err(|e| e.error)
}

fn refused(refusal: crate::failure::Refusal) -> (Exit, String) {
    let allowed = if refusal.allowed.is_empty() { String::new() } else { format!(" Possible: {}.", refusal.allowed.join(", ")) };
    (Exit::Usage, format!("{}{allowed}", refusal.message))
}

fn progress_bar(input: &Path) -> ProgressBar {
    let name: String = input.file_name().map(|n| crate::intake::safe_name(&n.to_string_lossy())).unwrap_or_default().chars().take(30).collect();
    let bar = ProgressBar::new(1000).with_prefix(name);
    match ProgressStyle::with_template("{prefix:30} {bar:30} {percent:>3}% {msg} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_options_nest() {
        let given = ["video.crf=30".into(), "video.codec=vp9".into(), "faststart=true".into()];
        assert_eq!(options(&given), Ok(json!({"video": {"crf": 30, "codec": "vp9"}, "faststart": true})));
        assert!(options(&["crf".into()]).is_err());
        assert!(options(&["a=1".into(), "a.b=2".into()]).is_err());
    }
}
