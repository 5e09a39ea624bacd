//! What can be converted into what, and the named options.

use super::Shared;
use crate::converters;
use crate::format::{Family, Format};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The format table and the converters.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registry {
    formats: Vec<FormatView>,
    converters: Vec<ConverterView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FormatView {
    id: Format,
    family: Family,
    name: &'static str,
    mime: &'static str,
    /// The preferred one first.
    extensions: &'static [&'static str],
    /// What it can become.
    to: Vec<Format>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConverterView {
    /// `family.verb`.
    id: &'static str,
    family: Family,
    summary: &'static str,
    /// A JSON Schema.
    #[schema(value_type = Object)]
    options: Value,
}

/// Named options.
#[derive(Debug, Serialize, ToSchema)]
pub struct PresetView {
    name: String,
    queue: String,
    to: Format,
    #[schema(value_type = Object)]
    options: Value,
}

/// Every format with what it can become, every converter with its options' JSON Schema.
#[utoipa::path(get, path = "/v1/formats", tag = "formats", responses((status = 200, body = Registry)))]
pub async fn formats() -> Json<Registry> {
    let formats = Format::all().map(|f| FormatView {
        id: f,
        family: f.family(),
        name: f.name(),
        mime: f.mime(),
        extensions: f.extensions(),
        to: converters::targets(f),
    });
    let converters =
        converters::all().map(|(_, c)| ConverterView { id: c.spec.id, family: c.spec.family, summary: c.spec.summary, options: (c.schema)() });
    Json(Registry { formats: formats.collect(), converters: converters.collect() })
}

/// The presets of all queues.
#[utoipa::path(get, path = "/v1/presets", tag = "formats", responses((status = 200, body = [PresetView])))]
pub async fn presets(State(service): State<Shared>) -> Json<Vec<PresetView>> {
    let presets = service.intake.queues.iter().flat_map(|(queue, q)| {
        let view = move |(name, p): (&String, &crate::queue::Preset)| PresetView {
            name: name.clone(),
            queue: queue.to_owned(),
            to: p.to,
            options: p.options.clone(),
        };
        q.settings.presets.iter().map(view)
    });
    Json(presets.collect())
}
