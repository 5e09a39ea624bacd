//! `millrace top`: a server's queues and what runs, on a screen that follows.

use super::board::board;
use super::client::{Client, Server, Trouble, read, with};
use super::screen::Screen;
use super::table::{Table, span};
use super::{Exit, print};
use crate::job::Job;
use crate::limits::Span;
use crate::store::Presence;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Jobs asked for: more than any screen has lines.
const JOBS_MAX: &str = "200";
/// A server has other things to do.
const EVERY_MIN: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print it once, for scripts; so too when standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// Between two looks.
    #[arg(long, default_value = "1s")]
    every: Span,
    #[command(flatten)]
    server: Server,
}

pub fn run(args: Args) -> Exit {
    with(&args.server, async |client| follow(&args, client).await)
}

async fn follow(args: &Args, client: &Client) -> Result<Exit, Trouble> {
    let screen = if args.once || client.json { None } else { Screen::open() };
    let mut tick = tokio::time::interval(args.every.duration().max(EVERY_MIN));
    // Ended by a signal, it leaves the terminal as it was.
    let listen = |kind| signal(kind).map_err(|e| Trouble::new(Exit::Unavailable, e));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = interrupt.recv() => return Ok(Exit::Done),
            _ = terminate.recv() => return Ok(Exit::Done),
        }
        let look = look(client).await;
        match &screen {
            Some(screen) => screen.show(&match look {
                Ok(look) => text(&look)?,
                // It may only be on its way up again.
                Err(trouble) if trouble.exit == Exit::Unavailable => trouble.text,
                Err(trouble) => return Err(trouble),
            }),
            None => {
                let look = look?;
                print(&if client.json { format!("{look}\n") } else { text(&look)? });
                if args.once || !client.json {
                    return Ok(Exit::Done);
                }
            }
        }
    }
}

async fn look(client: &Client) -> Result<Value, Trouble> {
    let running = [("state", "running".to_owned()), ("limit", JOBS_MAX.to_owned())];
    let (queues, workers, jobs) =
        tokio::try_join!(client.get(&["v1", "queues"], &[]), client.get(&["v1", "workers"], &[]), client.get(&["v1", "jobs"], &running))?;
    Ok(json!({"at": Timestamp::now(), "queues": queues, "workers": workers, "running": jobs["jobs"]}))
}

fn text(look: &Value) -> Result<String, Trouble> {
    let (now, workers): (Timestamp, Vec<Presence>) = (read(&look["at"])?, read(&look["workers"])?);
    let mut jobs: Vec<Job> = read(&look["running"])?;
    jobs.sort_by_key(|job| job.started_at);
    let queues = look["queues"].as_array().cloned().unwrap_or_default();
    let sum = |state: &str| queues.iter().filter_map(|queue| queue["jobs"][state].as_u64()).sum::<u64>();
    let head = format!(
        "{}  {} running, {} waiting, {} done, {} failed; workers: {}\n",
        now.strftime("%H:%M:%S UTC"),
        sum("running"),
        sum("queued"),
        sum("succeeded"),
        sum("failed"),
        workers.len()
    );
    let mut lines = Table::new(["QUEUE", "LINE", "SLOTS", "RUNNING", "WAITING", "OLDEST", "DONE", "FAILED"]);
    for queue in &queues {
        let of = |state: &str| queue["jobs"][state].as_u64().unwrap_or(0).to_string();
        lines.row([
            queue["name"].as_str().unwrap_or_default().into(),
            if queue["paused"] == true { "paused" } else { "open" }.into(),
            format!("{}/{}", queue["slots_used"], queue["concurrency"]),
            of("running"),
            of("queued"),
            queue["oldest_waiting_s"].as_u64().map(|s| span(s * 1000)).unwrap_or_default(),
            of("succeeded"),
            of("failed"),
        ]);
    }
    let running = board(&jobs, now);
    Ok(if jobs.is_empty() { format!("{head}\n{lines}\nNothing runs.\n") } else { format!("{head}\n{lines}\n{running}") })
}
