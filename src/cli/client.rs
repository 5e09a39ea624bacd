//! The client's end of the HTTP API: one call, one answer, every refusal as one clear line and an exit code.

use super::{Exit, complain, print, runtime};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Longer than the longest wait that the server grants.
const ANSWER_WITHIN: Duration = Duration::from_secs(150);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where the server is and who asks.
#[derive(Debug, Clone, clap::Args)]
pub struct Server {
    /// The server's address.
    #[arg(long, global = true, env = "MILLRACE_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// Sent as `Authorization: Bearer`.
    #[arg(long, global = true, env = "MILLRACE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The server's own JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Server {
    /// A server that needs no token.
    pub fn at(url: String) -> Server {
        Server { server: url, token: None, json: false }
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub struct Trouble {
    pub exit: Exit,
    pub text: String,
}

impl Trouble {
    pub fn new(exit: Exit, text: impl std::fmt::Display) -> Self {
        Trouble { exit, text: text.to_string() }
    }

    pub fn usage(text: impl std::fmt::Display) -> Self {
        Trouble::new(Exit::Usage, text)
    }
}

pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
    pub json: bool,
}

/// Runs a client's command.
pub fn with(server: &Server, work: impl AsyncFnOnce(&Client) -> Result<Exit, Trouble>) -> Exit {
    let done =
        runtime().map_err(|e| Trouble::new(Exit::Unavailable, e)).and_then(|runtime| runtime.block_on(async { work(&Client::new(server)?).await }));
    done.unwrap_or_else(|trouble| {
        complain(trouble.text);
        trouble.exit
    })
}

impl Client {
    fn new(server: &Server) -> Result<Client, Trouble> {
        let wrong = |e: &dyn std::fmt::Display| Trouble::usage(format!("--server {}: {e}; write it as http://127.0.0.1:8080", server.server));
        let base = Url::parse(&server.server).map_err(|e| wrong(&e))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong(&"not an http address"));
        }
        crate::tls::use_ring();
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")));
        if matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|e| Trouble::new(Exit::Unavailable, format!("the HTTP client cannot start: {}", causes(&e))))?;
        Ok(Client { http, base, token: server.token.clone(), json: server.json })
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Trouble> {
        self.call(Method::GET, path, query, None).await
    }

    pub async fn post(&self, path: &[&str], body: Option<&Value>) -> Result<Value, Trouble> {
        self.call(Method::POST, path, &[], body).await
    }

    /// A call whose answer may take that long.
    pub async fn post_within(&self, within: Duration, path: &[&str], query: &[(&str, String)], body: &Value) -> Result<Value, Trouble> {
        self.answer(self.request(Method::POST, path, query).timeout(within).json(body)).await
    }

    /// The server's own JSON, or what people read of it.
    pub fn tell(&self, answer: &Value, text: impl FnOnce() -> Result<String, Trouble>) -> Result<Exit, Trouble> {
        print(&if self.json { format!("{answer}\n") } else { text()? });
        Ok(Exit::Done)
    }

    /// One call; no content is null.
    pub async fn call(&self, method: Method, path: &[&str], query: &[(&str, String)], body: Option<&Value>) -> Result<Value, Trouble> {
        let mut request = self.request(method, path, query).timeout(ANSWER_WITHIN);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    /// Streams a file to the server; answers with the upload.
    pub async fn upload(&self, name: &str, bytes: reqwest::Body) -> Result<Value, Trouble> {
        self.answer(self.request(Method::POST, &["v1", "uploads"], &[("name", name.to_owned())]).body(bytes)).await
    }

    /// The start of an answer whose body is still to come: a download or an event stream.
    pub async fn open(&self, path: &[&str], headers: &[(&'static str, &str)]) -> Result<Response, Trouble> {
        let mut request = self.request(Method::GET, path, &[]);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.accept(request).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, Trouble> {
        let response = self.accept(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let body = response.bytes().await.map_err(|e| self.broken(&e))?;
        serde_json::from_slice(&body).map_err(|e| Trouble::new(Exit::Unavailable, format!("{} does not answer as a millrace server: {e}", self.base)))
    }

    async fn accept(&self, request: reqwest::RequestBuilder) -> Result<Response, Trouble> {
        let response = request.send().await.map_err(|e| self.broken(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body: Value = response.bytes().await.ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
        Err(refusal(status, &body))
    }

    fn broken(&self, error: &reqwest::Error) -> Trouble {
        let base = self.base.as_str().trim_end_matches('/');
        Trouble::new(
            Exit::Unavailable,
            if error.is_connect() {
                format!("no server at {base}: start one with `millrace serve`, or name another with --server or MILLRACE_URL ({})", causes(error))
            } else if error.is_timeout() {
                format!("the server at {base} did not answer in time")
            } else {
                format!("the connection to {base} broke: {}", causes(error))
            },
        )
    }
}

/// The filters that were given, as a query.
pub fn given<'n, const N: usize>(filters: [(&'n str, &Option<String>); N]) -> Vec<(&'n str, String)> {
    filters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

/// Reads an answer as what it should be.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Trouble> {
    T::deserialize(value).map_err(|e| Trouble::new(Exit::Unavailable, format!("the server answers in another version's words: {e}")))
}

/// A problem document as one line: what failed, in which field, what is possible.
fn refusal(status: StatusCode, body: &Value) -> Trouble {
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let allowed: Vec<&str> = body["allowed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let detail = if text("detail").is_empty() { status.canonical_reason().unwrap_or("the server refuses") } else { text("detail") };
    let code = if text("code").is_empty() { status.as_str() } else { text("code") };
    let mut line = refusal_line(code, detail, body["field"].as_str(), body["given"].as_str(), &allowed);
    if status == StatusCode::UNAUTHORIZED {
        line += " Give it with --token or MILLRACE_TOKEN.";
    }
    let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    Trouble::new(if later { Exit::Unavailable } else { Exit::Usage }, line)
}

/// `code: sentence Field: x. Given: y. Possible: a, b.`, without what the sentence says already.
pub fn refusal_line(code: &str, detail: &str, field: Option<&str>, given: Option<&str>, allowed: &[&str]) -> String {
    let mut line = format!("{code}: {detail}");
    for (label, text) in [("Field", field), ("Given", given)] {
        if let Some(text) = text.filter(|t| !t.is_empty() && !detail.contains(*t)) {
            line += &format!(" {label}: {text}.");
        }
    }
    if !allowed.is_empty() && !allowed.iter().all(|a| detail.contains(a)) {
        line += &format!(" Possible: {}.", allowed.join(", "));
    }
    super::table::plain(&line)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_is_one_line_and_an_exit_code() {
        let body = json!({"code": "invalid_option", "detail": "`quality` is out of range.", "field": "options.quality", "given": "101", "allowed": ["1 to 100"]});
        let trouble = refusal(StatusCode::UNPROCESSABLE_ENTITY, &body);
        assert_eq!(trouble.text, "invalid_option: `quality` is out of range. Field: options.quality. Given: 101. Possible: 1 to 100.");
        assert_eq!(trouble.exit, Exit::Usage);
        let trouble = refusal(StatusCode::BAD_GATEWAY, &Value::Null);
        assert_eq!((trouble.exit, trouble.text.as_str()), (Exit::Unavailable, "502: Bad Gateway"));
        assert!(refusal(StatusCode::UNAUTHORIZED, &Value::Null).text.contains("MILLRACE_TOKEN"));
    }

    #[test]
    fn nothing_is_said_twice() {
        let line = refusal_line("invalid_request", "`priority` must be 0 to 9.", Some("priority"), Some("12"), &["0 to 9"]);
        assert_eq!(line, "invalid_request: `priority` must be 0 to 9. Given: 12.");
    }
}
