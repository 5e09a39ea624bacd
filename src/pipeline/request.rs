//! A pipeline, as submitted.

use super::Parts;
use crate::failure::{Refusal, RefusalKind};
use crate::format::{Family, Format};
use crate::intake::{InputRef, OutputRequest, Owner, Request};
use crate::job::{OnPartial, Webhook};
use crate::limits::Span;
use globset::Glob;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

const STEPS_MAX: usize = 100;
pub(super) const NAME_MAX_CHARS: usize = 64;
const CHUNK_MAX: usize = 1000;

/// What to do when a job fails, or an item cannot become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing further begins, what waits is cancelled, what runs is asked to stop, the pipeline fails.
    #[default]
    Stop,
    /// Steps go on with what there is; the pipeline succeeds with `partial: true`, unless no job has succeeded.
    Continue,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineRequest {
    /// 1 to 100, by name: letters, digits, `-`, `_` and `.`, at most 64.
    pub steps: BTreeMap<String, StepRequest>,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Of every job, but for steps that set their own. 0 to 9.
    #[serde(default)]
    pub priority: Option<u8>,
    /// Told once, when the whole has ended: `succeeded`, `failed` or `cancelled`. A retry tells its own end.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// Inherited by every job. At most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// The client's own; at most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Of every job.
    #[serde(default)]
    pub fairness_key: Option<String>,
}

/// One step: a job, or with `foreach` a job for each file that another step has made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StepRequest {
    /// As of a job, or `{"step": name}`. Either this or `foreach`.
    pub input: Option<InputRef>,
    /// The step whose files are read, one by one.
    pub foreach: Option<String>,
    /// Which of those files; all by default.
    pub r#where: Option<Where>,
    /// Files for each job, 1 to 1000. More than one are read as a zip, so that `to` must be what a zip can become.
    #[schema(minimum = 1, maximum = 1000)]
    pub chunk: Option<usize>,
    /// The film is encoded in parts by so many jobs, on whatever machines there are, and joined: a number from 1 to 200, or how long
    /// each is, as `5m`. Its jobs are the step `NAME.parts`. mp4, mov, mkv and webm.
    pub parts: Option<Parts>,
    /// Further steps that must be over.
    pub after: Vec<String>,
    pub to: Option<Format>,
    pub from: Option<Format>,
    pub preset: Option<String>,
    #[schema(value_type = Object)]
    pub options: Value,
    /// Several results of one input, instead of `to`, `preset` and `options`. At most 32.
    pub outputs: Vec<OutputRequest>,
    pub on_partial: OnPartial,
    pub queue: Option<String>,
    pub priority: Option<u8>,
    pub soft_time_limit: Option<Span>,
    pub hard_time_limit: Option<Span>,
    pub max_attempts: Option<u32>,
    pub retry_delay: Option<Span>,
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// Which files of a step; each field narrows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Where {
    pub family: Option<Family>,
    pub format: Option<Format>,
    /// A glob over the file's name with its folders, as `*.png` or `photos/**`.
    pub name: Option<String>,
}

impl StepRequest {
    /// The step it reads, if it reads one.
    pub fn source(&self) -> Option<&str> {
        match (&self.foreach, &self.input) {
            (Some(step), _) => Some(step),
            (None, Some(InputRef::Step { step, .. })) => Some(step),
            _ => None,
        }
    }

    /// All steps that must be over before it begins.
    pub fn needs(&self) -> BTreeSet<&str> {
        self.source().into_iter().chain(self.after.iter().map(String::as_str)).collect()
    }

    /// What each of its jobs is asked for.
    pub fn job(&self, pipeline: &PipelineRequest, owner: Option<&Owner>) -> Request {
        let read = |step: &str| InputRef::Step { step: step.to_owned(), output: None };
        let input = self.input.clone().unwrap_or_else(|| read(self.foreach.as_deref().unwrap_or_default()));
        let step = self.clone();
        Request {
            from: step.from,
            preset: step.preset,
            options: step.options,
            outputs: step.outputs,
            on_partial: step.on_partial,
            queue: step.queue,
            priority: step.priority.or(pipeline.priority),
            soft_time_limit: step.soft_time_limit,
            hard_time_limit: step.hard_time_limit,
            max_attempts: step.max_attempts,
            retry_delay: step.retry_delay,
            context: pipeline.context.clone(),
            metadata: step.metadata,
            fairness_key: pipeline.fairness_key.clone(),
            owner: owner.cloned(),
            ..Request::new(input, step.to)
        }
    }
}

pub(super) fn refuse(field: impl Into<String>, given: impl std::fmt::Display, text: impl Into<String>) -> Refusal {
    wrong(field, text).given(given)
}

pub(super) fn wrong(field: impl Into<String>, text: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::InvalidRequest, text).field(field)
}

impl PipelineRequest {
    /// What can be told without looking at any input.
    pub fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        if !(1..=STEPS_MAX).contains(&self.steps.len()) {
            return Err(refuse("steps", self.steps.len(), "A pipeline has 1 to 100 steps."));
        }
        let size = serde_json::to_string(&self.metadata).map_or(0, |text| text.len());
        if size > 16 * 1024 {
            return Err(refuse("metadata", format!("{size} bytes"), "`metadata` must be at most 16 KiB of JSON."));
        }
        for (name, step) in &self.steps {
            self.check_step(name, step, now)?;
        }
        self.check_order()
    }

    fn check_step(&self, name: &str, step: &StepRequest, now: Timestamp) -> Result<(), Refusal> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_MAX_CHARS || !name.chars().all(plain) {
            return Err(refuse("steps", name, "A step's name is 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`."));
        }
        let at = |field: &str| format!("steps.{name}.{field}");
        if step.input.is_some() == step.foreach.is_some() {
            return Err(wrong(at("input"), "A step has either `input` or `foreach`."));
        }
        if step.foreach.is_none() && (step.r#where.is_some() || step.chunk.is_some()) {
            let field = if step.chunk.is_some() { "chunk" } else { "where" };
            return Err(wrong(at(field), "`where` and `chunk` go with `foreach`."));
        }
        if let Some(chunk) = step.chunk.filter(|n| !(1..=CHUNK_MAX).contains(n)) {
            return Err(refuse(at("chunk"), chunk, "`chunk` must be 1 to 1000."));
        }
        step.check_parts(name)?;
        if let Some(glob) = step.r#where.as_ref().and_then(|w| w.name.as_ref()) {
            Glob::new(glob).map_err(|e| refuse(at("where.name"), glob, format!("The glob cannot be read: {e}.")))?;
        }
        for needed in step.needs() {
            if !self.steps.contains_key(needed) {
                let field = if step.source() == Some(needed) { if step.foreach.is_some() { "foreach" } else { "input.step" } } else { "after" };
                return Err(refuse(at(field), needed, format!("There is no step `{needed}`.")).allowed(self.steps.keys().cloned()));
            }
        }
        // Those of the pipeline itself are in every job.
        let own = |field: &str| ["context", "fairness_key"].contains(&field) || (field == "priority" && step.priority.is_none());
        step.job(self, None).check(now).map_err(|refusal| match refusal.field.clone() {
            Some(field) if !own(&field) => refusal.field(at(&field)),
            _ => refusal,
        })
    }

    /// Every step's turn comes: none waits for itself in the end.
    fn check_order(&self) -> Result<(), Refusal> {
        let mut over: BTreeSet<&str> = BTreeSet::new();
        loop {
            let ready: Vec<&str> = self.steps.iter().filter(|(_, s)| s.needs().is_subset(&over)).map(|(name, _)| name.as_str()).collect();
            if ready.len() == self.steps.len() {
                return Ok(());
            }
            if ready.len() == over.len() {
                let stuck = self.steps.keys().find(|name| !over.contains(name.as_str())).cloned().unwrap_or_default();
                return Err(refuse(format!("steps.{stuck}"), &stuck, "Its turn never comes: these steps wait for each other."));
            }
            over.extend(ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The field that is wrong.
    fn wrong_field(steps: Value) -> Option<String> {
        let request: PipelineRequest = serde_json::from_value(json!({"steps": steps})).unwrap();
        request.check(Timestamp::UNIX_EPOCH).err().map(|refusal| refusal.field.unwrap_or_default())
    }

    #[test]
    fn steps_have_one_source_and_an_order() {
        let unpack = json!({"input": {"upload": "u"}, "to": "files"});
        assert_eq!(
            wrong_field(
                json!({"a": unpack, "b": {"foreach": "a", "to": "webp", "chunk": 2}, "c": {"input": {"step": "b"}, "after": ["a"], "to": "zip"}})
            ),
            None
        );
        for (steps, field) in [
            (json!({}), "steps"),
            (json!({"a b": unpack}), "steps"),
            (json!({"a": {"to": "webp"}}), "steps.a.input"),
            (json!({"a": unpack, "b": {"foreach": "a", "input": {"step": "a"}, "to": "webp"}}), "steps.b.input"),
            (json!({"a": unpack, "b": {"foreach": "x", "to": "webp"}}), "steps.b.foreach"),
            (json!({"a": {"input": {"step": "x"}, "to": "webp"}}), "steps.a.input.step"),
            (json!({"a": {"input": {"upload": "u"}, "after": ["x"], "to": "webp"}}), "steps.a.after"),
            (json!({"a": {"input": {"upload": "u"}, "chunk": 2, "to": "webp"}}), "steps.a.chunk"),
            (json!({"a": unpack, "b": {"foreach": "a", "chunk": 0, "to": "webp"}}), "steps.b.chunk"),
            (json!({"a": unpack, "b": {"foreach": "a", "where": {"name": "["}, "to": "webp"}}), "steps.b.where.name"),
            (json!({"a": {"input": {"upload": "u"}, "priority": 10, "to": "webp"}}), "steps.a.priority"),
            (json!({"a": {"input": {"upload": "u"}, "parts": 0, "to": "mp4"}}), "steps.a.parts"),
            (json!({"a": {"input": {"upload": "u"}, "parts": 201, "to": "mp4"}}), "steps.a.parts"),
            (json!({"a": {"input": {"upload": "u"}, "parts": "500ms", "to": "mp4"}}), "steps.a.parts"),
            (json!({"a": unpack, "b": {"foreach": "a", "parts": 2, "to": "mp4"}}), "steps.b.foreach"),
            (json!({"a": {"input": {"upload": "u"}, "parts": 2, "outputs": [{"to": "mp4"}]}}), "steps.a.outputs"),
            (json!({"a": {"foreach": "b", "to": "webp"}, "b": {"foreach": "a", "to": "webp"}}), "steps.a"),
            (json!({"a": {"input": {"step": "a"}, "to": "webp"}}), "steps.a"),
        ] {
            assert_eq!(wrong_field(steps.clone()).as_deref(), Some(field), "{steps}");
        }
    }
}
