//! Words for the file that is written: what it carries beside its pixels, and how it stores them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which metadata is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strip {
    /// All of it.
    #[default]
    All,
    /// Where the picture was taken, and the embedded thumbnail.
    Location,
    /// Nothing; only the orientation is corrected and the embedded thumbnail, which would be stale, removed.
    Keep,
}

/// What happens to colours that are not sRGB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// They are converted to sRGB, which every viewer shows alike.
    #[default]
    Srgb,
    /// The values stay and the profile is embedded, where the format can; else converted.
    Keep,
}

/// How finely colours are stored beside brightness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Chroma {
    /// `4:2:0`; `4:4:4` for jpeg above quality 90.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Half of the width and half of the height.
    #[serde(rename = "4:2:0")]
    Half,
    /// Half of the width.
    #[serde(rename = "4:2:2")]
    HalfWidth,
    /// All of it.
    #[serde(rename = "4:4:4")]
    Full,
}
