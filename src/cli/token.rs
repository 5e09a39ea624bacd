//! `millrace token`: who may use a server.

use super::client::{Client, Server, Trouble, read, with};
use super::table::{Table, ago};
use super::{Exit, gone};
use crate::access::Token;
use crate::limits::Size;
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
    /// Make a token and print its text, which is told this once.
    Create {
        name: String,
        /// submit, read and admin, several with commas.
        #[arg(long, value_delimiter = ',', default_value = "submit")]
        scopes: Vec<String>,
        /// What it may upload in a day, as 10GiB.
        #[arg(long)]
        bytes_per_day: Option<Size>,
        /// How many of its jobs may be queued or running.
        #[arg(long)]
        jobs: Option<u64>,
        /// How many of its jobs may run at a time.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        slots: Option<u64>,
        /// Its jobs share no results with equal ones, whatever a queue allows.
        #[arg(long)]
        no_reuse: bool,
    },
    /// Every token: its scopes, its limits, when it was made; never its text.
    List,
    /// Make a token worthless.
    Revoke { id: String },
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::Create { name, scopes, bytes_per_day, jobs, slots, no_reuse } => {
            let quota = json!({"bytes_per_day": bytes_per_day, "jobs": jobs, "slots": slots});
            let body = json!({"name": name, "scopes": scopes, "quota": quota, "reuse": !no_reuse});
            let answer = client.post(&["v1", "tokens"], Some(&body)).await?;
            client.tell(&answer, || Ok(format!("{}\n", answer["secret"].as_str().unwrap_or_default())))
        }
        Command::List => {
            let answer = client.get(&["v1", "tokens"], &[]).await?;
            show(client, &answer)
        }
        Command::Revoke { id } => {
            client.call(Method::DELETE, &["v1", "tokens", id], &[], None).await?;
            gone(client, id);
            Ok(Exit::Done)
        }
    })
}

fn show(client: &Client, answer: &Value) -> Result<Exit, Trouble> {
    client.tell(answer, || {
        let (now, mut table) = (Timestamp::now(), Table::new(["TOKEN", "NAME", "BEGINS", "SCOPES", "A DAY", "JOBS", "SLOTS", "REUSE", "AGE"]));
        for token in read::<Vec<Token>>(answer)? {
            let scopes = token.scopes.iter().map(|scope| scope.as_str());
            table.row([
                token.id.clone(),
                token.name.clone(),
                token.prefix.clone(),
                scopes.collect::<Vec<_>>().join(","),
                token.quota.bytes_per_day.map_or("any".into(), |size| size.to_string()),
                token.quota.jobs.map_or("any".into(), |n| n.to_string()),
                token.quota.slots.map_or("any".into(), |n| n.to_string()),
                if token.reuse { "yes".into() } else { "no".into() },
                ago(token.created_at, now),
            ]);
        }
        Ok(table.to_string())
    })
}
