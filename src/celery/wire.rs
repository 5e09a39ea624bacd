//! Messages as kombu writes them: an envelope of JSON around a body that may be packed.

use super::body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Map, Value, json};

/// A task that somebody sent.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Under which it stands in `unacked`.
    pub tag: String,
    /// The tag it was sent with: what we give back gets a fresh one.
    pub first_tag: String,
    pub queue: String,
    pub id: String,
    pub task: String,
    pub args: Vec<Value>,
    pub kwargs: Map<String, Value>,
    pub embed: Embed,
    pub eta: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    pub hard_limit_s: Option<f64>,
    pub soft_limit_s: Option<f64>,
    pub retries: u64,
    pub priority: u8,
    pub ignore_result: bool,
    pub redelivered: bool,
    pub parent_id: Option<String>,
    pub root_id: String,
    pub group: Option<String>,
    pub group_index: Option<f64>,
    pub args_repr: String,
    pub kwargs_repr: String,
    pub stamps: Map<String, Value>,
}

/// What follows from a task: signatures.
#[derive(Debug, Clone, Default)]
pub struct Embed {
    pub callbacks: Vec<Value>,
    pub errbacks: Vec<Value>,
    /// In reverse: the last one is next.
    pub chain: Vec<Value>,
    pub chord: Option<Value>,
}

/// Why a message cannot become a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The task, where it can be told: whoever waits for it is to know.
    pub id: Option<String>,
    pub why: String,
}

/// An envelope with its body unpacked.
pub struct Envelope {
    pub headers: Map<String, Value>,
    pub properties: Map<String, Value>,
    pub body: Value,
}

impl Envelope {
    pub fn read(raw: &[u8]) -> Result<Envelope, Unreadable> {
        let nameless = |why: String| Unreadable { id: None, why };
        let outer: Map<String, Value> = serde_json::from_slice(raw).map_err(|e| nameless(format!("the envelope is not JSON: {e}")))?;
        let object = |name: &str| outer.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let (headers, properties) = (object("headers"), object("properties"));
        let id = text(&headers, "id").or_else(|| text(&properties, "correlation_id"));
        let unreadable = |why: String| Unreadable { id: id.clone(), why };
        let given = outer.get("body").and_then(Value::as_str).ok_or_else(|| unreadable("there is no body".into()))?;
        let bytes = match properties.get("body_encoding").and_then(Value::as_str) {
            Some("base64") => STANDARD.decode(given).map_err(|e| unreadable(format!("the body is not base64: {e}")))?,
            _ => given.as_bytes().to_vec(),
        };
        let kind = outer.get("content-type").and_then(Value::as_str).unwrap_or("application/json");
        let body = body::read(bytes, headers.get("compression").and_then(Value::as_str), kind).map_err(unreadable)?;
        Ok(Envelope { headers, properties, body })
    }
}

impl Message {
    pub fn read(tag: &str, queue: &str, raw: &[u8]) -> Result<Message, Unreadable> {
        let Envelope { headers, properties, body } = Envelope::read(raw)?;
        let first_tag = text(&properties, "millrace_tag").unwrap_or_else(|| tag.to_owned());
        let envelope = Message {
            tag: tag.to_owned(),
            queue: queue.to_owned(),
            redelivered: headers.get("redelivered") == Some(&Value::Bool(true)) || first_tag != tag,
            first_tag,
            priority: properties.get("priority").and_then(Value::as_u64).map_or(0, |p| p.min(9) as u8),
            ..Message::default()
        };
        if headers.contains_key("task") { envelope.second(&headers, body) } else { envelope.first(body) }
    }

    /// Protocol 2: headers say what it is.
    fn second(self, headers: &Map<String, Value>, body: Value) -> Result<Message, Unreadable> {
        let id = text(headers, "id");
        let unreadable = |why: &str| Unreadable { id: id.clone(), why: why.to_owned() };
        let [args, kwargs, embed] = <[Value; 3]>::try_from(match body {
            Value::Array(parts) => parts,
            _ => return Err(unreadable("the body is not a list")),
        })
        .map_err(|_| unreadable("the body does not have three parts"))?;
        let Value::Array(args) = args else { return Err(unreadable("args is not a list")) };
        let Value::Object(kwargs) = kwargs else { return Err(unreadable("kwargs is not a dict")) };
        let task = text(headers, "task").ok_or_else(|| unreadable("the task has no name"))?;
        let id = id.clone().ok_or_else(|| unreadable("the task has no id"))?;
        let limits = headers.get("timelimit").and_then(Value::as_array);
        let limit = |n: usize| limits.and_then(|l| l.get(n)).and_then(Value::as_f64).filter(|s| *s > 0.0);
        let repr = |name: &str, value: Value| text(headers, name).unwrap_or_else(|| super::repr::repr(&value));
        Ok(Message {
            embed: Embed::read(embed.as_object().unwrap_or(&Map::new())),
            eta: time(headers.get("eta")),
            expires: time(headers.get("expires")),
            hard_limit_s: limit(0),
            soft_limit_s: limit(1),
            retries: headers.get("retries").and_then(Value::as_u64).unwrap_or(0),
            ignore_result: headers.get("ignore_result") == Some(&Value::Bool(true)),
            parent_id: text(headers, "parent_id"),
            root_id: text(headers, "root_id").unwrap_or_else(|| id.clone()),
            group: text(headers, "group"),
            group_index: headers.get("group_index").and_then(Value::as_f64),
            args_repr: repr("argsrepr", json!(args)),
            kwargs_repr: repr("kwargsrepr", json!(kwargs)),
            stamps: headers.get("stamps").and_then(Value::as_object).cloned().unwrap_or_default(),
            task,
            id,
            args: args.into_iter().map(plain).collect(),
            kwargs: kwargs.into_iter().map(|(name, value)| (name, plain(value))).collect(),
            ..self
        })
    }

    /// Protocol 1: the body says all.
    fn first(self, body: Value) -> Result<Message, Unreadable> {
        let Value::Object(mut body) = body else { return Err(Unreadable { id: None, why: "there is no task in it".into() }) };
        let mut headers: Map<String, Value> = Map::new();
        for name in ["task", "id", "eta", "expires", "retries", "timelimit"] {
            headers.insert(name.into(), body.remove(name).unwrap_or(Value::Null));
        }
        headers.insert("group".into(), body.remove("taskset").unwrap_or(Value::Null));
        let mut part = |name: &str, missing: Value| body.remove(name).filter(|v| !v.is_null()).unwrap_or(missing);
        let parts = json!([part("args", json!([])), part("kwargs", json!({})), body]);
        self.second(&headers, parts)
    }
}

impl Embed {
    fn read(embed: &Map<String, Value>) -> Embed {
        let list = |name: &str| signatures(embed.get(name));
        Embed {
            callbacks: list("callbacks"),
            errbacks: list("errbacks"),
            chain: list("chain"),
            chord: embed.get("chord").filter(|v| v.is_object()).cloned(),
        }
    }
}

/// One signature or a list of them.
pub fn signatures(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

pub fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned)
}

/// ISO 8601; without an offset it is UTC, which Celery's own default is.
fn time(value: Option<&Value>) -> Option<Timestamp> {
    let text = plain(value?.clone());
    let text = text.as_str()?;
    text.parse().ok().or_else(|| text.parse::<civil::DateTime>().ok().and_then(|t| t.to_zoned(TimeZone::UTC).ok()).map(|z| z.timestamp()))
}

/// What kombu wraps because JSON has no word for it, as plain text.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(mut map) if map.contains_key("__type__") => match map.remove("__value__") {
            Some(Value::Object(mut inner)) => inner.remove("hex").or_else(|| inner.remove("value")).unwrap_or(Value::Object(inner)),
            Some(value) => value,
            None => Value::Object(map),
        },
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        Value::Array(list) => list.into_iter().map(plain).collect(),
        other => other,
    }
}

/// An envelope around a body of JSON.
pub fn envelope(body: &Value, headers: Value, properties: Value) -> String {
    let mut properties = properties;
    properties["body_encoding"] = "base64".into();
    properties["delivery_tag"] = uuid::Uuid::now_v7().to_string().into();
    json!({
        "body": STANDARD.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from a client of Celery; tests/celery/capture.py says how.
    macro_rules! captured {
        ($name:literal) => {
            Message::read("tag", "video", include_bytes!(concat!("../../tests/celery/messages/", $name, ".json"))).unwrap()
        };
    }

    #[test]
    fn messages_of_all_clients_are_read() {
        for message in [
            captured!("plain-5.7"),
            captured!("plain-5.3"),
            captured!("gzip-5.7"),
            captured!("bzip2-5.7"),
            captured!("msgpack-5.7"),
            captured!("yaml-5.7"),
            captured!("protocol1-5.7"),
        ] {
            assert_eq!(message.task, "converter.tasks.convert_video");
            assert_eq!(message.kwargs["input_path"], "clips/a.mp4", "{}", message.id);
            assert_eq!(message.kwargs["task_id"], 7);
            assert!(!message.id.is_empty() && message.root_id == message.id && !message.redelivered);
        }
    }

    #[test]
    fn what_a_client_asks_for_is_read() {
        let message = captured!("options-5.7");
        assert_eq!((message.hard_limit_s, message.soft_limit_s, message.priority), (Some(50.0), Some(40.0), 7));
        assert!(message.eta.unwrap() < message.expires.unwrap() && message.ignore_result);
        let chain = captured!("chain-5.7");
        assert_eq!(chain.embed.chain.len(), 2);
        let member = captured!("chord-5.7");
        assert_eq!(member.embed.chord.as_ref().unwrap()["task"], "site.collect");
        assert!(member.group.is_some() && member.group_index == Some(0.0));
        assert_eq!(captured!("types-5.7").args, [json!("2026-01-02T03:04:05"), json!("1.50")]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let read = |raw: &[u8]| Message::read("t", "q", raw).unwrap_err();
        assert!(read(b"{").why.contains("not JSON"));
        let pickle = read(include_bytes!("../../tests/celery/messages/pickle-5.7.json"));
        assert!(pickle.why.contains("pickle") && pickle.id.is_some());
        let outer = |body: &str| envelope(&serde_json::from_str(body).unwrap(), json!({"task": "t", "id": "i"}), json!({}));
        for body in ["[]", "7", "[1, {}, {}]", "[[], [], {}]"] {
            assert_eq!(read(outer(body).as_bytes()).id.as_deref(), Some("i"), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(raw in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = Message::read("t", "q", &raw);
        }
    }
}
