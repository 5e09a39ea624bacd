//! The scripts, one per verb; each file says what it takes and returns.

use ::redis::{Cmd, Pipeline, cmd};
use std::sync::LazyLock;

/// A verb's script behind what all of them share.
pub struct Script {
    text: String,
    hash: String,
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)*
        const ALL: &[&LazyLock<Script>] = &[$(&$name),*];
    };
}

scripts! {
    ANNOUNCE "announce.lua"
    ANSWER "answer.lua"
    BEGIN_PIPELINE "begin_pipeline.lua"
    COMMIT "commit.lua"
    DUE "due.lua"
    ENDS "ends.lua"
    EVENTS "events.lua"
    FORGET_TURNS "forget_turns.lua"
    INSERT "insert.lua"
    LEASE "lease.lua"
    LIST "list.lua"
    ORDER "order.lua"
    ORPHANS "orphans.lua"
    PAST "past.lua"
    PIPELINES "pipelines.lua"
    PURGE_EVENTS "purge_events.lua"
    PURGE_LETTERS "purge_letters.lua"
    PURGE_PIPELINES "purge_pipelines.lua"
    PURGE_UPLOADS "purge_uploads.lua"
    PUT_UPLOAD "put_upload.lua"
    READ "read.lua"
    REMOVE "remove.lua"
    RENEW "renew.lua"
    SEARCH "search.lua"
    SELECT "select.lua"
    SETTLE "settle.lua"
    TAKE_LETTERS "take_letters.lua"
    TAKE_ORDER "take_order.lua"
    TOLD "told.lua"
    TUNE "tune.lua"
}

impl Script {
    /// The first line is the server's: with it a script that would pass the memory limit is refused whole, not half way.
    fn new(verb: &str) -> Script {
        let (flags, verb) = verb.split_once('\n').unwrap_or((verb, ""));
        let text = format!("{flags}\n{}\n{verb}", include_str!("shared.lua"));
        let hash = ::redis::Script::new(&text).get_hash().to_owned();
        Script { text, hash }
    }

    /// A call, to be followed by its arguments.
    pub fn call(&self, prefix: &str) -> Cmd {
        cmd("EVALSHA").arg(&self.hash).arg(1).arg(prefix).clone()
    }
}

/// What makes them known to a server.
pub fn load_all() -> Pipeline {
    let mut load = Pipeline::new();
    for script in ALL {
        load.cmd("SCRIPT").arg("LOAD").arg(&script.text).ignore();
    }
    load
}
