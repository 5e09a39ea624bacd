//! What the guard knows: the tokens there are, how often each may ask, and which other origins are welcome.

use super::rates::Rates;
use crate::access::Token;
use crate::failure::Refusal;
use crate::intake::store;
use crate::limits::Rate;
use crate::store::Store;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// As proxies write it: some with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.parse().or_else(|_| name_of(text).parse()).ok().map(|address: IpAddr| address.to_canonical())
}

/// A host without its port, and an address without its brackets.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// `localhost` or an IP address.
pub fn is_local(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

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
    /// Names that the service is asked by, without a port. None: with a token any, without one only `localhost`. Addresses always are.
    pub hosts: Vec<String>,
    /// Whose `X-Forwarded-For` is believed: addresses or networks, as `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
}

impl AuthSettings {
    pub fn check(&self) -> Result<(), String> {
        if self.token.as_ref().is_some_and(|t| t.len() < 16) {
            return Err("auth.token must have at least 16 characters".into());
        }
        let is_origin =
            |origin: &&String| origin.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.contains('/')) && !origin.contains('*');
        networks(&self.trusted_proxies)?;
        let is_name = |name: &&String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if let Some(name) = self.hosts.iter().find(|name| !is_name(name)) {
            return Err(format!("auth.hosts: `{name}` is not a name as convert.example.org"));
        }
        match self.cors_origins.iter().find(|origin| !is_origin(origin) || HeaderValue::from_str(origin).is_err()) {
            Some(origin) => Err(format!("auth.cors_origins: `{origin}` is not an origin as https://app.example.org")),
            None => Ok(()),
        }
    }
}

/// `10.0.0.0/8` or a single address, each.
fn networks(texts: &[String]) -> Result<Vec<IpNet>, String> {
    let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let read = |text| network(text).map_err(|_| format!("auth.trusted_proxies: `{text}` is neither an address nor a network as 10.0.0.0/8"));
    texts.iter().map(read).collect()
}

pub struct Door {
    pub rates: Rates,
    hosts: Vec<String>,
    proxies: Vec<IpNet>,
    origins: Vec<HeaderValue>,
    tokens: Mutex<Option<(Instant, Vec<Arc<Token>>)>>,
}

impl Door {
    pub fn new(settings: &AuthSettings) -> Result<Door, String> {
        let origins = settings.cors_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
        let (hosts, proxies) = (settings.hosts.clone(), networks(&settings.trusted_proxies)?);
        Ok(Door { rates: Rates::new(settings.rate_limit), hosts, proxies, origins, tokens: Mutex::new(None) })
    }

    /// Whether the service is asked by a name of its own; a foreign page may have made another one point here (DNS rebinding).
    pub fn is_asked(&self, headers: &HeaderMap, has_token: bool) -> bool {
        let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).map(name_of);
        let is_own = |name: &str| is_local(name) || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
        (has_token && self.hosts.is_empty()) || host.is_some_and(is_own)
    }

    /// Who has asked in the end: proxies that are trusted tell for whom they ask, nobody else is believed.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let told = headers.get_all("x-forwarded-for").iter().flat_map(|value| value.to_str().unwrap_or_default().split(','));
        let told: Vec<Option<IpAddr>> = told.map(address).collect();
        let mut client = peer.to_canonical();
        // The last one was written by the peer itself, the one before by that one, as far as they are trusted.
        for before in told.into_iter().rev() {
            let Some(before) = before.filter(|_| self.proxies.iter().any(|network| network.contains(&client))) else { break };
            client = before;
        }
        client
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

#[cfg(test)]
mod tests {
    use super::*;

    fn door(hosts: &[&str], proxies: &[&str]) -> Door {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Door::new(&AuthSettings { hosts: owned(hosts), trusted_proxies: owned(proxies), ..AuthSettings::default() }).unwrap()
    }

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_a_trusted_proxy_tells_for_whom_it_asks() {
        let door = door(&[], &["10.0.0.0/8", "::1"]);
        let client = |peer: &str, told: &[&str]| door.client(peer.parse().unwrap(), &headers("x-forwarded-for", told)).to_string();
        assert_eq!(client("203.0.113.7", &["1.1.1.1"]), "203.0.113.7", "anybody can write it");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.2"]), "198.51.100.2", "what came before is the client's own word");
        assert_eq!(client("::1", &["1.1.1.1", "198.51.100.2, 10.9.9.9"]), "198.51.100.2", "a chain of proxies");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.2:4711"]), "198.51.100.2");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.2, 10.0.0.3"]), "10.0.0.2");
    }

    #[test]
    fn the_service_is_asked_by_its_own_names() {
        let (plain, named) = (door(&[], &[]), door(&["convert.example.org"], &[]));
        let asked = |door: &Door, host: &str, has_token| door.is_asked(&headers("host", &[host]), has_token);
        for own in ["localhost:1", "127.0.0.1", "[::1]:8080", "LOCALHOST"] {
            assert!(asked(&plain, own, false) && asked(&named, own, true), "{own}");
        }
        assert!(asked(&plain, "evil.example", true) && !asked(&plain, "evil.example", false));
        assert!(asked(&named, "Convert.example.org:443", true) && asked(&named, "convert.example.org", false));
        assert!(!asked(&named, "evil.example", true) && !asked(&named, "convert.example.org.evil.example", true));
        assert!(!named.is_asked(&HeaderMap::new(), true));
    }
}
