//! Times and bit rates as people write them.

use crate::limits::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point or span of time: seconds as a number, or text as `90`, `1.5s`, `1m30s`, `00:01:30.5`. At most 100 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub us: i64,
}

/// Bits per second: a number, or text as `128k` or `2.5M`. 1,000 to 500,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(pub u32);

/// A place in a film: a time, or a share of its length as `10%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    At(Time),
    /// 0 to 100.
    Percent(f64),
}

const TIME_MAX_S: f64 = 360_000.0;

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl Time {
    fn seconds(seconds: f64) -> Option<Time> {
        (0.0..=TIME_MAX_S).contains(&seconds).then(|| Time { us: (seconds * 1e6).round() as i64 })
    }

    pub fn parse(text: &str) -> Option<Time> {
        let text = text.trim();
        if text.contains(':') {
            let parts: Vec<&str> = text.split(':').collect();
            let (last, front) = parts.split_last()?;
            if front.len() > 2 || !last.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let whole = front.iter().try_fold(0u64, |sum, part| Some(sum * 60 + u64::from(part.parse::<u32>().ok()?)))?;
            return Time::seconds(whole as f64 * 60.0 + last.parse::<f64>().ok().filter(|s| *s < 60.0)?);
        }
        match text.strip_suffix('s').unwrap_or(text).parse::<f64>() {
            Ok(seconds) => Time::seconds(seconds),
            Err(_) => Time::seconds(Span::parse(text).ok()?.as_millis() as f64 / 1000.0),
        }
    }
}

impl Bitrate {
    pub fn parse(text: &str) -> Option<Bitrate> {
        let text = text.trim();
        let (number, unit) = match text.as_bytes().last()? {
            b'k' | b'K' => (&text[..text.len() - 1], 1e3),
            b'm' | b'M' => (&text[..text.len() - 1], 1e6),
            _ => (text, 1.0),
        };
        Bitrate::bits(number.parse::<f64>().ok()? * unit)
    }

    fn bits(bits: f64) -> Option<Bitrate> {
        (1e3..=5e8).contains(&bits).then(|| Bitrate(bits.round() as u32))
    }
}

impl Place {
    fn parse(text: &str) -> Option<Place> {
        match text.trim().strip_suffix('%') {
            Some(number) => number.trim().parse().ok().filter(|p| (0.0..=100.0).contains(p)).map(Place::Percent),
            None => Time::parse(text).map(Place::At),
        }
    }
}

macro_rules! forms {
    ($name:ident, $says:literal, $number:expr, $text:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let found = match NumberOrText::deserialize(d).map_err(|_| de::Error::custom($says))? {
                    NumberOrText::Number(n) => $number(n),
                    NumberOrText::Text(text) => $text(&text),
                };
                found.ok_or_else(|| de::Error::custom($says))
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": ["number", "string"], "description": $says })
            }
            fn inline_schema() -> bool {
                true
            }
        }
    };
}

forms!(Time, "a time of 0 to 100 hours: seconds, or text as 90, 1m30s or 00:01:30.5", Time::seconds, Time::parse);
forms!(Bitrate, "bits per second, 1k to 500M: a number, or text as 128k or 2.5M", Bitrate::bits, Bitrate::parse);
forms!(Place, "a share of the film's length as 10%, or a time: seconds, 1m30s, 00:01:30", |s| Time::seconds(s).map(Place::At), Place::parse);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.us as f64 / 1e6)
    }
}

impl Serialize for Bitrate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u32(self.0)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Place::At(time) => time.serialize(s),
            Place::Percent(percent) => s.collect_str(&format_args!("{percent}%")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, us) in [
            ("90", 90_000_000),
            ("1.5", 1_500_000),
            ("0.8s", 800_000),
            ("500ms", 500_000),
            ("1m30s", 90_000_000),
            ("00:01:30.5", 90_500_000),
            ("1:02:03", 3_723_000_000),
        ] {
            assert_eq!(Time::parse(text), Some(Time { us }), "{text}");
        }
        for wrong in ["", "-1", "1:2:3:4", "1:75", "nan", "inf", ":", "1:-2", "1e9", "now"] {
            assert_eq!(Time::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates_and_places_are_read() {
        assert_eq!(Bitrate::parse("128k"), Some(Bitrate(128_000)));
        assert_eq!(Bitrate::parse("2.5M"), Some(Bitrate(2_500_000)));
        for wrong in ["", "k", "-1k", "12", "9e9", "nan", "1kb"] {
            assert_eq!(Bitrate::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Place::parse("10%"), Some(Place::Percent(10.0)));
        assert_eq!(Place::parse("101%"), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["\"10%\"", "12.5", "\"1m\""] {
            let place: Place = serde_json::from_str(text).expect(text);
            let again: Place = serde_json::from_value(serde_json::to_value(place).expect(text)).expect(text);
            assert_eq!(place, again, "{text}");
        }
    }
}
