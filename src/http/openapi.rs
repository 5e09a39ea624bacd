//! The OpenAPI 3.1 document, made from the handlers and their types. `tests/golden/openapi.json` is what it was when last
//! looked at; a test compares them.

use super::{
    audit, events, health, jobs, links, metrics, openapi, outputs, page, pipelines, probe, problem, queues, registry, schedules, stats, tokens, tus,
    uploads, webhooks, workers,
};
use axum::Json;
use std::collections::BTreeSet;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Response};
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
        links::make,
        pipelines::submit, pipelines::list, pipelines::read, pipelines::cancel, pipelines::retry,
        uploads::receive, tus::options, tus::create, tus::standing, tus::piece, tus::terminate, events::all, events::of_job,
        queues::list, queues::read, queues::tune, queues::pause, queues::resume, queues::purge,
        workers::list, workers::drain, workers::restart,
        schedules::list, schedules::read, schedules::put, schedules::remove, schedules::run,
        tokens::own, tokens::list, tokens::create, tokens::revoke, audit::list,
        webhooks::list, webhooks::read, webhooks::replay,
        probe::look, registry::formats, registry::presets, stats::read,
        health::alive, health::ready, metrics::metrics, openapi::document, page::index, page::file,
    ),
    components(schemas(problem::ProblemDocument, events::JobProgress)),
    tags(
        (name = "jobs", description = "Submit, follow, cancel, retry, download"),
        (name = "pipelines", description = "Jobs with edges"),
        (name = "uploads", description = "Bytes on their way in"),
        (name = "events", description = "What happens, as server-sent events"),
        (name = "queues", description = "Slots, limits and depths, live"),
        (name = "workers", description = "The processes that hold pools"),
        (name = "schedules", description = "Jobs by the clock"),
        (name = "webhooks", description = "What others are told of jobs"),
        (name = "tokens", description = "Who may do what, and what admins did"),
        (name = "formats", description = "What can be converted into what"),
        (name = "service", description = "Health, metrics, this document, the page")
    ),
    security(("bearer" = [])),
    modifiers(&Bearer, &Names)
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

/// Operations are named `tag_function`, for a function's name alone is not unique; a second method of one is told by its
/// name. A response without words is simply the answer.
struct Names;

impl Modify for Names {
    fn modify(&self, document: &mut Document) {
        let mut taken = BTreeSet::new();
        for item in document.paths.paths.values_mut() {
            let methods = [
                ("get", &mut item.get),
                ("head", &mut item.head),
                ("options", &mut item.options),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in methods.into_iter().filter_map(|(method, o)| Some((method, o.as_mut()?))) {
                let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
                let name = format!("{tag}_{}", operation.operation_id.take().unwrap_or_default());
                let name = if taken.contains(&name) { format!("{name}_{method}") } else { name };
                taken.insert(name.clone());
                operation.operation_id = Some(name);
                operation.responses.responses.values_mut().for_each(describe);
            }
        }
    }
}

fn describe(response: &mut RefOr<Response>) {
    if let RefOr::T(response) = response
        && response.description.is_empty()
    {
        response.description = "The answer.".into();
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
