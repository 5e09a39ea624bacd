//! Signed links: an output's address that opens without the token until it expires. A browser's own download carries no
//! header, and a site may hand such a link to its visitor.

use super::Shared;
use super::extract::{Bytes, Path, job_id, parse};
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::job::JobId;
use crate::limits::Span;
use axum::Json;
use axum::extract::State;
use axum::http::{Method, Uri};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

const VALID_FOR: Span = Span::from_secs(15 * 60);
const VALID_FOR_MAX: Span = Span::from_secs(7 * 86_400);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// The output's name.
    output: String,
    /// 15 minutes by default, 7 days at most.
    #[serde(default)]
    valid_for: Option<Span>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    url: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Makes a link that downloads one output without the token; a new token makes it void.
#[utoipa::path(post, path = "/v1/jobs/{id}/links", tag = "jobs", params(("id" = JobId, Path)), request_body = LinkRequest, responses((status = 200, body = Link), Problem))]
pub async fn make(State(service): State<Shared>, Path(id): Path<String>, Bytes(body): Bytes) -> Result<Json<Link>, Problem> {
    let LinkRequest { output, valid_for } = parse(&body)?;
    let valid_for = valid_for.unwrap_or(VALID_FOR);
    if valid_for > VALID_FOR_MAX {
        let refusal = Refusal::new(RefusalKind::InvalidRequest, "`valid_for` must be 7 days at most.");
        return Err(refusal.field("valid_for").given(valid_for).allowed(["up to 7d"]).into());
    }
    let job = service.intake.store.get(job_id(&id)?).await.map_err(store)?.job;
    let url = job.outputs.into_iter().find(|o| o.name == output).and_then(|o| o.url);
    let missing = || Refusal::new(RefusalKind::NotFound, "There is no such output (not yet, or not any more).").field("output").given(&output);
    let url = url.ok_or_else(missing)?;
    let expires_at = service.clock.now().saturating_add(SignedDuration::from_millis(valid_for.as_millis().cast_signed())).unwrap_or(Timestamp::MAX);
    let query = service.token.as_ref().and_then(|token| signed(token, &url, expires_at.as_second()));
    let url = query.map_or(url.clone(), |query| format!("{url}?{query}"));
    Ok(Json(Link { url, expires_at }))
}

/// Whether this request comes by a link that holds.
pub fn opens(token: &str, method: &Method, uri: &Uri, now: Timestamp) -> bool {
    let is_output = uri.path().starts_with("/v1/jobs/") && uri.path().contains("/outputs/");
    let Some(query) = uri.query().filter(|_| is_output && method.is_safe()) else { return false };
    let expires = query.strip_prefix("expires=").and_then(|rest| rest.split('&').next()).and_then(|text| text.parse().ok());
    expires.is_some_and(|expires| {
        let wanted = signed(token, uri.path(), expires).filter(|_| expires > now.as_second());
        wanted.is_some_and(|wanted| bool::from(wanted.as_bytes().ct_eq(query.as_bytes())))
    })
}

/// The query that opens `path`; none if the token cannot be a key, which HMAC knows no example of.
fn signed(token: &str, path: &str, expires: i64) -> Option<String> {
    let hmac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).ok()?;
    let code = hmac.chain_update(format!("millrace-link\n{path}\n{expires}")).finalize().into_bytes();
    Some(format!("expires={expires}&signature={}", hex::encode(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_its_own_output_in_its_own_time() {
        let (path, now) = ("/v1/jobs/x/outputs/a%20b.webp", Timestamp::UNIX_EPOCH);
        let query = signed("token", path, 60).unwrap();
        let opens = |token: &str, method: Method, target: String, now: Timestamp| opens(token, &method, &target.parse().unwrap(), now);
        assert!(opens("token", Method::GET, format!("{path}?{query}"), now));
        for (token, method, target, at) in [
            ("other", Method::GET, format!("{path}?{query}"), 0),
            ("token", Method::POST, format!("{path}?{query}"), 0),
            ("token", Method::GET, format!("{path}?{query}"), 60),
            ("token", Method::GET, format!("{path}?{query}&x=1"), 0),
            ("token", Method::GET, format!("/v1/jobs/x/outputs/other?{query}"), 0),
            ("token", Method::GET, format!("/v1/jobs/x?{}", signed("token", "/v1/jobs/x", 60).unwrap()), 0),
            ("token", Method::GET, path.to_owned(), 0),
        ] {
            assert!(!opens(token, method, target.clone(), Timestamp::from_second(at).unwrap()), "{token} {target} {at}");
        }
    }
}
