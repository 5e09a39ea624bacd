//! `[celery]` of the configuration.

use crate::format::Format;
use crate::limits::Span;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The site's broker, as `redis://host:6379/0`; none: Millrace takes nothing from Celery. It need not be the store's Redis.
    pub broker_url: Option<String>,
    /// Where results are written; none: the broker.
    pub result_backend: Option<String>,
    /// Celery's queues that are consumed.
    pub queues: Vec<String>,
    /// The worker's name in Celery; none: `millrace@` and the host's name. Each process needs its own.
    pub node: Option<String>,
    /// `broker_transport_options` of the site: `priority_steps`.
    pub priority_steps: Vec<u8>,
    pub direction: Direction,
    /// `broker_transport_options` of the site: `global_keyprefix`.
    pub global_keyprefix: String,
    /// `result_backend_transport_options` of the site: `global_keyprefix`.
    pub result_keyprefix: String,
    /// `broker_transport_options` of the site: after so long without a renewal a Python worker would run a message again.
    pub visibility_timeout: Span,
    /// How long results are kept; 0: for ever.
    pub result_expires: Span,
    /// Messages held at once that wait or run; those for later do not count.
    pub prefetch: usize,
    /// Where callbacks go that name no queue and that no route fits.
    pub default_queue: String,
    /// Queues of tasks that Millrace sends, by pattern: `"site.tasks.*" = "python"`.
    pub routes: BTreeMap<String, String>,
    /// Conversions by the names of tasks, on top of the shipped ones.
    pub tasks: BTreeMap<String, TaskSettings>,
}

/// Which priority is served first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// 0, as kombu does on Redis.
    #[default]
    LowFirst,
    /// 9, as brokers of AMQP do.
    HighFirst,
}

/// What a task's name stands for. `input`, `to`, `quality`, `preset`, `options` and `output` are the names of its arguments.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSettings {
    /// Millrace's queue; none: that of the conversion.
    pub queue: Option<String>,
    /// All arguments, in the order of the positional ones.
    pub args: Vec<String>,
    pub input: String,
    pub to: String,
    pub quality: String,
    pub preset: String,
    pub options: String,
    pub output: String,
    /// Options by the words that `quality` may be; a number goes to the option `quality`.
    pub qualities: BTreeMap<String, Value>,
    /// The format when the argument is not given.
    pub default_to: Option<Format>,
    pub result: ResultShape,
    /// One of the engine's own jobs instead of a conversion.
    pub runs: Option<String>,
}

/// What `AsyncResult.get()` brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultShape {
    /// All that is known of the outputs.
    #[default]
    Dict,
    /// The path of the first output.
    Path,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            broker_url: None,
            result_backend: None,
            queues: ["video", "audio", "image", "document", "archive", "cleanup", "default"].map(str::to_owned).into(),
            node: None,
            priority_steps: vec![0, 3, 6, 9],
            direction: Direction::default(),
            global_keyprefix: String::new(),
            result_keyprefix: String::new(),
            visibility_timeout: Span::from_secs(3600),
            result_expires: Span::from_secs(86_400),
            prefetch: 100,
            default_queue: "celery".into(),
            routes: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }
}

impl Default for TaskSettings {
    fn default() -> Self {
        TaskSettings {
            queue: None,
            args: ["task_id", "input_path", "output_format", "quality", "preset", "options", "output_path"].map(str::to_owned).into(),
            input: "input_path".into(),
            to: "output_format".into(),
            quality: "quality".into(),
            preset: "preset".into(),
            options: "options".into(),
            output: "output_path".into(),
            qualities: BTreeMap::new(),
            default_to: None,
            result: ResultShape::default(),
            runs: None,
        }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), String> {
        if self.queues.is_empty() || self.queues.iter().any(|q| q.is_empty() || q.contains(['"', '\\', '\u{6}'])) {
            return Err("celery.queues must name at least one queue, without quotes".into());
        }
        if self.priority_steps.first() != Some(&0) || !self.priority_steps.is_sorted() || self.priority_steps.iter().any(|s| *s > 9) {
            return Err("celery.priority_steps must begin with 0 and rise to 9 at most".into());
        }
        if self.prefetch == 0 {
            return Err("celery.prefetch must be at least 1".into());
        }
        if self.visibility_timeout < Span::from_secs(2) {
            return Err("celery.visibility_timeout must be at least 2s".into());
        }
        self.table().map(drop)
    }

    /// The worker's name in Celery.
    pub fn node(&self) -> String {
        self.node.clone().unwrap_or_else(|| format!("millrace@{}", rustix::system::uname().nodename().to_string_lossy()))
    }

    /// The shipped tasks with the configured ones on top.
    pub fn table(&self) -> Result<BTreeMap<String, TaskSettings>, String> {
        #[derive(Deserialize)]
        struct Shipped {
            tasks: BTreeMap<String, TaskSettings>,
        }
        let shipped: Shipped = toml::from_str(include_str!("tasks.toml")).map_err(|e| format!("tasks.toml: {e}"))?;
        let mut table = shipped.tasks;
        table.extend(self.tasks.clone());
        for (name, task) in &table {
            let at = format!("celery.tasks.\"{name}\"");
            if task.runs.is_none() && !task.args.contains(&task.input) {
                return Err(format!("{at}: args must have `{}`, the input", task.input));
            }
            if let Some(runs) = task.runs.as_ref().filter(|r| ![crate::cleanup::PURGE_STAGING, crate::cleanup::PURGE_RECORDS].contains(&r.as_str())) {
                return Err(format!("{at}: runs = \"{runs}\" is none of the engine's own jobs"));
            }
        }
        Ok(table)
    }
}
