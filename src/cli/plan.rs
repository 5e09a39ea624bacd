//! A plan in words: what `millrace convert --plan` and `millrace submit --plan` say.

use super::table::plain;
use crate::forecast::Prediction;
use crate::intake::{Plan, PlannedOutput};
use crate::job::{PlannedStream, Treatment};
use crate::limits::Size;
use serde_json::Value;

pub fn lines(plan: &Plan) -> String {
    let Plan { input, .. } = plan;
    let media = serde_json::to_value(&input.media).unwrap_or_default();
    let streams = input.media.streams.iter().map(|s| format!("{} {}", s.kind, s.codec)).collect::<Vec<_>>().join(", ");
    let mut lines = vec![format!("input     {} ({}, {})", input.name, input.format.name(), Size(input.size_bytes))];
    lines.extend(measures(&media).map(|line| format!("          {line}")));
    lines.extend(Some(streams).filter(|s| !s.is_empty()).map(|s| format!("          {s}")));
    for output in &plan.outputs {
        let PlannedOutput { name, to, converter, size_bytes, .. } = output;
        let size = size_bytes.map_or(String::new(), |bytes| format!(", about {}", Size(bytes)));
        lines.push(format!("output    {name} ({} by {converter}{size})", to.name()));
        lines.extend(output.preset.iter().map(|preset| format!("          preset {preset}")));
        lines.push(format!("          {}", output.options));
        lines.extend(output.streams.iter().map(|stream| format!("          {}", treated(stream))));
        lines.extend(output.error.iter().map(|error| format!("          would fail: {error}")));
        lines.extend(output.warnings.iter().map(|warning| format!("          {warning}")));
    }
    let limits = (plan.soft_time_limit, plan.hard_time_limit, plan.memory_max, plan.output_max);
    lines.push(format!("queue     {}: {} to {}, memory {}, result up to {}", plan.queue, limits.0, limits.1, limits.2, limits.3));
    lines.push(format!("takes     {}", plan.prediction.as_ref().map_or("unknown: nothing like it has been done here yet".into(), expected)));
    lines.iter().map(|line| plain(line) + "\n").collect()
}

fn treated(stream: &PlannedStream) -> String {
    let PlannedStream { kind, codec, to, why, .. } = stream;
    match stream.treatment {
        Treatment::Copy => format!("{kind} {codec} is copied: {why}"),
        Treatment::Encode => format!("{kind} {codec} is encoded to {to}: {why}"),
    }
}

fn expected(prediction: &Prediction) -> String {
    let Prediction { learned_from, seconds, memory_bytes, scratch_bytes, size_bytes } = prediction;
    let (memory, scratch, size) = (Size(*memory_bytes), Size(*scratch_bytes), Size(*size_bytes));
    let jobs = if *learned_from == 1 { "job" } else { "jobs" };
    format!("about {seconds:.1} s, {memory} of memory, {scratch} of scratch space, for {size} (learned from {learned_from} {jobs})")
}

/// Numbers that the headers tell.
fn measures(media: &Value) -> impl Iterator<Item = String> + '_ {
    media.as_object().into_iter().flatten().filter(|(_, value)| value.is_number()).map(|(name, value)| format!("{name} {value}"))
}
