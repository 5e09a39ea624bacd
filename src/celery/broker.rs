//! The verbs on the broker and on the result backend: one script each; each file says what it takes and returns.

use super::keys::{Keys, SEPARATOR};
use crate::limits::Span;
use crate::link::{Link, LinkError, Result};
use ::redis::{Cmd, FromRedisValue, Pipeline, Value, cmd, from_redis_value};
use std::sync::LazyLock;
use std::time::Duration;

/// How long a process counts as living after its last sign of life.
pub const ALIVE_FOR: Duration = Duration::from_secs(6);

pub struct Script {
    text: &'static str,
    hash: String,
}

macro_rules! scripts {
    ($($name:ident $($file:literal)+;)*) => {
        $(pub static $name: LazyLock<Script> = LazyLock::new(|| Script::new(concat!($(include_str!($file)),+)));)*
        const ALL: &[&LazyLock<Script>] = &[$(&$name),*];
    };
}

scripts! {
    FINISH "write.lua" "finish.lua";
    GIVE_BACK "give_back.lua";
    PUT_AWAY "put_away.lua";
    RENEW "renew.lua";
    RESULT "write.lua" "result.lua";
    SEND "send.lua";
    SETTLE "settle.lua";
    TAKE "take.lua";
}

impl Script {
    fn new(text: &'static str) -> Script {
        Script { text, hash: ::redis::Script::new(text).get_hash().to_owned() }
    }

    pub fn call(&self, keys: &[String]) -> Cmd {
        cmd("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys).clone()
    }
}

/// What makes the scripts known to a server.
pub fn load_all() -> Pipeline {
    let mut load = Pipeline::new();
    for script in ALL {
        load.cmd("SCRIPT").arg("LOAD").arg(script.text).ignore();
    }
    load
}

/// A message and where it was.
pub struct Taken {
    pub tag: String,
    pub queue: String,
    pub raw: Vec<u8>,
}

/// A message for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    pub list: String,
    pub message: String,
}

/// A member's part in a chord.
pub struct Part {
    pub group: String,
    pub member: String,
    pub index: Option<f64>,
    /// `[1, id, state, result]`.
    pub part: String,
}

/// Where a chord stands after a member's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chord {
    None,
    Open,
    /// Complete, and its body is ours to send.
    Mine,
    /// Complete, and somebody else is about to send its body.
    Busy,
    Done,
}

pub struct Broker {
    pub messages: Link,
    pub results: Link,
    pub keys: Keys,
    pub result_expires: Span,
    /// The databases of messages and of results, where both are on one server.
    pub one_server: Option<(i64, i64)>,
}

impl Part {
    /// Its place among the chord's parts.
    pub fn score(&self) -> String {
        self.index.map_or("+inf".into(), |index| index.to_string())
    }
}

impl Broker {
    /// The lists of these queues: what waits in our inboxes goes first.
    pub async fn take(&self, queues: &[String], max: usize) -> Result<Vec<Taken>> {
        let keys = &self.keys;
        let inboxes = queues.iter().map(|queue| (format!("{}{queue}", keys.inboxes(&keys.instance)), queue.clone()));
        let lists: Vec<(String, String)> = inboxes.chain(keys.lists(queues)).collect();
        let mut names = vec![keys.unacked(), keys.unacked_index(), keys.tags(&keys.instance), keys.dead()];
        names.extend(lists.iter().map(|(list, _)| list.clone()));
        let mut call = TAKE.call(&names);
        call.arg(max);
        for (_, queue) in &lists {
            call.arg(format!("\"{queue}\""));
        }
        let flat: Vec<Vec<u8>> = decode(self.messages.ask_one(&call).await?)?;
        let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let taken = flat.chunks_exact(3).map(|m| Taken { tag: word(&m[0]), queue: word(&m[1]).trim_matches('"').to_owned(), raw: m[2].clone() });
        Ok(taken.collect())
    }

    /// Renews all messages of this process; returns their tags.
    pub async fn renew(&self) -> Result<Vec<String>> {
        let (keys, instance) = (&self.keys, &self.keys.instance);
        let mut call = RENEW.call(&[keys.unacked_index(), keys.tags(instance), keys.alive(instance), keys.instances()]);
        call.arg(instance).arg(ALIVE_FOR.as_millis() as u64);
        decode(self.messages.ask_one(&call).await?)
    }

    /// Gives back all messages of a process that is gone; none: it lives.
    pub async fn give_back_all(&self, instance: &str) -> Result<Option<u64>> {
        let given: i64 = decode(self.messages.ask_one(self.give_back(instance, "all")?.arg(&[] as &[String])).await?)?;
        Ok(u64::try_from(given).ok())
    }

    /// Gives back some of our own messages.
    pub async fn give_back_these(&self, tags: &[String]) -> Result<()> {
        let mut call = self.give_back(&self.keys.instance, "these")?;
        self.messages.ask_one(call.arg(tags)).await.map(drop)
    }

    /// Says at once that this process is gone, and gives back all it has.
    pub async fn leave(&self) -> Result<()> {
        self.messages.ask_one(cmd("DEL").arg(self.keys.alive(&self.keys.instance))).await?;
        self.give_back_all(&self.keys.instance).await.map(drop)
    }

    fn give_back(&self, instance: &str, which: &str) -> Result<Cmd> {
        let keys = &self.keys;
        let mut call = GIVE_BACK.call(&[keys.unacked(), keys.unacked_index(), keys.tags(instance), keys.alive(instance), keys.instances()]);
        let steps = serde_json::to_string(keys.steps()).map_err(|e| LinkError::Lost(e.to_string()))?;
        let fresh = uuid::Uuid::now_v7().to_string();
        call.arg(instance).arg(keys.prefix()).arg(keys.inboxes(instance)).arg(SEPARATOR).arg(which).arg(fresh).arg(steps);
        Ok(call)
    }

    /// Processes that have shown a sign of life and not said that they leave.
    pub async fn instances(&self) -> Result<Vec<String>> {
        self.asked(cmd("SMEMBERS").arg(self.keys.instances())).await
    }

    /// Takes a message out of work, into a list.
    pub async fn put_away(&self, tag: &str, list: &str, kept: &[u8]) -> Result<()> {
        let keys = &self.keys;
        let mut call = PUT_AWAY.call(&[keys.unacked(), keys.unacked_index(), keys.tags(&keys.instance), list.to_owned()]);
        self.messages.ask_one(call.arg(tag).arg(kept)).await.map(drop)
    }

    /// Ends a message, with what follows from it; false: it was not ours any more, and nothing followed.
    pub async fn settle(&self, tag: &str, pushes: &[&Push]) -> Result<bool> {
        let keys = &self.keys;
        let mut names = vec![keys.unacked(), keys.unacked_index(), keys.tags(&keys.instance)];
        names.extend(pushes.iter().map(|push| push.list.clone()));
        let mut call = SETTLE.call(&names);
        call.arg(tag);
        for push in pushes {
            call.arg(&push.message);
        }
        decode::<i64>(self.messages.ask_one(&call).await?).map(|done| done == 1)
    }

    /// Writes a result, if there is one to write, and a member's part in its chord.
    pub async fn result(&self, id: &str, document: Option<&str>, part: Option<&Part>) -> Result<Chord> {
        let mut names = vec![self.keys.result(id)];
        names.extend(part.iter().flat_map(|part| self.keys.chord(&part.group)));
        let mut call = RESULT.call(&names);
        call.arg(document.unwrap_or("")).arg(self.kept_s()).arg(u8::from(document.is_some()));
        if let Some(part) = part {
            call.arg(&part.member).arg(part.score()).arg(&part.part).arg(&part.member);
        }
        let (_, chord): (i64, String) = decode(self.results.ask_one(&call).await?)?;
        Ok(match chord.as_str() {
            "open" => Chord::Open,
            "mine" => Chord::Mine,
            "busy" => Chord::Busy,
            "done" => Chord::Done,
            _ => Chord::None,
        })
    }

    /// For how long a result is kept.
    pub fn kept_s(&self) -> u64 {
        self.result_expires.as_millis().div_ceil(1000)
    }

    /// The parts of a chord, in the order of its members.
    pub async fn chord_parts(&self, group: &str) -> Result<Vec<String>> {
        let [parts, ..] = self.keys.chord(group);
        decode(self.results.ask_one(cmd("ZRANGE").arg(parts).arg(0).arg(-1)).await?)
    }

    /// Says how many members a chord will have.
    pub async fn open_chord(&self, group: &str, size: usize) -> Result<()> {
        let [.., size_key, _, claim] = self.keys.chord(group);
        let mut both = Pipeline::new();
        both.atomic().cmd("DEL").arg(claim).cmd("SET").arg(size_key).arg(size).arg("EX").arg(86_400);
        self.results.ask(|_| both.clone()).await.map(drop)
    }

    /// Forgets a chord whose body is sent.
    pub async fn close_chord(&self, group: &str) -> Result<()> {
        let [j, t, s, d, claim] = self.keys.chord(group);
        let mut both = Pipeline::new();
        both.atomic().cmd("DEL").arg(&[j, t, s, d]).cmd("SET").arg(claim).arg("done").arg("EX").arg(300);
        self.results.ask(|_| both.clone()).await.map(drop)
    }

    /// Moves what was parked of a queue back to it: there may be a name for it now.
    pub async fn unpark(&self, queue: &str) -> Result<()> {
        let (parked, list) = (self.keys.parked(queue), self.keys.list(queue, 0));
        while !matches!(self.messages.ask_one(cmd("RPOPLPUSH").arg(&parked).arg(&list)).await?, Value::Nil) {}
        Ok(())
    }

    /// May a script go from one of its databases to the other?
    pub async fn can_select(&self, database: i64) -> bool {
        let go = cmd("EVAL").arg("return redis.call('SELECT', ARGV[1])").arg(0).arg(database).clone();
        self.messages.ask_one(&go).await.is_ok()
    }

    /// One command on the broker.
    pub async fn asked<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        decode(self.messages.ask_one(command).await?)
    }
}

pub fn decode<T: FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(|e| LinkError::Lost(format!("an answer cannot be read: {e}")))
}
