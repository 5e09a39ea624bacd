//! `millrace schedules`: jobs that a server submits by the clock.

use super::client::{Client, Server, Trouble, read, with};
use super::table::{Table, ago};
use super::{Exit, gone};
use crate::limits::Span;
use crate::store::Schedule;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List,
    /// Make a schedule, or change one.
    Put {
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
        #[arg(long)]
        converter: String,
        /// Keep it, without firing.
        #[arg(long)]
        disabled: bool,
    },
    Delete {
        name: String,
    },
    /// Submit its job now.
    Run {
        name: String,
    },
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::List => {
            let answer = client.get(&["v1", "schedules"], &[]).await?;
            show(client, &answer, &read::<Vec<Schedule>>(&answer)?)
        }
        Command::Put { name, cron, every, missed, time_zone, converter, disabled } => {
            let mut body = json!({"cron": cron, "every": every, "missed": missed, "converter": converter, "enabled": !disabled});
            if let Some(time_zone) = time_zone {
                body["time_zone"] = json!(time_zone);
            }
            let answer = client.call(Method::PUT, &["v1", "schedules", name], &[], Some(&body)).await?;
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

fn show(client: &Client, answer: &Value, schedules: &[Schedule]) -> Result<Exit, Trouble> {
    client.tell(answer, || {
        let now = Timestamp::now();
        let mut table = Table::new(["SCHEDULE", "WHEN", "ZONE", "SUBMITS", "LAST", "NEXT"]);
        for schedule in schedules {
            table.row([
                schedule.name.clone(),
                schedule.cron.clone().or(schedule.every.map(|every| format!("every {every}"))).unwrap_or_default(),
                schedule.time_zone.clone(),
                schedule.converter.clone(),
                schedule.last_fire.map_or("never".into(), |at| format!("{} ago", ago(at, now))),
                if schedule.enabled { format!("in {} ({})", ago(now, schedule.next_fire), schedule.next_fire) } else { "disabled".into() },
            ]);
        }
        Ok(table.to_string())
    })
}
