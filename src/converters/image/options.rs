//! What a client may ask of a picture.

use crate::convert::{OutOfRange, Validate};
use crate::converters::colour::Colour;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `image.transcode`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Width of the result in pixels, 1 to 32768. Default: follows from `height`, or the picture's own.
    pub width: Option<u32>,
    /// Height of the result in pixels, 1 to 32768. Default: follows from `width`, or the picture's own.
    pub height: Option<u32>,
    /// How the picture meets a box of `width` by `height` when both are given. Default: `inside`.
    pub fit: Fit,
    /// Whether a picture smaller than asked for is enlarged. Drawings (svg) always are. Default: false.
    pub enlarge: bool,
    /// Quality of lossy formats, 1 (small) to 100 (best). Default: jpeg 82, webp 80, avif 60.
    pub quality: Option<u8>,
    /// Keeps every pixel value where the format is lossy by default (webp). Default: false.
    pub lossless: bool,
    /// Time spent on a smaller file, 1 (fast) to 9 (small). Default: 5.
    pub effort: Option<u8>,
    /// Writes a progressive jpeg. Default: false.
    pub progressive: bool,
    /// Turns the picture upright as its EXIF orientation says. Default: true.
    pub auto_orient: bool,
    /// Turns it clockwise, after `auto_orient`, in degrees: 0, 90, 180 or 270. Default: 0.
    pub rotate: u16,
    /// Mirrors it, after `rotate`. Default: `none`.
    pub flip: Flip,
    /// What transparent parts and the borders of `contain` are filled with: `#rgb`, `#rrggbb`, `#rrggbbaa`, `white`, `black`
    /// or `transparent`. Default: transparent where the format can, else white.
    pub background: Option<Colour>,
    /// Which metadata (EXIF) is removed. Default: `all`.
    pub strip: Strip,
    /// What happens to colours that are not sRGB. Default: `srgb`.
    pub profile: Profile,
    /// Which frames of an animation are kept, where the format can move. Default: `all`.
    pub frames: Frames,
    /// The page of a tiff to take, from 1. Default: 1.
    pub page: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            width: None,
            height: None,
            fit: Fit::default(),
            enlarge: false,
            quality: None,
            lossless: false,
            effort: None,
            progressive: false,
            auto_orient: true,
            rotate: 0,
            flip: Flip::default(),
            background: None,
            strip: Strip::default(),
            profile: Profile::default(),
            frames: Frames::default(),
            page: None,
        }
    }
}

/// How a picture meets a box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// As large as fits into the box; the result may be smaller than it.
    #[default]
    Inside,
    /// As small as covers the box; the result may be larger than it.
    Outside,
    /// Exactly the box, filled from the middle of the picture; the rest is cut off.
    Cover,
    /// Exactly the box, the whole picture in its middle, borders filled with `background`.
    Contain,
    /// Exactly the box, stretched.
    Fill,
}

/// A mirror image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    #[default]
    None,
    /// Left and right change places.
    Horizontal,
    /// Top and bottom change places.
    Vertical,
}

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

/// Which frames of an animation are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Frames {
    #[default]
    All,
    First,
}

/// The largest side of a result.
pub const SIDE_MAX: u32 = 32_768;

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("width", self.width, 1..=SIDE_MAX)?;
        OutOfRange::check("height", self.height, 1..=SIDE_MAX)?;
        OutOfRange::check("quality", self.quality, 1..=100)?;
        OutOfRange::check("effort", self.effort, 1..=9)?;
        OutOfRange::check("page", self.page, 1..=u32::MAX)?;
        if !matches!(self.rotate, 0 | 90 | 180 | 270) {
            return Err(OutOfRange::new("rotate", self.rotate, "0, 90, 180 or 270"));
        }
        if matches!(self.fit, Fit::Cover | Fit::Contain) && (self.width.is_some() != self.height.is_some()) {
            return Err(OutOfRange::new("fit", "cover or contain", "both width and height with it"));
        }
        Ok(())
    }
}

impl Options {
    pub fn effort(&self) -> u8 {
        self.effort.unwrap_or(5)
    }
}
