//! Jobs: submit, read, list, cancel, retry, remove, and the one-call conversion.

use super::problem::Problem;
use super::{Shared, outputs, uploads};
use crate::failure::{Refusal, RefusalKind};
use crate::format::Format;
use crate::intake::{InputRef, Request as Submission, store};
use crate::job::{CancelMode, Job, JobId, LogLine, State as JobState};
use crate::limits::Span;
use crate::store::{Filter, Inserted};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// How long a one-call conversion waits by default, and the longest any wait lasts.
const CONVERT_WAIT: Span = Span::from_secs(30);
const WAIT_MAX: Span = Span::from_secs(120);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    wait: Option<Span>,
}

/// JSON into a type, with the path of the first field that does not fit.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = e.path().to_string();
        let refusal = Refusal::new(RefusalKind::InvalidRequest, format!("The request cannot be read: {}.", e.inner()));
        Problem(if path == "." { refusal } else { refusal.field(path) })
    })
}

pub fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem(Refusal::new(RefusalKind::NotFound, "There is no such job.").given(text)))
}

/// JSON, or multipart with the parts `file` and `job`.
pub async fn submit(State(service): State<Shared>, Query(wait): Query<Wait>, headers: HeaderMap, request: Request) -> Result<Response, Problem> {
    let submission: Submission = if uploads::is_multipart(&request) {
        let (upload, job) = uploads::multipart(&service, request).await?;
        let upload = upload.ok_or_else(|| Refusal::new(RefusalKind::InvalidRequest, "The multipart body has no part `file`.").field("file"))?;
        let mut job: Value = parse(job.as_deref().unwrap_or("{}").as_bytes())?;
        if let Some(fields) = job.as_object_mut() {
            fields.insert("input".into(), serde_json::json!({"upload": upload.id}));
        }
        parse(job.to_string().as_bytes())?
    } else {
        let too_large = |_| Refusal::new(RefusalKind::TooLarge, "The request is larger than 1 MiB.");
        parse(&axum::body::to_bytes(request.into_body(), super::JSON_MAX_BYTES).await.map_err(too_large)?)?
    };
    let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let inserted = service.intake.submit(submission, key, service.clock.now()).await?;
    let status = if matches!(inserted, Inserted::New(_)) { StatusCode::ACCEPTED } else { StatusCode::OK };
    let job = ended(&service, inserted.job().id, wait.wait).await?;
    Ok((status, Json(job)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    to: Option<String>,
    preset: Option<String>,
    name: Option<String>,
    wait: Option<Span>,
    /// JSON.
    options: Option<String>,
}

/// Bytes in, converted bytes out; the job itself when it outlasts the wait.
pub async fn convert(State(service): State<Shared>, Query(query): Query<Conversion>, request: Request) -> Result<Response, Problem> {
    let unknown = |name: &String| Refusal::new(RefusalKind::InvalidRequest, format!("`{name}` is not a known format.")).field("to").given(name);
    let to = query.to.as_ref().map(|name| Format::parse(name).ok_or_else(|| unknown(name))).transpose()?;
    let options = query.options.as_deref().map_or(Ok(Value::Null), |text| parse(text.as_bytes()))?;
    let upload = if uploads::is_multipart(&request) {
        let (upload, _) = uploads::multipart(&service, request).await?;
        upload.ok_or_else(|| Refusal::new(RefusalKind::InvalidRequest, "The multipart body has no part `file`.").field("file"))?
    } else {
        uploads::raw(&service, query.name.as_deref().unwrap_or("upload"), request.into_body()).await?
    };
    let submission = Submission { preset: query.preset, options, ..Submission::new(InputRef::Upload(upload.id), to) };
    let id = service.intake.submit(submission, None, service.clock.now()).await?.job().id;
    let job = ended(&service, id, Some(query.wait.unwrap_or(CONVERT_WAIT))).await?;
    match (job.state, job.outputs.first()) {
        (JobState::Succeeded, Some(output)) => {
            let record = service.intake.store.get(id).await.map_err(store)?;
            outputs::send(&service, &record, output, &HeaderMap::new()).await.map(IntoResponse::into_response)
        }
        (state, _) if state.is_terminal() => Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(job)).into_response()),
        _ => Ok((StatusCode::ACCEPTED, Json(job)).into_response()),
    }
}

pub async fn read(State(service): State<Shared>, Path(id): Path<String>, Query(wait): Query<Wait>) -> Result<Json<Job>, Problem> {
    ended(&service, job_id(&id)?, wait.wait).await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    state: Option<JobState>,
    queue: Option<String>,
    format: Option<Format>,
    text: Option<String>,
    #[serde(default)]
    since: Option<jiff::Timestamp>,
    #[serde(default)]
    until: Option<jiff::Timestamp>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// Newest first; `cursor` is the last id of the page before.
pub async fn list(State(service): State<Shared>, Query(search): Query<Search>) -> Result<Json<Value>, Problem> {
    let before = search.cursor.as_deref().map(job_id).transpose()?;
    let limit = search.limit.unwrap_or(50).clamp(1, 500);
    let filter = Filter {
        state: search.state,
        queue: search.queue,
        format: search.format,
        text: search.text,
        since: search.since,
        until: search.until,
        before,
        limit,
    };
    let jobs = service.intake.store.list(filter).await.map_err(store)?;
    let cursor = jobs.last().filter(|_| jobs.len() == limit).map(|j| j.id);
    Ok(Json(serde_json::json!({"jobs": jobs, "cursor": cursor})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    mode: CancelMode,
}

pub async fn cancel(State(service): State<Shared>, Path(id): Path<String>, body: Bytes) -> Result<Json<Job>, Problem> {
    let mode = if body.is_empty() { CancelMode::Soft } else { parse::<Cancel>(&body)?.mode };
    Ok(Json(service.intake.store.cancel(job_id(&id)?, mode, service.clock.now()).await.map_err(store)?))
}

pub async fn retry(State(service): State<Shared>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(service.intake.store.retry(job_id(&id)?, service.clock.now()).await.map_err(store)?))
}

/// Removes an ended job and its outputs.
pub async fn remove(State(service): State<Shared>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    for key in service.intake.store.remove(job_id(&id)?).await.map_err(store)? {
        if let Err(error) = service.intake.blobs.delete(&key).await {
            tracing::warn!(%error, key, "an output stays for the cleanup queue");
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

pub async fn log(State(service): State<Shared>, Path(id): Path<String>) -> Result<Json<Vec<LogLine>>, Problem> {
    Ok(Json(service.intake.store.log(job_id(&id)?, 0).await.map_err(store)?))
}

/// The job once it has ended, or as it is when the wait is over.
async fn ended(service: &Shared, id: JobId, wait: Option<Span>) -> Result<Job, Problem> {
    let mut notices = service.intake.store.notices();
    let deadline = tokio::time::Instant::now() + wait.unwrap_or(Span(0)).min(WAIT_MAX).duration();
    loop {
        let job = service.intake.store.get(id).await.map_err(store)?.job;
        if job.state.is_terminal() || tokio::time::Instant::now() >= deadline {
            return Ok(job);
        }
        let next_look = deadline.min(tokio::time::Instant::now() + Duration::from_secs(1));
        // A lost notice costs one look.
        let _ = tokio::time::timeout_at(next_look, notices.recv()).await;
    }
}
