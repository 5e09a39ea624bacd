//! Bytes on their way in: streamed, counted, never held in memory.

use super::Shared;
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
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;
use utoipa::{IntoParams, ToSchema};

/// A client that sends nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a refused upload may go on.
const LINGER: Duration = Duration::from_secs(10);

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
        return raw(service, name.name.as_deref().unwrap_or("upload"), request.into_body()).await;
    }
    let (upload, _) = multipart(service, request).await?;
    upload.ok_or_else(|| Refusal::new(RefusalKind::InvalidRequest, "The multipart body has no part `file`.").field("file").into())
}

pub fn is_multipart(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.starts_with("multipart/form-data")
}

/// A body to read from, given up when nothing comes.
pub fn bytes_of(body: Body) -> impl AsyncRead + Send + Unpin {
    patient(body.into_data_stream().map_err(std::io::Error::other))
}

pub async fn raw(service: &Shared, name: &str, body: Body) -> Result<Upload, Problem> {
    let mut bytes = bytes_of(body);
    let received = service.intake.receive(name, &mut bytes, service.clock.now()).await;
    if received.is_err() {
        // A client that still sends reads no answer: it is listened to for a while. How that ends does not matter.
        let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut bytes, &mut tokio::io::sink())).await;
    }
    Ok(received?)
}

/// A stream to read from, given up when nothing comes.
fn patient<'s>(body: impl Stream<Item = std::io::Result<Bytes>> + Send + 's) -> StreamReader<BoxStream<'s, std::io::Result<Bytes>>, Bytes> {
    let late = |_| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "nothing came for a minute"));
    StreamReader::new(tokio_stream::StreamExt::timeout(body, SILENCE).map(move |chunk| chunk.unwrap_or_else(late)).boxed())
}

fn broken(error: String) -> Refusal {
    Refusal::new(RefusalKind::InvalidRequest, "The multipart body cannot be read.").given(error)
}

/// Reads the parts `file` (kept as an upload) and `job` (its text, at most 1 MiB).
pub async fn multipart(service: &Shared, request: Request) -> Result<(Option<Upload>, Option<String>), Problem> {
    let mut parts = Multipart::from_request(request, service).await.map_err(|e| broken(e.to_string()))?;
    let read = read_parts(service, &mut parts).await;
    if read.is_err() {
        // As above.
        let rest = async { while let Ok(Some(_)) = parts.next_field().await {} };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }
    read
}

async fn read_parts(service: &Shared, parts: &mut Multipart) -> Result<(Option<Upload>, Option<String>), Problem> {
    let (mut upload, mut job) = (None, None);
    while let Some(mut part) = parts.next_field().await.map_err(|e| broken(e.to_string()))? {
        match part.name() {
            Some("file") => {
                let name = part.file_name().unwrap_or("upload").to_owned();
                let bytes = patient(part.map_err(std::io::Error::other));
                upload = Some(service.intake.receive(&name, bytes, service.clock.now()).await?);
            }
            Some("job") => {
                let mut text = Vec::new();
                while let Some(chunk) = part.chunk().await.map_err(|e| broken(e.to_string()))? {
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
