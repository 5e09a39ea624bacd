//! What a part of a film says of itself, in its comment: which one it is, and where the film was cut.

use super::stretch::Stretch;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub number: u16,
    pub of: u16,
    pub from: Option<i64>,
    pub to: Option<i64>,
}

const WORDS: &str = "millrace part ";

impl Mark {
    pub fn new(number: u16, of: u16, stretch: Stretch) -> Mark {
        Mark { number, of, from: stretch.from(), to: stretch.to() }
    }

    pub fn parse(text: &str) -> Option<Mark> {
        let (part, cuts) = text.strip_prefix(WORDS)?.split_once(" from ")?;
        let ((number, of), (from, to)) = (part.split_once('/')?, cuts.split_once(" to ")?);
        let cut = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
        let mark = Mark { number: number.parse().ok()?, of: of.parse().ok()?, from: cut(from)?, to: cut(to)? };
        (1..=mark.of).contains(&mark.number).then_some(mark)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |cut: Option<i64>| cut.map_or("-".into(), |at| at.to_string());
        write!(f, "{WORDS}{}/{} from {} to {}", self.number, self.of, cut(self.from), cut(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for mark in [Mark { number: 1, of: 3, from: None, to: Some(-5) }, Mark { number: 3, of: 3, from: Some(1 << 40), to: None }] {
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        for wrong in
            ["", "a comment", "millrace part 0/3 from - to 5", "millrace part 4/3 from - to 5", "millrace part 1/3", "millrace part 1/3 from x to -"]
        {
            assert_eq!(Mark::parse(wrong), None, "{wrong}");
        }
    }
}
