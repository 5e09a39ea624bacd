//! What the guard knows: the tokens there are, how often each may ask, and which other origins are welcome.

use super::rates::Rates;
use crate::access::Token;
use crate::failure::Refusal;
use crate::intake::store;
use crate::limits::Rate;
use crate::store::Store;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// A revoked token is worth nothing after this time, in every process.
const TOKENS_KEPT: Duration = Duration::from_secs(1);

/// What pages of other origins may send, and read of answers, beside the usual: resumable uploads have headers of their own.
const ASKED: [&str; 6] = ["idempotency-key", "tus-resumable", "upload-checksum", "upload-length", "upload-metadata", "upload-offset"];
const TOLD: [&str; 4] = ["tus-resumable", "upload-expires", "upload-length", "upload-offset"];

/// The section `[auth]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// The admin's, sent as `Authorization: Bearer`; at least 16 characters. Only with it there can be others.
    pub token: Option<String>,
    /// Requests of one token, or of one address that sends none.
    pub rate_limit: Option<Rate>,
    /// Pages of these origins may use the API from their visitors' browsers.
    pub cors_origins: Vec<String>,
}

impl AuthSettings {
    pub fn check(&self) -> Result<(), String> {
        if self.token.as_ref().is_some_and(|t| t.len() < 16) {
            return Err("auth.token must have at least 16 characters".into());
        }
        let is_origin =
            |origin: &&String| origin.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.contains('/')) && !origin.contains('*');
        match self.cors_origins.iter().find(|origin| !is_origin(origin) || HeaderValue::from_str(origin).is_err()) {
            Some(origin) => Err(format!("auth.cors_origins: `{origin}` is not an origin as https://app.example.org")),
            None => Ok(()),
        }
    }
}

pub struct Door {
    pub rates: Rates,
    origins: Vec<HeaderValue>,
    tokens: Mutex<Option<(Instant, Vec<Arc<Token>>)>>,
}

impl Door {
    pub fn new(settings: &AuthSettings) -> Door {
        let origins = settings.cors_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
        Door { rates: Rates::new(settings.rate_limit), origins, tokens: Mutex::new(None) }
    }

    /// What was sent as a token; nothing else is one.
    pub fn bearer<'h>(&self, headers: &'h HeaderMap) -> &'h str {
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default()
    }

    /// The token with this text.
    pub async fn known(&self, tokens: &dyn Store, text: &str) -> Result<Option<Arc<Token>>, Refusal> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut kept = self.tokens.lock().await;
        if kept.as_ref().is_none_or(|(at, _)| at.elapsed() >= TOKENS_KEPT) {
            *kept = Some((Instant::now(), tokens.tokens().await.map_err(store)?.into_iter().map(Arc::new).collect()));
        }
        Ok(kept.iter().flat_map(|(_, tokens)| tokens).find(|token| text.starts_with(&token.prefix) && token.is(text)).cloned())
    }

    /// Forgets what it knows of tokens, for they have changed.
    pub async fn forget(&self) {
        *self.tokens.lock().await = None;
    }

    pub fn is_welcome(&self, headers: &HeaderMap) -> bool {
        headers.get(header::ORIGIN).is_some_and(|origin| self.origins.contains(origin))
    }

    /// Answers to browsers that ask for pages of other origins, where any is welcome.
    pub fn cors(&self) -> Option<CorsLayer> {
        if self.origins.is_empty() {
            return None;
        }
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.origins.iter().cloned()))
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(
                [header::AUTHORIZATION, header::CONTENT_TYPE, header::RANGE]
                    .into_iter()
                    .chain(ASKED.map(HeaderName::from_static))
                    .collect::<Vec<_>>(),
            )
            .expose_headers(
                [header::CONTENT_RANGE, header::CONTENT_DISPOSITION, header::ETAG, header::LOCATION, header::RETRY_AFTER]
                    .into_iter()
                    .chain(TOLD.map(HeaderName::from_static))
                    .collect::<Vec<_>>(),
            )
            .max_age(Duration::from_secs(600));
        Some(cors)
    }
}
