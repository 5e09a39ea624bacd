//! `millrace submit`: a file goes to a server's queue; with --wait or --out the command stays until it is done.

use super::client::{Client, Server, Trouble, read, with};
use super::save::Target;
use super::{Exit, bars, complain, convert, jobs, options, plan, print};
use crate::job::{Job, Upload};
use crate::limits::Span;
use futures::StreamExt;
use indicatif::MultiProgress;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::io::ReaderStream;

/// The server may take that long to fetch an address: more than any site will allow.
const FETCHED_WITHIN: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to convert; `-` is standard input, an http or https address is fetched by the server.
    file: PathBuf,
    /// The format to make.
    #[arg(long, required_unless_present = "preset")]
    to: Option<String>,
    /// Overrides what the input is recognised as.
    #[arg(long)]
    from: Option<String>,
    #[arg(long)]
    preset: Option<String>,
    /// An option of the converter, as video.crf=30. May be repeated.
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    options: Vec<String>,
    #[arg(long)]
    queue: Option<String>,
    /// 9 is taken first.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: Option<u8>,
    /// A job that must succeed first. May be repeated.
    #[arg(long, value_name = "ID")]
    after: Vec<String>,
    #[arg(long)]
    soft_limit: Option<Span>,
    #[arg(long)]
    hard_limit: Option<Span>,
    /// Say what would be done, what it would take as far as the server has learned from others like it, and do nothing.
    #[arg(long, conflicts_with_all = ["wait", "out"])]
    plan: bool,
    /// Stay until the job has ended.
    #[arg(long)]
    wait: bool,
    /// Where the result goes: a file, a folder or `-`. Implies --wait.
    #[arg(long, value_name = "FILE-or-folder")]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| submit(&args, client).await)
}

async fn submit(args: &Args, client: &Client) -> Result<Exit, Trouble> {
    let mut request = request(args)?;
    let query = if args.plan { vec![("dry_run", "1".to_owned())] } else { Vec::new() };
    let shown = args.file.to_string_lossy();
    let (name, answer) = if shown.starts_with("http://") || shown.starts_with("https://") {
        request.insert("input".into(), json!({"url": shown}));
        (shown.into_owned(), client.post_within(FETCHED_WITHIN, &["v1", "jobs"], &query, &Value::Object(request)).await?)
    } else {
        let upload: Upload = read(&send(client, &args.file).await?)?;
        request.insert("input".into(), json!({"upload": upload.id}));
        (upload.name, client.call(Method::POST, &["v1", "jobs"], &query, Some(&Value::Object(request))).await?)
    };
    if args.plan {
        return client.tell(&answer, || Ok(plan::lines(&read(&answer)?)));
    }
    let job: Job = read(&answer)?;
    if !args.wait && args.out.is_none() {
        print(&if client.json { format!("{answer}\n") } else { format!("{}\n", job.id) });
        return Ok(Exit::Done);
    }
    let bars = MultiProgress::new();
    let bar = bars::conversion(&bars, &name, true);
    let answer = jobs::ended(client, &job.id.to_string(), |job| bars::show(&bar, &job.progress)).await?;
    bar.finish_and_clear();
    let job: Job = read(&answer)?;
    if client.json {
        print(&format!("{answer}\n"));
    }
    if let Err((exit, text)) = convert::judge(&job) {
        return Err(Trouble::new(exit, text));
    }
    match &args.out {
        Some(out) => drop(jobs::fetch(client, &job, &Target::parse(out)).await?),
        None if !client.json => print(&format!("{}\n", job.id)),
        None => {}
    }
    Ok(Exit::Done)
}

fn request(args: &Args) -> Result<Map<String, Value>, Trouble> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Option<Value>| drop(value.map(|v| fields.insert(name.into(), v)));
    let format = |name: &Option<String>| options::format(name.as_deref()).map(|f| f.map(|f| json!(f))).map_err(Trouble::usage);
    set("to", format(&args.to)?);
    set("from", format(&args.from)?);
    set("preset", args.preset.as_ref().map(|p| json!(p)));
    set("options", Some(options::nested(&args.options).map_err(Trouble::usage)?).filter(|o| !o.is_null()));
    set("queue", args.queue.as_ref().map(|q| json!(q)));
    set("priority", args.priority.map(|p| json!(p)));
    set("after", Some(json!(args.after)).filter(|_| !args.after.is_empty()));
    set("soft_time_limit", args.soft_limit.map(|s| json!(s)));
    set("hard_time_limit", args.hard_limit.map(|s| json!(s)));
    Ok(fields)
}

/// Streams the file, so that its size does not matter here.
pub async fn send(client: &Client, file: &Path) -> Result<Value, Trouble> {
    let shown = file.to_string_lossy();
    if file.as_os_str() == "-" {
        return client.upload("stdin", reqwest::Body::wrap_stream(ReaderStream::new(tokio::io::stdin()))).await;
    }
    let unreadable = |e: std::io::Error| Trouble::usage(format!("{}: {e}", super::table::plain(&shown)));
    let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
    let meta = opened.metadata().await.map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Trouble::usage(format!("{}: not a file", super::table::plain(&shown))));
    }
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let bar = bars::transfer(&name, meta.len());
    let counted = bar.clone();
    let bytes =
        ReaderStream::with_capacity(opened, 256 * 1024).inspect(move |chunk| counted.inc(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64)));
    let answer = client.upload(&name, reqwest::Body::wrap_stream(bytes)).await;
    bar.finish_and_clear();
    if let Err(trouble) = &answer {
        complain(format!("{} was not uploaded", super::table::plain(&shown)));
        return Err(Trouble::new(trouble.exit, &trouble.text));
    }
    answer
}
