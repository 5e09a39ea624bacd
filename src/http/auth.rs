//! Who may come in: a bearer token when one is configured, and no page of another origin.

use super::Shared;
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

pub async fn guard(State(service): State<Shared>, request: Request, next: Next) -> Response {
    match admit(service.token.as_deref(), request.headers(), request.method()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => Problem(refusal).into_response(),
    }
}

fn admit(token: Option<&str>, headers: &HeaderMap, method: &Method) -> Result<(), Refusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(token) = token {
        let given = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
        if !bool::from(given.as_bytes().ct_eq(token.as_bytes())) {
            return Err(Refusal::new(RefusalKind::Unauthorized, "Send the token as `Authorization: Bearer`."));
        }
    }
    // A browser names the page that asks; scripts name none.
    let foreign = match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, authority)| authority != host),
        (Some(_), None) => true,
        (None, _) => false,
    };
    match foreign && !method.is_safe() {
        true => Err(Refusal::new(RefusalKind::Forbidden, "Requests from pages of another origin are refused.")),
        false => Ok(()),
    }
}
