//! What a request would come to, told without running it.

use super::{Intake, Request};
use crate::failure::Refusal;
use crate::format::Format;
use crate::job::{Input, Record, Source};
use crate::limits::{Size, Span};
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
}

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
        });
        let input = job.input.ok_or_else(|| super::not_found("input", "", "The job has no input."))?;
        let plan = Plan {
            queue: job.queue,
            priority: job.priority,
            input,
            outputs: outputs.collect(),
            soft_time_limit: job.soft_time_limit,
            hard_time_limit: job.hard_time_limit,
            max_attempts: job.max_attempts,
            memory_max: limits.memory_max,
            output_max: limits.output_max,
        };
        Ok((plan, source))
    }
}
