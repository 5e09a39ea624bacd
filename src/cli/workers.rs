//! `millrace workers`: the processes that work for a server.

use super::Exit;
use super::client::{Client, Server, Trouble, read, with};
use super::table::{Table, ago};
use crate::limits::Size;
use crate::store::{Presence, WorkerState};
use jiff::Timestamp;
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every worker heard of within 30 seconds.
    List,
    /// Lease nothing more and let what runs end; idle until restarted.
    Drain { id: String },
    /// Give back what runs, start pools and zygotes anew.
    Restart { id: String },
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| match &args.command {
        Command::List => {
            let answer = client.get(&["v1", "workers"], &[]).await?;
            show(client, &answer, &read::<Vec<Presence>>(&answer)?)
        }
        Command::Drain { id } => order(client, id, "drain").await,
        Command::Restart { id } => order(client, id, "restart").await,
    })
}

async fn order(client: &Client, id: &str, order: &str) -> Result<Exit, Trouble> {
    let answer = client.post(&["v1", "workers", id, order], None).await?;
    show(client, &answer, &[read(&answer)?])
}

fn show(client: &Client, answer: &Value, workers: &[Presence]) -> Result<Exit, Trouble> {
    client.tell(answer, || {
        let now = Timestamp::now();
        let mut table = Table::new(["WORKER", "STATE", "VERSION", "UP", "JAIL", "MEMORY", "RUNNING", "POOLS"]);
        for worker in workers {
            let state = if worker.state == WorkerState::Running { "running" } else { "draining" };
            let pools: Vec<_> = worker.queues.iter().map(|pool| format!("{} {}/{}", pool.queue, pool.running.len(), pool.slots)).collect();
            table.row([
                worker.id.clone(),
                state.into(),
                worker.version.clone(),
                ago(worker.started_at, now),
                worker.sandbox_level.to_string(),
                Size(worker.memory_bytes).to_string(),
                worker.queues.iter().map(|pool| pool.running.len()).sum::<usize>().to_string(),
                pools.join(", "),
            ]);
        }
        Ok(table.to_string())
    })
}
