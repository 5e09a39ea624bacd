//! What can be converted into what, and the named options.

use super::Shared;
use crate::converters;
use crate::format::Format;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

pub async fn formats() -> Json<Value> {
    let formats: Vec<Value> = Format::all()
        .map(|f| json!({"id": f, "family": f.family(), "name": f.name(), "mime": f.mime(), "extensions": f.extensions(), "to": converters::targets(f)}))
        .collect();
    let converters: Vec<Value> = converters::all()
        .map(|(_, c)| json!({"id": c.spec.id, "family": c.spec.family, "summary": c.spec.summary, "options": (c.schema)()}))
        .collect();
    Json(json!({"formats": formats, "converters": converters}))
}

pub async fn presets(State(service): State<Shared>) -> Json<Value> {
    let queues = service.intake.queues.iter();
    let presets = queues.flat_map(|(queue, q)| {
        q.settings.presets.iter().map(move |(name, p)| json!({"name": name, "queue": queue, "to": p.to, "options": p.options}))
    });
    Json(presets.collect())
}
