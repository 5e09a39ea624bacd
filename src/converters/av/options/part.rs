//! A film encoded in parts, each by a job of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// One of the jobs that make a film together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The pictures of one of `of` stretches of the film, counted from 1.
    Pictures { number: u16, of: u16 },
    /// All that goes beside the pictures.
    Rest,
}

/// Parts of a film, at most.
pub const PARTS_MAX: u16 = 200;
const SAYS: &str = "a part as 2/5, of at most 200, or rest";

impl Part {
    pub fn parse(text: &str) -> Option<Part> {
        if text == "rest" {
            return Some(Part::Rest);
        }
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u16>().ok()).flatten();
        let (first, second) = text.split_once('/')?;
        let (number, of) = (number(first)?, number(second)?);
        (of <= PARTS_MAX && (1..=of).contains(&number)).then_some(Part::Pictures { number, of })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Pictures { number, of } => write!(f, "{number}/{of}"),
            Part::Rest => f.write_str("rest"),
        }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d).map_err(|_| de::Error::custom(SAYS))?;
        Part::parse(&text).ok_or_else(|| de::Error::custom(SAYS))
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Part {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Part".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": SAYS })
    }
    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_are_written() {
        for text in ["1/1", "2/5", "200/200", "rest"] {
            assert_eq!(Part::parse(text).expect("a part").to_string(), text);
        }
        for wrong in ["0/5", "6/5", "a/b", "1/201", "1/0", "-1/5", "+1/5", "1/", "/", "", "1", "1/2/3", " 1/2", "sound"] {
            assert_eq!(Part::parse(wrong), None, "{wrong}");
        }
    }
}
