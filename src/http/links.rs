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
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
    let url = match &service.token {
        Some(token) => format!("{url}?{}", signed(token, &url, expires_at.as_second())),
        None => url,
    };
    Ok(Json(Link { url, expires_at }))
}

/// Whether this request comes by a link that holds.
pub fn opens(token: &str, method: &Method, uri: &Uri, now: Timestamp) -> bool {
    let is_output = uri.path().starts_with("/v1/jobs/") && uri.path().contains("/outputs/");
    let Some(query) = uri.query().filter(|_| is_output && method.is_safe()) else { return false };
    let expires = query.strip_prefix("expires=").and_then(|rest| rest.split('&').next()).and_then(|text| text.parse().ok());
    expires.is_some_and(|expires| {
        let wanted = signed(token, uri.path(), expires);
        expires > now.as_second() && bool::from(wanted.as_bytes().ct_eq(query.as_bytes()))
    })
}

fn signed(token: &str, path: &str, expires: i64) -> String {
    let signature = hmac(token.as_bytes(), format!("millrace-link\n{path}\n{expires}").as_bytes());
    format!("expires={expires}&signature={}", hex::encode(signature))
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_standards() {
        // RFC 4231, cases 2 and 6.
        let case2 = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex::encode(case2), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let case6 = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex::encode(case6), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn a_link_opens_its_own_output_in_its_own_time() {
        let (path, now) = ("/v1/jobs/x/outputs/a%20b.webp", Timestamp::UNIX_EPOCH);
        let query = signed("token", path, 60);
        let opens = |token: &str, method: Method, target: String, now: Timestamp| opens(token, &method, &target.parse().unwrap(), now);
        assert!(opens("token", Method::GET, format!("{path}?{query}"), now));
        for (token, method, target, at) in [
            ("other", Method::GET, format!("{path}?{query}"), 0),
            ("token", Method::POST, format!("{path}?{query}"), 0),
            ("token", Method::GET, format!("{path}?{query}"), 60),
            ("token", Method::GET, format!("{path}?{query}&x=1"), 0),
            ("token", Method::GET, format!("/v1/jobs/x/outputs/other?{query}"), 0),
            ("token", Method::GET, format!("/v1/jobs/x?{}", signed("token", "/v1/jobs/x", 60)), 0),
            ("token", Method::GET, path.to_owned(), 0),
        ] {
            assert!(!opens(token, method, target.clone(), Timestamp::from_second(at).unwrap()), "{token} {target} {at}");
        }
    }
}
