//! Refusals as RFC 9457 problem documents.

use crate::failure::{Refusal, RefusalKind};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::any::Any;
use std::collections::BTreeMap;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, response, response::ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

/// A refusal on its way out.
pub struct Problem(pub Refusal);

/// What a client reads instead of an answer (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// Always `about:blank`: `code` says what it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// For people: what is wrong and what to do about it.
    detail: String,
    /// For programs; stable.
    code: RefusalKind,
    /// Path of the offending field, as `options.video.crf`.
    field: Option<String>,
    given: Option<String>,
    /// What the field may be.
    allowed: Vec<String>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem(refusal)
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Problem(Refusal::new(RefusalKind::NotFound, "The address cannot be read.").given(rejection.body_text()))
    }
}

fn status(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::InvalidRequest
        | RefusalKind::InvalidOption
        | RefusalKind::UnsupportedConversion
        | RefusalKind::IdempotencyMismatch
        | RefusalKind::InputUnavailable => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Locked => StatusCode::LOCKED,
        RefusalKind::UnsupportedVersion => StatusCode::PRECONDITION_FAILED,
        RefusalKind::UnsupportedChecksum => StatusCode::BAD_REQUEST,
        // What tus calls `Checksum Mismatch`.
        RefusalKind::ChecksumMismatch => StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST),
        RefusalKind::UnsupportedFormat => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        RefusalKind::NotFound => StatusCode::NOT_FOUND,
        RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        RefusalKind::QueueClosed | RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        RefusalKind::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalKind::Forbidden => StatusCode::FORBIDDEN,
        RefusalKind::InsufficientStorage => StatusCode::INSUFFICIENT_STORAGE,
        RefusalKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        RefusalKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Refusal { kind, message, field, given, allowed } = self.0;
        let status = status(kind);
        let title = status.canonical_reason().unwrap_or_default();
        let document = ProblemDocument { r#type: "about:blank", title, status: status.as_u16(), detail: message, code: kind, field, given, allowed };
        let mut response = (status, Json(document)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// In the OpenAPI document, every call may answer with a problem.
impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDocument"))).build();
        let problem = ResponseBuilder::new()
            .description("Refused or failed: a problem document with a stable `code`.")
            .content("application/problem+json", content)
            .build();
        [("default".to_owned(), problem.into())].into()
    }
}

pub async fn no_route() -> Problem {
    Problem(Refusal::new(RefusalKind::NotFound, "There is nothing at this address; /openapi.json lists what there is."))
}

pub async fn wrong_method() -> Problem {
    Problem(Refusal::new(RefusalKind::MethodNotAllowed, "This address does not take this method; the Allow header says which it takes."))
}

/// What is left of a request whose code panicked.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.as_deref().unwrap_or("(no text)"), "a request panicked");
    Problem(Refusal::new(RefusalKind::Internal, "Something went wrong on our side.")).into_response()
}
