//! What a queue is set to: read from `queues/*.toml`, the shipped files first, the site's on top.

use crate::format::Format;
use crate::job::HookKind;
use crate::limits::{Limits, Rate, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The shipped files.
const SHIPPED: [(&str, &str); 7] = [
    ("video", include_str!("../queues/video.toml")),
    ("audio", include_str!("../queues/audio.toml")),
    ("image", include_str!("../queues/image.toml")),
    ("document", include_str!("../queues/document.toml")),
    ("archive", include_str!("../queues/archive.toml")),
    ("cleanup", include_str!("../queues/cleanup.toml")),
    ("default", include_str!("../queues/default.toml")),
];

/// The most slots a queue may have in one process.
pub const CONCURRENCY_MAX: u32 = 1024;

/// Slots that follow the load, in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Autoscale {
    /// 0 to 1024.
    pub min: u32,
    /// 1 to 1024, not below `min`.
    pub max: u32,
}

impl Autoscale {
    pub fn is_sound(self) -> bool {
        self.min <= self.max && (1..=CONCURRENCY_MAX).contains(&self.max)
    }
}

/// One queue's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Slots, 0 to 1024.
    pub concurrency: u32,
    /// Instead of a fixed `concurrency`.
    pub autoscale: Option<Autoscale>,
    /// Starts over all workers; none as shipped.
    pub rate_limit: Option<Rate>,
    /// 1 to 100.
    pub max_attempts: u32,
    pub retry_delay: Span,
    pub retry_delay_max: Span,
    /// 0 to 9.
    pub priority: u8,
    pub keep_outputs: Span,
    pub keep_records: Span,
    /// Whether a job may be answered from an equal one that has finished, or share the run of one in flight.
    pub reuse: bool,
    pub hooks: Hooks,
    pub presets: BTreeMap<String, Preset>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            concurrency: 1,
            autoscale: None,
            rate_limit: None,
            max_attempts: 3,
            retry_delay: Span::from_secs(60),
            retry_delay_max: Span::from_secs(3600),
            priority: 5,
            keep_outputs: Span::from_secs(7 * 86_400),
            keep_records: Span::from_secs(30 * 86_400),
            reuse: false,
            hooks: Hooks::default(),
            presets: BTreeMap::new(),
        }
    }
}

/// What is told of each of its jobs: the `http://` or `https://` URL of a webhook, or a command for the shell that reads the event
/// and the job as JSON from its standard input. It is run again, by the webhooks' schedule, until it ends with 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    pub on_retry: Option<String>,
    /// However a job ended.
    pub after_return: Option<String>,
}

impl Hooks {
    pub fn get(&self, kind: HookKind) -> Option<&str> {
        let hook = match kind {
            HookKind::OnSuccess => &self.on_success,
            HookKind::OnFailure => &self.on_failure,
            HookKind::OnRetry => &self.on_retry,
            HookKind::AfterReturn => &self.after_return,
        };
        hook.as_deref().filter(|hook| !hook.trim().is_empty())
    }
}

/// Named options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    pub to: Format,
    #[serde(default)]
    pub options: Value,
}

/// A queue: its settings and what its attempts may use.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    pub settings: Settings,
    pub limits: Limits,
}

/// Every queue by name.
#[derive(Debug, Clone)]
pub struct Queues(BTreeMap<String, Queue>);

impl Queues {
    /// The queues as shipped, with the site's files (name without `.toml`, content) on top. An error names file and key.
    pub fn load(site: &[(String, String)]) -> Result<Queues, String> {
        let mut tables: BTreeMap<String, toml::Table> = BTreeMap::new();
        let shipped = SHIPPED.iter().map(|(name, text)| (*name, *text));
        for (name, text) in shipped.chain(site.iter().map(|(name, text)| (name.as_str(), text.as_str()))) {
            let table: toml::Table = text.parse().map_err(|e| format!("queues/{name}.toml: {e}"))?;
            let merged = tables.entry(name.to_owned()).or_default();
            for (key, value) in table {
                match (merged.get_mut(&key), value) {
                    (Some(toml::Value::Table(old)), toml::Value::Table(new)) => old.extend(new),
                    (_, value) => drop(merged.insert(key, value)),
                }
            }
        }
        tables
            .into_iter()
            .map(|(name, table)| Ok((name.clone(), Queue::read(table).map_err(|e| format!("queues/{name}.toml: {e}"))?)))
            .collect::<Result<_, _>>()
            .map(Queues)
    }

    pub fn get(&self, name: &str) -> Option<&Queue> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Queue)> {
        self.0.iter().map(|(name, queue)| (name.as_str(), queue))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The preset of this name and the queue it belongs to.
    pub fn preset(&self, name: &str) -> Option<(&str, &Preset)> {
        self.iter().find_map(|(queue, q)| q.settings.presets.get(name).map(|preset| (queue, preset)))
    }
}

impl Queue {
    /// Limits stand beside the settings in the file; the keys tell which is which.
    fn read(table: toml::Table) -> Result<Queue, String> {
        let known = toml::Table::try_from(Limits::default()).map_err(|e| e.to_string())?;
        let (limits, settings): (toml::Table, toml::Table) = table.into_iter().partition(|(key, _)| known.contains_key(key));
        let queue = Queue { settings: settings.try_into().map_err(message)?, limits: limits.try_into().map_err(message)? };
        queue.check()?;
        Ok(queue)
    }

    fn check(&self) -> Result<(), String> {
        let Settings { concurrency, autoscale, max_attempts, priority, .. } = self.settings;
        let rules = [
            (concurrency <= CONCURRENCY_MAX, "concurrency must be 0 to 1024"),
            (autoscale.is_none_or(Autoscale::is_sound), "autoscale must be min and max, 0 to 1024, with min not above max and max at least 1"),
            ((1..=100).contains(&max_attempts), "max_attempts must be 1 to 100"),
            (priority <= 9, "priority must be 0 to 9"),
            (self.limits.soft_time_limit <= self.limits.hard_time_limit, "soft_time_limit must not exceed hard_time_limit"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule.to_owned()))
    }
}

fn message(error: toml::de::Error) -> String {
    error.message().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(text: &str) -> Result<Queues, String> {
        Queues::load(&[("video".into(), text.into())])
    }

    #[test]
    fn the_shipped_queues_are_as_documented() {
        let queues = Queues::load(&[]).unwrap();
        let slots: Vec<_> = queues.iter().map(|(name, q)| (name, q.settings.concurrency)).collect();
        assert_eq!(slots, [("archive", 2), ("audio", 2), ("cleanup", 1), ("default", 2), ("document", 4), ("image", 4), ("video", 1)]);
        for (name, queue) in queues.iter() {
            assert_eq!(queue.limits.soft_time_limit, Span::from_secs(600), "{name}");
            assert_eq!(queue.limits.hard_time_limit, Span::from_secs(900), "{name}");
            assert_eq!((queue.settings.max_attempts, queue.settings.retry_delay), (3, Span::from_secs(60)), "{name}");
            assert!(!queue.settings.reuse, "{name}");
        }
    }

    #[test]
    fn a_site_replaces_single_keys() {
        let queues = site("concurrency = 3\nreuse = true\nrate_limit = \"100/m\"\nmemory_max = \"4GiB\"\n[presets.tiny]\nto = \"mp4\"").unwrap();
        let video = queues.get("video").unwrap();
        assert_eq!((video.settings.concurrency, video.settings.reuse, video.limits.memory_max), (3, true, crate::limits::Size::gib(4)));
        assert_eq!((video.limits.soft_time_limit, video.settings.rate_limit), (Span::from_secs(600), Rate::parse("100/m").ok()));
        assert!(video.settings.presets.contains_key("web-720p") && video.settings.presets.contains_key("tiny"));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, word) in [
            ("concurency = 3", "concurency"),
            ("priority = 10", "priority"),
            ("soft_time_limit = \"20m\"", "soft_time_limit"),
            ("max_attempts = 0", "max_attempts"),
            ("reuse = \"yes\"", "boolean"),
            ("hard_time_limit = \"soon\"", "soon"),
            ("rate_limit = \"5/d\"", "5/d"),
            ("autoscale = { min = 2, max = 1 }", "autoscale"),
            ("autoscale = { min = 2, top = 3 }", "top"),
            ("concurrency =", "video.toml"),
        ] {
            let error = site(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
