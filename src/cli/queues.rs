//! `millrace queues`: a server's lines and their live settings.

use super::client::{Client, Server, Trouble, with};
use super::table::Table;
use super::{Exit, options};
use reqwest::Method;
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
    /// Every queue: slots, limits and how many jobs are in which state.
    List,
    /// One of them.
    Show { name: String },
    /// Change settings at once, without a restart: concurrency, autoscale, soft_time_limit, hard_time_limit, rate_limit, max_attempts,
    /// retry_delay.
    Set {
        name: String,
        /// As concurrency=2, autoscale=1-4, soft_time_limit=5m or rate_limit=100/m; autoscale=none and rate_limit=none lift them.
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Start nothing more; what runs goes on.
    Pause { name: String },
    /// Start jobs again after a pause.
    Resume { name: String },
    /// Cancel every queued job.
    Purge { name: String },
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::List => {
            let answer = client.get(&["v1", "queues"], &[]).await?;
            let rows = answer.as_array().cloned().unwrap_or_default();
            show(client, &answer, &rows)
        }
        Command::Show { name } => one(client, client.get(&["v1", "queues", name], &[]).await?),
        Command::Set { name, settings } => {
            one(client, client.call(Method::PATCH, &["v1", "queues", name], &[], Some(&Value::Object(tuning(settings)?))).await?)
        }
        Command::Pause { name } => one(client, client.post(&["v1", "queues", name, "pause"], None).await?),
        Command::Resume { name } => one(client, client.post(&["v1", "queues", name, "resume"], None).await?),
        Command::Purge { name } => {
            let answer = client.post(&["v1", "queues", name, "purge"], None).await?;
            client.tell(&answer, || Ok(format!("{} jobs cancelled\n", answer["cancelled"])))
        }
    })
}

fn tuning(settings: &[String]) -> Result<Map<String, Value>, Trouble> {
    let pair = |setting: &String| {
        let (key, value) = setting.split_once('=').ok_or_else(|| Trouble::usage(format!("`{setting}`: write settings as KEY=VALUE")))?;
        let range = || value.split_once('-').and_then(|(min, max)| Some((min.parse::<u32>().ok()?, max.parse::<u32>().ok()?)));
        let value = match (key, value) {
            (_, "none") => Value::Null,
            ("autoscale", value) => range().map_or_else(|| options::value(value), |(min, max)| json!({"min": min, "max": max})),
            (_, value) => options::value(value),
        };
        Ok((key.to_owned(), value))
    };
    settings.iter().map(pair).collect()
}

fn one(client: &Client, answer: Value) -> Result<Exit, Trouble> {
    show(client, &answer, std::slice::from_ref(&answer))
}

fn show(client: &Client, answer: &Value, queues: &[Value]) -> Result<Exit, Trouble> {
    client.tell(answer, || {
        let text = |value: &Value| match value {
            Value::Null => "none".to_owned(),
            value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        };
        let mut table = Table::new(["QUEUE", "LINE", "SLOTS", "QUEUED", "RUNNING", "DONE", "FAILED", "RATE", "SOFT", "HARD", "ATTEMPTS", "RETRY"]);
        for queue in queues {
            let jobs = |state: &str| queue["jobs"][state].as_u64().unwrap_or(0).to_string();
            table.row([
                text(&queue["name"]),
                if queue["paused"] == true { "paused" } else { "open" }.into(),
                match &queue["autoscale"] {
                    Value::Null => text(&queue["concurrency"]),
                    range => format!("{} ({}-{})", queue["concurrency"], range["min"], range["max"]),
                },
                jobs("queued"),
                jobs("running"),
                jobs("succeeded"),
                jobs("failed"),
                text(&queue["rate_limit"]),
                text(&queue["soft_time_limit"]),
                text(&queue["hard_time_limit"]),
                text(&queue["max_attempts"]),
                text(&queue["retry_delay"]),
            ]);
        }
        Ok(table.to_string())
    })
}
