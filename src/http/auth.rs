//! Who may come in: a bearer token when one is configured, and no page of another origin.

use super::Shared;
use super::links;
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

pub async fn guard(State(service): State<Shared>, request: Request, next: Next) -> Response {
    let token = service.token.as_deref();
    // A link stands for the token on the one address it was made for.
    let by_link = token.is_some_and(|token| links::opens(token, request.method(), request.uri(), service.clock.now()));
    let admitted = if by_link { Ok(()) } else { admit(token, request.headers(), request.method()) };
    match admitted {
        Ok(()) => next.run(request).await,
        Err(refusal) => Problem(refusal).into_response(),
    }
}

pub fn admit(token: Option<&str>, headers: &HeaderMap, method: &Method) -> Result<(), Refusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(token) = token {
        let given = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
        if !bool::from(given.as_bytes().ct_eq(token.as_bytes())) {
            return Err(Refusal::new(RefusalKind::Unauthorized, "Send the token as `Authorization: Bearer`."));
        }
    }
    // A name that a foreign page has made point here (DNS rebinding) is not a name of a service without a token.
    if token.is_none() && !text(header::HOST).is_some_and(is_local) {
        return Err(Refusal::new(RefusalKind::Forbidden, "Without a token the service answers to localhost and to addresses, not to names."));
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

/// `localhost` or an IP address, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(token: Option<&str>, method: &Method, given: &[(&'static str, &str)]) -> Option<RefusalKind> {
        let headers = given.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect();
        admit(token, &headers, method).err().map(|r| r.kind)
    }

    #[test]
    fn a_token_is_asked_for_once_it_is_set() {
        let host = ("host", "127.0.0.1:1");
        assert_eq!(refused(None, &Method::POST, &[host]), None);
        assert_eq!(refused(Some("s3cret"), &Method::GET, &[host]), Some(RefusalKind::Unauthorized));
        assert_eq!(refused(Some("s3cret"), &Method::GET, &[host, ("authorization", "Bearer s3cre")]), Some(RefusalKind::Unauthorized));
        assert_eq!(refused(Some("s3cret"), &Method::GET, &[("host", "convert.example.org"), ("authorization", "Bearer s3cret")]), None);
    }

    #[test]
    fn foreign_pages_change_nothing_and_rebound_names_read_nothing() {
        let (own, foreign) = (("origin", "http://localhost:1"), ("origin", "http://evil.example"));
        assert_eq!(refused(None, &Method::POST, &[("host", "localhost:1"), own]), None);
        assert_eq!(refused(None, &Method::POST, &[("host", "localhost:1"), foreign]), Some(RefusalKind::Forbidden));
        assert_eq!(refused(None, &Method::GET, &[("host", "evil.example:1")]), Some(RefusalKind::Forbidden));
        assert_eq!(refused(None, &Method::GET, &[("host", "[::1]:1")]), None);
    }
}
