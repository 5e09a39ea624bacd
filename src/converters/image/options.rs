//! What a client may ask of a picture.

mod file;
mod several;
mod shape;

pub use file::{Chroma, Profile, Strip};
pub use several::{Also, Frames};
pub use shape::{Crop, Fit, Flip, Gravity};

use crate::convert::{OutOfRange, Validate};
use crate::converters::colour::Colour;
use crate::converters::watermark::Watermark;
use crate::limits::Size;
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
    /// What `cover` keeps, and where `contain` puts the picture: `center`, `north`, `north_east` ..., or `smart`. Default: `center`.
    pub gravity: Gravity,
    /// The part to take, as `{"x": 0, "y": 0, "width": 100, "height": 100}` in pixels of the picture as shown. Default: all of it.
    pub crop: Option<Crop>,
    /// Whether a picture smaller than asked for is enlarged. Drawings (svg) always are. Default: false.
    pub enlarge: bool,
    /// Device pixels for one of `width`, `height`, `widths`: 0.5 to 8. Default: 1.
    pub dpr: f64,
    /// Turns the picture upright as its EXIF orientation says. Default: true.
    pub auto_orient: bool,
    /// Turns it clockwise, after `auto_orient`, in degrees: 0, 90, 180 or 270. Default: 0.
    pub rotate: u16,
    /// Mirrors it, after `rotate`. Default: `none`.
    pub flip: Flip,

    /// What transparent parts and the borders of `contain` are filled with: `#rgb`, `#rrggbb`, `#rrggbbaa`, `white`, `black`
    /// or `transparent`. Default: transparent where the format can, else white.
    pub background: Option<Colour>,
    /// Takes the colours away. Default: false.
    pub grayscale: bool,
    /// Blurs the result: the deviation of the Gaussian in pixels, 0.3 to 100. Default: not.
    pub blur: Option<f64>,
    /// Sharpens the result by an unsharp mask: its deviation in pixels, 0.3 to 10. Default: not.
    pub sharpen: Option<f64>,
    /// A picture laid over the result. Default: none.
    pub watermark: Option<Watermark>,

    /// Quality of lossy formats, 1 (small) to 100 (best). Default: jpeg 82, webp 80, avif 60, jxl 80, pdf 85; 95 with `target_bytes`.
    pub quality: Option<u8>,
    /// The most a file may have (`200KB`, or a number of bytes): the best quality up to `quality` that fits is searched for. Lossy
    /// formats only. Default: none.
    pub target_bytes: Option<Size>,
    /// Keeps every pixel value where the format is lossy by default (webp, jxl, pdf). Default: false.
    pub lossless: bool,
    /// Time spent on a smaller file, 1 (fast) to 9 (small). Default: 5.
    pub effort: Option<u8>,
    /// Writes a progressive jpeg. Default: false.
    pub progressive: bool,
    /// How finely jpeg and avif store colours: `auto`, `4:2:0`, `4:2:2` (jpeg), `4:4:4`. Default: `auto`.
    pub chroma: Chroma,
    /// Bits of each channel: 8 or 16 for png, tiff, pnm and jxl; 8 or 12 for avif. Default: the picture's own up to 16, avif 8.
    pub bit_depth: Option<u8>,
    /// What happens to colours that are not sRGB. Default: `srgb`.
    pub profile: Profile,
    /// Takes the rows that are there of a jpeg or png that is cut off, with a warning and their share, instead of refusing it; the
    /// others are white or transparent. Default: false.
    pub salvage: bool,
    /// Which metadata (EXIF, XMP) is removed. Default: `all`.
    pub strip: Strip,

    /// Which frames of an animation are kept, where the format can move. Default: `all`.
    pub frames: Frames,
    /// The page of a tiff or frame of an animation to take, from 1. Default: all where the result has room for them, else the first.
    pub page: Option<u32>,
    /// A set for pages that choose by width: a file of each of these widths, 1 to 32768, at most 32 of them, from one decode. None
    /// is enlarged; the picture's own width takes the place of larger ones. Default: none.
    pub widths: Vec<u32>,
    /// Further formats of every file of the result: `avif`, `webp`, `jpeg`, `png`, `jxl`. Default: none.
    pub also: Vec<Also>,
    /// Adds a json file that names every file of a set and has a `srcset` for each format. Default: false.
    pub manifest: bool,
    /// Sides of the pictures in an icon, 1 to 256, at most 16 of them. Default: one, of the size that follows from the rest.
    pub sizes: Vec<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            width: None,
            height: None,
            fit: Fit::default(),
            gravity: Gravity::default(),
            crop: None,
            enlarge: false,
            dpr: 1.0,
            auto_orient: true,
            rotate: 0,
            flip: Flip::default(),
            background: None,
            grayscale: false,
            blur: None,
            sharpen: None,
            watermark: None,
            salvage: false,
            quality: None,
            target_bytes: None,
            lossless: false,
            effort: None,
            progressive: false,
            chroma: Chroma::default(),
            bit_depth: None,
            profile: Profile::default(),
            strip: Strip::default(),
            frames: Frames::default(),
            page: None,
            widths: Vec::new(),
            also: Vec::new(),
            manifest: false,
            sizes: Vec::new(),
        }
    }
}

/// A set of more files than this is no set.
const SET_MAX: usize = 32;
const ICONS_MAX: usize = 16;
const ICON_SIDE_MAX: u32 = 256;

/// The largest side of a result.
pub const SIDE_MAX: u32 = 32_768;

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("width", self.width, 1..=SIDE_MAX)?;
        OutOfRange::check("height", self.height, 1..=SIDE_MAX)?;
        OutOfRange::check("dpr", Some(self.dpr), 0.5..=8.0)?;
        OutOfRange::check("blur", self.blur, 0.3..=100.0)?;
        OutOfRange::check("sharpen", self.sharpen, 0.3..=10.0)?;
        OutOfRange::check("quality", self.quality, 1..=100)?;
        OutOfRange::check("effort", self.effort, 1..=9)?;
        OutOfRange::check("page", self.page, 1..=u32::MAX)?;
        self.crop.map_or(Ok(()), |crop| crop.check())?;
        self.watermark.as_ref().map_or(Ok(()), Watermark::validate)?;
        if !matches!(self.rotate, 0 | 90 | 180 | 270) {
            return Err(OutOfRange::new("rotate", self.rotate, "0, 90, 180 or 270"));
        }
        if self.bit_depth.is_some_and(|bits| !matches!(bits, 8 | 12 | 16)) {
            return Err(OutOfRange::new("bit_depth", self.bit_depth.unwrap_or_default(), "8, 12 or 16"));
        }
        if self.target_bytes.is_some_and(|most| most.0 == 0) {
            return Err(OutOfRange::new("target_bytes", 0, "a size: 512KiB, 200MB, or a number of bytes"));
        }
        self.check_set()?;
        if matches!(self.fit, Fit::Cover | Fit::Contain) && (self.width.is_some() != self.height.is_some()) {
            return Err(OutOfRange::new("fit", "cover or contain", "both width and height with it"));
        }
        Ok(())
    }
}

impl Options {
    fn check_set(&self) -> Result<(), OutOfRange> {
        let each = |name: &str, values: &[u32], most: usize, largest: u32| {
            if values.len() > most {
                return Err(OutOfRange::new(name, format!("{} of them", values.len()), format!("at most {most}")));
            }
            values.iter().enumerate().try_for_each(|(n, value)| OutOfRange::check(&format!("{name}.{n}"), Some(*value), 1..=largest))
        };
        each("widths", &self.widths, SET_MAX, SIDE_MAX)?;
        each("sizes", &self.sizes, ICONS_MAX, ICON_SIDE_MAX)?;
        if !self.widths.is_empty() && (self.width.is_some() || self.height.is_some()) {
            return Err(OutOfRange::new("widths", "with a width or height", "either one size or a set of widths"));
        }
        Ok(())
    }

    /// Whether the result is a set of files.
    pub fn is_set(&self) -> bool {
        !self.widths.is_empty() || !self.also.is_empty() || self.manifest
    }

    pub fn effort(&self) -> u8 {
        self.effort.unwrap_or(5)
    }

    /// The box in device pixels.
    pub fn bounds(&self) -> (Option<u32>, Option<u32>) {
        let device = |length: Option<u32>| length.map(|l| ((f64::from(l) * self.dpr).round() as u32).clamp(1, SIDE_MAX));
        (device(self.width), device(self.height))
    }
}
