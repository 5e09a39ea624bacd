//! What a request takes, by its method and path: the one list of who may do what.

use axum::http::Method;

/// The least that a token must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Any token: what is the same for everybody.
    Nothing,
    /// To send files and jobs; or to read, or to do everything.
    Own,
    Submit,
    Read,
    Admin,
}

impl Need {
    pub fn as_str(self) -> &'static str {
        match self {
            Need::Nothing => "any scope",
            Need::Own => "submit or read",
            Need::Submit => "submit",
            Need::Read => "read",
            Need::Admin => "admin",
        }
    }
}

/// A path that nobody has listed here is for admins to change and for readers to see.
pub fn need(method: &Method, path: &str) -> Need {
    let mut parts = path.trim_start_matches('/').split('/');
    let (version, resource) = (parts.next(), parts.next().unwrap_or_default());
    if version != Some("v1") {
        return if method.is_safe() { Need::Read } else { Need::Admin };
    }
    match (resource, method.is_safe()) {
        ("formats" | "presets" | "self", true) => Need::Nothing,
        ("tokens" | "audit", _) => Need::Admin,
        // One's own; whose a job or a pipeline is, is looked at too.
        ("jobs" | "pipelines" | "events", true) => Need::Own,
        ("jobs" | "pipelines", false) => Need::Submit,
        ("uploads" | "tus" | "convert" | "probe", _) => Need::Submit,
        (_, true) => Need::Read,
        (_, false) => Need::Admin,
    }
}

/// What belongs to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owned<'p> {
    Job(&'p str),
    Pipeline(&'p str),
}

/// What a path is about, by its id.
pub fn owned(path: &str) -> Option<Owned<'_>> {
    let mut parts = path.strip_prefix("/v1/")?.split('/');
    let (resource, id) = (parts.next()?, parts.next().filter(|id| !id.is_empty())?);
    match resource {
        "jobs" => Some(Owned::Job(id)),
        "pipelines" => Some(Owned::Pipeline(id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_nowhere_is_for_admins() {
        for (method, path, wanted) in [
            (Method::GET, "/v1/formats", Need::Nothing),
            (Method::GET, "/v1/self", Need::Nothing),
            (Method::GET, "/v1/jobs", Need::Own),
            (Method::GET, "/v1/jobs/x/outputs/a/b", Need::Own),
            (Method::POST, "/v1/jobs", Need::Submit),
            (Method::DELETE, "/v1/jobs/x", Need::Submit),
            (Method::GET, "/v1/pipelines", Need::Own),
            (Method::POST, "/v1/pipelines/x/cancel", Need::Submit),
            (Method::POST, "/v1/uploads", Need::Submit),
            (Method::PUT, "/v1/convert", Need::Submit),
            (Method::GET, "/v1/queues", Need::Read),
            (Method::GET, "/v1/events", Need::Own),
            (Method::GET, "/metrics", Need::Read),
            (Method::GET, "/v1/webhooks/deliveries/x", Need::Read),
            (Method::POST, "/v1/webhooks/deliveries/x/replay", Need::Admin),
            (Method::PATCH, "/v1/queues/video", Need::Admin),
            (Method::POST, "/v1/workers/x/drain", Need::Admin),
            (Method::PUT, "/v1/schedules/x", Need::Admin),
            (Method::GET, "/v1/tokens", Need::Admin),
            (Method::GET, "/v1/audit", Need::Admin),
            (Method::POST, "/v1/whatever", Need::Admin),
            (Method::POST, "/v2/jobs", Need::Admin),
        ] {
            assert_eq!(need(&method, path), wanted, "{method} {path}");
        }
        for (path, about) in [
            ("/v1/jobs/x/log", Some(Owned::Job("x"))),
            ("/v1/jobs/x", Some(Owned::Job("x"))),
            ("/v1/pipelines/x/cancel", Some(Owned::Pipeline("x"))),
            ("/v1/jobs", None),
            ("/v1/jobs/", None),
            ("/v1/queues/x", None),
        ] {
            assert_eq!(owned(path), about, "{path}");
        }
    }
}
