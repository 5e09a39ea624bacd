//! Remote control: `celery inspect` and `celery control` broadcast requests, and each worker they mean answers into the client's own
//! queue. It is heard on a connection of its own and never waits behind a job. Anybody who reaches the broker can send one.

use super::Edge;
use super::events::now_s;
use super::keys::SEPARATOR;
use super::wire::{Envelope, envelope};
use ::redis::{Pipeline, cmd};
use futures::StreamExt;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A link may be dead without saying so: after a silence of this length a new one is made.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const LISTEN_AGAIN: Duration = Duration::from_millis(500);
/// Answers that nobody fetched.
const ANSWER_KEPT_MS: u64 = 10_000;

/// A request, as broadcast.
pub struct Request {
    pub method: String,
    pub arguments: Map<String, Value>,
}

impl Edge {
    pub async fn listen(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let heard = tokio::select! {
                heard = self.hear() => heard,
                () = self.stop.cancelled() => return,
            };
            if let Err(error) = heard {
                tracing::warn!(%error, "requests of Celery's remote control cannot be heard");
            }
            if self.pause(LISTEN_AGAIN).await.is_none() {
                return;
            }
        }
    }

    async fn hear(self: &Arc<Self>) -> ::redis::RedisResult<()> {
        let mut pubsub = self.broker.messages.client().await?.get_async_pubsub().await?;
        pubsub.subscribe(self.broker.keys.channel("celery.pidbox")).await?;
        let mut messages = pubsub.into_on_message();
        while let Ok(Some(message)) = tokio::time::timeout(SILENCE_MAX, messages.next()).await {
            let payload: Vec<u8> = message.get_payload()?;
            match Envelope::read(&payload) {
                Ok(envelope) => drop(self.work.spawn(self.clone().answer(envelope))),
                Err(error) => tracing::debug!(why = error.why, "a request of the remote control cannot be read"),
            }
        }
        Ok(())
    }

    async fn answer(self: Arc<Self>, request: Envelope) {
        self.ticks.hear(request.headers.get("clock").and_then(Value::as_u64).unwrap_or(0));
        // 0: it wants no answer and has no time.
        let is_late = request.headers.get("expires").and_then(Value::as_f64).is_some_and(|at| at > 0.0 && at < now_s());
        let Value::Object(body) = request.body else { return };
        if is_late || !is_meant(&body, &self.node) {
            return;
        }
        let method = body.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        let arguments = body.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default();
        let answer = self.clone().obey(Request { method, arguments }).await;
        let (Some(ticket), Some(to)) = (body.get("ticket"), body.get("reply_to").filter(|to| to.is_object())) else { return };
        if let Some(answer) = answer
            && let Err(error) = self.reply(ticket, to, answer).await
        {
            tracing::debug!(%error, "an answer of the remote control was not sent");
        }
    }

    async fn reply(&self, ticket: &Value, to: &Value, answer: Value) -> crate::link::Result<()> {
        let (exchange, key) = (to["exchange"].as_str().unwrap_or_default(), to["routing_key"].as_str().unwrap_or_default());
        let keys = &self.broker.keys;
        let members: Vec<String> = self.broker.asked(cmd("SMEMBERS").arg(keys.binding(exchange))).await?;
        let queues = members.iter().filter_map(|member| {
            let mut fields = member.split(SEPARATOR);
            fields.next().filter(|routing| *routing == key)?;
            fields.nth(1)
        });
        let properties = json!({"delivery_mode": 1, "delivery_info": {"exchange": exchange, "routing_key": key}, "priority": 0});
        let headers = json!({"ticket": ticket, "clock": self.ticks.next()});
        let message = envelope(&json!({ self.node.as_str(): answer }), headers, properties);
        for queue in queues {
            let list = keys.list(queue, 0);
            let mut push = Pipeline::new();
            push.cmd("LPUSH").arg(&list).arg(&message).cmd("PEXPIRE").arg(&list).arg(ANSWER_KEPT_MS);
            self.broker.messages.ask(|_| push.clone()).await?;
        }
        Ok(())
    }
}

/// Is a request for this node? One without destination and pattern is for all.
fn is_meant(body: &Map<String, Value>, node: &str) -> bool {
    if let Some(destination) = body.get("destination").and_then(Value::as_array).filter(|list| !list.is_empty()) {
        return destination.iter().any(|one| one == node);
    }
    let word = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (word("pattern"), word("matcher")) {
        (Some(pattern), Some("glob")) => globset::Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(node)),
        // From the start, as Python's `re.match`; without looking around or back, which could take for ever.
        (Some(pattern), Some("pcre")) => expression(pattern).is_ok_and(|expression| expression.is_match(node.as_bytes())),
        // A matcher that nobody knows: better silent than wrong.
        (Some(_), Some(_)) => false,
        _ => true,
    }
}

fn expression(pattern: &str) -> Result<regex::bytes::Regex, regex::Error> {
    // Names of nodes are ASCII; tables of Unicode are not carried along for them.
    regex::bytes::RegexBuilder::new(&format!("^(?:{pattern})")).unicode(false).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_their_nodes() {
        let meant = |body: Value| is_meant(body.as_object().unwrap(), "millrace@host");
        assert!(meant(json!({"destination": null, "pattern": null, "matcher": null})));
        assert!(meant(json!({"destination": ["other@host", "millrace@host"]})) && !meant(json!({"destination": ["other@host"]})));
        // As kombu has it: an empty list names nobody, and a pattern without a matcher is none.
        assert!(meant(json!({"destination": []})) && meant(json!({"pattern": "other*"})));
        for (pattern, matcher, is_meant) in [
            ("mill*", "glob", true),
            ("mill", "glob", false),
            ("m[ai]llrace@h?st", "glob", true),
            ("mill", "pcre", true),
            ("(millrace|other)@h.st$", "pcre", true),
            ("(?i)MILL\\w+@.*", "pcre", true),
            ("race", "pcre", false),
            ("other|race", "pcre", false),
            ("(", "pcre", false),
            ("mill*", "nobody knows", false),
        ] {
            assert_eq!(meant(json!({"pattern": pattern, "matcher": matcher})), is_meant, "{pattern} {matcher}");
        }
    }
}
