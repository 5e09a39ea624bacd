//! What people read: aligned columns, short times and sizes, and no text that could steer a terminal.

use jiff::Timestamp;
use std::fmt::{Display, Formatter};
use std::io::IsTerminal;

/// Rows under a head; the last column is as wide as its text.
pub struct Table {
    rows: Vec<Vec<String>>,
    colour: bool,
}

impl Table {
    pub fn new<const N: usize>(head: [&str; N]) -> Table {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Table { rows: vec![head.map(str::to_owned).to_vec()], colour }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|c| plain(&c)).to_vec());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = if column + 1 == columns { 0 } else { widths[column] - cell.chars().count() + 2 };
                line += &painted(cell, self.colour);
                line.extend(std::iter::repeat_n(' ', gap));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// States and verdicts have their colour.
fn painted(cell: &str, colour: bool) -> String {
    let code = match cell {
        "succeeded" | "holds" | "open" => 32,
        "failed" | "closed" => 31,
        "running" => 36,
        "cancelled" | "paused" | "draining" => 33,
        _ => 0,
    };
    if colour && code != 0 { format!("\x1b[{code}m{cell}\x1b[0m") } else { cell.to_owned() }
}

/// Without characters that steer a terminal or turn the direction of reading.
pub fn plain(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// How long ago, in one unit.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    span(u64::try_from(now.duration_since(at).as_millis()).unwrap_or(0) / 1000 * 1000)
}

/// Milliseconds as people say them: `250ms`, `12.3s`, `3m12s`, `2h03m`, `5d`.
pub fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        _ if ms < 1000 && ms > 0 => format!("{ms}ms"),
        0..60 if ms.is_multiple_of(1000) => format!("{s}s"),
        0..60 => format!("{:.1}s", ms as f64 / 1000.0),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_harmless() {
        let mut table = Table::new(["ID", "NAME"]);
        table.row(["1".into(), "a\x1b[31m\nb\u{202e}c".into()]);
        table.row(["long one".into(), "x".into()]);
        assert_eq!(table.to_string(), "ID        NAME\n1         a [31m b c\nlong one  x\n");
    }

    #[test]
    fn times_are_short() {
        for (ms, wanted) in [(0, "0s"), (250, "250ms"), (12_300, "12.3s"), (192_000, "3m12s"), (7_380_000, "2h03m"), (432_000_000, "5d")] {
            assert_eq!(span(ms), wanted);
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!((ago(at(0), at(61)), ago(at(9), at(0))), ("1m01s".into(), "0s".into()));
    }
}
