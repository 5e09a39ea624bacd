//! Tokens: made, listed and revoked by admins.

use super::Shared;
use super::caller::Caller;
use super::extract::{Bytes, Path, parse};
use super::problem::Problem;
use crate::access::{Quota, Scope, Token};
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const NAME_MAX_CHARS: usize = 100;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// For people; 1 to 100 characters.
    name: String,
    /// At least one.
    scopes: Vec<Scope>,
    #[serde(default)]
    quota: Quota,
    /// False: its jobs share no results with equal ones, whatever a queue allows. What admins send is the site's; there the queue alone
    /// decides.
    #[serde(default = "crate::access::yes")]
    reuse: bool,
}

/// A token, with its text this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewToken {
    #[serde(flatten)]
    token: Token,
    /// What its holder sends as `Authorization: Bearer`. It is not kept, and cannot be told again.
    secret: String,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Holder {
    /// The token's; `config` for the one in the configuration, `local` where none is asked for.
    name: String,
    /// With those that they include.
    scopes: Vec<Scope>,
    quota: Quota,
}

/// What the token is good for that this is asked with.
#[utoipa::path(get, path = "/v1/self", tag = "tokens", responses((status = 200, body = Holder), Problem))]
pub async fn own(caller: Caller) -> Json<Holder> {
    let (name, quota) = match &caller {
        Caller::Token(token) => (token.name.clone(), token.quota),
        Caller::Local | Caller::Config => (caller.who(), Quota::default()),
    };
    Json(Holder { name, scopes: Scope::ALL.into_iter().filter(|scope| caller.has(*scope)).collect(), quota })
}

/// Every token, oldest first, without their texts.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", responses((status = 200, body = [Token]), Problem))]
pub async fn list(State(service): State<Shared>) -> Result<Json<Vec<Token>>, Problem> {
    let tokens = service.intake.store.tokens().await.map_err(store)?;
    Ok(Json(tokens.into_iter().map(shown).collect()))
}

/// Makes a token. It takes a configured `auth.token`: without one, nobody needs any.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenRequest, responses((status = 201, body = NewToken), Problem))]
pub async fn create(State(service): State<Shared>, Bytes(body): Bytes) -> Result<(StatusCode, Json<NewToken>), Problem> {
    let TokenRequest { name, scopes, quota, reuse } = parse(&body)?;
    let refuse = |kind, field: &str, why: &str| Err(Refusal::new(kind, why).field(field).into());
    if service.token.is_none() {
        return refuse(RefusalKind::Conflict, "auth.token", "Without auth.token the service asks nobody for a token; set that first.");
    }
    if name.trim().is_empty() || name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
        return refuse(RefusalKind::InvalidRequest, "name", "`name` must be 1 to 100 characters.");
    }
    if scopes.is_empty() {
        return refuse(RefusalKind::InvalidRequest, "scopes", "`scopes` must name at least one of submit, read and admin.");
    }
    if quota.slots == Some(0) {
        return refuse(RefusalKind::InvalidRequest, "quota.slots", "`quota.slots` must be at least 1: else none of its jobs would ever start.");
    }
    if !reuse && scopes.contains(&Scope::Admin) {
        return refuse(RefusalKind::InvalidRequest, "reuse", "`reuse` cannot be refused for an admin: what admins send is the site's.");
    }
    let (token, secret) = Token::new(&name, scopes, quota, service.clock.now());
    let token = Token { reuse, ..token };
    service.intake.store.put_token(token.clone()).await.map_err(store)?;
    service.door.forget().await;
    Ok((StatusCode::CREATED, Json(NewToken { token: shown(token), secret })))
}

/// Revokes a token: within a second nobody gets in with it. Its jobs stay.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)), responses((status = 204), Problem))]
pub async fn revoke(State(service): State<Shared>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    service.intake.store.revoke_token(&id).await.map_err(store)?;
    service.door.forget().await;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(token: Token) -> Token {
    Token { hash: String::new(), ..token }
}
