//! Bytes on their way in: streamed, counted, never held in memory.

use super::Shared;
use super::caller::Caller;
use super::extract::Query;
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use crate::job::Upload;
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use utoipa::{IntoParams, ToSchema};

/// What a form may have us keep before one of its parts begins, or goes on.
const AHEAD_MAX_BYTES: i64 = 1 << 20;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Name {
    /// The file's name, for a raw body.
    name: Option<String>,
}

/// Bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code)] // Only described, as below.
pub struct RawBytes(Vec<u8>);

/// A file as a form sends it.
#[derive(ToSchema)]
#[allow(dead_code)] // Only described: the part is read as a stream.
pub struct UploadForm {
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Keeps a file for jobs: a raw body, or multipart with a part `file`. It is kept for 24 hours, and as long as a job needs it.
#[utoipa::path(post, path = "/v1/uploads", tag = "uploads", params(Name),
    request_body(content((RawBytes = "application/octet-stream"), (UploadForm = "multipart/form-data"))),
    responses((status = 201, body = Upload), Problem))]
pub async fn receive(State(service): State<Shared>, Query(name): Query<Name>, request: Request) -> Result<(StatusCode, Json<Upload>), Problem> {
    Ok((StatusCode::CREATED, Json(any(&service, &name, request).await?)))
}

impl Name {
    pub fn is_none(&self) -> bool {
        self.name.is_none()
    }
}

/// The file of a request, whichever way it is sent.
pub async fn any(service: &Shared, name: &Name, request: Request) -> Result<Upload, Problem> {
    if !is_multipart(&request) {
        let caller = request.extensions().get().cloned().unwrap_or(Caller::Local);
        return raw(service, &caller, name.name.as_deref().unwrap_or("upload"), request.into_body()).await;
    }
    let (upload, _) = multipart(service, request).await?;
    upload.ok_or_else(|| Refusal::new(RefusalKind::InvalidRequest, "The multipart body has no part `file`.").field("file").into())
}

pub fn is_multipart(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.starts_with("multipart/form-data")
}

/// A body to read from. The server ends one of which nothing comes any more.
pub fn bytes_of(body: Body) -> impl AsyncRead + Send + Unpin {
    reader(body.into_data_stream().map_err(std::io::Error::other))
}

pub async fn raw(service: &Shared, caller: &Caller, name: &str, body: Body) -> Result<Upload, Problem> {
    let mut bytes = bytes_of(body);
    let received = service.intake.receive_for(caller.owner().as_ref(), name, &mut bytes, service.clock.now()).await;
    if received.is_err() {
        // A client that still sends reads no answer: it is listened to for a while. How that ends does not matter.
        let _ = tokio::time::timeout(super::LINGER, tokio::io::copy(&mut bytes, &mut tokio::io::sink())).await;
    }
    Ok(received?)
}

fn reader<'s>(body: impl Stream<Item = std::io::Result<Bytes>> + Send + 's) -> StreamReader<BoxStream<'s, std::io::Result<Bytes>>, Bytes> {
    StreamReader::new(body.boxed())
}

/// How much of a form was read since something of it was of use: a part's head that never ends would else fill the memory.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicI64>);

impl Ahead {
    fn read(&self, chunk: Bytes) -> std::io::Result<Bytes> {
        let ahead = self.0.fetch_add(chunk.len() as i64, Ordering::Relaxed);
        if ahead <= AHEAD_MAX_BYTES { Ok(chunk) } else { Err(std::io::Error::other("a part's head is longer than 1 MiB")) }
    }

    fn used(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// What comes now is thrown away.
    fn end(&self) {
        self.0.store(i64::MIN / 2, Ordering::Relaxed);
    }
}

fn broken(error: String) -> Refusal {
    Refusal::new(RefusalKind::InvalidRequest, "The multipart body cannot be read.").given(error)
}

/// Reads the parts `file` (kept as an upload) and `job` (its text, at most 1 MiB).
pub async fn multipart(service: &Shared, request: Request) -> Result<(Option<Upload>, Option<String>), Problem> {
    let caller = request.extensions().get().cloned().unwrap_or(Caller::Local);
    let (ahead, (head, body)) = (Ahead::default(), request.into_parts());
    let counts = ahead.clone();
    let body = body.into_data_stream().map(move |chunk| counts.read(chunk.map_err(std::io::Error::other)?));
    let request = Request::from_parts(head, Body::from_stream(body));
    let mut parts = Multipart::from_request(request, service).await.map_err(|e| broken(e.to_string()))?;
    let read = read_parts(service, &caller, &mut parts, &ahead).await;
    if read.is_err() {
        // As above.
        ahead.end();
        let rest = async { while let Ok(Some(_)) = parts.next_field().await {} };
        let _ = tokio::time::timeout(super::LINGER, rest).await;
    }
    read
}

async fn read_parts(service: &Shared, caller: &Caller, parts: &mut Multipart, ahead: &Ahead) -> Result<(Option<Upload>, Option<String>), Problem> {
    let (mut upload, mut job) = (None, None);
    while let Some(mut part) = parts.next_field().await.map_err(|e| broken(e.to_string()))? {
        ahead.used();
        match part.name() {
            Some("file") if upload.is_some() => {
                return Err(Refusal::new(RefusalKind::InvalidRequest, "There is more than one part `file`.").field("file").into());
            }
            Some("file") => {
                let name = part.file_name().unwrap_or("upload").to_owned();
                let bytes = reader(part.map_err(std::io::Error::other).inspect_ok(|_| ahead.used()));
                upload = Some(service.intake.receive_for(caller.owner().as_ref(), &name, bytes, service.clock.now()).await?);
            }
            Some("job") => {
                let mut text = Vec::new();
                while let Some(chunk) = part.chunk().await.map_err(|e| broken(e.to_string()))? {
                    ahead.used();
                    text.extend_from_slice(&chunk);
                    if text.len() > super::JSON_MAX_BYTES {
                        return Err(Refusal::new(RefusalKind::TooLarge, "The part `job` is larger than 1 MiB.").field("job").into());
                    }
                }
                job = Some(String::from_utf8_lossy(&text).into_owned());
            }
            _ => {
                return Err(Refusal::new(RefusalKind::InvalidRequest, "Only the parts `file` and `job` are known.")
                    .given(part.name().unwrap_or(""))
                    .into());
            }
        }
    }
    Ok((upload, job))
}
