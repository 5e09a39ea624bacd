//! What happens, as server-sent events.
//!
//! Durable events carry their number as id, so that `Last-Event-ID` resumes without a gap. Between them come `progress` and
//! `queues`, which carry none: a client that missed them is told again by the next ones.

use super::caller::Caller;
use super::extract::{Path, Query, job_id};
use super::problem::Problem;
use super::{Shared, queues};
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::job::{Event, Job, JobId, Record, State as JobState};
use crate::progress::Progress;
use crate::store::{Notice, StoreError};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Between two updates of one job, or of the queues.
const CALM: Duration = Duration::from_millis(250);
/// Updates of jobs in a second, of all together: nobody reads more, and a page that shows a thousand jobs would do nothing else.
const TOLD_PER_SECOND: u32 = 200;
/// A lost notice costs one look.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Jobs of which it is remembered whose they are.
const KNOWN_MAX: usize = 10_000;
/// Events read at once.
const BATCH: usize = 200;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Resume {
    /// As the header `Last-Event-ID`, which goes before.
    last_event_id: Option<u64>,
}

/// The data of a `progress` event.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobProgress {
    job: JobId,
    queue: String,
    progress: Progress,
    outputs: Vec<OutputProgress>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OutputProgress {
    name: String,
    state: JobState,
    progress: Progress,
}

/// All events from now on (a token with the scope `submit` alone: those of its own jobs and pipelines): each named after its kind with an `Event` as data, `progress` with a `JobProgress`, `queues` with
/// the list of `/v1/queues`, which such a token does not get.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(Resume, ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = Event, content_type = "text/event-stream"), Problem))]
pub async fn all(State(service): State<Shared>, Query(resume): Query<Resume>, caller: Caller, headers: HeaderMap) -> Result<Response, Problem> {
    // Listening begins before the look: nothing falls between.
    let notices = service.intake.store.notices();
    let after = match last_seen(&headers, &resume)? {
        Some(after) => after,
        None => service.intake.store.last_event().await.map_err(store)?,
    };
    let about = caller.only_own(&Method::GET).map_or(About::All, |token| About::Own(token.to_owned()));
    Ok(answer(Feed::new(service, notices, about, after)))
}

/// One job's events from its beginning; the stream ends after the one that ends the job. A client that has them all is
/// answered 204, which keeps a browser from asking again.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "events", params(("id" = JobId, Path), Resume, ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = Event, content_type = "text/event-stream"), (status = 204, description = "The job has ended and there is nothing more"), Problem))]
pub async fn of_job(
    State(service): State<Shared>,
    Path(id): Path<String>,
    Query(resume): Query<Resume>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, notices) = (job_id(&id)?, service.intake.store.notices());
    let after = last_seen(&headers, &resume)?.unwrap_or(0);
    let job = service.intake.store.get(id).await.map_err(store)?.job;
    let nothing_more = job.state.is_terminal() && service.intake.store.events(after, Some(id), 1).await.map_err(store)?.is_empty();
    Ok(if nothing_more { StatusCode::NO_CONTENT.into_response() } else { answer(Feed::new(service, notices, About::Job(id), after)) })
}

fn last_seen(headers: &HeaderMap, resume: &Resume) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id").filter(|v| !v.is_empty()) else { return Ok(resume.last_event_id) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    let refuse = || Refusal::new(RefusalKind::InvalidRequest, "Last-Event-ID must be the id of an event.").field("Last-Event-ID");
    number.map(Some).ok_or_else(|| refuse().into())
}

fn answer(feed: Feed) -> Response {
    let stream = futures::stream::unfold(feed, |mut feed| async move { feed.next().await.map(|event| (Ok::<_, Infallible>(event), feed)) });
    let body: Sse<_> = Sse::new(Box::pin(stream) as std::pin::Pin<Box<dyn Stream<Item = _> + Send>>);
    let mut response = body.keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    // A proxy that gathers the answer would hold it back for ever.
    headers.insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

/// What a client hears of.
enum About {
    All,
    Job(JobId),
    /// What this token has sent.
    Own(String),
}

/// One client's view of what happens.
struct Feed {
    service: Shared,
    notices: broadcast::Receiver<Notice>,
    about: About,
    /// Whether jobs are among what it hears of, as far as that was looked up.
    known: HashMap<JobId, bool>,
    /// The last durable event sent.
    after: u64,
    waiting: VecDeque<sse::Event>,
    /// Jobs with news, and when they may be told.
    news: HashMap<JobId, Instant>,
    /// When a job's progress was last told.
    told: HashMap<JobId, Instant>,
    /// When the queues are told next; none: nothing changed.
    queues_due: Option<Instant>,
    /// The first answer tells where things stand.
    begun: bool,
    over: bool,
}

impl Feed {
    fn new(service: Shared, notices: broadcast::Receiver<Notice>, about: About, after: u64) -> Self {
        let queues_due = matches!(about, About::All).then(Instant::now);
        let (known, waiting, news, told) = (HashMap::new(), VecDeque::new(), HashMap::new(), HashMap::new());
        Feed { service, notices, about, known, after, waiting, news, told, queues_due, begun: false, over: false }
    }

    /// The next thing to say; none when there is nothing more to come, or the service stops.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.over || self.service.drain.is_cancelled() {
                return None;
            }
            if self.begun {
                self.listen().await;
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "an event stream could not be read on");
                return None;
            }
            self.begun = true;
        }
    }

    /// Waits for a notice or for something that is due; gathers what else has been noticed by then.
    async fn listen(&mut self) {
        let look_again = Instant::now() + LOOK_AGAIN;
        let due = self.news.values().copied().chain(self.queues_due).min().map_or(look_again, |due| due.min(look_again));
        let drain = self.service.drain.clone();
        tokio::select! {
            () = drain.cancelled() => {}
            () = tokio::time::sleep_until(due) => {}
            notice = self.notices.recv() => match notice {
                Ok(notice) => self.note(notice),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => self.over = true,
            },
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.note(notice);
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Job(id) if !matches!(self.about, About::Job(only) if only != id) && self.known.get(&id) != Some(&false) => {
                let due = self.told.get(&id).map_or_else(Instant::now, |told| *told + pace(self.told.len()));
                self.news.entry(id).or_insert(due);
            }
            _ => {}
        }
    }

    /// Durable events first, then what is due of the rest.
    async fn look(&mut self) -> Result<(), StoreError> {
        let store = self.service.intake.store.clone();
        // The state is read before the events: when it is final, so are they.
        let job = if let About::Job(id) = self.about { Some(id) } else { None };
        let ended = match job {
            Some(id) => match store.get(id).await {
                Ok(record) => record.job.state.is_terminal(),
                Err(StoreError::NotFound(_)) => true,
                Err(error) => return Err(error),
            },
            None => false,
        };
        let events = store.events(self.after, job, BATCH).await?;
        let all = events.len() < BATCH;
        self.over |= ended && all;
        if matches!(self.about, About::All) && !events.is_empty() {
            self.queues_due.get_or_insert(Instant::now() + CALM);
        }
        for event in events {
            self.after = event.seq;
            if self.hears_of(&event).await? {
                self.waiting.extend(durable(&event));
            }
        }
        let now = Instant::now();
        if !self.begun && self.waiting.is_empty() {
            // From now on a client knows where to resume.
            self.waiting.push_back(sse::Event::default().id(self.after.to_string()).comment("listening"));
        }
        let due: Vec<JobId> = self.news.iter().filter(|(_, due)| **due <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.news.remove(&id);
            match store.get(id).await {
                Ok(record) if !self.is_heard(&record) => {}
                Ok(record) if record.job.state == JobState::Running => {
                    self.told.insert(id, now);
                    self.waiting.extend(progress(record.job));
                }
                Ok(_) | Err(StoreError::NotFound(_)) => drop(self.told.remove(&id)),
                Err(error) => return Err(error),
            }
        }
        if self.queues_due.is_some_and(|due| due <= now) {
            self.queues_due = None;
            if let Ok(queues) = queues::all(&self.service).await {
                self.waiting.extend(sse::Event::default().event("queues").json_data(queues).ok());
            }
        }
        Ok(())
    }
}

impl Feed {
    /// Of what is another's nothing is told, not even that it is there; so too of what is the service's own.
    async fn hears_of(&mut self, event: &Event) -> Result<bool, StoreError> {
        let About::Own(token) = &self.about else { return Ok(true) };
        let store = &self.service.intake.store;
        let owner = match (event.job, event.detail["pipeline"].as_str().and_then(|id| id.parse().ok())) {
            (Some(id), _) => match self.known.get(&id) {
                Some(is_own) => return Ok(*is_own),
                None => store.get(id).await.map(|record| record.owner),
            },
            (None, Some(id)) => store.pipeline(id).await.map(|row| row.owner),
            (None, None) => return Ok(false),
        };
        let is_own = match owner {
            Ok(owner) => owner.as_ref() == Some(token),
            Err(StoreError::NotFound(_)) => false,
            Err(error) => return Err(error),
        };
        if let Some(id) = event.job {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            self.known.insert(id, is_own);
        }
        Ok(is_own)
    }

    fn is_heard(&self, record: &Record) -> bool {
        !matches!(&self.about, About::Own(token) if record.owner.as_ref() != Some(token))
    }
}

/// Between two updates of one job, when so many are told of.
fn pace(jobs: usize) -> Duration {
    let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
    CALM.max(Duration::from_secs(1).saturating_mul(jobs) / TOLD_PER_SECOND)
}

fn durable(event: &Event) -> Option<sse::Event> {
    sse::Event::default().id(event.seq.to_string()).event(&event.kind).json_data(event).ok()
}

fn progress(job: Job) -> Option<sse::Event> {
    let outputs = job.outputs.into_iter().map(|o| OutputProgress { name: o.name, state: o.state, progress: o.progress }).collect();
    let data = JobProgress { job: job.id, queue: job.queue, progress: job.progress, outputs };
    sse::Event::default().event("progress").json_data(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_jobs_are_told_of_no_faster_than_a_page_can_follow() {
        assert_eq!((pace(0), pace(50)), (CALM, CALM));
        for jobs in [100, 1000, 100_000] {
            let per_second = jobs as f64 / pace(jobs).as_secs_f64();
            assert!(per_second <= f64::from(TOLD_PER_SECOND) + 0.001, "{jobs}: {per_second}");
        }
    }
}
