//! Pipelines: submit, read, list, cancel, retry.

use super::caller::Caller;
use super::extract::{Bytes, Path, Query, parse};
use super::problem::Problem;
use super::wait::{Wait, Waiting};
use super::{Shared, jobs};
use crate::failure::{Refusal, RefusalKind};
use crate::job::{PipelineId, State as PipelineState};
use crate::pipeline::{self, Accepted, PipelineRequest, PipelineView, Submission};
use crate::store::{Notice, PipelineFilter};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

fn pipeline_id(text: &str) -> Result<PipelineId, Problem> {
    text.parse().map_err(|_| Problem(Refusal::new(RefusalKind::NotFound, "There is no such pipeline.").given(text)))
}

/// Submits a pipeline: steps that become jobs as what they read is there.
#[utoipa::path(post, path = "/v1/pipelines", tag = "pipelines",
    params(Wait, ("Idempotency-Key" = Option<String>, Header, description = "The same key and request within 24 h yield the same pipeline.")),
    request_body = PipelineRequest,
    responses((status = 202, description = "Accepted as a new pipeline", body = PipelineView), (status = 200, description = "The pipeline that the key stands for", body = PipelineView), Problem))]
pub async fn submit(
    State(service): State<Shared>,
    Query(wait): Query<Wait>,
    caller: Caller,
    headers: HeaderMap,
    Bytes(body): Bytes,
) -> Result<(StatusCode, Json<PipelineView>), Problem> {
    let submission = Submission { request: parse(&body)?, owner: caller.owner(), idempotency_key: jobs::idempotency_key(&headers)? };
    let Accepted { pipeline, is_new } = pipeline::submit(&service.intake, Some(&service.prober), submission, service.clock.now()).await?;
    let view = if wait.wait.is_none() { pipeline } else { ended(&service, pipeline.id, &wait).await? };
    Ok((if is_new { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(view)))
}

/// One pipeline; `wait` answers when it has ended.
#[utoipa::path(get, path = "/v1/pipelines/{id}", tag = "pipelines", params(("id" = PipelineId, Path), Wait), responses((status = 200, body = PipelineView), Problem))]
pub async fn read(State(service): State<Shared>, Path(id): Path<String>, Query(wait): Query<Wait>) -> Result<Json<PipelineView>, Problem> {
    ended(&service, pipeline_id(&id)?, &wait).await.map(Json)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// `running`, `succeeded`, `failed` or `cancelled`.
    state: Option<PipelineState>,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// 1 to 500, 50 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// One page of pipelines.
#[derive(Debug, Serialize, ToSchema)]
pub struct PipelinePage {
    /// Newest first, without their errors.
    pipelines: Vec<PipelineView>,
    /// Give it back as `cursor` for the next page; null on the last one.
    cursor: Option<PipelineId>,
}

/// Lists pipelines, newest first.
#[utoipa::path(get, path = "/v1/pipelines", tag = "pipelines", params(Search), responses((status = 200, body = PipelinePage), Problem))]
pub async fn list(State(service): State<Shared>, Query(search): Query<Search>, caller: Caller) -> Result<Json<PipelinePage>, Problem> {
    let (before, limit) = (jobs::cursor(search.cursor.as_deref())?, jobs::limit(search.limit)?);
    let filter = PipelineFilter { state: search.state, owner: caller.only_own(&Method::GET).map(str::to_owned), before, limit };
    let pipelines = pipeline::list(&service.intake, filter).await?;
    let cursor = pipelines.last().filter(|_| pipelines.len() == limit).map(|p| p.id);
    Ok(Json(PipelinePage { pipelines, cursor }))
}

/// Cancels a whole pipeline: what waits at once, what runs softly (as without a body) or by force.
#[utoipa::path(post, path = "/v1/pipelines/{id}/cancel", tag = "pipelines", params(("id" = PipelineId, Path)), request_body = Option<jobs::Cancel>, responses((status = 200, body = PipelineView), Problem))]
pub async fn cancel(State(service): State<Shared>, Path(id): Path<String>, Bytes(body): Bytes) -> Result<Json<PipelineView>, Problem> {
    let mode = jobs::mode(&body)?;
    Ok(Json(pipeline::cancel(&service.intake, pipeline_id(&id)?, mode, service.clock.now()).await?))
}

/// Lets a failed, cancelled or partly failed pipeline go on: what has failed runs again, and so does what has read of it.
#[utoipa::path(post, path = "/v1/pipelines/{id}/retry", tag = "pipelines", params(("id" = PipelineId, Path)), responses((status = 200, body = PipelineView), Problem))]
pub async fn retry(State(service): State<Shared>, Path(id): Path<String>) -> Result<Json<PipelineView>, Problem> {
    Ok(Json(pipeline::retry(&service.intake, pipeline_id(&id)?, service.clock.now()).await?))
}

/// The pipeline once it has ended, or as it is when the wait is over.
async fn ended(service: &Shared, id: PipelineId, wait: &Wait) -> Result<PipelineView, Problem> {
    let mut waiting = Waiting::begin(service, wait);
    loop {
        let view = pipeline::show(&service.intake, id).await?;
        if view.state.is_terminal() || !waiting.news(service, |notice| *notice == Notice::Pipeline(id)).await {
            return Ok(view);
        }
    }
}
