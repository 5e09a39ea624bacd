//! What follows from a task: callbacks, chains, groups and chords, as messages to send.

use super::broker::Push;
use super::keys::Keys;
use super::settings::Settings;
use super::tasks::Table;
use super::wire::{self, Message, text};
use globset::GlobMatcher;
use serde_json::{Map, Value, json};

/// Signatures in signatures deeper than this are a mistake, or an attack.
const DEPTH_MAX: usize = 32;

/// Where tasks go that name no queue.
pub struct Routes {
    patterns: Vec<(GlobMatcher, String)>,
    default: String,
    consumed: Vec<String>,
}

/// What is to be sent.
#[derive(Default)]
pub struct Sent {
    pub pushes: Vec<Push>,
    /// The sizes of chords that begin with this.
    pub chords: Vec<(String, usize)>,
    /// The results of what was sent, as Celery lists children.
    pub children: Vec<Value>,
}

/// For whom something is sent; a parent without an id is none.
pub struct Sender<'a> {
    pub keys: &'a Keys,
    pub table: &'a Table,
    pub routes: &'a Routes,
    pub node: &'a str,
    pub parent: &'a Message,
}

/// What one signature is sent with.
#[derive(Default, Clone)]
struct With {
    chain: Vec<Value>,
    chord: Option<Value>,
    group: Option<(String, usize)>,
}

impl Routes {
    pub fn new(settings: &Settings) -> Result<Routes, String> {
        let glob = |(pattern, queue): (&String, &String)| {
            let glob = globset::Glob::new(pattern).map_err(|e| format!("celery.routes: {e}"))?;
            Ok((glob.compile_matcher(), queue.clone()))
        };
        let patterns = settings.routes.iter().map(glob).collect::<Result<_, String>>()?;
        Ok(Routes { patterns, default: settings.default_queue.clone(), consumed: settings.queues.clone() })
    }

    /// By its route; a task of our own else goes to our queue of it, where we consume that.
    pub fn queue(&self, task: &str, ours: Option<&str>) -> String {
        let routed = self.patterns.iter().find(|(glob, _)| glob.is_match(task)).map(|(_, queue)| queue.as_str());
        let ours = ours.filter(|queue| self.consumed.iter().any(|c| c == queue));
        routed.or(ours).unwrap_or(&self.default).to_owned()
    }
}

impl Sender<'_> {
    /// After a success: callbacks, then the next of the chain.
    pub fn after_success(&self, result: &Value) -> Sent {
        let (embed, mut sent) = (&self.parent.embed, Sent::default());
        self.several(&embed.callbacks, std::slice::from_ref(result), &mut sent);
        if let Some((next, rest)) = embed.chain.split_last() {
            let with = With { chain: rest.to_vec(), ..With::default() };
            self.one(next, std::slice::from_ref(result), with, DEPTH_MAX, &mut sent);
        }
        sent
    }

    /// After a failure: the errbacks, each with the id of what failed.
    pub fn after_failure(&self) -> Sent {
        let mut sent = Sent::default();
        self.several(&self.parent.embed.errbacks, &[json!(self.parent.id)], &mut sent);
        sent
    }

    /// A task that follows from nothing.
    pub fn first(&self, signature: &Value) -> Sent {
        let mut sent = Sent::default();
        self.task(signature, &[], With::default(), &mut sent);
        sent
    }

    /// A chord's body, once its parts are there.
    pub fn body(&self, body: &Value, results: Vec<Value>) -> Sent {
        let mut sent = Sent::default();
        self.one(body, &[Value::Array(results)], With::default(), DEPTH_MAX, &mut sent);
        sent
    }

    /// A body whose chord failed: its errbacks.
    pub fn failed_body(&self, body: &Value) -> Sent {
        let mut sent = Sent::default();
        let id = body["options"]["task_id"].clone();
        self.several(&wire::signatures(body["options"].get("link_error")), &[id], &mut sent);
        sent
    }

    /// One is sent plainly, several under a group of their own.
    fn several(&self, signatures: &[Value], args: &[Value], sent: &mut Sent) {
        let group = (signatures.len() > 1).then(|| uuid::Uuid::now_v7().to_string());
        for (n, signature) in signatures.iter().enumerate() {
            let with = With { group: group.clone().map(|g| (g, n)), ..With::default() };
            self.one(signature, args, with, DEPTH_MAX, sent);
        }
    }

    fn one(&self, signature: &Value, args: &[Value], with: With, depth: usize, sent: &mut Sent) {
        let Some(depth) = depth.checked_sub(1) else {
            tracing::warn!(task = self.parent.id, "signatures are nested too deep; the rest is not sent");
            return;
        };
        let parts = wire::signatures(signature["kwargs"].get("tasks"));
        match signature["subtask_type"].as_str().or(signature["task"].as_str()) {
            Some("group" | "celery.group") => {
                let gid = signature["options"]["task_id"].as_str().map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
                for (n, part) in parts.iter().enumerate() {
                    self.one(part, args, With { group: Some((gid.clone(), n)), chord: with.chord.clone(), ..With::default() }, depth, sent);
                }
            }
            Some("chain" | "celery.chain") => {
                let Some((first, rest)) = parts.split_first() else { return };
                let chain = with.chain.into_iter().chain(rest.iter().rev().cloned()).collect();
                self.one(first, args, With { chain, ..with }, depth, sent);
            }
            Some("chord" | "celery.chord") => self.chord(signature, args, with, depth, sent),
            _ => self.task(signature, args, with, sent),
        }
    }

    fn chord(&self, signature: &Value, args: &[Value], with: With, depth: usize, sent: &mut Sent) {
        let (header, mut body) = (&signature["kwargs"]["header"], signature["kwargs"]["body"].clone());
        let members = match header {
            Value::Object(group) => wire::signatures(group.get("kwargs").and_then(|k| k.get("tasks"))),
            other => wire::signatures(Some(other)),
        };
        let gid = uuid::Uuid::now_v7().to_string();
        let own = signature["options"]["task_id"].clone();
        if body["options"]["task_id"].is_null() {
            body["options"]["task_id"] = if own.is_null() { uuid::Uuid::now_v7().to_string().into() } else { own };
        }
        if !with.chain.is_empty() {
            body["options"]["chain"] = with.chain.into();
        }
        if members.is_empty() {
            return self.one(&body, &[json!([])], With::default(), depth, sent);
        }
        sent.chords.push((gid.clone(), members.len()));
        for (n, member) in members.iter().enumerate() {
            let member_with = With { group: Some((gid.clone(), n)), chord: Some(body.clone()), ..With::default() };
            self.one(member, args, member_with, depth, sent);
        }
    }

    fn task(&self, signature: &Value, args: &[Value], with: With, sent: &mut Sent) {
        let (Some(task), empty) = (signature["task"].as_str(), Map::new()) else { return };
        let options = signature["options"].as_object().unwrap_or(&empty);
        let own = signature["args"].as_array().cloned().unwrap_or_default();
        let args: Vec<Value> = if signature["immutable"] == true { own } else { args.iter().cloned().chain(own).collect() };
        let kwargs = signature["kwargs"].as_object().cloned().unwrap_or_default();
        let id = text(options, "task_id").unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let or_null = |list: Vec<Value>| if list.is_empty() { Value::Null } else { Value::Array(list) };
        let chain = wire::signatures(options.get("chain")).into_iter().chain(with.chain).collect();
        let embed = json!({
            "callbacks": or_null(wire::signatures(options.get("link"))),
            "errbacks": or_null(wire::signatures(options.get("link_error"))),
            "chain": or_null(chain),
            "chord": with.chord.or_else(|| options.get("chord").cloned()),
        });
        let (group, index) = match with.group {
            Some((group, n)) => (Some(group), json!(n)),
            None => (text(options, "group_id"), options.get("group_index").cloned().unwrap_or(Value::Null)),
        };
        let option = |name: &str| options.get(name).cloned().unwrap_or(Value::Null);
        let parent = Some(self.parent).filter(|parent| !parent.id.is_empty());
        let headers = json!({
            "lang": "py", "task": task, "id": id, "shadow": null, "eta": option("eta"), "expires": option("expires"),
            "group": group, "group_index": index, "retries": 0, "timelimit": [option("time_limit"), option("soft_time_limit")],
            "root_id": parent.map_or(&id, |p| &p.root_id), "parent_id": parent.map(|p| &p.id), "argsrepr": super::repr::repr(&json!(args)),
            "kwargsrepr": super::repr::repr(&json!(kwargs)), "origin": self.node, "ignore_result": options.get("ignore_result") == Some(&json!(true)),
            "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {},
        });
        let queue = text(options, "queue").unwrap_or_else(|| self.routes.queue(task, self.table.queue(task)));
        let priority = options.get("priority").and_then(Value::as_u64).map_or(self.parent.priority, |p| p.min(9) as u8);
        let properties = json!({
            "correlation_id": id, "reply_to": text(options, "reply_to").unwrap_or_default(), "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue}, "priority": priority,
        });
        let message = wire::envelope(&json!([args, kwargs, embed]), headers, properties);
        sent.pushes.push(Push { list: self.keys.list(&queue, priority), message });
        sent.children.push(json!([[id, null], null]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Embed, Envelope};
    use super::*;

    fn sent(embed: Embed, result: Value) -> Vec<(String, Envelope)> {
        let settings = Settings { routes: [("site.*".to_owned(), "python".to_owned())].into(), ..Settings::default() };
        let keys = Keys::new(&settings, 0, "i".into());
        let table = Table::new(settings.table().unwrap(), vec![]);
        let routes = Routes::new(&settings).unwrap();
        let parent = Message { id: "me".into(), root_id: "root".into(), embed, ..Message::default() };
        let sender = Sender { keys: &keys, table: &table, routes: &routes, node: "n", parent: &parent };
        let pushes = sender.after_success(&result).pushes;
        pushes.into_iter().map(|p| (p.list, Envelope::read(p.message.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn a_chain_goes_on_with_its_last_element() {
        let signature = |task: &str, args: Value| json!({"task": task, "args": args, "kwargs": {}, "options": {"task_id": task}, "immutable": false});
        let chain = vec![signature("site.third", json!([])), signature("site.second", json!([2]))];
        let sent = sent(Embed { chain, ..Embed::default() }, json!("r"));
        assert_eq!(sent.len(), 1);
        let (list, envelope) = &sent[0];
        assert_eq!(list, "python");
        assert_eq!(envelope.headers["id"], "site.second");
        assert_eq!(envelope.headers["parent_id"], "me");
        assert_eq!(envelope.body[0], json!(["r", 2]));
        assert_eq!(envelope.body[2]["chain"][0]["task"], "site.third");
    }

    #[test]
    fn a_chain_may_go_on_with_a_chord() {
        let member = |n: usize| json!({"task": "converter.tasks.convert_image", "args": [n], "kwargs": {}, "options": {}, "immutable": true});
        let body = json!({"task": "other.body", "args": [], "kwargs": {}, "options": {"task_id": "b"}});
        let chord =
            json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": [member(0), member(1)], "body": body}, "options": {}});
        let sent = sent(Embed { chain: vec![chord], ..Embed::default() }, json!("r"));
        assert_eq!(sent.len(), 2);
        let group = sent[0].1.headers["group"].clone();
        for (n, (list, envelope)) in sent.iter().enumerate() {
            assert_eq!((list.as_str(), &envelope.headers["group"], &envelope.headers["group_index"]), ("image", &group, &json!(n)));
            assert_eq!(envelope.body[0], json!([n]), "immutable");
            assert_eq!(envelope.body[2]["chord"]["options"]["task_id"], "b");
        }
    }
}
