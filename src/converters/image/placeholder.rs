//! `image.placeholder`: what a picture looks like, in a few bytes for a page that still waits for it.

use super::geometry::Rect;
use super::options::Options as Look;
use super::picture::{self, Picture};
use super::still::Still;
use super::{geometry, open};
use crate::convert::{Converter, Ctx, Expect, Input, Looks, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::Failure;
use crate::format::{Family, Format};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, RgbaImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;

pub struct Placeholder;

/// Options of `image.placeholder`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many waves of the BlurHash go across, 1 to 9. Default: 4.
    pub components_x: u32,
    /// How many go down, 1 to 9. Default: 3.
    pub components_y: u32,
    /// The most dominant colours to name, 1 to 16. Default: 5.
    pub colours: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { components_x: 4, components_y: 3, colours: 5 }
    }
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("components_x", Some(self.components_x), 1..=9)?;
        OutOfRange::check("components_y", Some(self.components_y), 1..=9)?;
        OutOfRange::check("colours", Some(self.colours), 1..=16)
    }
}

/// The longer side of what is looked at; ThumbHash takes no more.
const SIDE: u32 = 100;
/// Colours nearer to each other than this (the sum of the differences of the channels) are one.
const APART: i32 = 72;

impl Converter for Placeholder {
    const SPEC: Spec = Spec {
        id: "image.placeholder",
        family: Family::Image,
        summary: "Tells what a picture looks like in a few bytes: BlurHash, ThumbHash, dominant colours.",
        pairs: &[(super::READS, &["json"])],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let opened = open::open(ctx, input, 1)?;
        ctx.check()?;
        let look = Look { width: Some(SIDE), height: Some(SIDE), ..Look::default() };
        let still = Still::new(ctx, &look, &opened.facts);
        let (width, height) = still.shown();
        let png = Format::parse("png").ok_or_else(|| Failure::internal("no png"))?;
        let rendition = still.rendition(png, geometry::plan(width, height, &look, false)?)?;
        let decoded = opened.decode(input, still.wanted(&rendition), false)?;
        let Picture::Pixels(small) = still.shaped(Cow::Owned(decoded), &rendition)? else {
            return Err(Failure::internal("planes for a format of pixels"));
        };
        ctx.check()?;
        let rgba = small.to_rgba8();
        let (w, h) = rgba.dimensions();
        let blurhash = blurhash::encode(options.components_x, options.components_y, w, h, &over_white(&rgba)).map_err(Failure::internal)?;
        let thumbhash = thumbhash::rgba_to_thumb_hash(w as usize, h as usize, &rgba);
        let cells = picture::resize(Cow::Owned(rgba.into()), Rect::whole(w, h), (w.min(64), h.min(64)))?.into_rgba8();
        let colours: Vec<_> = dominant(&cells, options.colours)
            .into_iter()
            .map(|(colour, share)| json!({"colour": format!("#{}", hex::encode(colour)), "share": (share * 1000.0).round() / 1000.0}))
            .collect();
        let told = json!({
            "width": width,
            "height": height,
            "alpha": cells.pixels().any(|p| p.0[3] < 255),
            "blurhash": blurhash,
            "thumbhash": STANDARD.encode(&thumbhash),
            "colours": colours,
        });
        let text = serde_json::to_vec_pretty(&told).map_err(Failure::internal)?;
        std::fs::write(output.path(), text).map_err(|e| Failure::internal(e).stage("encode"))?;
        ctx.progress("encode", 1, 1, "files");
        Ok(Produced::single(output, Expect::default()))
    }
}

/// The two that a preview carries; `small` must not be empty.
pub fn looks(small: &DynamicImage) -> Result<Looks, Failure> {
    let side = |side: u32, longer: u32| if longer > SIDE { (side * SIDE / longer).max(1) } else { side };
    let (width, height) = (small.width(), small.height());
    let size = (side(width, width.max(height)), side(height, width.max(height)));
    let tiny = picture::resize(Cow::Borrowed(small), Rect::whole(width, height), size)?.to_rgba8();
    let colour = dominant(&tiny, 1).first().map_or([255; 3], |(colour, _)| *colour);
    Ok(Looks { thumbhash: thumbhash::rgba_to_thumb_hash(size.0 as usize, size.1 as usize, &tiny), colour })
}

/// BlurHash knows no transparency.
fn over_white(rgba: &RgbaImage) -> Vec<u8> {
    let mut flat = rgba.clone();
    for pixel in flat.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        let [r, g, b] = [0, 1, 2].map(|i| ((u32::from(pixel.0[i]) * alpha + 255 * (255 - alpha)) / 255) as u8);
        pixel.0 = [r, g, b, 255];
    }
    flat.into_raw()
}

/// The colours most of the picture has, with their shares: cells of similar colour are counted together, the fullest first; one too
/// near to a fuller one is counted to that.
fn dominant(rgba: &RgbaImage, most: usize) -> Vec<([u8; 3], f64)> {
    let mut cells: BTreeMap<[u8; 3], (u64, [u64; 3])> = BTreeMap::new();
    let visible = || rgba.pixels().filter(|p| p.0[3] >= 128);
    for pixel in visible() {
        let [r, g, b, _] = pixel.0;
        let (count, sums) = cells.entry([r >> 4, g >> 4, b >> 4]).or_default();
        *count += 1;
        for (sum, value) in sums.iter_mut().zip([r, g, b]) {
            *sum += u64::from(value);
        }
    }
    let total = visible().count().max(1) as f64;
    let mut full: Vec<(u64, [u8; 3])> = cells.into_values().map(|(count, sums)| (count, sums.map(|sum| (sum / count) as u8))).collect();
    full.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let near = |a: &[u8; 3], b: &[u8; 3]| a.iter().zip(b).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).sum::<i32>() < APART;
    let mut chosen: Vec<([u8; 3], u64)> = Vec::new();
    for (count, colour) in full {
        match chosen.iter_mut().find(|(known, _)| near(known, &colour)) {
            Some((_, sum)) => *sum += count,
            None => chosen.push((colour, count)),
        }
    }
    chosen.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    chosen.into_iter().take(most).map(|(colour, count)| (colour, count as f64 / total)).collect()
}
