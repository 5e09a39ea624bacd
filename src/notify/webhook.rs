//! Letters to URLs, as Standard Webhooks has them.

use super::{End, Secrets, Tried};
use crate::limits::{Size, Span};
use crate::outbound::{Outbound, OutboundError, Policy, Resolver, anywhere, public};
use crate::store::{Due, Told};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a letter waits that finds its host busy with others.
const BUSY: SignedDuration = SignedDuration::from_secs(2);

/// The section `[webhooks]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// One `whsec_...`, or several while receivers change from one to the next. Without any, jobs cannot name webhooks.
    pub secret: Secrets,
    /// Let clients name addresses within this network.
    pub allow_private: bool,
    /// A receiver that has not answered by then, a hook's command or a mail server that is not done, is asked again later.
    pub timeout: Span,
    /// Letters under way to one host at a time.
    pub per_host: usize,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        WebhookSettings { secret: Secrets::default(), allow_private: false, timeout: Span::from_secs(15), per_host: 4 }
    }
}

impl WebhookSettings {
    pub fn check(&self) -> Result<(), String> {
        match (1..=60_000).contains(&self.timeout.as_millis()) && self.per_host > 0 {
            true => Ok(()),
            false => Err("webhooks.timeout must be at most 1m, webhooks.per_host at least 1".into()),
        }
    }
}

pub struct Webhooks {
    secrets: Secrets,
    timeout: Duration,
    /// To what clients name.
    guarded: Outbound,
    /// To what the site's own configuration names.
    trusted: Outbound,
    hosts: Hosts,
}

/// How many letters are under way to each host.
struct Hosts {
    max: usize,
    under_way: Arc<Mutex<HashMap<String, usize>>>,
}

/// A letter's place among those to one host.
struct Place {
    host: String,
    under_way: Arc<Mutex<HashMap<String, usize>>>,
}

impl Webhooks {
    pub fn new(settings: &WebhookSettings, resolver: Arc<dyn Resolver>) -> Result<Webhooks, String> {
        let outbound = |reach| {
            let policy = Policy { reach, redirects: 0, timeout: settings.timeout, max_bytes: Size(0) };
            Outbound::new(policy, resolver.clone())
        };
        Ok(Webhooks {
            secrets: settings.secret.clone(),
            timeout: settings.timeout.duration(),
            guarded: outbound(if settings.allow_private { anywhere } else { public })?,
            trusted: outbound(anywhere)?,
            hosts: Hosts { max: settings.per_host, under_way: Arc::default() },
        })
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Says what is wrong with a client's URL while the client still listens.
    pub fn check(&self, url: &str) -> Result<(), String> {
        if self.secrets.is_empty() {
            return Err("this service has no webhooks.secret to sign letters with".into());
        }
        self.guarded.check(url).map(drop).map_err(|e| e.to_string())
    }

    pub async fn send(&self, due: &Due, url: &str, now: Timestamp) -> Tried {
        self.post(&self.guarded, due, url, now).await
    }

    /// To a URL of the site's own.
    pub async fn send_trusted(&self, due: &Due, url: &str, now: Timestamp) -> Tried {
        self.post(&self.trusted, due, url, now).await
    }

    async fn post(&self, outbound: &Outbound, due: &Due, url: &str, now: Timestamp) -> Tried {
        if due.is_off {
            return Tried { end: End::Hopeless, status: None, answer: Some("this URL has answered 410: it wants nothing more".into()) };
        }
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let Some(_place) = self.hosts.enter(host) else {
            return Tried { end: End::Postponed(now.saturating_add(BUSY).unwrap_or(Timestamp::MAX)), status: None, answer: None };
        };
        let body = Bytes::from(body(due));
        match outbound.post(url, self.headers(&due.delivery.id, now, &body), body).await {
            Ok(answer) => {
                let end = match answer.status {
                    status if status.is_success() => End::Delivered,
                    StatusCode::GONE => End::SwitchedOff(url.to_owned()),
                    _ => End::Failed,
                };
                Tried { end, status: Some(answer.status.as_u16()), answer: Some(answer.excerpt).filter(|text| !text.is_empty()) }
            }
            // What it leads to may be another address tomorrow, but no client is to find out by trying.
            Err(error @ OutboundError::Refused(_)) => Tried { end: End::Hopeless, ..Tried::failed(error) },
            Err(error) => Tried::failed(error),
        }
    }

    fn headers(&self, id: &str, now: Timestamp, body: &[u8]) -> HeaderMap {
        let second = now.as_second();
        let own =
            [("webhook-id", id.to_owned()), ("webhook-timestamp", second.to_string()), ("webhook-signature", self.secrets.sign(id, second, body))];
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        headers.extend(own.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), value.parse::<HeaderValue>().ok()?))));
        headers
    }
}

impl Hosts {
    fn enter(&self, host: String) -> Option<Place> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let n = under_way.entry(host.clone()).or_default();
        (*n < self.max).then(|| {
            *n += 1;
            Place { host, under_way: self.under_way.clone() }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = under_way.get_mut(&self.host) {
            *n -= 1;
            if *n == 0 {
                under_way.remove(&self.host);
            }
        }
    }
}

/// What is sent: the event's name, and the job or the pipeline as it was then.
pub fn body(due: &Due) -> String {
    let Due { delivery, told, .. } = due;
    let about = if matches!(told, Told::Pipeline(_)) { "pipeline" } else { "job" };
    serde_json::json!({"event": delivery.event, "at": delivery.at, about: told}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_number_of_places() {
        let hosts = Hosts { max: 2, under_way: Arc::default() };
        let (first, second) = (hosts.enter("a".into()), hosts.enter("a".into()));
        assert!(first.is_some() && second.is_some() && hosts.enter("a".into()).is_none() && hosts.enter("b".into()).is_some());
        drop(first);
        assert!(hosts.enter("a".into()).is_some());
        drop(second);
        assert!(hosts.under_way.lock().unwrap().is_empty());
    }
}
