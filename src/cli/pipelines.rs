//! `millrace pipelines`: steps from a file, and what became of them.

use super::client::{Client, Server, Trouble, read, with};
use super::table::{Table, ago, plain};
use super::{Exit, print, submit};
use crate::job::State;
use crate::pipeline::{PipelineView, StepState};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Submit the pipeline in this JSON file; an input may be {"file": PATH}, which is uploaded first.
    Run {
        /// `-` is standard input.
        file: PathBuf,
        /// Stay until it has ended.
        #[arg(long)]
        wait: bool,
    },
    /// The newest pipelines.
    List {
        /// running, succeeded, failed or cancelled.
        #[arg(long)]
        state: Option<String>,
        /// At most this many, 1 to 500.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Its steps and errors.
    Show { id: String },
    /// Follow it to its end.
    Watch { id: String },
    /// Run again what has failed or was cancelled, and what has read of it.
    Retry { id: String },
    /// Stop it; jobs that run are asked to, or killed.
    Cancel {
        id: String,
        #[arg(long)]
        kill: bool,
    },
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::Run { file, wait } => {
            let answer = client.post(&["v1", "pipelines"], Some(&request(client, file).await?)).await?;
            let view: PipelineView = read(&answer)?;
            if *wait {
                return watch(client, &view.id.to_string()).await;
            }
            client.tell(&answer, || Ok(format!("{}\n", view.id)))
        }
        Command::List { state, limit } => list(client, state.as_deref(), *limit).await,
        Command::Show { id } => show(client, &client.get(&["v1", "pipelines", id], &[]).await?),
        Command::Watch { id } => watch(client, id).await,
        Command::Retry { id } => show(client, &client.post(&["v1", "pipelines", id, "retry"], None).await?),
        Command::Cancel { id, kill } => {
            let mode = json!({"mode": if *kill { "kill" } else { "soft" }});
            show(client, &client.post(&["v1", "pipelines", id, "cancel"], Some(&mode)).await?)
        }
    })
}

/// What the file says, with the files it names uploaded. Their paths are relative to its own.
async fn request(client: &Client, file: &Path) -> Result<Value, Trouble> {
    let unreadable = |e: &dyn std::fmt::Display| Trouble::usage(format!("{}: {e}", plain(&file.to_string_lossy())));
    let text = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let mut request: Value = serde_json::from_str(&text.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    for step in request["steps"].as_object_mut().into_iter().flat_map(|steps| steps.values_mut()) {
        if let Some(named) = step["input"]["file"].as_str() {
            let upload = submit::send(client, &folder.join(named)).await?;
            step["input"] = json!({"upload": upload["id"]});
        }
    }
    Ok(request)
}

async fn list(client: &Client, state: Option<&str>, limit: u16) -> Result<Exit, Trouble> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(state.map(|state| ("state", state.to_owned())));
    let answer = client.get(&["v1", "pipelines"], &query).await?;
    client.tell(&answer, || {
        let (pipelines, now): (Vec<PipelineView>, _) = (read(&answer["pipelines"])?, Timestamp::now());
        let mut table = Table::new(["ID", "STATE", "DONE", "JOBS", "FAILED", "AGE", "STEPS"]);
        for pipeline in &pipelines {
            table.row([
                pipeline.id.to_string(),
                state_of(pipeline),
                format!("{:.0}%", pipeline.stats.percent),
                pipeline.stats.total.to_string(),
                pipeline.stats.failed.to_string(),
                ago(pipeline.created_at, now),
                pipeline.steps.keys().cloned().collect::<Vec<_>>().join(" "),
            ]);
        }
        Ok(table.to_string())
    })
}

fn show(client: &Client, answer: &Value) -> Result<Exit, Trouble> {
    let view: PipelineView = read(answer)?;
    client.tell(answer, || Ok(describe(&view)))
}

fn state_of(pipeline: &PipelineView) -> String {
    format!("{}{}", pipeline.state.as_str(), if pipeline.partial { " (partly)" } else { "" })
}

fn describe(pipeline: &PipelineView) -> String {
    let head = format!("pipeline  {}\nstate     {}\ndone      {:.0}%\n", pipeline.id, state_of(pipeline), pipeline.stats.percent);
    let mut table = Table::new(["STEP", "STATE", "JOBS", "DONE", "FAILED", "RUNNING", "AFTER"]);
    for (name, step) in &pipeline.steps {
        let state = match step.state {
            StepState::Waiting => "waiting",
            StepState::Running => "running",
            StepState::Over => "over",
            StepState::Skipped => "skipped",
        };
        let stats = &step.stats;
        table.row([
            name.clone(),
            state.into(),
            stats.total.to_string(),
            stats.done.to_string(),
            stats.failed.to_string(),
            stats.running.to_string(),
            step.needs.join(" "),
        ]);
    }
    let errors: String = pipeline.errors.iter().map(|e| plain(&format!("{}: {}: {}", e.step, e.item, e.error)) + "\n").collect();
    format!("{head}\n{table}{}{errors}", if errors.is_empty() { "" } else { "\n" })
}

/// Follows a pipeline to its end, a line for each piece of news; ends as it does.
async fn watch(client: &Client, id: &str) -> Result<Exit, Trouble> {
    let mut told = String::new();
    loop {
        // One that is not over in this time has news.
        let answer = client.get(&["v1", "pipelines", id], &[("wait", "1s".to_owned())]).await?;
        let view: PipelineView = read(&answer)?;
        let stats = &view.stats;
        let news = format!("{id} {} {:.0}% of {} jobs, {} failed", state_of(&view), stats.percent, stats.total, stats.failed);
        if news != told {
            print(&if client.json { format!("{answer}\n") } else { format!("{news}\n") });
            told = news;
        }
        let first = || view.errors.first().map(|e| plain(&format!("{}: {}: {}", e.step, e.item, e.error))).unwrap_or_default();
        match view.state {
            State::Succeeded => return Ok(Exit::Done),
            State::Failed => return Err(Trouble::new(Exit::Failed, first())),
            State::Cancelled => return Err(Trouble::new(Exit::Cancelled, "the pipeline was cancelled")),
            State::Queued | State::Running => {}
        }
    }
}
