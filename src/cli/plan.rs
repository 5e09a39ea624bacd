//! A plan in words: what `millrace convert --plan` says.

use super::table::plain;
use crate::intake::Plan;
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
        lines.push(format!("output    {} ({} by {})", output.name, output.to.name(), output.converter));
        lines.extend(output.preset.iter().map(|preset| format!("          preset {preset}")));
        lines.push(format!("          {}", output.options));
        lines.extend(output.warnings.iter().map(|warning| format!("          {warning}")));
    }
    let limits = (plan.soft_time_limit, plan.hard_time_limit, plan.memory_max, plan.output_max);
    lines.push(format!("queue     {}: {} to {}, memory {}, result up to {}", plan.queue, limits.0, limits.1, limits.2, limits.3));
    lines.iter().map(|line| plain(line) + "\n").collect()
}

/// Numbers that the headers tell.
fn measures(media: &Value) -> impl Iterator<Item = String> + '_ {
    media.as_object().into_iter().flatten().filter(|(_, value)| value.is_number()).map(|(name, value)| format!("{name} {value}"))
}
