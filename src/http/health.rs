//! For load balancers.

use super::Shared;
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::store::Store;
use axum::extract::State;
use tokio_util::sync::CancellationToken;

/// Alive while the process answers at all.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn alive() -> &'static str {
    "ok\n"
}

/// Ready while the store answers and the service is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses((status = 200, body = String, content_type = "text/plain"), Problem))]
pub async fn ready(State(service): State<Shared>) -> Result<&'static str, Problem> {
    readiness(&*service.intake.store, &service.drain).await
}

pub async fn readiness(jobs: &dyn Store, drain: &CancellationToken) -> Result<&'static str, Problem> {
    if drain.is_cancelled() {
        return Err(Refusal::new(RefusalKind::Unavailable, "The service is stopping.").into());
    }
    jobs.counts().await.map_err(store)?;
    Ok("ready\n")
}
