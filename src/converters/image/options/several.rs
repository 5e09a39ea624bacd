//! Words for results of more than one picture.

use crate::format::Format;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which frames of an animation are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Frames {
    #[default]
    All,
    First,
}

/// A further format of a set of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Also {
    Avif,
    Webp,
    Jpeg,
    Png,
    Jxl,
}

impl Also {
    pub fn format(self) -> Option<Format> {
        Format::parse(match self {
            Also::Avif => "avif",
            Also::Webp => "webp",
            Also::Jpeg => "jpeg",
            Also::Png => "png",
            Also::Jxl => "jxl",
        })
    }
}
