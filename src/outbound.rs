//! The way out: requests to addresses that somebody else names, as a job's webhook or the place its input is fetched from.
//!
//! A name is resolved here, each address it has is checked, and the checked address is the one that is connected to: nothing that
//! is asked of the name afterwards can lead elsewhere. What a URL writes as an address is never resolved and is checked by itself.
//! Redirects are followed by hand, each as if it had been asked for. No proxy is asked, for it would connect where it likes.

mod address;
mod resolve;

pub use address::{Reach, anywhere, public};
pub use resolve::{Resolver, SystemResolver};

use crate::limits::{Size, Span};
use crate::tls;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Method, Request, Response, StatusCode, Url, redirect};
use resolve::Checked;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A host that does not even accept a connection by then is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A sender that falls silent for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What is kept of an answer to a `post`.
const EXCERPT_MAX_BYTES: usize = 1024;

/// How far out a request may go, and for how long.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which addresses may be connected to.
    pub reach: Reach,
    /// Redirects to follow.
    pub redirects: usize,
    /// For the whole of it, the body included.
    pub timeout: Span,
    pub max_bytes: Size,
}

#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No URL that may be asked at all.
    #[error("{0}")]
    Refused(String),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {0}")]
    TooLarge(Size),
    #[error("it took longer than {0}")]
    Timeout(Span),
    #[error("{0}")]
    Unreachable(String),
}

type Result<T> = std::result::Result<T, OutboundError>;

/// The answer to a `get`: what it says of itself, and its bytes as they come.
pub struct Download {
    /// Where it came from in the end.
    pub url: Url,
    pub headers: HeaderMap,
    /// No more than the policy allows; an error is the last item.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

/// The answer to a `post`, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// The beginning of what it says.
    pub excerpt: String,
}

pub struct Outbound {
    http: Client,
    policy: Policy,
}

impl Outbound {
    pub fn new(policy: Policy, resolver: Arc<dyn Resolver>) -> std::result::Result<Outbound, String> {
        tls::use_ring();
        let http = Client::builder()
            .dns_resolver(Checked { resolver, reach: policy.reach })
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE_MAX)
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Outbound { http: http.map_err(|e| e.to_string())?, policy })
    }

    /// Whether a URL may be asked, as far as it tells without being resolved; for refusing it while its author still listens.
    pub fn check(&self, url: &str) -> Result<Url> {
        let url = Url::parse(url).map_err(|e| OutboundError::Refused(format!("this is not a URL: {e}")))?;
        self.admit(&url)?;
        Ok(url)
    }

    /// Fetches what is there. Anything but 200 is an error.
    pub async fn get(&self, url: &str) -> Result<Download> {
        let deadline = Instant::now() + self.policy.timeout.duration();
        let mut url = self.check(url)?;
        for _ in 0..=self.policy.redirects {
            let response = self.send(self.request(Method::GET, url.clone(), deadline)).await?;
            match response.status() {
                StatusCode::OK => return self.download(url, response),
                status if status.is_redirection() => url = self.followed(&url, &response)?,
                status => return Err(OutboundError::Status(status)),
            }
        }
        Err(OutboundError::Refused(format!("more than {} redirects", self.policy.redirects)))
    }

    /// Sends a body. A redirect is an answer like any other.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes) -> Result<Answer> {
        let deadline = Instant::now() + self.policy.timeout.duration();
        let mut request = self.request(Method::POST, self.check(url)?, deadline);
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let response = self.send(request).await?;
        let status = response.status();
        Ok(Answer { status, excerpt: self.excerpt(response).await })
    }

    fn request(&self, method: Method, url: Url, deadline: Instant) -> Request {
        let mut request = Request::new(method, url);
        *request.timeout_mut() = Some(deadline.saturating_duration_since(Instant::now()));
        request
    }

    async fn send(&self, request: Request) -> Result<Response> {
        self.http.execute(request).await.map_err(|error| broken(&error, &self.policy))
    }

    fn followed(&self, from: &Url, response: &Response) -> Result<Url> {
        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        let url = location.and_then(|location| from.join(location).ok()).ok_or(OutboundError::Status(response.status()))?;
        if from.scheme() == "https" && url.scheme() != "https" {
            return Err(OutboundError::Refused("a redirect leads from https to http".into()));
        }
        self.admit(&url)?;
        Ok(url)
    }

    /// What the resolver is never asked about: the scheme, and addresses that stand in the URL themselves, in whatever notation:
    /// the parser has made `0x7f.1` into `127.0.0.1`.
    fn admit(&self, url: &Url) -> Result<()> {
        let refused = |why: String| Err(OutboundError::Refused(why));
        if !matches!(url.scheme(), "http" | "https") {
            return refused(format!("`{}` is not http or https", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("a name and password in a URL would be shown wherever it is".into());
        }
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => (self.policy.reach)(address).or_else(|what| refused(format!("{address} is {what}"))),
            Err(_) => Ok(()),
        }
    }

    fn download(&self, url: Url, response: Response) -> Result<Download> {
        let max = self.policy.max_bytes;
        if response.content_length().is_some_and(|length| length > max.0) {
            return Err(OutboundError::TooLarge(max));
        }
        let (headers, policy) = (response.headers().clone(), self.policy.clone());
        // The room left; none once it has ended.
        let bytes = response.bytes_stream().scan(Some(max.0), move |left, piece| {
            let counted = left.map(|room| {
                let piece = piece.map_err(|error| broken(&error, &policy))?;
                *left = room.checked_sub(piece.len() as u64);
                if left.is_some() { Ok(piece) } else { Err(OutboundError::TooLarge(max)) }
            });
            if matches!(counted, Some(Err(_))) {
                *left = None;
            }
            ready(counted)
        });
        Ok(Download { url, headers, bytes: bytes.boxed() })
    }

    /// As much as is kept; whoever sends more, or less than it said, is not waited for.
    async fn excerpt(&self, response: Response) -> String {
        let (mut kept, mut pieces) = (Vec::new(), response.bytes_stream());
        while kept.len() < EXCERPT_MAX_BYTES
            && let Some(Ok(piece)) = pieces.next().await
        {
            kept.extend_from_slice(&piece[..piece.len().min(EXCERPT_MAX_BYTES - kept.len())]);
        }
        String::from_utf8_lossy(&kept).into_owned()
    }
}

/// The innermost cause says it; what surrounds it repeats the URL.
fn broken(error: &reqwest::Error, policy: &Policy) -> OutboundError {
    if error.is_timeout() {
        return OutboundError::Timeout(policy.timeout);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<resolve::Forbidden>() {
        Some(forbidden) => OutboundError::Refused(forbidden.to_string()),
        None => OutboundError::Unreachable(cause.to_string()),
    }
}
