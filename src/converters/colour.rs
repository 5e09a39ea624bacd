//! Colours as people write them.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `#rgb`, `#rrggbb`, `#rrggbbaa`, `white`, `black` or `transparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Colour(
    /// Red, green, blue, opacity.
    pub [u8; 4],
);

impl Colour {
    pub const TRANSPARENT: Colour = Colour([0; 4]);

    fn parse(text: &str) -> Option<Colour> {
        match text {
            "white" => return Some(Colour([255; 4])),
            "black" => return Some(Colour([0, 0, 0, 255])),
            "transparent" => return Some(Colour::TRANSPARENT),
            _ => {}
        }
        let digits = text.strip_prefix('#')?;
        let digits = if digits.len() == 3 { digits.chars().flat_map(|c| [c, c]).collect() } else { digits.to_owned() };
        match *hex::decode(digits).ok()?.as_slice() {
            [r, g, b] => Some(Colour([r, g, b, 255])),
            [r, g, b, a] => Some(Colour([r, g, b, a])),
            _ => None,
        }
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", hex::encode(self.0))
    }
}

impl Serialize for Colour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Colour::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"#rgb, #rrggbb, #rrggbbaa, white, black or transparent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_written() {
        assert_eq!(Colour::parse("#f80"), Some(Colour([255, 136, 0, 255])));
        assert_eq!(Colour::parse("#01020304"), Some(Colour([1, 2, 3, 4])));
        assert_eq!(Colour::parse("#01020304").unwrap().to_string(), "#01020304");
        for wrong in ["", "#", "#ff", "red!", "#gggggg", "#12345", "#ÿ0"] {
            assert_eq!(Colour::parse(wrong), None, "{wrong}");
        }
    }
}
