//! `millrace webhooks`: what a server has told others of its jobs.

use super::client::{Client, Server, Trouble, given, read, with};
use super::table::{Table, ago};
use super::{Exit, print};
use crate::store::{Delivery, Target};
use jiff::Timestamp;
use serde_json::Value;

/// The most that one page of the API has.
const PAGE: &str = "500";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Deliveries by webhook, hook and mail, newest first.
    List {
        /// pending, delivered or dead (given up).
        #[arg(long)]
        state: Option<String>,
        #[arg(long)]
        job: Option<String>,
        #[arg(long, conflicts_with = "job")]
        pipeline: Option<String>,
    },
    /// One delivery, its tries and what it tells, as JSON.
    Show { id: String },
    /// Send deliveries again.
    Replay {
        #[arg(required_unless_present = "dead")]
        ids: Vec<String>,
        /// All that were given up.
        #[arg(long, conflicts_with = "ids")]
        dead: bool,
    },
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::List { state, job, pipeline } => {
            let query = given([("limit", &Some(PAGE.to_owned())), ("state", state), ("job", job), ("pipeline", pipeline)]);
            let answer = client.get(&["v1", "webhooks", "deliveries"], &query).await?;
            show(client, &answer["deliveries"])
        }
        Command::Show { id } => {
            let answer = client.get(&["v1", "webhooks", "deliveries", id], &[]).await?;
            print(&format!("{answer:#}\n"));
            Ok(Exit::Done)
        }
        Command::Replay { ids, dead } => replay(client, if *dead { dead_ones(client).await? } else { ids.clone() }).await,
    })
}

async fn dead_ones(client: &Client) -> Result<Vec<String>, Trouble> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("state", "dead".to_owned()), ("limit", PAGE.to_owned())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let answer = client.get(&["v1", "webhooks", "deliveries"], &query).await?;
        ids.extend(read::<Vec<Delivery>>(&answer["deliveries"])?.into_iter().map(|d| d.id));
        match answer["cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(ids),
        }
    }
}

async fn replay(client: &Client, ids: Vec<String>) -> Result<Exit, Trouble> {
    let mut replayed = Vec::with_capacity(ids.len());
    for id in &ids {
        replayed.push(client.post(&["v1", "webhooks", "deliveries", id, "replay"], None).await?);
    }
    show(client, &Value::Array(replayed))
}

fn show(client: &Client, deliveries: &Value) -> Result<Exit, Trouble> {
    client.tell(deliveries, || {
        let now = Timestamp::now();
        let mut table = Table::new(["DELIVERY", "AGE", "EVENT", "JOB OR PIPELINE", "TO", "STATE", "TRIES", "LAST ANSWER", "NEXT"]);
        for delivery in read::<Vec<Delivery>>(deliveries)? {
            let last = delivery.tries.last();
            table.row([
                delivery.id.clone(),
                ago(delivery.at, now),
                delivery.event.as_str().into(),
                delivery.about(),
                to(&delivery.target),
                delivery.state.as_str().into(),
                delivery.tries.len().to_string(),
                last.and_then(|t| t.status.map(|s| s.to_string()).or_else(|| t.answer.clone())).unwrap_or_default(),
                delivery.next_try.map_or(String::new(), |at| if at > now { format!("in {}", ago(now, at)) } else { "now".into() }),
            ]);
        }
        Ok(table.to_string())
    })
}

fn to(target: &Target) -> String {
    match target {
        Target::Webhook { url } => url.clone(),
        Target::Hook { hook } => hook.as_str().into(),
        Target::Email { to } => to.clone().unwrap_or_else(|| "admins".into()),
    }
}
