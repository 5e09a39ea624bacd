//! `millrace jobs watch`: one job with its bar; all jobs as a table on a terminal, else a line for each piece of news.

use super::board::board;
use super::client::{Client, Trouble, read};
use super::events::{Events, Heard};
use super::jobs::{name, took, verdict};
use super::screen::Screen;
use super::table::plain;
use super::{Exit, bars, print};
use crate::job::{Job, JobId, State};
use indicatif::MultiProgress;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Bars and tables move, and a server without an event stream is asked, this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// However much news there is, a table stands for so long.
const DRAWN_FOR: Duration = Duration::from_millis(200);
/// Jobs that are looked at: more than any screen has lines.
const JOBS_MAX: &str = "200";

/// Follows one job; ends as the job does.
pub async fn one(client: &Client, id: &str) -> Result<Exit, Trouble> {
    let path = ["v1", "jobs", id];
    let mut answer = client.get(&path, &[]).await?;
    let mut events = Events::open(client, vec!["v1", "jobs", id, "events"]).await?;
    let multi = MultiProgress::new();
    let bar = bars::conversion(&multi, name(&read(&answer)?), !client.json);
    let mut told = String::new();
    loop {
        let job: Job = read(&answer)?;
        bars::show(&bar, &job.progress);
        let line = if client.json { answer.to_string() } else { news(&job) };
        if line != told && (client.json || bar.is_hidden()) {
            print(&format!("{line}\n"));
            told = line;
        }
        if job.state.is_terminal() {
            bar.finish_and_clear();
            if told.is_empty() {
                print(&format!("{}\n", news(&job)));
            }
            return verdict(&job);
        }
        tokio::select! {
            heard = next(&mut events) => drop(heard?),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        answer = client.get(&path, &[]).await?;
    }
}

/// Follows every job until Ctrl-C: a table on a terminal, else a line for each piece of news.
pub async fn all(client: &Client) -> Result<Exit, Trouble> {
    // Listens all the time: a signal that comes while a line is written is not lost.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Trouble::new(Exit::Unavailable, e))?;
    let screen = if client.json { None } else { Screen::open() };
    let follow = async {
        match &screen {
            Some(screen) => table(client, screen).await,
            None => lines(client).await,
        }
    };
    tokio::select! {
        ended = follow => ended,
        _ = interrupt.recv() => Ok(Exit::Done),
    }
}

/// What runs, and the newest of the rest, as much as has room; drawn again on news and every second.
async fn table(client: &Client, screen: &Screen) -> Result<Exit, Trouble> {
    let mut events = Events::open(client, vec!["v1", "events"]).await?;
    let newest = [("limit", JOBS_MAX.to_owned())];
    let running = [&newest[..], &[("state", "running".to_owned())]].concat();
    loop {
        let (running, newest) = tokio::try_join!(client.get(&["v1", "jobs"], &running), client.get(&["v1", "jobs"], &newest))?;
        let (mut jobs, rest): (Vec<Job>, Vec<Job>) = (read(&running["jobs"])?, read(&newest["jobs"])?);
        jobs.extend(rest.into_iter().filter(|job| job.state != State::Running));
        screen.show(&board(&jobs, Timestamp::now()).to_string());
        let drawn = tokio::time::sleep(DRAWN_FOR);
        tokio::select! {
            heard = next(&mut events) => drop(heard?),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        drawn.await;
    }
}

async fn lines(client: &Client) -> Result<Exit, Trouble> {
    let mut events = Events::open(client, vec!["v1", "events"]).await?;
    let polled = events.is_none();
    let mut news = News { known: None, json: client.json };
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            heard = next(&mut events) => news.tell(&heard?),
            _ = tick.tick(), if polled => {
                news.compare(read(&client.get(&["v1", "jobs"], &[("limit", JOBS_MAX.into())]).await?["jobs"])?);
            }
        }
    }
}

async fn next(events: &mut Option<Events<'_>>) -> Result<Heard, Trouble> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// What is worth a line about one job: it changes with the state, the stage and every tenth of the way.
fn news(job: &Job) -> String {
    let tens = (job.progress.percent / 10.0).floor() * 10.0;
    let more = match job.state {
        State::Running => format!(" {tens:.0}% {}", job.progress.stage),
        _ => took(job, Timestamp::now()).map(|t| format!(" after {t}")).unwrap_or_default(),
    };
    plain(&format!("{} {}{more}", job.id, job.state.as_str()))
}

/// What is told of all jobs.
struct News {
    /// States at the last look, where there are no events; none before the first.
    known: Option<BTreeMap<JobId, State>>,
    json: bool,
}

impl News {
    /// Nobody reads the queues' counts and each step forward as they fly by.
    fn tell(&self, heard: &Heard) {
        if heard.kind == "queues" || (heard.kind == "progress" && !self.json) {
            return;
        }
        print(&format!("{}\n", if self.json { heard.data.to_string() } else { event_line(heard) }));
    }

    /// Makes news of the difference between two looks.
    fn compare(&mut self, jobs: Vec<Job>) {
        let now: BTreeMap<JobId, State> = jobs.iter().map(|job| (job.id, job.state)).collect();
        let Some(before) = self.known.replace(now) else { return };
        for job in jobs.iter().filter(|job| before.get(&job.id) != Some(&job.state)) {
            let line = if self.json { serde_json::to_string(job).unwrap_or_default() } else { news(job) };
            print(&format!("{line}\n"));
        }
    }
}

/// `time kind queue job detail`
fn event_line(heard: &Heard) -> String {
    let data = &heard.data;
    let text = |value: &Value| value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned);
    let kind = data["kind"].as_str().unwrap_or(&heard.kind);
    let words = [text(&data["at"]), kind.to_owned(), text(&data["queue"]), text(&data["job"]), text(&data["detail"])];
    plain(words.map(|w| if w == "{}" { String::new() } else { w }).join(" ").trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line() {
        let data = json!({"seq": 1, "at": "2026-01-01T00:00:00Z", "kind": "started", "job": "0198", "queue": "video", "detail": {}});
        assert_eq!(event_line(&Heard { kind: "started".into(), data }), "2026-01-01T00:00:00Z started video 0198");
        assert_eq!(event_line(&Heard { kind: "hello".into(), data: json!({}) }), "hello");
    }
}
