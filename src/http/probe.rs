//! What a file holds, measured in the jail and not converted.

use super::Shared;
use super::caller::Caller;
use super::extract::{Query, parse, whole};
use super::problem::Problem;
use super::uploads::{self, Name, RawBytes, UploadForm};
use crate::failure::Failure;
use crate::format::Format;
use crate::intake::InputRef;
use crate::job::{Input, Media};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRequest {
    input: InputRef,
}

/// What a file is and holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Probed {
    name: String,
    size_bytes: u64,
    sha256: String,
    /// Told from the bytes.
    format: Format,
    /// Null when it could not be measured.
    media: Option<Media>,
    /// Why it could not.
    error: Option<Failure>,
    /// Bytes that came with the request are kept as this upload, ready to be converted.
    upload: Option<String>,
}

/// Measures a file: JSON that names an input, a raw body with `?name=`, or multipart with a part `file`.
#[utoipa::path(post, path = "/v1/probe", tag = "uploads", params(Name),
    request_body(content((ProbeRequest = "application/json"), (RawBytes = "application/octet-stream"), (UploadForm = "multipart/form-data"))),
    responses((status = 200, body = Probed), Problem))]
pub async fn look(State(service): State<Shared>, Query(name): Query<Name>, caller: Caller, request: Request) -> Result<Json<Probed>, Problem> {
    let (input, upload) = bytes_or_reference(&service, &name, request).await?;
    let (Input { name, size_bytes, sha256, format, .. }, source) =
        service.intake.look_at(&input, caller.owner().as_ref(), service.clock.now()).await?;
    let input = Input { name: name.clone(), size_bytes, sha256: sha256.clone(), format, media: Media::default() };
    let (media, error) = match service.prober.look(&input, &source).await {
        Ok(media) => (Some(media), None),
        Err(failure) => {
            tracing::info!(code = %failure.code, cause = failure.detail, "a probe failed: {}", failure.message);
            (None, Some(failure))
        }
    };
    Ok(Json(Probed { name, size_bytes, sha256, format, media, error, upload }))
}

async fn bytes_or_reference(service: &Shared, name: &Name, request: Request) -> Result<(InputRef, Option<String>), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") && name.is_none() {
        return Ok((parse::<ProbeRequest>(&whole(request.into_body()).await?)?.input, None));
    }
    let upload = uploads::any(service, name, request).await?;
    Ok((InputRef::Upload(upload.id.clone()), Some(upload.id)))
}
