//! What may be done to a picture for its looks, at its final size.

use super::options::Options;
use super::picture::{Picture, Planes};
use crate::failure::Failure;
use fast_image_resize::MulDiv;
use image::DynamicImage;

/// Grey, blurred, sharpened: in this order.
pub fn apply(picture: Picture, options: &Options) -> Result<Picture, Failure> {
    Ok(match picture {
        Picture::Planes(planes) => Picture::Planes(on_planes(planes, options)),
        Picture::Pixels(image) => Picture::Pixels(on_pixels(image, options)?),
    })
}

fn on_planes(mut planes: Planes, options: &Options) -> Planes {
    if options.grayscale {
        planes.chroma = None;
    }
    if let Some(sigma) = options.blur {
        let (width, height) = planes.size();
        // Chroma has fewer pixels for the same distance.
        planes.chroma = planes.chroma.map(|(cb, cr)| {
            let share = f64::from(cb.width() + cb.height()) / f64::from(width + height);
            (blurred(&cb, sigma * share), blurred(&cr, sigma * share))
        });
        planes.luma = blurred(&planes.luma, sigma);
    }
    if let Some(sigma) = options.sharpen {
        planes.luma = planes.luma.unsharpen(sigma as f32, 0);
    }
    planes
}

fn on_pixels(mut image: DynamicImage, options: &Options) -> Result<DynamicImage, Failure> {
    if options.grayscale {
        image = image.grayscale();
    }
    if let Some(sigma) = options.blur {
        // The colour of what cannot be seen must not bleed into what can.
        let alpha = image.color().has_alpha();
        let weights = MulDiv::new();
        if alpha {
            weights.multiply_alpha_inplace(&mut image).map_err(Failure::internal)?;
        }
        image = blurred(&image, sigma);
        if alpha {
            weights.divide_alpha_inplace(&mut image).map_err(Failure::internal)?;
        }
    }
    if let Some(sigma) = options.sharpen {
        image = image.unsharpen(sigma as f32, 0);
    }
    Ok(image)
}

/// A Gaussian; a wide one by boxes, which cost the same whatever their width.
fn blurred(image: &DynamicImage, sigma: f64) -> DynamicImage {
    if sigma < 4.0 { image.blur(sigma.max(0.2) as f32) } else { image.fast_blur(sigma as f32) }
}
