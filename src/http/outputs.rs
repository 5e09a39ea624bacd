//! Downloads: ranges, entity tags, and names that cannot hurt a browser.

use super::Shared;
use super::extract::{Path, job_id};
use super::problem::Problem;
use crate::blobs::{BlobError, LinkHeaders, Links};
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::job::{JobId, Output, Record};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use std::time::Duration;
use tokio_util::io::ReaderStream;

/// How long a redirected client has to ask for the bytes.
const REDIRECT_HOLDS: Duration = Duration::from_secs(300);

/// Downloads an output. `Range`, `If-Range` and `If-None-Match` are heeded. Where the service is set to it, the answer is a redirect
/// to the bytes' own address.
#[utoipa::path(get, path = "/v1/jobs/{id}/outputs/{name}", tag = "jobs", params(("id" = JobId, Path), ("name" = String, Path)),
    responses((status = 200, body = String, content_type = "application/octet-stream"), (status = 206, description = "The range asked for"),
        (status = 304, description = "Unchanged"), (status = 307, description = "The bytes are at `Location`, for five minutes"), (status = 416, description = "No such range"), Problem))]
pub async fn download(
    State(service): State<Shared>,
    Path((id, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let record = service.intake.store.get(job_id(&id)?).await.map_err(store)?;
    let output = record.job.outputs.iter().find(|o| o.name == name).ok_or_else(|| missing(&name))?;
    // A link answers GET only; a tag that is still right needs no bytes.
    match (&service.links, record.artifacts.get(&output.name)) {
        (Some(links), Some(key)) if method == Method::GET && !headers.contains_key(header::IF_NONE_MATCH) => redirect(&**links, key, output).await,
        _ => send(&service, &record, output, &headers).await,
    }
}

async fn redirect(links: &dyn Links, key: &str, output: &Output) -> Result<Response<Body>, Problem> {
    let headers = LinkHeaders { content_type: output.format.mime().to_owned(), content_disposition: disposition(&output.name) };
    let link = links.link(key, &headers, REDIRECT_HOLDS).await.map_err(unavailable)?;
    let response = Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header(header::LOCATION, link);
    built(response.header(header::CACHE_CONTROL, "no-store").body(Body::empty()))
}

fn built(built: Result<Response<Body>, axum::http::Error>) -> Result<Response<Body>, Problem> {
    built.map_err(|e| Problem(Refusal::new(RefusalKind::Unavailable, "The answer could not be made.").given(e)))
}

fn unavailable(error: BlobError) -> Problem {
    tracing::error!(%error, "an output could not be opened");
    Problem(Refusal::new(RefusalKind::Unavailable, "The server's storage does not answer; try again later."))
}

/// The bytes of a finished output, or the part of them that `Range` asks for.
pub async fn send(service: &Shared, record: &Record, output: &Output, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let (Some(key), Some(size)) = (record.artifacts.get(&output.name), output.size_bytes) else { return Err(missing(&output.name)) };
    let etag = format!("\"{}\"", output.sha256.as_deref().unwrap_or_default());
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let response = Response::builder()
        .header(header::ETAG, &etag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'")
        .header(header::CONTENT_TYPE, output.format.mime())
        .header(header::CONTENT_DISPOSITION, disposition(&output.name))
        .header("millrace-job", record.job.id.to_string());
    if text(header::IF_NONE_MATCH).is_some_and(|given| given == "*" || given.split(',').any(|t| t.trim().trim_start_matches("W/") == etag)) {
        return built(response.status(StatusCode::NOT_MODIFIED).body(Body::empty()));
    }
    let wanted = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|tag| tag == etag)).map(|r| parse_range(r, size));
    let (status, range) = match wanted {
        None | Some(Wanted::Whole) => (StatusCode::OK, 0..size),
        Some(Wanted::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Wanted::Unsatisfiable) => {
            return built(
                response.status(StatusCode::RANGE_NOT_SATISFIABLE).header(header::CONTENT_RANGE, format!("bytes */{size}")).body(Body::empty()),
            );
        }
    };
    let opened = service.intake.blobs.open(key, Some(range.clone())).await.map_err(|e| match e {
        BlobError::NotFound(_) => missing(&output.name),
        other => unavailable(other),
    })?;
    let mut response = response.status(status).header(header::CONTENT_LENGTH, range.end - range.start);
    if status == StatusCode::PARTIAL_CONTENT {
        response = response.header(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    built(response.body(Body::from_stream(ReaderStream::with_capacity(opened.bytes, 64 * 1024))))
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(std::ops::Range<u64>),
    Unsatisfiable,
}

/// One range, as RFC 9110 14.1.2 writes it; several at once are answered with the whole.
fn parse_range(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").filter(|r| !r.contains(',')).and_then(|r| r.split_once('-')) else { return Wanted::Whole };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(suffix)) if first.trim().is_empty() => size.saturating_sub(suffix)..size,
        _ => return Wanted::Whole,
    };
    if range.start < range.end { Wanted::Part(range) } else { Wanted::Unsatisfiable }
}

/// RFC 6266: an ASCII name for the old, the real one percent-encoded for all others; always a download.
fn disposition(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let ascii: String = last.chars().map(|c| if c.is_ascii_alphanumeric() || " ._-()".contains(c) { c } else { '_' }).collect();
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let encoded: String = last.bytes().map(|b| if keep(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

fn missing(name: &str) -> Problem {
    Problem(Refusal::new(RefusalKind::NotFound, "There is no such output (not yet, or not any more).").given(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (text, wanted) in [
            ("bytes=0-3", Wanted::Part(0..4)),
            ("bytes=4-", Wanted::Part(4..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=5-99", Wanted::Part(5..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=5-2", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("bytes=x-y", Wanted::Whole),
        ] {
            assert_eq!(parse_range(text, 10), wanted, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn names_are_quoted_twice() {
        let text = disposition("a/б \"x\"\n.pdf");
        assert_eq!(text, "attachment; filename=\"_ _x__.pdf\"; filename*=UTF-8''%D0%B1%20%22x%22%0A.pdf");
    }
}
