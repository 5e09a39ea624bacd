//! Who may come in: a bearer token when one is configured, and no page of another origin.
//!
//! The configured token may do everything; others are kept in the store and may do what [`gate`] lets their scopes do.

use super::caller::Caller;
use super::gate::{self, Need, Owned};
use super::problem::Problem;
use super::server::Peer;
use super::{Door, Shared, audit, links};
use crate::access::same;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::store::{Store, StoreError};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Duration;

pub async fn guard(State(service): State<Shared>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| service.door.client(*address, request.headers()));
    if let Err(wait) = service.door.rates.admit(peer, service.door.bearer(request.headers())) {
        return too_many(wait);
    }
    // A link stands for the token on the one address it was made for.
    let token = service.token.as_deref();
    if token.is_some_and(|token| links::opens(token, request.method(), request.uri(), service.clock.now())) {
        return next.run(request).await;
    }
    match admitted(&service, request.headers(), request.method(), request.uri().path()).await {
        Ok((caller, need)) => {
            let what = (need == Need::Admin && !request.method().is_safe()).then(|| format!("{} {}", request.method(), request.uri().path()));
            request.extensions_mut().insert(caller.clone());
            let response = next.run(request).await;
            if let Some(what) = what {
                audit::note(&service, &caller, peer, what, response.status()).await;
            }
            response
        }
        Err(refusal) => Problem(refusal).into_response(),
    }
}

/// Who asks, once it is known that the answer may be given.
async fn admitted(service: &Shared, headers: &HeaderMap, method: &Method, path: &str) -> Result<(Caller, Need), Refusal> {
    admit_host(&service.door, service.token.as_deref(), headers)?;
    let caller = match (admit_token(service.token.as_deref(), headers), &service.token) {
        (Ok(()), Some(_)) => Caller::Config,
        (Ok(()), None) => Caller::Local,
        (Err(refusal), _) => {
            let known = service.door.known(&*service.intake.store, service.door.bearer(headers)).await?;
            Caller::Token(known.ok_or(refusal)?)
        }
    };
    if is_foreign(headers, method) && !service.door.is_welcome(headers) {
        return Err(Refusal::new(RefusalKind::Forbidden, "Requests from pages of another origin are refused."));
    }
    let need = gate::need(method, path);
    if !caller.may(need) {
        let refusal = Refusal::new(RefusalKind::Forbidden, format!("This token's scopes do not allow it; it takes {}.", need.as_str()));
        return Err(refusal.allowed([need.as_str()]));
    }
    if let (Some(owner), Some(what)) = (caller.only_own(method), gate::owned(path)) {
        check_own(&*service.intake.store, owner, what).await?;
    }
    Ok((caller, need))
}

/// What is another token's is not told from what does not exist.
async fn check_own(kept: &dyn Store, holder: &str, what: Owned<'_>) -> Result<(), Refusal> {
    let (id, name, owner) = match what {
        Owned::Job(text) => match text.parse() {
            Ok(id) => (text, "job", kept.get(id).await.map(|record| record.owner)),
            Err(_) => (text, "job", Ok(None)),
        },
        Owned::Pipeline(text) => match text.parse() {
            Ok(id) => (text, "pipeline", kept.pipeline(id).await.map(|row| row.owner)),
            Err(_) => (text, "pipeline", Ok(None)),
        },
    };
    match owner {
        Ok(Some(owner)) if owner == holder => Ok(()),
        Ok(_) | Err(StoreError::NotFound(_)) => Err(Refusal::new(RefusalKind::NotFound, format!("There is no such {name}.")).given(id)),
        Err(error) => Err(store(error)),
    }
}

/// The configured token alone, for a process that has no others.
pub fn admit(door: &Door, token: Option<&str>, headers: &HeaderMap, method: &Method) -> Result<(), Refusal> {
    admit_host(door, token, headers)?;
    admit_token(token, headers)?;
    match is_foreign(headers, method) {
        true => Err(Refusal::new(RefusalKind::Forbidden, "Requests from pages of another origin are refused.")),
        false => Ok(()),
    }
}

fn admit_token(token: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = token else { return Ok(()) };
    let given = text(headers, header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    match same(given.as_bytes(), token.as_bytes()) {
        true => Ok(()),
        false => Err(Refusal::new(RefusalKind::Unauthorized, "Send the token as `Authorization: Bearer`.")),
    }
}

fn admit_host(door: &Door, token: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = "The service is not asked by this name: without a token it answers to localhost and to addresses, and to the names in auth.hosts.";
    if door.is_asked(headers, token.is_some()) { Ok(()) } else { Err(Refusal::new(RefusalKind::Forbidden, text)) }
}

/// A browser names the page that asks; scripts name none.
fn is_foreign(headers: &HeaderMap, method: &Method) -> bool {
    let foreign = match (text(headers, header::ORIGIN), text(headers, header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, authority)| authority != host),
        (Some(_), None) => true,
        (None, _) => false,
    };
    foreign && !method.is_safe()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

fn too_many(wait: Duration) -> Response {
    let mut response = Problem(Refusal::new(RefusalKind::TooMany, "Too many requests; wait as long as Retry-After says.")).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(token: Option<&str>, method: &Method, given: &[(&'static str, &str)]) -> Option<RefusalKind> {
        let door = Door::new(&crate::http::AuthSettings::default()).unwrap();
        let headers = given.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect();
        admit(&door, token, &headers, method).err().map(|r| r.kind)
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
