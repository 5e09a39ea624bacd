//! A decoded picture on its way through the house, and what is done to its pixels.

use super::geometry::Plan;
use super::options::{Flip, Options};
use crate::failure::Failure;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, GenericImage, GrayImage, Rgba, RgbaImage};

/// Full-range BT.601 planes as jpeg stores them; chroma may be of any smaller size, and is absent for grey.
pub struct Planes {
    pub luma: DynamicImage,
    pub chroma: Option<(DynamicImage, DynamicImage)>,
}

/// Turns and mirrors, one after the other.
pub struct Turns(Vec<Orientation>);

impl Turns {
    pub fn new(stored: Orientation, options: &Options) -> Turns {
        let upright = if options.auto_orient { stored } else { Orientation::NoTransforms };
        let turn = match options.rotate {
            90 => Orientation::Rotate90,
            180 => Orientation::Rotate180,
            270 => Orientation::Rotate270,
            _ => Orientation::NoTransforms,
        };
        let mirror = match options.flip {
            Flip::None => Orientation::NoTransforms,
            Flip::Horizontal => Orientation::FlipHorizontal,
            Flip::Vertical => Orientation::FlipVertical,
        };
        Turns([upright, turn, mirror].into_iter().filter(|o| *o != Orientation::NoTransforms).collect())
    }

    /// Whether width and height change places.
    pub fn transpose(&self) -> bool {
        self.0.iter().filter(|o| swaps_sides(**o)).count() % 2 == 1
    }

    pub fn apply(&self, image: &mut DynamicImage) {
        for turn in &self.0 {
            image.apply_orientation(*turn);
        }
    }
}

pub fn swaps_sides(orientation: Orientation) -> bool {
    matches!(orientation, Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH)
}

/// Scales the middle `crop` of an image (in its own pixels) to `size`.
pub fn resize(image: DynamicImage, crop: (f64, f64), size: (u32, u32)) -> Result<DynamicImage, Failure> {
    let (w, h) = (f64::from(image.width()), f64::from(image.height()));
    let crop = (crop.0.clamp(1.0, w), crop.1.clamp(1.0, h));
    if crop == (w, h) && (image.width(), image.height()) == size {
        return Ok(image);
    }
    let image = resizable(image);
    let mut scaled = DynamicImage::new(size.0, size.1, image.color());
    let filter = ResizeAlg::Convolution(FilterType::Lanczos3);
    let options = ResizeOptions::new().resize_alg(filter).crop((w - crop.0) / 2.0, (h - crop.1) / 2.0, crop.0, crop.1);
    Resizer::new().resize(&image, &mut scaled, &options).map_err(Failure::internal)?;
    Ok(scaled)
}

/// Pixel types the resizer knows stay; floating point ones become 16-bit.
fn resizable(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageRgb32F(_) => image.to_rgb16().into(),
        DynamicImage::ImageRgba32F(_) => image.to_rgba16().into(),
        other => other,
    }
}

/// Puts a picture in the middle of a canvas.
pub fn pad(image: DynamicImage, canvas: (u32, u32), background: [u8; 4]) -> Result<DynamicImage, Failure> {
    let mut whole = RgbaImage::from_pixel(canvas.0, canvas.1, Rgba(background));
    let (x, y) = (canvas.0.saturating_sub(image.width()) / 2, canvas.1.saturating_sub(image.height()) / 2);
    whole.copy_from(&image.to_rgba8(), x, y).map_err(Failure::internal)?;
    Ok(whole.into())
}

/// Lays a picture over a colour.
pub fn flatten(image: DynamicImage, background: [u8; 4]) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let mut rgba = image.into_rgba8();
    let back = background.map(u32::from);
    for pixel in rgba.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        if alpha != 255 {
            let under = back[3] * (255 - alpha) / 255;
            let total = alpha + under;
            for (channel, back) in pixel.0.iter_mut().zip(back).take(3) {
                let sum = u32::from(*channel) * alpha + back * under;
                *channel = sum.checked_div(total).unwrap_or(0) as u8;
            }
            pixel.0[3] = total.min(255) as u8;
        }
    }
    if background[3] == 255 { DynamicImage::ImageRgba8(rgba).into_rgb8().into() } else { rgba.into() }
}

impl Planes {
    /// Crops, scales and turns; chroma is halved both ways unless `full_chroma`. `source` is the true size of the planes' picture.
    pub fn shaped(self, source: (u32, u32), plan: Plan, turns: &Turns, full_chroma: bool) -> Result<Planes, Failure> {
        let crop_of = |plane: &DynamicImage| {
            let share = (plan.crop.0 / f64::from(source.0), plan.crop.1 / f64::from(source.1));
            (share.0 * f64::from(plane.width()), share.1 * f64::from(plane.height()))
        };
        let crop = crop_of(&self.luma);
        let mut luma = resize(self.luma, crop, plan.scaled)?;
        turns.apply(&mut luma);
        let size = if full_chroma { plan.scaled } else { (plan.scaled.0.div_ceil(2), plan.scaled.1.div_ceil(2)) };
        let chroma = match self.chroma {
            None => None,
            Some((cb, cr)) => {
                let crop = crop_of(&cb);
                let (mut cb, mut cr) = (resize(cb, crop, size)?, resize(cr, crop, size)?);
                turns.apply(&mut cb);
                turns.apply(&mut cr);
                Some((cb, cr))
            }
        };
        Ok(Planes { luma, chroma })
    }

    pub fn size(&self) -> (u32, u32) {
        (self.luma.width(), self.luma.height())
    }

    /// The chroma planes, neutral ones for grey.
    pub fn chroma_or_neutral(self) -> (DynamicImage, DynamicImage, DynamicImage) {
        let (w, h) = self.size();
        let neutral = || GrayImage::from_pixel(w.div_ceil(2), h.div_ceil(2), image::Luma([128])).into();
        match self.chroma {
            Some((cb, cr)) => (self.luma, cb, cr),
            None => (self.luma, neutral(), neutral()),
        }
    }
}
