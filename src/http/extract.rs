//! What handlers take out of a request; what cannot be read is refused as a problem document with the field's name.

use super::problem::Problem;
use super::{JSON_MAX_BYTES, LINGER};
use crate::failure::{Refusal, RefusalKind};
use crate::job::JobId;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query as RawQuery, Request};
use axum::http::request::Parts;
use bytes::BytesMut;
use futures::StreamExt;
use serde::de::DeserializeOwned;

/// The query string.
pub struct Query<T>(pub T);

/// Parts of the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

/// A small body, as bytes.
pub struct Bytes(pub axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        whole(request.into_body()).await.map(Bytes)
    }
}

/// A small body, in one piece. One that is too large is listened to for a while: who still sends reads no answer.
pub async fn whole(body: Body) -> Result<axum::body::Bytes, Problem> {
    let (mut chunks, mut kept) = (body.into_data_stream(), BytesMut::new());
    while let Some(chunk) = chunks.next().await {
        kept.extend_from_slice(&chunk.map_err(|_| Refusal::new(RefusalKind::InvalidRequest, "The request broke off."))?);
        if kept.len() > JSON_MAX_BYTES {
            let rest = async { while let Some(Ok(_)) = chunks.next().await {} };
            let _ = tokio::time::timeout(LINGER, rest).await;
            return Err(Refusal::new(RefusalKind::TooLarge, "The request is larger than 1 MiB.").into());
        }
    }
    Ok(kept.freeze())
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        RawQuery::<T>::try_from_uri(&parts.uri).map(|RawQuery(query)| Query(query)).map_err(|rejection| {
            let text = rejection.body_text();
            let reason = text.split_once("query string: ").map_or(text.as_str(), |(_, reason)| reason);
            let RawQuery(pairs) = RawQuery::<Vec<(String, String)>>::try_from_uri(&parts.uri).unwrap_or_default();
            // The reason begins with the field's name, or has it in backticks when it is unknown.
            let pair = pairs.iter().find(|(key, _)| reason.starts_with(&format!("{key}:")) || reason.contains(&format!("`{key}`,")));
            let refusal = Refusal::new(RefusalKind::InvalidRequest, format!("The query cannot be read: {reason}."));
            Problem(match pair {
                Some((key, value)) => refusal.field(key).given(value),
                None => refusal,
            })
        })
    }
}

/// JSON into a type, with the path of the first field that does not fit.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let refuse = |path: String, reason: String| {
        let refusal = Refusal::new(RefusalKind::InvalidRequest, format!("The request cannot be read: {reason}."));
        // The end of a path that could not be told is a question mark.
        let path = path.trim_end_matches('?').trim_end_matches('.');
        Problem(if path.is_empty() { refusal } else { refusal.field(path) })
    };
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| refuse(e.path().to_string(), e.inner().to_string()))?;
    json.end().map(|()| value).map_err(|e| refuse(".".into(), e.to_string()))
}

pub fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem(Refusal::new(RefusalKind::NotFound, "There is no such job.").given(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Search {
        #[allow(dead_code)]
        limit: Option<usize>,
    }

    async fn refusal(uri: &str) -> Refusal {
        let (mut parts, ()) = axum::http::Request::get(uri).body(()).unwrap().into_parts();
        Query::<Search>::from_request_parts(&mut parts, &()).await.map(|Query(search)| search).unwrap_err().0
    }

    #[tokio::test]
    async fn a_bad_query_names_its_field() {
        for (uri, field) in [("/?limit=many", Some("limit")), ("/?lim=1", Some("lim")), ("/?a=1&limit=-1", Some("a")), ("/?limit=1&limit=2", None)] {
            let refusal = refusal(uri).await;
            assert_eq!((refusal.kind, refusal.field.as_deref()), (RefusalKind::InvalidRequest, field), "{uri}: {}", refusal.message);
        }
    }

    #[test]
    fn bad_json_names_its_path() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Body {
            search: Search,
        }
        let field = |text: &str| parse::<Body>(text.as_bytes()).map(drop).unwrap_err().0.field;
        assert_eq!(field(r#"{"search": {"limit": "x"}}"#).as_deref(), Some("search.limit"));
        for broken in ["{", "{} {}", "[]", ""] {
            assert_eq!(field(broken), None, "{broken}");
        }
    }
}
