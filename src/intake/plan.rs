//! What a request would come to, told without running it: what is settled by now, and what jobs like it took.

use super::{Intake, Request};
use crate::failure::{Failure, Refusal};
use crate::forecast::{self, Past, Prediction, Wanted};
use crate::format::Format;
use crate::job::{Input, PlannedStream, Record, Source, State, Treatment};
use crate::limits::{Size, Span};
use crate::store::{self, Filter};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a job would be and do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub queue: String,
    pub priority: u8,
    /// With what its headers tell.
    pub input: Input,
    pub outputs: Vec<PlannedOutput>,
    /// What it will take; null where no job like it has succeeded here.
    pub prediction: Option<Prediction>,
    pub soft_time_limit: Span,
    pub hard_time_limit: Span,
    pub max_attempts: u32,
    pub memory_max: Size,
    pub output_max: Size,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedOutput {
    /// Of its file, or of the first of several.
    pub name: String,
    pub converter: String,
    pub to: Format,
    pub preset: Option<String>,
    /// All of them, with the preset's and the defaults.
    #[schema(value_type = Object)]
    pub options: Value,
    pub warnings: Vec<String>,
    /// What becomes of each stream that it takes, and why. Empty where it is not made stream by stream, and where the input could not
    /// be looked at.
    pub streams: Vec<PlannedStream>,
    /// What the conversion would fail with, as far as the headers tell.
    pub error: Option<Failure>,
    /// Of all its files, as others like it became; null where none was made here.
    pub size_bytes: Option<u64>,
}

impl PlannedOutput {
    /// Nothing of it is encoded.
    fn is_copy(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|stream| stream.treatment == Treatment::Copy)
    }

    fn asked(&self) -> (&str, Format, &Value) {
        (&self.converter, self.to, &self.options)
    }
}

/// The newest jobs of a queue that are looked through, page by page, for those that are like one that is planned: a few thousandths of a
/// second each, however many there are.
const LOOKED_THROUGH_MAX: usize = 500;
const PAGE: usize = 100;
/// So many that teach something are enough.
const ENOUGH: usize = 50;

impl Intake {
    /// The plan, and where its input is.
    pub async fn dry_run(&self, request: Request, now: Timestamp) -> Result<(Plan, Option<Source>), Refusal> {
        let Record { job, source, .. } = self.plan(request, now).await?;
        let limits = self.queue(&job.queue)?.limits.clone();
        let outputs = job.outputs.into_iter().map(|output| PlannedOutput {
            name: output.name,
            converter: output.converter,
            to: output.to,
            preset: output.preset,
            options: output.options,
            warnings: output.warnings,
            streams: Vec::new(),
            error: None,
            size_bytes: None,
        });
        let input = job.input.ok_or_else(|| super::not_found("input", "", "The job has no input."))?;
        let plan = Plan {
            queue: job.queue,
            priority: job.priority,
            input,
            outputs: outputs.collect(),
            prediction: None,
            soft_time_limit: job.soft_time_limit,
            hard_time_limit: job.hard_time_limit,
            max_attempts: job.max_attempts,
            memory_max: limits.memory_max,
            output_max: limits.output_max,
        };
        Ok((plan, source))
    }

    /// The same plan with what jobs like it took, told best once its input has been measured.
    pub async fn predicted(&self, mut plan: Plan) -> Result<Plan, Refusal> {
        let (input, outputs) = (plan.input.clone(), plan.outputs.clone());
        let whole = Wanted::new(&input, outputs.iter().map(PlannedOutput::asked)).copied(outputs.iter().all(PlannedOutput::is_copy));
        let past = self.past(&plan.queue, &whole, input.format).await.map_err(super::store)?;
        for (output, planned) in plan.outputs.iter_mut().zip(&outputs) {
            let alone = Wanted::new(&input, std::iter::once(planned.asked())).copied(planned.is_copy());
            output.size_bytes = forecast::size_bytes(&alone, &past).map(|bytes| bytes.min(plan.output_max.0));
        }
        plan.prediction = forecast::predict(&whole, &past).map(|p| Prediction { memory_bytes: p.memory_bytes.min(plan.memory_max.0), ..p });
        Ok(plan)
    }

    /// The newest jobs that teach something of this one.
    async fn past(&self, queue: &str, wanted: &Wanted, from: Format) -> store::Result<Vec<Past>> {
        let (mut past, mut before) = (Vec::new(), None);
        for _ in 0..LOOKED_THROUGH_MAX / PAGE {
            let (state, queue, format) = (Some(State::Succeeded), Some(queue.to_owned()), Some(from));
            let page = self.store.list(Filter { state, queue, format, before, limit: PAGE, ..Filter::default() }).await?;
            past.extend(page.iter().filter_map(Past::of));
            before = page.last().map(|job| job.id);
            if page.len() < PAGE || forecast::like(wanted, &past) >= ENOUGH {
                break;
            }
        }
        Ok(past)
    }
}
