//! Words for the shape of a result: what is cut out, how it meets its box, which way is up.

use crate::convert::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a picture meets a box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// As large as fits into the box; the result may be smaller than it.
    #[default]
    Inside,
    /// As small as covers the box; the result may be larger than it.
    Outside,
    /// Exactly the box, filled; what `gravity` does not hold is cut off.
    Cover,
    /// Exactly the box with the whole picture in it, where `gravity` says; borders filled with `background`.
    Contain,
    /// Exactly the box, stretched.
    Fill,
}

/// The part of a picture that `cover` keeps, and its place on the canvas of `contain`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    #[default]
    Center,
    North,
    NorthEast,
    East,
    SouthEast,
    South,
    SouthWest,
    West,
    NorthWest,
    /// Where most is to be seen: edges, strong colours, tones of skin. The middle for `contain`.
    Smart,
}

impl Gravity {
    /// The share of what is left over that lies to the left and above.
    pub fn share(self) -> (f64, f64) {
        let x = match self {
            Gravity::NorthWest | Gravity::West | Gravity::SouthWest => 0.0,
            Gravity::NorthEast | Gravity::East | Gravity::SouthEast => 1.0,
            _ => 0.5,
        };
        let y = match self {
            Gravity::NorthWest | Gravity::North | Gravity::NorthEast => 0.0,
            Gravity::SouthWest | Gravity::South | Gravity::SouthEast => 1.0,
            _ => 0.5,
        };
        (x, y)
    }
}

/// A part of a picture in its own pixels, as it is shown after turning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Pixels left of it. Default: 0.
    #[serde(default)]
    pub x: u32,
    /// Pixels above it. Default: 0.
    #[serde(default)]
    pub y: u32,
    /// Its width; what reaches over the picture's edge is left out.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

impl Crop {
    pub fn check(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("crop.width", Some(self.width), 1..=u32::MAX)?;
        OutOfRange::check("crop.height", Some(self.height), 1..=u32::MAX)
    }
}

/// A mirror image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    #[default]
    None,
    /// Left and right change places; others call it flop.
    Horizontal,
    /// Top and bottom change places.
    Vertical,
    Both,
}
