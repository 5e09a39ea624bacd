//! A picture laid over pictures and films.

use crate::convert::OutOfRange;
use crate::failure::{Code, Failure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fast_image_resize::Resizer;
use image::{DynamicImage, ImageFormat, RgbaImage};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A picture laid over the result.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// The picture: a png as `data:image/png;base64,...`, at most 256 KiB and 4096 by 4096 pixels. What is transparent in it stays so.
    pub image: Embedded,
    /// Where it lies: `center`, `north`, `north_east` ... Default: `south_east`.
    #[serde(default)]
    pub position: Position,
    /// How much of it is to be seen, 0 to 1. Default: 1.
    #[serde(default = "whole")]
    pub opacity: f64,
    /// Its width as a share of the result's, 0.01 to 1; it always fits in. Default: 0.2.
    #[serde(default = "fifth")]
    pub scale: f64,
    /// How far from the edges it stays, as a share of the result's shorter side, 0 to 0.4. Default: 0.03.
    #[serde(default = "edge")]
    pub margin: f64,
}

fn whole() -> f64 {
    1.0
}

fn fifth() -> f64 {
    0.2
}

fn edge() -> f64 {
    0.03
}

/// One of nine places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    Center,
    North,
    NorthEast,
    East,
    #[default]
    SouthEast,
    South,
    SouthWest,
    West,
    NorthWest,
}

impl Position {
    /// How much of the room left over is to its left and above it.
    fn share(self) -> (f64, f64) {
        let across = match self {
            Position::NorthWest | Position::West | Position::SouthWest => 0.0,
            Position::North | Position::Center | Position::South => 0.5,
            Position::NorthEast | Position::East | Position::SouthEast => 1.0,
        };
        let down = match self {
            Position::NorthWest | Position::North | Position::NorthEast => 0.0,
            Position::West | Position::Center | Position::East => 0.5,
            Position::SouthWest | Position::South | Position::SouthEast => 1.0,
        };
        (across, down)
    }
}

/// A png that came with the options; it is unpacked in the jail alone.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Embedded(Vec<u8>);

const BYTES_MAX: usize = 256 * 1024;
const SIDE_MAX: u32 = 4096;
const PREFIX: &str = "data:image/png;base64,";
const SAYS: &str = "a png as data:image/png;base64,..., at most 256 KiB and 4096 by 4096 pixels";

impl Embedded {
    fn parse(text: &str) -> Option<Embedded> {
        let encoded = text.strip_prefix(PREFIX).filter(|rest| rest.len() <= BYTES_MAX.div_ceil(3) * 4)?;
        let bytes = STANDARD.decode(encoded).ok().filter(|bytes| bytes.len() <= BYTES_MAX)?;
        // The header has one place and one shape (PNG specification, 11.2.2).
        let header = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")?;
        let side = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let fits = |side: u32| (1..=SIDE_MAX).contains(&side);
        (fits(side(0)?) && fits(side(4)?)).then_some(Embedded(bytes))
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a png of {} bytes", self.0.len())
    }
}

impl Serialize for Embedded {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{PREFIX}{}", STANDARD.encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Embedded {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Embedded::parse(&String::deserialize(d)?).ok_or_else(|| de::Error::custom(SAYS))
    }
}

/// A watermark made ready for results of one size.
#[derive(Debug, Clone)]
pub struct Stamp {
    pub image: RgbaImage,
    /// Its top left corner in the result.
    pub left: u32,
    pub top: u32,
}

impl Watermark {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("watermark.opacity", Some(self.opacity), 0.0..=1.0)?;
        OutOfRange::check("watermark.scale", Some(self.scale), 0.01..=1.0)?;
        OutOfRange::check("watermark.margin", Some(self.margin), 0.0..=0.4)
    }

    /// Scaled and faded for a result of this size.
    pub fn stamp(&self, (width, height): (u32, u32)) -> Result<Stamp, Failure> {
        let unreadable =
            |e: image::ImageError| Failure::new(Code::InvalidOption, "`watermark.image`: the png is damaged or cut off.").detail(e).stage("open");
        let own: DynamicImage = image::load_from_memory_with_format(&self.image.0, ImageFormat::Png).map_err(unreadable)?.into_rgba8().into();
        let margin = f64::from(width.min(height)) * self.margin;
        let room = |side: u32| (f64::from(side) - 2.0 * margin).max(1.0);
        let shrink = (f64::from(width) * self.scale / f64::from(own.width())).min(room(width) / f64::from(own.width()));
        let shrink = shrink.min(room(height) / f64::from(own.height()));
        let side = |own: u32, most: u32| ((f64::from(own) * shrink).round() as u32).clamp(1, most.max(1));
        let mut scaled = DynamicImage::new_rgba8(side(own.width(), width), side(own.height(), height));
        Resizer::new().resize(&own, &mut scaled, None).map_err(Failure::internal)?;
        let mut image = scaled.into_rgba8();
        for pixel in image.pixels_mut() {
            pixel.0[3] = (f64::from(pixel.0[3]) * self.opacity).round() as u8;
        }
        let (across, down) = self.position.share();
        let at = |side: u32, own: u32, share: f64| {
            let left = margin + (f64::from(side) - 2.0 * margin - f64::from(own)) * share;
            (left.max(0.0).round() as u32).min(side.saturating_sub(own))
        };
        let (left, top) = (at(width, image.width(), across), at(height, image.height(), down));
        Ok(Stamp { image, left, top })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgba;
    use serde_json::json;

    fn png(width: u32, height: u32) -> String {
        let mut bytes = Vec::new();
        let image = RgbaImage::from_pixel(width, height, Rgba([255, 0, 0, 200]));
        image.write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        format!("{PREFIX}{}", STANDARD.encode(bytes))
    }

    #[test]
    fn a_mark_has_its_place_and_its_size() {
        let stamp = |position: &str, size| {
            let mark = json!({"image": png(40, 20), "position": position, "scale": 0.25, "margin": 0.1, "opacity": 0.5});
            let mark: Watermark = serde_json::from_value(mark).unwrap();
            mark.stamp(size).unwrap()
        };
        for (position, left, top) in [("north_west", 10, 10), ("center", 75, 37), ("south_east", 140, 65), ("south_west", 10, 65)] {
            let found = stamp(position, (200, 100));
            assert_eq!((found.image.dimensions(), found.left), ((50, 25), left), "{position}");
            assert!(found.top.abs_diff(top) <= 1, "{position}: {}", found.top);
            assert_eq!(found.image.get_pixel(25, 12).0[3], 100);
        }
        let slim = stamp("center", (200, 10));
        assert_eq!((slim.image.height(), slim.top), (8, 1), "it fits in");
        assert_eq!(stamp("east", (1, 1)).image.dimensions(), (1, 1));
    }

    #[test]
    fn what_is_no_small_png_is_refused_at_once() {
        let read = |text: String| serde_json::from_value::<Embedded>(json!(text));
        let fine = png(4, 4);
        assert_eq!(serde_json::to_value(read(fine.clone()).unwrap()).unwrap(), json!(fine));
        for wrong in [
            "".into(),
            fine.replace("png", "jpeg"),
            fine.replace(',', ""),
            format!("{PREFIX}AAAA"),
            png(5000, 1),
            format!("{PREFIX}{}", "A".repeat(BYTES_MAX * 2)),
            "/etc/passwd".into(),
        ] {
            assert!(read(wrong.clone()).is_err(), "{}", &wrong[..wrong.len().min(60)]);
        }
    }
}
