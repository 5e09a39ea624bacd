//! What admins did: who, what and when.

use super::caller::Caller;
use super::extract::Query;
use super::problem::Problem;
use super::{Shared, jobs};
use crate::access::AuditEntry;
use crate::intake::store;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// 1 to 500, 50 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    /// Newest first.
    entries: Vec<AuditEntry>,
    /// Give it for the next page; null on the last one.
    cursor: Option<String>,
}

/// Every change that takes the scope `admin`, whether it was made or refused by what it was about. Kept for a year.
#[utoipa::path(get, path = "/v1/audit", tag = "tokens", params(Page), responses((status = 200, body = AuditPage), Problem))]
pub async fn list(State(service): State<Shared>, Query(page): Query<Page>) -> Result<Json<AuditPage>, Problem> {
    let limit = jobs::limit(page.limit)?;
    let entries = service.intake.store.audit(page.cursor, limit).await.map_err(store)?;
    let cursor = entries.last().filter(|_| entries.len() == limit).map(|e| e.id.clone());
    Ok(Json(AuditPage { entries, cursor }))
}

/// The change is made already: that it cannot be noted does not undo it, and stands in the log.
pub async fn note(service: &Shared, caller: &Caller, from: Option<IpAddr>, what: String, status: StatusCode) {
    let entry = AuditEntry { from: from.map(|from| from.to_string()), ..AuditEntry::new(caller.who(), what, status.as_u16(), service.clock.now()) };
    tracing::info!(who = entry.who, from = entry.from, what = entry.what, status = entry.status, "an admin's change");
    if let Err(error) = service.intake.store.note(entry).await {
        tracing::error!(%error, "an admin's change cannot be noted");
    }
}
