//! What a job will take, learned from finished ones that are like it: how long, how much memory and space, how large its outputs
//! become. Of several likenesses the nearest counts: the same options of the same kind of input, then what costs most of them, then
//! the same formats alone.

mod likeness;
mod trend;
mod work;

use crate::format::Format;
use crate::job::{Input, Job, Output, State};
use jiff::Timestamp;
use likeness::likeness;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use trend::{Growth, estimate};
use utoipa::ToSchema;
use work::{Measure, Subject};

/// The newest of the jobs that are like it; older ones tell of older machines and converters.
const TAUGHT_BY_MAX: usize = 50;
/// Half of the jobs take no more, of time and bytes.
const MIDDLE: f64 = 0.5;
/// Nine of ten take no more, of what there must be room for.
const NEARLY_ALL: f64 = 0.9;

/// What a job is expected to take, as others like it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Prediction {
    /// Finished jobs it was learned from, 1 to 50.
    pub learned_from: usize,
    /// From the start of its attempt to the end, 0 or more: about the middle of what is likely.
    pub seconds: f64,
    /// The most that it holds at a time, as nine of ten would: no more than the queue lets it have.
    pub memory_bytes: u64,
    /// The most that its files take in the staging folder at a time, as nine of ten would.
    pub scratch_bytes: u64,
    /// Of all outputs together.
    pub size_bytes: u64,
}

/// What is asked for: an input and what is to be made of it.
#[derive(Debug, Clone)]
pub struct Wanted {
    subject: Subject,
    /// By converter and target.
    parts: Vec<Part>,
    /// Every stream is kept as it is.
    copied: bool,
}

/// One output.
#[derive(Debug, Clone)]
struct Part {
    converter: String,
    to: Format,
    options: Value,
    /// Of one that was made.
    size_bytes: u64,
}

/// A finished job, as far as it teaches something.
#[derive(Debug, Clone)]
pub struct Past {
    wanted: Wanted,
    at: Timestamp,
    seconds: f64,
    memory_bytes: u64,
    scratch_bytes: u64,
}

impl Wanted {
    /// Outputs by their converter, target and options.
    pub fn new<'o>(input: &Input, outputs: impl Iterator<Item = (&'o str, Format, &'o Value)>) -> Wanted {
        let part =
            |(converter, to, options): (&str, Format, &Value)| Part { converter: converter.to_owned(), to, options: options.clone(), size_bytes: 0 };
        Wanted::of(input, outputs.map(part).collect())
    }

    fn of(input: &Input, mut parts: Vec<Part>) -> Wanted {
        parts.sort_by_cached_key(|part| (part.converter.clone(), part.to.id(), part.options.to_string()));
        Wanted { subject: Subject::of(input), parts, copied: false }
    }

    /// What a job that has not ended is to make.
    pub fn by(job: &Job) -> Option<Wanted> {
        let outputs = job.outputs.iter().filter(|output| output.state != State::Succeeded);
        Some(Wanted::new(job.input.as_ref()?, outputs.map(|o| (o.converter.as_str(), o.to, &o.options))))
    }

    /// Nothing of it is encoded: it is a matter of bytes.
    pub fn copied(self, copied: bool) -> Wanted {
        Wanted { copied, ..self }
    }

    /// Each output as if it were the only one.
    fn alone(&self) -> impl Iterator<Item = Wanted> + '_ {
        self.parts.iter().map(move |part| Wanted { parts: vec![part.clone()], ..self.clone() })
    }

    fn size_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.size_bytes).sum()
    }
}

impl Past {
    /// What is to be learned of a job: that it has made everything, in a jail, in one attempt.
    pub fn of(job: &Job) -> Option<Past> {
        let (input, attempt) = (job.input.as_ref()?, job.attempts.last()?);
        let at = attempt.finished_at?;
        let is_whole = job.state == State::Succeeded && !job.partial && attempt.memory_peak_bytes > 0;
        let made_at_once = |output: &Output| output.ready_at.is_none_or(|ready| ready >= attempt.started_at);
        if !is_whole || !job.outputs.iter().all(made_at_once) {
            return None;
        }
        // An output of many files has an entry for each.
        let mut parts = BTreeMap::<&str, Part>::new();
        for output in &job.outputs {
            let of_group = || Part { converter: output.converter.clone(), to: output.to, options: output.options.clone(), size_bytes: 0 };
            parts.entry(&output.group).or_insert_with(of_group).size_bytes += output.size_bytes.unwrap_or(0);
        }
        let wanted = Wanted::of(input, parts.into_values().collect());
        let seconds = at.duration_since(attempt.started_at).as_secs_f64().max(0.0);
        // It is looked at a few times a second; all that was made lay there at least.
        let scratch_bytes = attempt.scratch_peak_bytes.max(wanted.size_bytes());
        Some(Past { wanted, at, seconds, memory_bytes: attempt.memory_peak_bytes, scratch_bytes })
    }

    /// Each of its outputs, as if it had been the only one.
    fn outputs(&self) -> impl Iterator<Item = Past> + '_ {
        self.wanted.alone().map(move |wanted| Past { wanted, ..self.clone() })
    }
}

/// What the whole job will take, in whatever order the past is told; none where nothing like it has been done.
pub fn predict(wanted: &Wanted, past: &[Past]) -> Option<Prediction> {
    let like_it = nearest(wanted, past);
    if like_it.is_empty() {
        return together(wanted, past);
    }
    let by = |measure: Measure, share: f64, growth: Growth, of: &dyn Fn(&Past) -> f64| {
        let at = measure.of(&wanted.subject)?;
        let points: Vec<(f64, f64)> = like_it.iter().filter_map(|p| Some((measure.of(&p.wanted.subject)?, of(p)))).collect();
        estimate(&points, at, share, growth)
    };
    let (effort, yielded, breadth) = (wanted.effort(), wanted.yielded(), wanted.breadth());
    Some(Prediction {
        learned_from: like_it.len(),
        seconds: (by(effort, MIDDLE, Growth::Proportional, &|p| p.seconds)? * 1000.0).round() / 1000.0,
        memory_bytes: by(breadth, NEARLY_ALL, breadth.growth_of_memory(), &|p| p.memory_bytes as f64)?.round() as u64,
        scratch_bytes: by(yielded, NEARLY_ALL, Growth::Proportional, &|p| p.scratch_bytes as f64)?.round() as u64,
        size_bytes: by(yielded, MIDDLE, Growth::Proportional, &|p| p.wanted.size_bytes() as f64)?.round() as u64,
    })
}

/// How many of these are as like it as they get.
pub fn like(wanted: &Wanted, past: &[Past]) -> usize {
    nearest(wanted, past).len()
}

/// Several outputs that were never made together, but each by itself.
fn together(wanted: &Wanted, past: &[Past]) -> Option<Prediction> {
    let alone = wanted.alone().filter(|_| wanted.parts.len() > 1).map(|one| predict(&one, past)).collect::<Option<Vec<_>>>()?;
    let add = |sum: Prediction, one: Prediction| Prediction {
        learned_from: (sum.learned_from + one.learned_from).min(TAUGHT_BY_MAX),
        seconds: sum.seconds + one.seconds,
        // One after the other.
        memory_bytes: sum.memory_bytes.max(one.memory_bytes),
        scratch_bytes: sum.scratch_bytes.saturating_add(one.scratch_bytes),
        size_bytes: sum.size_bytes.saturating_add(one.size_bytes),
    };
    alone.into_iter().reduce(add)
}

/// How large an output will be, beside whatever others it was or will be made; `wanted` has no other.
pub fn size_bytes(wanted: &Wanted, past: &[Past]) -> Option<u64> {
    let alone: Vec<Past> = past.iter().flat_map(Past::outputs).collect();
    predict(wanted, &alone).map(|prediction| prediction.size_bytes)
}

/// The newest of those that are as like it as any.
fn nearest<'p>(wanted: &Wanted, past: &'p [Past]) -> Vec<&'p Past> {
    // Only what can be held against it.
    let measures = [wanted.effort(), wanted.yielded(), wanted.breadth()];
    let is_measured = |p: &&Past| measures.iter().all(|measure| measure.of(&p.wanted.subject).is_some());
    let told = past.iter().filter(is_measured).filter_map(|p| Some((likeness(wanted, &p.wanted)?, p)));
    let mut told: Vec<_> = told.collect();
    let Some(nearest) = told.iter().map(|(likeness, _)| *likeness).min() else { return Vec::new() };
    told.retain(|(likeness, _)| *likeness == nearest);
    let mut found: Vec<&Past> = told.into_iter().map(|(_, p)| p).collect();
    // Of equal age, those that took more: whoever is asked twice answers alike.
    let age = |p: &Past| (p.at, p.memory_bytes, p.scratch_bytes, p.wanted.size_bytes(), p.wanted.subject.size_bytes);
    found.sort_by_key(|p| std::cmp::Reverse(age(p)));
    found.truncate(TAUGHT_BY_MAX);
    found
}
