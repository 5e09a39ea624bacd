//! `millrace schedules`: jobs that a server submits by the clock.

use super::client::{Client, Server, Trouble, read, with};
use super::table::{Table, ago};
use super::{Exit, gone};
use crate::limits::Span;
use crate::store::Schedule;
use jiff::Timestamp;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every schedule: when it fired last, when it fires next.
    List,
    /// Make a schedule, or change one.
    Put(Box<Put>),
    /// Take a schedule away; jobs it has submitted stay.
    Delete { name: String },
    /// Submit its job now.
    Run { name: String },
}

#[derive(Debug, clap::Args)]
struct Put {
    name: String,
    /// Five fields, names, or @daily.
    #[arg(long, required_unless_present = "every", conflicts_with = "every")]
    cron: Option<String>,
    /// Instead of --cron: an interval, as 15m.
    #[arg(long)]
    every: Option<Span>,
    /// For times that pass while nothing runs: skip, once or all.
    #[arg(long, default_value = "once")]
    missed: String,
    /// IANA name, as Europe/Berlin; the server's own by default.
    #[arg(long)]
    time_zone: Option<String>,
    /// The job to submit, as cleanup.purge-staging.
    #[arg(long, required_unless_present = "task", conflicts_with = "task")]
    converter: Option<String>,
    /// Instead of --converter: a task to send to Celery, as site.tasks.report.
    #[arg(long)]
    task: Option<String>,
    /// The task's arguments, as a list in JSON.
    #[arg(long, requires = "task", value_parser = json_of::<Vec<Value>>)]
    args: Option<Value>,
    /// The task's named arguments, as an object in JSON.
    #[arg(long, requires = "task", value_parser = json_of::<Map<String, Value>>)]
    kwargs: Option<Value>,
    /// Celery's queue for it; by celery.routes and celery.default_queue else.
    #[arg(long, requires = "task")]
    queue: Option<String>,
    /// Keep it, without firing.
    #[arg(long)]
    disabled: bool,
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::List => {
            let answer = client.get(&["v1", "schedules"], &[]).await?;
            show(client, &answer, &read::<Vec<Schedule>>(&answer)?)
        }
        Command::Put(wanted) => {
            let answer = client.call(Method::PUT, &["v1", "schedules", &wanted.name], &[], Some(&wanted.body())).await?;
            show(client, &answer, &[read(&answer)?])
        }
        Command::Delete { name } => {
            client.call(Method::DELETE, &["v1", "schedules", name], &[], None).await?;
            gone(client, name);
            Ok(Exit::Done)
        }
        Command::Run { name } => {
            let answer = client.post(&["v1", "schedules", name, "run"], None).await?;
            client.tell(&answer, || Ok(format!("{}\n", answer["id"].as_str().unwrap_or_default())))
        }
    })
}

impl Put {
    fn body(&self) -> Value {
        let mut body = json!({"cron": self.cron, "every": self.every, "missed": self.missed, "enabled": !self.disabled});
        match &self.task {
            None => body["converter"] = json!(self.converter),
            Some(task) => {
                let (none, nothing) = (json!([]), json!({}));
                let (args, kwargs) = (self.args.as_ref().unwrap_or(&none), self.kwargs.as_ref().unwrap_or(&nothing));
                body["celery"] = json!({"task": task, "args": args, "kwargs": kwargs, "queue": self.queue});
            }
        }
        if let Some(time_zone) = &self.time_zone {
            body["time_zone"] = json!(time_zone);
        }
        body
    }
}

fn show(client: &Client, answer: &Value, schedules: &[Schedule]) -> Result<Exit, Trouble> {
    client.tell(answer, || {
        let now = Timestamp::now();
        let mut table = Table::new(["SCHEDULE", "WHEN", "ZONE", "SUBMITS", "LAST", "NEXT"]);
        for schedule in schedules {
            table.row([
                schedule.name.clone(),
                schedule.cron.clone().or(schedule.every.map(|every| format!("every {every}"))).unwrap_or_default(),
                schedule.time_zone.clone(),
                submits(schedule),
                schedule.last_fire.map_or("never".into(), |at| format!("{} ago", ago(at, now))),
                if schedule.enabled { format!("in {} ({})", ago(now, schedule.next_fire), schedule.next_fire) } else { "disabled".into() },
            ]);
        }
        Ok(table.to_string())
    })
}

/// What it submits: a job, or a task to a queue of Celery's.
fn submits(schedule: &Schedule) -> String {
    match &schedule.celery {
        None => schedule.converter.clone(),
        Some(task) => task.queue.as_ref().map_or(task.task.clone(), |queue| format!("{} to {queue}", task.task)),
    }
}

/// JSON of this kind.
fn json_of<T: DeserializeOwned>(text: &str) -> Result<Value, String> {
    serde_json::from_str::<T>(text).map_err(|e| e.to_string())?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}
