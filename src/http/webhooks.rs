//! Letters that tell of jobs: their log, and those given up, to be sent again.

use super::extract::{Path, Query};
use super::problem::Problem;
use super::{Shared, jobs};
use crate::intake::store;
use crate::job::{Job, JobId, PipelineId};
use crate::pipeline::PipelineView;
use crate::store::{Delivery, DeliveryFilter, DeliveryState, Told};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    state: Option<DeliveryState>,
    job: Option<JobId>,
    pipeline: Option<PipelineId>,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// 1 to 500, 50 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryPage {
    deliveries: Vec<Delivery>,
    /// Give it for the next page; null on the last one.
    cursor: Option<String>,
}

/// A delivery and what it tells.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    delivery: Delivery,
    /// As it was then.
    job: Option<Box<Job>>,
    /// The same, of a pipeline.
    #[schema(value_type = Option<PipelineView>)]
    pipeline: Option<Value>,
    /// Its URL has answered 410 and is asked no more; a replay asks again.
    is_off: bool,
}

/// Deliveries by webhook, hook and mail, newest first; `state=dead` are those given up. They are kept for 30 days.
#[utoipa::path(get, path = "/v1/webhooks/deliveries", tag = "webhooks", params(Search), responses((status = 200, body = DeliveryPage), Problem))]
pub async fn list(State(service): State<Shared>, Query(search): Query<Search>) -> Result<Json<DeliveryPage>, Problem> {
    let limit = jobs::limit(search.limit)?;
    let filter = DeliveryFilter { state: search.state, job: search.job, pipeline: search.pipeline, before: search.cursor, limit };
    let deliveries = service.intake.store.deliveries(filter).await.map_err(store)?;
    let cursor = deliveries.last().filter(|_| deliveries.len() == limit).map(|d| d.id.clone());
    Ok(Json(DeliveryPage { deliveries, cursor }))
}

/// One delivery with all its tries.
#[utoipa::path(get, path = "/v1/webhooks/deliveries/{id}", tag = "webhooks", params(("id" = String, Path)), responses((status = 200, body = DeliveryView), Problem))]
pub async fn read(State(service): State<Shared>, Path(id): Path<String>) -> Result<Json<DeliveryView>, Problem> {
    let due = service.intake.store.delivery(&id).await.map_err(store)?;
    let (job, pipeline) = match due.told {
        Told::Job(job) => (Some(job), None),
        Told::Pipeline(pipeline) => (None, Some(pipeline)),
    };
    Ok(Json(DeliveryView { delivery: due.delivery, job, pipeline, is_off: due.is_off }))
}

/// Sends a delivery again, now and by the whole schedule, under its own id.
#[utoipa::path(post, path = "/v1/webhooks/deliveries/{id}/replay", tag = "webhooks", params(("id" = String, Path)), responses((status = 200, body = Delivery), Problem))]
pub async fn replay(State(service): State<Shared>, Path(id): Path<String>) -> Result<Json<Delivery>, Problem> {
    Ok(Json(service.intake.store.replay(&id, service.clock.now()).await.map_err(store)?))
}
