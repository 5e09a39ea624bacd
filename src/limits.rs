//! Durations and sizes as people write them (`10m`, `2GiB`), and what an attempt may use.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::time::Duration;

/// A span of time written as `90s`, `10m`, `1h30m`, `7d` or `250ms`; at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

/// A number of bytes written as `512KiB`, `4GiB`, `10MB` or plain digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

const SPAN_MAX_MS: u64 = 10 * 365 * 86_400_000;
const SPAN_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1000),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
];

impl Span {
    pub const fn from_secs(s: u64) -> Self {
        Span(s * 1000)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Parses `1h30m`; a bare number counts seconds.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write it as 90s, 10m, 1h30m or 7d");
        let text_trimmed = text.trim();
        if let Ok(seconds) = text_trimmed.parse::<f64>() {
            let ms = seconds * 1000.0;
            return if ms.is_finite() && (0.0..=SPAN_MAX_MS as f64).contains(&ms) { Ok(Span(ms as u64)) } else { Err(wrong()) };
        }
        let (mut rest, mut total) = (text_trimmed, 0u64);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit = SPAN_UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?.1;
            rest = &rest[letters..];
            total = number.checked_mul(unit).and_then(|ms| total.checked_add(ms)).filter(|ms| *ms <= SPAN_MAX_MS).ok_or_else(wrong)?;
        }
        if text_trimmed.is_empty() { Err(wrong()) } else { Ok(Span(total)) }
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, unit) in SPAN_UNITS.iter().rev() {
            if rest >= *unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl Size {
    pub const fn mib(n: u64) -> Self {
        Size(n << 20)
    }

    pub const fn gib(n: u64) -> Self {
        Size(n << 30)
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size; write it as 512KiB, 200MB or 4GiB");
        let text_trimmed = text.trim().to_ascii_lowercase();
        let split = text_trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text_trimmed.len());
        let number: f64 = text_trimmed[..split].parse().map_err(|_| wrong())?;
        let unit = SIZE_UNITS.iter().find(|(name, _)| *name == text_trimmed[split..].trim()).ok_or_else(wrong)?.1;
        let bytes = number * unit as f64;
        if bytes <= (1u64 << 53) as f64 { Ok(Size(bytes as u64)) } else { Err(wrong()) }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, unit) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= unit {
                return if self.0.is_multiple_of(unit) {
                    write!(f, "{}{name}", self.0 / unit)
                } else {
                    write!(f, "{:.1}{name}", self.0 as f64 / unit as f64)
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Text or a bare number, as configuration files and JSON write both.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(u64),
}

macro_rules! text_form {
    ($name:ident, $number:expr, $schema:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                match TextOrNumber::deserialize(d).map_err(|_| de::Error::custom($schema))? {
                    TextOrNumber::Text(text) => $name::parse(&text).map_err(de::Error::custom),
                    TextOrNumber::Number(n) => $number(n).map_err(de::Error::custom),
                }
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                $name::parse(text)
            }
        }
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).description(Some($schema)).build().into()
            }
        }
        impl utoipa::ToSchema for $name {}
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $schema })
            }
            fn inline_schema() -> bool {
                true
            }
        }
    };
}

text_form!(Span, |n: u64| Span::parse(&n.to_string()), "a duration: 90s, 10m, 1h30m, 7d, or a number of seconds");
text_form!(Size, |n: u64| Ok::<Size, String>(Size(n)), "a size: 512KiB, 200MB, 4GiB, or a number of bytes");

mod rate;

pub use rate::Rate;

/// What one attempt may use. Times are budgets from the attempt's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// When the converter is asked to stop.
    pub soft_time_limit: Span,
    /// When it is killed, with everything it started.
    pub hard_time_limit: Span,
    /// No progress and no CPU for this long ends the attempt.
    pub stall: Span,
    pub memory_max: Size,
    pub input_max: Size,
    pub output_max: Size,
    /// Pixels of one frame, and of all frames together.
    pub frame_pixels_max: u64,
    pub total_pixels_max: u64,
    pub media_duration_max: Span,
    pub pages_max: u64,
    pub entries_max: u64,
    /// Uncompressed to compressed, after the first 10 MiB.
    pub ratio_max: u64,
    pub unpacked_max: Size,
    /// Archives within archives.
    pub depth_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            soft_time_limit: Span::from_secs(600),
            hard_time_limit: Span::from_secs(900),
            stall: Span::from_secs(60),
            memory_max: Size::gib(2),
            input_max: Size::gib(4),
            output_max: Size::gib(16),
            frame_pixels_max: 100_000_000,
            total_pixels_max: 400_000_000,
            media_duration_max: Span::from_secs(12 * 3600),
            pages_max: 5_000,
            entries_max: 50_000,
            ratio_max: 200,
            unpacked_max: Size::gib(20),
            depth_max: 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_back_as_written() {
        for text in ["90s", "10m", "1h30m", "7d", "250ms", "1d2h3m4s"] {
            let span = Span::parse(text).expect(text);
            assert_eq!(Span::parse(&span.to_string()), Ok(span), "{text}");
        }
        assert_eq!(Span::parse("90"), Ok(Span(90_000)));
        for text in ["", "m", "10 parsecs", "-1s", "99999999999d", "1e300", "NaN"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_back_as_written() {
        assert_eq!(Size::parse("2GiB"), Ok(Size::gib(2)));
        assert_eq!(Size::parse("200MB"), Ok(Size(200_000_000)));
        assert_eq!(Size::parse("17"), Ok(Size(17)));
        assert_eq!(Size::gib(2).to_string(), "2GiB");
        for text in ["", "GiB", "1XB", "-5", "1e30GiB", "."] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }
}
