//! Jobs: submit, read, list, cancel, retry, remove, and the one-call conversion.

use super::caller::Caller;
use super::extract::{Bytes, Path, Query, job_id, parse, whole};
use super::problem::{Problem, ProblemDocument};
use super::wait::{Wait, Waiting};
use super::{Shared, outputs, uploads};
use crate::failure::{Refusal, RefusalKind};
use crate::format::Format;
use crate::intake::{InputRef, Plan, Request as Submission, store};
use crate::job::{CancelMode, Job, JobId, LogLine, PipelineId, State as JobState};
use crate::limits::Span;
use crate::pipeline;
use crate::store::{Filter, Inserted, Notice};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Display;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// How long a one-call conversion waits by default.
const CONVERT_WAIT: Span = Span::from_secs(30);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Submitting {
    /// Answer when the job has ended, or after this time at the latest; at most 2 minutes.
    wait: Option<Span>,
    /// Answer with the plan, and run nothing.
    #[param(value_type = Option<bool>)]
    dry_run: Option<Flag>,
}

/// A truth value as queries write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Flag {
    #[serde(rename = "1", alias = "true")]
    Yes,
    #[serde(rename = "0", alias = "false")]
    No,
}

/// A job, with the file in the same request.
#[derive(ToSchema)]
#[allow(dead_code)] // Only described: the parts are read as a stream.
pub struct JobForm {
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// The job as JSON, without `input`.
    job: String,
}

/// What a submission is answered with.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Only described.
pub enum JobOrPlan {
    Job(Box<Job>),
    Plan(Box<Plan>),
}

/// One page of a search.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobPage {
    /// Newest first.
    jobs: Vec<Job>,
    /// Give it back as `cursor` for the next page; null on the last one.
    cursor: Option<JobId>,
}

/// Submits a job: JSON, or multipart with the parts `file` and `job`.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    params(Submitting, ("Idempotency-Key" = Option<String>, Header, description = "The same key and request within 24 h yield the same job.")),
    request_body(content((Submission = "application/json"), (JobForm = "multipart/form-data"))),
    responses((status = 202, description = "Accepted as a new job", body = Job), (status = 200, description = "The job that the key stands for; of a dry run a `Plan`", body = JobOrPlan), Problem))]
pub async fn submit(
    State(service): State<Shared>,
    Query(how): Query<Submitting>,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let submission: Submission = if uploads::is_multipart(&request) {
        let (upload, job) = uploads::multipart(&service, request).await?;
        let upload = upload.ok_or_else(|| Refusal::new(RefusalKind::InvalidRequest, "The multipart body has no part `file`.").field("file"))?;
        let mut job: Value = parse(job.as_deref().unwrap_or("{}").as_bytes())?;
        if let Some(fields) = job.as_object_mut() {
            fields.insert("input".into(), serde_json::json!({"upload": upload.id}));
        }
        parse(job.to_string().as_bytes())?
    } else {
        parse(&whole(request.into_body()).await?)?
    };
    let key = idempotency_key(&headers)?;
    let submission = Submission { owner: caller.owner(), ..submission };
    if how.dry_run == Some(Flag::Yes) {
        return Ok(Json(service.prober.plan(&service.intake, submission, service.clock.now()).await?).into_response());
    }
    let inserted = service.intake.submit(submission, key, service.clock.now()).await?;
    let status = if matches!(inserted, Inserted::New(_)) { StatusCode::ACCEPTED } else { StatusCode::OK };
    let job = ended(&service, inserted.job().id, &Wait { wait: how.wait }).await?;
    Ok((status, Json(job)).into_response())
}

/// The client's name for a request; 1 to 200 printable characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|key| (1..=200).contains(&key.len()));
    let refuse = || Refusal::new(RefusalKind::InvalidRequest, "Idempotency-Key must be 1 to 200 printable characters.").field("Idempotency-Key");
    text.map(|key| Some(key.to_owned())).ok_or_else(|| refuse().into())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Conversion {
    /// The format wanted; the preset's own by default.
    to: Option<String>,
    preset: Option<String>,
    /// The file's name, for a raw body.
    name: Option<String>,
    /// 30 s by default, 2 minutes at most.
    wait: Option<Span>,
    /// The converter's options, as JSON.
    options: Option<String>,
}

/// Converts in one call: bytes (or a multipart part `file`) in, converted bytes out; the job itself when it outlasts the wait.
#[utoipa::path(method(post, put), path = "/v1/convert", tag = "jobs", params(Conversion),
    request_body(content((uploads::RawBytes = "application/octet-stream"), (uploads::UploadForm = "multipart/form-data"))),
    responses((status = 200, description = "The first output's bytes", body = String, content_type = "application/octet-stream"),
        (status = 202, description = "Still running", body = Job), (status = 422, description = "The job that failed, or a problem", content((Job = "application/json"), (ProblemDocument = "application/problem+json"))), Problem))]
pub async fn convert(State(service): State<Shared>, Query(query): Query<Conversion>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let unknown = |name: &String| Refusal::new(RefusalKind::InvalidRequest, format!("`{name}` is not a known format.")).field("to").given(name);
    let to = query.to.as_ref().map(|name| Format::parse(name).ok_or_else(|| unknown(name))).transpose()?;
    let options = query.options.as_deref().map_or(Ok(Value::Null), |text| parse(text.as_bytes())).map_err(|Problem(r)| r.field("options"))?;
    let upload = if uploads::is_multipart(&request) {
        let (upload, _) = uploads::multipart(&service, request).await?;
        upload.ok_or_else(|| Refusal::new(RefusalKind::InvalidRequest, "The multipart body has no part `file`.").field("file"))?
    } else {
        uploads::raw(&service, &caller, query.name.as_deref().unwrap_or("upload"), request.into_body()).await?
    };
    let submission = Submission { preset: query.preset, options, owner: caller.owner(), ..Submission::new(InputRef::Upload(upload.id), to) };
    let id = service.intake.submit(submission, None, service.clock.now()).await?.job().id;
    let job = ended(&service, id, &Wait { wait: query.wait.or(Some(CONVERT_WAIT)) }).await?;
    match (job.state, job.outputs.first()) {
        (JobState::Succeeded, Some(output)) => {
            let record = service.intake.store.get(id).await.map_err(store)?;
            outputs::send(&service, &record, output, &HeaderMap::new()).await.map(IntoResponse::into_response)
        }
        (state, _) if state.is_terminal() => Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(job)).into_response()),
        _ => Ok((StatusCode::ACCEPTED, Json(job)).into_response()),
    }
}

/// One job; `wait` answers when it has ended.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path), Wait), responses((status = 200, body = Job), Problem))]
pub async fn read(State(service): State<Shared>, Path(id): Path<String>, Query(wait): Query<Wait>) -> Result<Json<Job>, Problem> {
    ended(&service, job_id(&id)?, &wait).await.map(Json)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    state: Option<JobState>,
    queue: Option<String>,
    /// The input's format.
    format: Option<Format>,
    /// Its jobs only.
    pipeline: Option<PipelineId>,
    /// Of the pipeline.
    step: Option<String>,
    /// Words that names, the id, the error code or a value in `metadata` begin with.
    text: Option<String>,
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<jiff::Timestamp>,
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<jiff::Timestamp>,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// 1 to 500, 50 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

fn wrong(field: &str, given: impl Display, allowed: &str) -> Refusal {
    Refusal::new(RefusalKind::InvalidRequest, format!("`{field}` must be {allowed}.")).field(field).given(given).allowed([allowed])
}

/// Where a page begins.
pub fn cursor<Id: FromStr>(text: Option<&str>) -> Result<Option<Id>, Problem> {
    let read = |text: &str| text.parse().map_err(|_| wrong("cursor", text, "the cursor of the page before").into());
    text.map(read).transpose()
}

/// Rows of a page.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(50) {
        limit @ 1..=500 => Ok(limit),
        limit => Err(wrong("limit", limit, "1 to 500").into()),
    }
}

/// Searches jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(Search), responses((status = 200, body = JobPage), Problem))]
pub async fn list(State(service): State<Shared>, Query(search): Query<Search>, caller: Caller) -> Result<Json<JobPage>, Problem> {
    let (before, limit) = (cursor(search.cursor.as_deref())?, limit(search.limit)?);
    if let Some(name) = search.queue.as_ref().filter(|name| service.intake.queues.get(name).is_none()) {
        return Err(wrong("queue", name, "the name of a queue").allowed(service.intake.queues.names()).into());
    }
    let filter = Filter {
        state: search.state,
        queue: search.queue,
        format: search.format,
        pipeline: search.pipeline,
        step: search.step,
        text: search.text,
        since: search.since,
        until: search.until,
        owner: caller.only_own(&Method::GET).map(str::to_owned),
        before,
        limit,
    };
    let jobs = service.intake.store.list(filter).await.map_err(store)?;
    let cursor = jobs.last().filter(|_| jobs.len() == limit).map(|j| j.id);
    Ok(Json(JobPage { jobs, cursor }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    mode: CancelMode,
}

pub fn mode(body: &[u8]) -> Result<CancelMode, Problem> {
    Ok(if body.is_empty() { CancelMode::Soft } else { parse::<Cancel>(body)?.mode })
}

/// Cancels a job: a queued one at once, a running one softly (as without a body) or by force.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = JobId, Path)), request_body = Option<Cancel>, responses((status = 200, body = Job), Problem))]
pub async fn cancel(State(service): State<Shared>, Path(id): Path<String>, Bytes(body): Bytes) -> Result<Json<Job>, Problem> {
    Ok(Json(service.intake.store.cancel(job_id(&id)?, mode(&body)?, service.clock.now()).await.map_err(store)?))
}

/// Queues a failed, cancelled or partly failed job again; outputs that are done are kept.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = JobId, Path)), responses((status = 200, body = Job), Problem))]
pub async fn retry(State(service): State<Shared>, Path(id): Path<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(service.intake.store.retry(job_id(&id)?, service.clock.now()).await.map_err(store)?))
}

/// Removes an ended job and its outputs.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path)), responses((status = 204), Problem))]
pub async fn remove(State(service): State<Shared>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = job_id(&id)?;
    let pipeline = service.intake.store.get(id).await.map_err(store)?.job.pipeline;
    if let Some(pipeline) = pipeline
        && pipeline::needs(&service.intake, pipeline).await?
    {
        return Err(Refusal::new(RefusalKind::Conflict, "The job's pipeline has not ended and may read its outputs.").given(pipeline).into());
    }
    service.intake.remove(id).await.map_err(store)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FromLine {
    /// Lines to leave out at the start: as many as were read before. Default: 0.
    from: usize,
}

/// The job's log, oldest line first; it can be read while the job runs.
#[utoipa::path(get, path = "/v1/jobs/{id}/log", tag = "jobs", params(("id" = JobId, Path), FromLine), responses((status = 200, body = [LogLine]), Problem))]
pub async fn log(State(service): State<Shared>, Path(id): Path<String>, Query(wish): Query<FromLine>) -> Result<Json<Vec<LogLine>>, Problem> {
    Ok(Json(service.intake.store.log(job_id(&id)?, wish.from).await.map_err(store)?))
}

/// The job once it has ended, or as it is when the wait is over.
async fn ended(service: &Shared, id: JobId, wait: &Wait) -> Result<Job, Problem> {
    let mut waiting = Waiting::begin(service, wait);
    loop {
        let job = service.intake.store.get(id).await.map_err(store)?.job;
        if job.state.is_terminal() || !waiting.news(service, |notice| *notice == Notice::Job(id)).await {
            return Ok(job);
        }
    }
}
