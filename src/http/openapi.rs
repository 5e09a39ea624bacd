//! The OpenAPI 3.1 document, made from the handlers and their types. `tests/golden/openapi.json` is what it was when last
//! looked at; a test compares them.

use super::{events, health, jobs, openapi, outputs, page, probe, problem, queues, registry, schedules, uploads};
use axum::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millrace",
        description = "Converts media: jobs go in, converted files come out. Errors are problem documents (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact()
    ),
    paths(
        jobs::submit, jobs::list, jobs::read, jobs::remove, jobs::cancel, jobs::retry, jobs::log, jobs::convert, outputs::download,
        uploads::receive, events::all, events::of_job,
        queues::list, queues::read, queues::tune, queues::pause, queues::resume, queues::purge,
        schedules::list, schedules::read, schedules::put, schedules::remove, schedules::run,
        probe::look, registry::formats, registry::presets,
        health::alive, health::ready, health::metrics, openapi::document, page::index, page::file,
    ),
    components(schemas(problem::ProblemDocument, events::JobProgress)),
    tags(
        (name = "jobs", description = "Submit, follow, cancel, retry, download"),
        (name = "uploads", description = "Bytes on their way in"),
        (name = "events", description = "What happens, as server-sent events"),
        (name = "queues", description = "Slots, limits and depths, live"),
        (name = "schedules", description = "Jobs by the clock"),
        (name = "formats", description = "What can be converted into what"),
        (name = "service", description = "Health, metrics, this document, the page")
    ),
    security(("bearer" = [])),
    modifiers(&Bearer)
)]
struct Api;

/// The token, where one is configured.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The document.
pub fn generate() -> Document {
    Api::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()), responses((status = 200, body = Object)))]
pub async fn document() -> Json<Document> {
    Json(generate())
}
