//! What happens, as server-sent events.
//!
//! Durable events carry their number as id, so that `Last-Event-ID` resumes without a gap. Between them come `progress` and
//! `queues`, which carry none: a client that missed them is told again by the next ones.

use super::extract::{Path, Query, job_id};
use super::problem::Problem;
use super::{Shared, queues};
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::job::{Event, Job, JobId, State as JobState};
use crate::progress::Progress;
use crate::store::{Notice, StoreError};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
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
/// A lost notice costs one look.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
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

/// All events from now on: each named after its kind with an `Event` as data, `progress` with a `JobProgress`, `queues` with
/// the list of `/v1/queues`.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(Resume, ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = Event, content_type = "text/event-stream"), Problem))]
pub async fn all(State(service): State<Shared>, Query(resume): Query<Resume>, headers: HeaderMap) -> Result<Response, Problem> {
    // Listening begins before the look: nothing falls between.
    let notices = service.intake.store.notices();
    let after = match last_seen(&headers, &resume)? {
        Some(after) => after,
        None => service.intake.store.last_event().await.map_err(store)?,
    };
    Ok(answer(Feed::new(service, notices, None, after)))
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
    Ok(if nothing_more { StatusCode::NO_CONTENT.into_response() } else { answer(Feed::new(service, notices, Some(id), after)) })
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

/// One client's view of what happens.
struct Feed {
    service: Shared,
    notices: broadcast::Receiver<Notice>,
    job: Option<JobId>,
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
    fn new(service: Shared, notices: broadcast::Receiver<Notice>, job: Option<JobId>, after: u64) -> Self {
        let queues_due = job.is_none().then(Instant::now);
        let (waiting, news, told) = (VecDeque::new(), HashMap::new(), HashMap::new());
        Feed { service, notices, job, after, waiting, news, told, queues_due, begun: false, over: false }
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
            Notice::Job(id) if self.job.is_none_or(|own| own == id) => {
                let due = self.told.get(&id).map_or_else(Instant::now, |told| *told + CALM);
                self.news.entry(id).or_insert(due);
            }
            _ => {}
        }
    }

    /// Durable events first, then what is due of the rest.
    async fn look(&mut self) -> Result<(), StoreError> {
        let store = self.service.intake.store.clone();
        // The state is read before the events: when it is final, so are they.
        let ended = match self.job {
            Some(id) => match store.get(id).await {
                Ok(record) => record.job.state.is_terminal(),
                Err(StoreError::NotFound(_)) => true,
                Err(error) => return Err(error),
            },
            None => false,
        };
        let events = store.events(self.after, self.job, BATCH).await?;
        let all = events.len() < BATCH;
        self.over |= ended && all;
        if self.job.is_none() && !events.is_empty() {
            self.queues_due.get_or_insert(Instant::now() + CALM);
        }
        for event in events {
            self.after = event.seq;
            self.waiting.extend(durable(&event));
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

fn durable(event: &Event) -> Option<sse::Event> {
    sse::Event::default().id(event.seq.to_string()).event(&event.kind).json_data(event).ok()
}

fn progress(job: Job) -> Option<sse::Event> {
    let outputs = job.outputs.into_iter().map(|o| OutputProgress { name: o.name, state: o.state, progress: o.progress }).collect();
    let data = JobProgress { job: job.id, queue: job.queue, progress: job.progress, outputs };
    sse::Event::default().event("progress").json_data(data).ok()
}
