//! A decoded picture on its way through the house, and what is done to its pixels.

use super::geometry::{Cut, Rect};
use super::turns::Turns;
use crate::failure::Failure;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GenericImage, GrayImage, Rgba, RgbaImage};
use std::borrow::Cow;

/// Planes where a file stores them and they will do, else pixels.
#[derive(Clone)]
pub enum Picture {
    Planes(Planes),
    Pixels(DynamicImage),
}

/// Full-range BT.601 planes as jpeg stores them; chroma may be of any smaller size, and is absent for grey.
#[derive(Clone)]
pub struct Planes {
    pub luma: DynamicImage,
    pub chroma: Option<(DynamicImage, DynamicImage)>,
}

/// Scales a part of an image (in its own pixels) to `size`.
pub fn resize(image: Cow<DynamicImage>, crop: Rect, size: (u32, u32)) -> Result<DynamicImage, Failure> {
    let (w, h) = (f64::from(image.width()), f64::from(image.height()));
    let (width, height) = (crop.width.clamp(1.0, w), crop.height.clamp(1.0, h));
    let (x, y) = (crop.x.clamp(0.0, w - width), crop.y.clamp(0.0, h - height));
    if (width, height) == (w, h) && (image.width(), image.height()) == size {
        return Ok(image.into_owned());
    }
    let image = resizable(image);
    let mut scaled = DynamicImage::new(size.0, size.1, image.color());
    let filter = ResizeAlg::Convolution(FilterType::Lanczos3);
    let options = ResizeOptions::new().resize_alg(filter).crop(x, y, width, height);
    Resizer::new().resize(&*image, &mut scaled, &options).map_err(Failure::internal)?;
    Ok(scaled)
}

/// Pixel types the resizer knows stay; floating point ones become 16-bit.
fn resizable(image: Cow<DynamicImage>) -> Cow<DynamicImage> {
    match *image {
        DynamicImage::ImageRgb32F(_) => Cow::Owned(image.to_rgb16().into()),
        DynamicImage::ImageRgba32F(_) => Cow::Owned(image.to_rgba16().into()),
        _ => image,
    }
}

/// Puts a picture on a canvas.
pub fn pad(image: DynamicImage, canvas: (u32, u32), place: (u32, u32), background: [u8; 4]) -> Result<DynamicImage, Failure> {
    let mut whole = RgbaImage::from_pixel(canvas.0, canvas.1, Rgba(background));
    whole.copy_from(&image.to_rgba8(), place.0, place.1).map_err(Failure::internal)?;
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

/// The plane of a grey picture.
pub fn plane(image: &DynamicImage) -> Result<&GrayImage, Failure> {
    image.as_luma8().ok_or_else(|| Failure::internal("a plane of the wrong kind"))
}

impl Picture {
    pub fn size(&self) -> (u32, u32) {
        match self {
            Picture::Planes(planes) => planes.size(),
            Picture::Pixels(image) => (image.width(), image.height()),
        }
    }
}

impl Planes {
    /// Crops, scales and turns; chroma becomes of the size `of_chroma` gives for the size of the whole. `stored` is the true size of
    /// the planes' picture.
    pub fn shaped(
        source: Cow<Planes>,
        stored: (u32, u32),
        cut: Cut,
        turns: &Turns,
        of_chroma: impl Fn((u32, u32)) -> (u32, u32),
    ) -> Result<Planes, Failure> {
        let (luma, chroma) = match source {
            Cow::Owned(planes) => (Cow::Owned(planes.luma), planes.chroma.map(|(cb, cr)| (Cow::Owned(cb), Cow::Owned(cr)))),
            Cow::Borrowed(planes) => (Cow::Borrowed(&planes.luma), planes.chroma.as_ref().map(|(cb, cr)| (Cow::Borrowed(cb), Cow::Borrowed(cr)))),
        };
        let shape = |plane: Cow<DynamicImage>, size: (u32, u32)| {
            let crop = cut.crop.scaled(stored, (plane.width(), plane.height()));
            let mut plane = resize(plane, crop, size)?;
            turns.apply(&mut plane);
            Ok::<_, Failure>(plane)
        };
        let size = turns.size(of_chroma(turns.size(cut.scaled)));
        let luma = shape(luma, cut.scaled)?;
        let chroma = chroma.map(|(cb, cr)| Ok::<_, Failure>((shape(cb, size)?, shape(cr, size)?))).transpose()?;
        Ok(Planes { luma, chroma })
    }

    pub fn size(&self) -> (u32, u32) {
        (self.luma.width(), self.luma.height())
    }

    /// With neutral chroma planes where there are none.
    pub fn coloured(mut self) -> Planes {
        let (w, h) = self.size();
        let neutral = || DynamicImage::from(GrayImage::from_pixel(w.div_ceil(2), h.div_ceil(2), image::Luma([128])));
        self.chroma.get_or_insert_with(|| (neutral(), neutral()));
        self
    }

    /// The three planes of a picture that has colours.
    pub fn all(&self) -> Result<[&GrayImage; 3], Failure> {
        let (cb, cr) = self.chroma.as_ref().ok_or_else(|| Failure::internal("planes without colours"))?;
        Ok([plane(&self.luma)?, plane(cb)?, plane(cr)?])
    }
}
