//! tus 1.0: the headers around [`crate::tus`].

use super::caller::Caller;
use super::extract::Path;
use super::problem::Problem;
use super::{Shared, uploads};
use crate::failure::{Refusal, RefusalKind};
use crate::intake::Owner;
use crate::tus::{ALGORITHMS, Checksum, Piece, Standing};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::fmt::Display;
use utoipa::IntoParams;

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,termination,expiration,checksum";
const PIECE: &str = "application/offset+octet-stream";

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // Only described: headers are read one by one.
pub struct Version {
    #[param(rename = "Tus-Resumable", example = "1.0.0")]
    tus_resumable: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // As above.
pub struct PieceHeaders {
    /// Where the upload stands.
    #[param(rename = "Upload-Offset")]
    upload_offset: u64,
    /// `sha1` or `sha256`, a blank, and the sum in base64.
    #[param(rename = "Upload-Checksum")]
    upload_checksum: Option<String>,
}

/// Every answer says which version it speaks; who speaks another is told so.
pub async fn speak(request: Request, next: Next) -> Response {
    let speaks = request.headers().get("tus-resumable").is_some_and(|version| version == VERSION);
    let mut response = if speaks || request.method() == Method::OPTIONS {
        next.run(request).await
    } else {
        Problem(Refusal::new(RefusalKind::UnsupportedVersion, "Say `Tus-Resumable: 1.0.0`.").field("Tus-Resumable").allowed([VERSION]))
            .into_response()
    };
    response.headers_mut().insert("tus-resumable", HeaderValue::from_static(VERSION));
    response.headers_mut().insert("tus-version", HeaderValue::from_static(VERSION));
    response
}

fn number(name: &'static str, value: impl Display) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_str(&value.to_string()).unwrap_or(HeaderValue::from_static("0")))
}

/// What this server can do with uploads in pieces.
#[utoipa::path(options, path = "/v1/tus", tag = "uploads", responses((status = 204, description = "In the headers `Tus-*`"), Problem))]
pub async fn options(State(service): State<Shared>) -> Response {
    let said = [
        (HeaderName::from_static("tus-extension"), HeaderValue::from_static(EXTENSIONS)),
        (HeaderName::from_static("tus-checksum-algorithm"), HeaderValue::from_static(ALGORITHMS)),
        number("tus-max-size", service.tus.size_max().0),
    ];
    (StatusCode::NO_CONTENT, HeaderMap::from_iter(said)).into_response()
}

/// Begins an upload in pieces (tus 1.0), perhaps with its first one. Its id, the last part of `Location`, is that of an upload once it is whole.
#[utoipa::path(post, path = "/v1/tus", tag = "uploads",
    params(Version, ("Upload-Length" = u64, Header), ("Upload-Metadata" = Option<String>, Header, description = "`filename` and its value in base64"),
        ("Upload-Checksum" = Option<String>, Header, description = "As of a piece")),
    request_body(content = Option<String>, content_type = "application/offset+octet-stream"),
    responses((status = 201, description = "It is at `Location`"), Problem))]
pub async fn create(State(service): State<Shared>, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let size = count(&headers, "upload-length")?;
    let metadata = text(&headers, "upload-metadata").map(str::to_owned);
    let name = metadata.as_deref().and_then(file_name);
    let checksum = checksum(&headers)?;
    let with_upload = text(&headers, "content-type") == Some(PIECE);
    let mut standing = service.tus.create(name.as_deref().unwrap_or("upload"), size, metadata, caller.owner()).await?;
    // What broke off is gone on with later: the upload is there.
    if with_upload && let Ok(further) = append(&service, standing.id.clone(), Piece { offset: 0, bytes: bytes(body), checksum }, caller.owner()).await
    {
        standing = further;
    }
    let place = HeaderValue::from_str(&format!("/v1/tus/{}", standing.id)).unwrap_or(HeaderValue::from_static("/v1/tus"));
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], told(&standing)).into_response())
}

/// How far an upload in pieces is.
#[utoipa::path(head, path = "/v1/tus/{id}", tag = "uploads", params(Version, ("id" = String, Path)),
    responses((status = 200, description = "In the headers `Upload-*`"), Problem))]
pub async fn standing(State(service): State<Shared>, Path(id): Path<String>, caller: Caller) -> Result<Response, Problem> {
    let standing = service.tus.standing(&id, caller.owner().as_ref()).await?;
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], told(&standing)).into_response())
}

/// Sends the next piece; two that are sent at once are told apart by 409 or 423.
#[utoipa::path(patch, path = "/v1/tus/{id}", tag = "uploads", params(Version, ("id" = String, Path), PieceHeaders),
    request_body(content = String, content_type = "application/offset+octet-stream"),
    responses((status = 204, description = "It now stands at `Upload-Offset`"), Problem))]
pub async fn piece(
    State(service): State<Shared>,
    Path(id): Path<String>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if text(&headers, "content-type") != Some(PIECE) {
        return Err(Refusal::new(RefusalKind::UnsupportedFormat, "A piece is sent as application/offset+octet-stream.").field("Content-Type").into());
    }
    let (offset, checksum) = (count(&headers, "upload-offset")?, checksum(&headers)?);
    let standing = append(&service, id, Piece { offset, bytes: bytes(body), checksum }, caller.owner()).await?;
    Ok((StatusCode::NO_CONTENT, told(&standing)).into_response())
}

/// Forgets an upload that is not whole.
#[utoipa::path(delete, path = "/v1/tus/{id}", tag = "uploads", params(Version, ("id" = String, Path)), responses((status = 204), Problem))]
pub async fn terminate(State(service): State<Shared>, Path(id): Path<String>, caller: Caller) -> Result<StatusCode, Problem> {
    service.tus.terminate(&id, caller.owner().as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// On a task of its own: a client that goes away does not take along what it has sent.
async fn append(service: &Shared, id: String, piece: Piece, owner: Option<Owner>) -> Result<Standing, Problem> {
    let tus = service.tus.clone();
    let appended = tokio::spawn(async move { tus.append(&id, piece, owner.as_ref()).await });
    Ok(appended.await.map_err(|_| Refusal::new(RefusalKind::Internal, "Something went wrong on our side."))??)
}

fn bytes(body: Body) -> Box<dyn tokio::io::AsyncRead + Send + Unpin> {
    Box::new(uploads::bytes_of(body))
}

fn told(standing: &Standing) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([number("upload-offset", standing.offset), number("upload-length", standing.size_bytes)]);
    // RFC 9110's only date.
    let expires = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&standing.expires_at).ok();
    if let Some(expires) = expires.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert("upload-expires", expires);
    }
    if let Some(metadata) = standing.metadata.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert("upload-metadata", metadata);
    }
    headers
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn count(headers: &HeaderMap, name: &'static str) -> Result<u64, Problem> {
    let given = text(headers, name).unwrap_or_default();
    // A sign is no digit.
    let number = Some(given).filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse().ok());
    number.ok_or_else(|| Refusal::new(RefusalKind::InvalidRequest, format!("`{name}` must be a number of bytes.")).field(name).given(given).into())
}

/// The value of `filename` (or `name`) among keys with values in base64.
fn file_name(metadata: &str) -> Option<String> {
    let value = |wanted: &str| {
        let pairs = metadata.split(',').filter_map(|pair| pair.trim().split_once(' '));
        let (_, value) = pairs.into_iter().find(|(key, _)| *key == wanted)?;
        String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()
    };
    value("filename").or_else(|| value("name"))
}

fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Problem> {
    let Some(given) = headers.get("upload-checksum") else { return Ok(None) };
    let given = given.to_str().unwrap_or_default();
    let read = given.split_once(' ').and_then(|(algorithm, sum)| Checksum::new(algorithm, BASE64_STANDARD.decode(sum.trim()).ok()?));
    let refuse = || {
        let text = "A checksum is its algorithm, a blank, and the sum in base64.";
        Refusal::new(RefusalKind::UnsupportedChecksum, text).field("Upload-Checksum").given(given).allowed(ALGORITHMS.split(','))
    };
    read.map(Some).ok_or_else(|| refuse().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_metadata() {
        for (metadata, name) in [
            ("filename w6QuanBn", Some("ä.jpg")),
            ("filetype aW1hZ2U=,filename YS5qcGc=", Some("a.jpg")),
            ("name YS5qcGc=, is_confidential", Some("a.jpg")),
            ("filename !!!", None),
            ("filename", None),
            ("", None),
        ] {
            assert_eq!(file_name(metadata).as_deref(), name, "{metadata}");
        }
    }

    #[test]
    fn counts_are_digits() {
        let read = |text: &str| count(&HeaderMap::from_iter([number("upload-offset", text)]), "upload-offset").ok();
        assert_eq!(
            (read("12"), read("+12"), read("-1"), read(""), read("1e3"), read("99999999999999999999")),
            (Some(12), None, None, None, None, None)
        );
    }
}
