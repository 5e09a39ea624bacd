//! For load balancers and Prometheus.

use super::Shared;
use super::problem::Problem;
use crate::intake::store;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::fmt::Write;

pub async fn alive() -> &'static str {
    "ok\n"
}

/// Ready when the store answers.
pub async fn ready(State(service): State<Shared>) -> Result<&'static str, Problem> {
    service.intake.store.counts().await.map_err(store)?;
    Ok("ready\n")
}

/// Prometheus text format: jobs by queue and state.
pub async fn metrics(State(service): State<Shared>) -> Result<Response, Problem> {
    let mut text = String::from("# HELP millrace_jobs Jobs by queue and state.\n# TYPE millrace_jobs gauge\n");
    for (queue, states) in service.intake.store.counts().await.map_err(store)? {
        for (state, n) in states {
            // Writing to a string does not fail.
            let _ = writeln!(text, "millrace_jobs{{queue=\"{queue}\",state=\"{}\"}} {n}", state.as_str());
        }
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
