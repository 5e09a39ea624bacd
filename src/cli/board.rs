//! Jobs under way, as the table that `millrace top` and `millrace jobs watch` keep up to date.

use super::jobs::{conversion, name, took};
use super::table::{Table, span};
use crate::job::Job;
use jiff::Timestamp;

const BAR_CHARS: usize = 20;

pub fn board(jobs: &[Job], now: Timestamp) -> Table {
    // What matters most comes first: a narrow terminal cuts lines off.
    let mut table = Table::new(["JOB", "QUEUE", "STATE", "DONE", "STAGE", "LEFT", "RUNS", "CONVERSION", "PROGRESS", "INPUT"]);
    for job in jobs {
        let done = ((job.progress.percent / 100.0).clamp(0.0, 1.0) * BAR_CHARS as f64) as usize;
        table.row([
            job.id.to_string(),
            job.queue.clone(),
            job.state.as_str().into(),
            format!("{:.0}%", job.progress.percent),
            job.progress.stage.clone(),
            job.progress.eta_s.filter(|_| !job.state.is_terminal()).map(|s| span(s as u64 * 1000)).unwrap_or_default(),
            took(job, now).unwrap_or_default(),
            conversion(job),
            format!("{}{}", "=".repeat(done), ".".repeat(BAR_CHARS - done)),
            name(job).into(),
        ]);
    }
    table
}
