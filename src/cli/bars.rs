//! Progress bars, on a terminal only.

use crate::progress::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// Characters of a name that a bar shows.
const NAME_CHARS: usize = 30;

/// A bar for one conversion; hidden unless people are watching.
pub fn conversion(bars: &MultiProgress, name: &str, wanted: bool) -> ProgressBar {
    if !wanted || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let name: String = crate::intake::safe_name(name).chars().take(NAME_CHARS).collect();
    styled(bars.add(ProgressBar::new(1000).with_prefix(name)), "{prefix:30} {bar:30} {percent:>3}% {msg}")
}

/// A bar for bytes on their way.
pub fn transfer(name: &str, total_bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let name: String = crate::intake::safe_name(name).chars().take(NAME_CHARS).collect();
    styled(ProgressBar::new(total_bytes).with_prefix(name), "{prefix:30} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// Moves a conversion's bar.
pub fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_position((progress.percent * 10.0) as u64);
    let left = progress.eta_s.map(|s| format!(", {} to go", super::table::span((s * 1000.0) as u64 / 1000 * 1000))).unwrap_or_default();
    bar.set_message(format!("{}{left}", progress.stage));
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
