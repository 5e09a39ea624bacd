//! The names of keys and channels on the wire. Ours begin with `millrace:`.

use super::settings::{Direction, Settings};

/// Between a queue's name and its priority step, as kombu writes it.
pub const SEPARATOR: &str = "\u{6}\u{16}";

pub struct Keys {
    prefix: String,
    results: String,
    steps: Vec<u8>,
    direction: Direction,
    database: i64,
    /// This process, as no other one is called.
    pub instance: String,
}

impl Keys {
    pub fn new(settings: &Settings, database: i64, instance: String) -> Keys {
        let results = match settings.result_keyprefix.as_str() {
            "" => String::new(),
            prefix if prefix.ends_with([':', '_', '-', '.']) => prefix.to_owned(),
            prefix => format!("{prefix}_"),
        };
        let (prefix, steps) = (settings.global_keyprefix.clone(), settings.priority_steps.clone());
        Keys { prefix, results, steps, direction: settings.direction, database, instance }
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn steps(&self) -> &[u8] {
        &self.steps
    }

    fn step(&self, queue: &str, step: u8) -> String {
        if step == 0 { self.key(queue) } else { self.key(&format!("{queue}{SEPARATOR}{step}")) }
    }

    /// The list for a message of this priority.
    pub fn list(&self, queue: &str, priority: u8) -> String {
        let step = self.steps.iter().copied().filter(|s| *s <= priority).max().unwrap_or(0);
        self.step(queue, step)
    }

    /// All lists, first served first, each with its queue.
    pub fn lists(&self, queues: &[String]) -> Vec<(String, String)> {
        let mut steps = self.steps.clone();
        if self.direction == Direction::HighFirst {
            steps.reverse();
        }
        steps.iter().flat_map(|step| queues.iter().map(|queue| (self.step(queue, *step), queue.clone()))).collect()
    }

    pub fn unacked(&self) -> String {
        self.key("unacked")
    }

    pub fn unacked_index(&self) -> String {
        self.key("unacked_index")
    }

    fn own(&self, rest: &str) -> String {
        self.key(&format!("millrace:{rest}"))
    }

    pub fn tags(&self, instance: &str) -> String {
        self.own(&format!("tags:{instance}"))
    }

    pub fn alive(&self, instance: &str) -> String {
        self.own(&format!("alive:{instance}"))
    }

    pub fn instances(&self) -> String {
        self.own("instances")
    }

    /// What the names of this process's inboxes begin with.
    pub fn inboxes(&self, instance: &str) -> String {
        self.own(&format!("inbox:{instance}:"))
    }

    pub fn dead(&self) -> String {
        self.own("dead")
    }

    pub fn parked(&self, queue: &str) -> String {
        self.own(&format!("parked:{queue}"))
    }

    pub fn revoked(&self) -> String {
        self.own("revoked")
    }

    /// Says that a job's task was sent.
    pub fn sent(&self, job: &str) -> String {
        self.own(&format!("sent:{job}"))
    }

    pub fn binding(&self, exchange: &str) -> String {
        self.key(&format!("_kombu.binding.{exchange}"))
    }

    /// The channel of a fanout exchange.
    pub fn channel(&self, exchange: &str) -> String {
        self.key(&format!("/{}.{exchange}", self.database))
    }

    pub fn result(&self, id: &str) -> String {
        format!("{}celery-task-meta-{id}", self.results)
    }

    /// `.j .t .s .d .c` of a chord's group.
    pub fn chord(&self, group: &str) -> [String; 5] {
        [".j", ".t", ".s", ".d", ".c"].map(|part| format!("{}celery-taskset-meta-{group}{part}", self.results))
    }

    /// A message's priority as Millrace counts, where 9 is first and 5 usual: what has none stays with the queue's own.
    pub fn priority(&self, priority: u8) -> Option<u8> {
        match (priority.min(9), self.direction) {
            (0, _) => None,
            (p, Direction::LowFirst) => Some(5 - (p * 5).div_ceil(9)),
            (p, Direction::HighFirst) => Some(p),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_served_first_as_kombu_does_it() {
        let keys = Keys::new(&Settings::default(), 0, "i".into());
        let lists: Vec<_> = keys.lists(&["a".into(), "b".into()]).into_iter().map(|(key, _)| key).collect();
        assert_eq!(lists[..4], ["a", "b", "a\u{6}\u{16}3", "b\u{6}\u{16}3"]);
        assert_eq!((keys.list("a", 7), keys.list("a", 0)), ("a\u{6}\u{16}6".into(), "a".into()));
        assert_eq!([0, 3, 6, 9].map(|p| keys.priority(p)), [None, Some(3), Some(1), Some(0)]);
    }

    #[test]
    fn prefixes_go_before_keys_and_channels() {
        let settings =
            Settings { global_keyprefix: "site:".into(), result_keyprefix: "res".into(), direction: Direction::HighFirst, ..Settings::default() };
        let keys = Keys::new(&settings, 2, "i".into());
        assert_eq!(keys.channel("celeryev"), "site:/2.celeryev");
        assert_eq!(keys.result("x"), "res_celery-task-meta-x");
        assert_eq!(keys.lists(&["a".into()])[0].0, "site:a\u{6}\u{16}9");
        assert_eq!(keys.priority(7), Some(7));
    }
}
