//! `millrace jobs`: what a server's jobs are doing, and a hand on them.

use super::client::{Client, Server, Trouble, given, read, with};
use super::save::Target;
use super::table::{Table, ago, plain, span};
use super::{Exit, convert, print, watch};
use crate::job::{Job, LogLine, State};
use crate::limits::Size;
use futures::TryStreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks at a log that is followed.
const LOG_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The newest jobs.
    List {
        /// queued, running, succeeded, failed or cancelled.
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        queue: Option<String>,
        /// Of this pipeline only.
        #[arg(long)]
        pipeline: Option<String>,
        /// Words that the input's name, the id or the error begins with.
        #[arg(long)]
        text: Option<String>,
        /// At most this many, 1 to 500.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Everything about one job.
    Show { id: String },
    /// Follow one job to its end, or all of them until Ctrl-C.
    Watch { id: Option<String> },
    /// What was logged while it ran.
    Log {
        id: String,
        /// Stay until the job has ended.
        #[arg(long, short)]
        follow: bool,
    },
    /// Stop jobs; one that runs is asked to, or killed.
    Cancel {
        #[arg(required = true)]
        ids: Vec<String>,
        #[arg(long)]
        kill: bool,
    },
    /// Run a failed or cancelled job again.
    Retry { id: String },
    /// Download what a job made; with --json their paths.
    Outputs {
        id: String,
        #[arg(long, default_value = ".")]
        out_dir: PathBuf,
    },
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::List { state, queue, pipeline, text, limit } => {
            list(client, [("state", state), ("queue", queue), ("pipeline", pipeline), ("text", text)], *limit).await
        }
        Command::Show { id } => {
            let answer = client.get(&["v1", "jobs", id], &[]).await?;
            client.tell(&answer, || Ok(describe(&read(&answer)?)))
        }
        Command::Watch { id: Some(id) } => watch::one(client, id).await,
        Command::Watch { id: None } => watch::all(client).await,
        Command::Log { id, follow } => log(client, id, *follow).await,
        Command::Cancel { ids, kill } => cancel(client, ids, *kill).await,
        Command::Retry { id } => {
            let answer = client.post(&["v1", "jobs", id, "retry"], None).await?;
            acknowledge(client, &answer)?;
            Ok(Exit::Done)
        }
        Command::Outputs { id, out_dir } => {
            let job: Job = read(&client.get(&["v1", "jobs", id], &[]).await?)?;
            if job.outputs.iter().all(|o| o.url.is_none()) {
                return Err(Trouble::new(Exit::Failed, format!("the job is {} and has no outputs to download", job.state.as_str())));
            }
            let written = fetch(client, &job, &Target::Folder(out_dir.clone())).await?;
            if client.json {
                print(&format!("{}\n", json!(written)));
            }
            Ok(Exit::Done)
        }
    })
}

async fn list(client: &Client, filters: [(&str, &Option<String>); 4], limit: u16) -> Result<Exit, Trouble> {
    let mut query = given(filters);
    query.push(("limit", limit.to_string()));
    let answer = client.get(&["v1", "jobs"], &query).await?;
    client.tell(&answer, || {
        let (jobs, now): (Vec<Job>, _) = (read(&answer["jobs"])?, Timestamp::now());
        let mut table = Table::new(["ID", "STATE", "QUEUE", "CONVERSION", "DONE", "AGE", "TOOK", "INPUT"]);
        for job in &jobs {
            table.row([
                job.id.to_string(),
                job.state.as_str().into(),
                job.queue.clone(),
                conversion(job),
                format!("{:.0}%", job.progress.percent),
                ago(job.created_at, now),
                took(job, now).unwrap_or_default(),
                format!("{}{}", name(job), job.error.as_ref().map(|e| format!(" ({})", e.code)).unwrap_or_default()),
            ]);
        }
        Ok(table.to_string())
    })
}

pub fn conversion(job: &Job) -> String {
    match (job.from, job.to) {
        (Some(from), Some(to)) => format!("{from} > {to}"),
        _ => job.converter.clone(),
    }
}

pub fn name(job: &Job) -> &str {
    job.input.as_ref().map_or("", |i| &i.name)
}

/// How long it ran, or has been running.
pub fn took(job: &Job, now: Timestamp) -> Option<String> {
    let (started, ended) = (job.started_at?, job.finished_at.unwrap_or(now));
    Some(span(u64::try_from(ended.duration_since(started).as_millis()).unwrap_or(0)))
}

fn describe(job: &Job) -> String {
    let now = Timestamp::now();
    let mut lines = vec![("job", job.id.to_string()), ("state", job.state.as_str().to_owned())];
    if job.state == State::Running {
        let left = job.progress.eta_s.map(|s| format!(", {} to go", span(s as u64 * 1000))).unwrap_or_default();
        lines.push(("progress", format!("{:.1}% {}{left}", job.progress.percent, job.progress.stage)));
    }
    if let Some(error) = &job.error {
        lines.extend([("error", format!("{}: {}", error.code, error.message)), ("try", error.hint.clone())]);
        lines.extend(error.detail.iter().map(|detail| ("cause", detail.clone())));
    }
    if let Some(input) = &job.input {
        lines.push(("input", format!("{} ({}, {})", input.name, input.format, Size(input.size_bytes))));
    }
    lines.push(("queue", format!("{}, priority {}, {}", job.queue, job.priority, job.converter)));
    if job.state == State::Queued && !job.waiting_on.is_empty() {
        lines.push(("waits for", job.waiting_on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    }
    if job.reused {
        lines.push(("reused", "the outputs of an equal job; nothing was converted".into()));
    }
    lines.push(("limits", format!("{} soft, {} hard, {} of {} failures", job.soft_time_limit, job.hard_time_limit, job.failures, job.max_attempts)));
    lines.push(("created", format!("{} ({} ago)", job.created_at, ago(job.created_at, now))));
    lines.extend(took(job, now).map(|took| ("took", took)));
    let mut text: String = lines.iter().map(|(label, value)| format!("{label:<9} {}\n", plain(value))).collect();
    let mut outputs = Table::new(["OUTPUT", "STATE", "SIZE", "MEASURED", "NOTES"]);
    for output in &job.outputs {
        outputs.row([
            output.name.clone(),
            output.state.as_str().into(),
            output.size_bytes.map(|n| Size(n).to_string()).unwrap_or_default(),
            measured(&output.media),
            output.error.as_ref().map_or_else(|| output.warnings.join("; "), |e| e.to_string()),
        ]);
    }
    let mut attempts = Table::new(["ATTEMPT", "WORKER", "STARTED", "CPU", "MEMORY", "JAIL", "END"]);
    for a in &job.attempts {
        attempts.row([
            a.number.to_string(),
            a.worker.clone(),
            format!("{} ago", ago(a.started_at, now)),
            span(a.cpu_ms),
            Size(a.memory_peak_bytes).to_string(),
            a.sandbox_level.to_string(),
            a.cause.clone().unwrap_or_else(|| "running".into()),
        ]);
    }
    for (table, rows) in [(outputs, job.outputs.len()), (attempts, job.attempts.len())] {
        if rows > 0 {
            text += &format!("\n{table}");
        }
    }
    text
}

fn measured(media: &crate::job::Media) -> String {
    let mut facts = Vec::new();
    facts.extend(media.width.zip(media.height).map(|(w, h)| format!("{w}x{h}")));
    facts.extend(media.duration_ms.map(span));
    let counts = [(media.frames, "frames"), (media.pages, "pages"), (media.entries, "entries")];
    facts.extend(counts.into_iter().filter_map(|(n, unit)| Some(format!("{} {unit}", n?))));
    facts.join(", ")
}

async fn log(client: &Client, id: &str, follow: bool) -> Result<Exit, Trouble> {
    let mut shown = 0;
    loop {
        // The state first: what is logged before the end is then in the answer below.
        let job: Job = read(&client.get(&["v1", "jobs", id], &[]).await?)?;
        let lines: Vec<Value> = read(&client.get(&["v1", "jobs", id, "log"], &[]).await?)?;
        for line in lines.iter().skip(shown) {
            let text = if client.json { line.to_string() } else { log_line(&read(line)?) };
            print(&format!("{text}\n"));
        }
        shown = shown.max(lines.len());
        if !follow || job.state.is_terminal() {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(LOG_EVERY).await;
    }
}

fn log_line(line: &LogLine) -> String {
    plain(&format!("{} {:<5} {}.{}: {}", line.at, line.level, line.source, line.attempt, line.message))
}

async fn cancel(client: &Client, ids: &[String], kill: bool) -> Result<Exit, Trouble> {
    let mode = json!({"mode": if kill { "kill" } else { "soft" }});
    let mut trouble = None;
    for id in ids {
        match client.post(&["v1", "jobs", id, "cancel"], Some(&mode)).await {
            Ok(answer) => acknowledge(client, &answer)?,
            Err(t) if t.exit == Exit::Unavailable => return Err(t),
            Err(t) => trouble = Some(Trouble::new(t.exit, format!("{id}: {}", t.text))),
        }
    }
    trouble.map_or(Ok(Exit::Done), Err)
}

fn acknowledge(client: &Client, answer: &Value) -> Result<(), Trouble> {
    let text = if client.json {
        answer.to_string()
    } else {
        let job: Job = read(answer)?;
        format!("{} {}", job.id, if job.cancel.is_some() && job.state == State::Running { "asked to stop" } else { job.state.as_str() })
    };
    print(&format!("{text}\n"));
    Ok(())
}

/// Waits until the job has ended; `seen` is told of each look.
pub async fn ended(client: &Client, id: &str, mut seen: impl FnMut(&Job)) -> Result<Value, Trouble> {
    // Only somebody who watches wants to know every second.
    let wait = if std::io::stderr().is_terminal() { "1s" } else { "30s" };
    loop {
        let answer = client.get(&["v1", "jobs", id], &[("wait", wait.to_owned())]).await?;
        let job: Job = read(&answer)?;
        seen(&job);
        if job.state.is_terminal() {
            return Ok(answer);
        }
    }
}

/// Downloads every output that is ready; says where they are.
pub async fn fetch(client: &Client, job: &Job, target: &Target) -> Result<Vec<PathBuf>, Trouble> {
    let mut places = Vec::new();
    let ready: Vec<_> = job.outputs.iter().filter(|o| o.url.is_some()).collect();
    target.check(ready.len()).map_err(Trouble::usage)?;
    let id = job.id.to_string();
    for output in ready {
        let mut path = vec!["v1", "jobs", &id, "outputs"];
        path.extend(output.name.split('/'));
        let response = client.open(&path, &[]).await?;
        let mut bytes = tokio_util::io::StreamReader::new(response.bytes_stream().map_err(std::io::Error::other));
        let written = target.write(&output.name, &mut bytes).await.map_err(|e| Trouble::new(Exit::Failed, e))?;
        if let (Some(path), false) = (&written, client.json) {
            print(&format!("{}\n", plain(&path.to_string_lossy())));
        }
        places.extend(written);
    }
    Ok(places)
}

/// How a watched job's end ends the command.
pub fn verdict(job: &Job) -> Result<Exit, Trouble> {
    convert::judge(job).map(|()| Exit::Done).map_err(|(exit, text)| Trouble::new(exit, text))
}
