//! The page at `/`: a few embedded files, no framework, nothing from elsewhere.

use super::extract::Path;
use super::problem::{self, Problem};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// Name, type and content.
type Asset = (&'static str, &'static str, &'static [u8]);

const INDEX: Asset = ("", "text/html; charset=utf-8", include_bytes!("page/index.html"));
const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [Asset; 22] = [
    ("style.css", "text/css; charset=utf-8", include_bytes!("page/style.css")),
    ("mark.svg", "image/svg+xml", include_bytes!("page/mark.svg")),
    ("page.js", SCRIPT, include_bytes!("page/page.js")),
    ("server.js", SCRIPT, include_bytes!("page/server.js")),
    ("words.js", SCRIPT, include_bytes!("page/words.js")),
    ("queues.js", SCRIPT, include_bytes!("page/queues.js")),
    ("jobs.js", SCRIPT, include_bytes!("page/jobs.js")),
    ("icons.js", SCRIPT, include_bytes!("page/icons.js")),
    ("files.js", SCRIPT, include_bytes!("page/files.js")),
    ("locale.js", SCRIPT, include_bytes!("page/locale.js")),
    ("texts.ru.js", SCRIPT, include_bytes!("page/texts.ru.js")),
    ("texts.zh.js", SCRIPT, include_bytes!("page/texts.zh.js")),
    ("texts.tr.js", SCRIPT, include_bytes!("page/texts.tr.js")),
    ("route.js", SCRIPT, include_bytes!("page/route.js")),
    ("charts.js", SCRIPT, include_bytes!("page/charts.js")),
    ("search.js", SCRIPT, include_bytes!("page/search.js")),
    ("job.js", SCRIPT, include_bytes!("page/job.js")),
    ("tune.js", SCRIPT, include_bytes!("page/tune.js")),
    ("pipelines.js", SCRIPT, include_bytes!("page/pipelines.js")),
    ("deliveries.js", SCRIPT, include_bytes!("page/deliveries.js")),
    ("workers.js", SCRIPT, include_bytes!("page/workers.js")),
    ("schedules.js", SCRIPT, include_bytes!("page/schedules.js")),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
#[utoipa::path(get, path = "/", tag = "service", security(()), responses((status = 200, body = String, content_type = "text/html")))]
pub async fn index(headers: HeaderMap) -> Response {
    send(INDEX, &headers)
}

/// The page's own files.
#[utoipa::path(get, path = "/page/{file}", tag = "service", security(()), params(("file" = String, Path)), responses((status = 200), Problem))]
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    match FILES.into_iter().find(|(known, _, _)| *known == name) {
        Some(asset) => Ok(send(asset, &headers)),
        None => Err(problem::no_route().await),
    }
}

/// A browser asks each time and is told `304` as a rule: a new version is seen at once.
fn send((_, kind, content): Asset, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex::encode(&Sha256::digest(content)[..12]));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == etag.as_bytes());
    let named = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, "no-cache"), (header::CONTENT_TYPE, kind)];
    if known { (StatusCode::NOT_MODIFIED, named).into_response() } else { (named, content).into_response() }
}

/// What a browser may do with what is here.
pub async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
