//! Text of a page set out as it stands there: columns and tables are held apart by spaces.

use super::text::logical;
use kurbo::Point;

/// A glyph and where it stands, in units of the page.
pub struct Piece {
    pub text: String,
    pub start: Point,
    pub end: Point,
    pub size: f64,
}

/// Pieces whose baselines differ by less than this share of their size are on one line.
const LINE: f64 = 0.5;
/// A gap of this share of the size is a space, within what stands together.
const SPACE: f64 = 0.15;
/// What is further off than so many letters stands in a column of its own, not behind a space.
const RUN: f64 = 2.0;
/// No page needs longer lines.
const COLUMNS_MAX: usize = 500;
const EMPTY_LINES_MAX: usize = 2;

/// The page, line by line from the top.
pub fn set_out(mut pieces: Vec<Piece>) -> String {
    pieces.retain(|piece| [piece.start.x, piece.start.y, piece.end.x, piece.size].iter().all(|n| n.is_finite()));
    pieces.sort_by(|a, b| a.start.y.total_cmp(&b.start.y));
    let mut lines: Vec<Vec<Piece>> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if line.first().is_some_and(|first| (piece.start.y - first.start.y).abs() < LINE * first.size.max(piece.size)) => {
                line.push(piece)
            }
            _ => lines.push(vec![piece]),
        }
    }
    let all = || lines.iter().flatten();
    let left = all().map(|piece| piece.start.x).fold(f64::INFINITY, f64::min);
    let unit = median(all().map(|piece| (piece.end.x - piece.start.x).abs() / piece.text.chars().count().max(1) as f64).collect()).max(0.5);
    let height = median(lines.windows(2).filter_map(|pair| Some(baseline(&pair[1])? - baseline(&pair[0])?)).collect());
    let mut text = String::new();
    let mut above: Option<f64> = None;
    for mut line in lines {
        let here = baseline(&line);
        if let (Some(above), Some(here)) = (above, here)
            && height > 0.0
        {
            let gap = ((here - above) / height).round() as usize;
            text.push_str(&"\n".repeat(gap.saturating_sub(1).min(EMPTY_LINES_MAX)));
        }
        above = here;
        line.sort_by(|a, b| a.start.x.total_cmp(&b.start.x));
        text.push_str(spaced(&line, left, unit).trim_end());
        text.push('\n');
    }
    text
}

fn baseline(line: &[Piece]) -> Option<f64> {
    line.first().map(|piece| piece.start.y)
}

fn spaced(line: &[Piece], left: f64, unit: f64) -> String {
    let (mut text, mut columns, mut end) = (String::new(), 0, f64::NEG_INFINITY);
    // What stands together, as it is seen; turned round where it reads leftward when it is whole.
    let mut run = String::new();
    for piece in line {
        let gap = piece.start.x - end;
        let column = (((piece.start.x - left) / unit).round().max(0.0) as usize).min(COLUMNS_MAX);
        if run.is_empty() || gap >= RUN * unit {
            text.push_str(&logical(&std::mem::take(&mut run)));
            let wanted = column.max(columns + usize::from(columns > 0));
            text.push_str(&" ".repeat(wanted - columns));
            columns = wanted;
        } else if gap > SPACE * piece.size {
            run.push(' ');
            columns += 1;
        }
        run.push_str(&piece.text);
        columns += piece.text.chars().count();
        end = piece.end.x;
    }
    text + &logical(&run)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.retain(|n| *n > 0.0);
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, x: f64, y: f64) -> impl Iterator<Item = Piece> {
        let letters: Vec<String> = text.chars().map(String::from).collect();
        letters.into_iter().enumerate().map(move |(at, text)| {
            let start = Point::new(x + at as f64 * 5.0, y);
            Piece { text, start, end: Point::new(start.x + 5.0, y), size: 10.0 }
        })
    }

    #[test]
    fn columns_stand_below_each_other() {
        let page = word("right", 100.0, 10.0)
            .chain(word("left", 0.0, 10.2))
            .chain(word("two", 0.0, 22.0))
            .chain(word("words", 18.0, 22.0))
            .chain(word("below", 100.0, 22.0))
            .chain(word("next", 0.0, 34.0))
            .chain(word("far", 0.0, 70.0));
        assert_eq!(set_out(page.collect()), "left                right\ntwo words           below\nnext\n\n\nfar\n");
        assert_eq!(set_out(Vec::new()), "");
    }
}
