//! Colour profiles: to sRGB, or kept.

use crate::failure::Failure;
use image::DynamicImage;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Differences of a profile to sRGB up to this much per channel are not seen.
const SAME: i16 = 2;

/// A profile worth converting from; none when it is sRGB in all but name, unreadable, or not for RGB pixels.
pub fn foreign(icc: Option<&[u8]>) -> Option<ColorProfile> {
    let profile = ColorProfile::new_from_slice(icc?).ok().filter(|p| p.color_space == DataColorSpace::Rgb)?;
    let step = |n: u32| (n % 5 * 255 / 4) as u8;
    let samples: Vec<u8> = (0..125).flat_map(|n| [step(n), step(n / 5), step(n / 25)]).collect();
    let mut converted = vec![0; samples.len()];
    let transform = profile.create_transform_8bit(Layout::Rgb, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default()).ok()?;
    transform.transform(&samples, &mut converted).ok()?;
    let differs = samples.iter().zip(&converted).any(|(a, b)| (i16::from(*a) - i16::from(*b)).abs() > SAME);
    differs.then_some(profile)
}

/// Converts pixels to sRGB.
pub fn to_srgb(image: DynamicImage, profile: &ColorProfile) -> Result<DynamicImage, Failure> {
    let srgb = ColorProfile::new_srgb();
    let options = TransformOptions::default();
    let wrong = |e| Failure::corrupt("The picture's colour profile is damaged.").detail(e).stage("decode");
    Ok(match image {
        DynamicImage::ImageRgb16(source) => {
            let transform = profile.create_transform_16bit(Layout::Rgb, &srgb, Layout::Rgb, options).map_err(wrong)?;
            let mut out = image::ImageBuffer::new(source.width(), source.height());
            transform.transform(&source, &mut out).map_err(wrong)?;
            DynamicImage::ImageRgb16(out)
        }
        DynamicImage::ImageRgba16(source) => {
            let transform = profile.create_transform_16bit(Layout::Rgba, &srgb, Layout::Rgba, options).map_err(wrong)?;
            let mut out = image::ImageBuffer::new(source.width(), source.height());
            transform.transform(&source, &mut out).map_err(wrong)?;
            DynamicImage::ImageRgba16(out)
        }
        DynamicImage::ImageRgba8(source) => {
            let transform = profile.create_transform_8bit(Layout::Rgba, &srgb, Layout::Rgba, options).map_err(wrong)?;
            let mut out = image::RgbaImage::new(source.width(), source.height());
            transform.transform(&source, &mut out).map_err(wrong)?;
            DynamicImage::ImageRgba8(out)
        }
        DynamicImage::ImageRgb8(source) => {
            let transform = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options).map_err(wrong)?;
            let mut out = image::RgbImage::new(source.width(), source.height());
            transform.transform(&source, &mut out).map_err(wrong)?;
            DynamicImage::ImageRgb8(out)
        }
        grey => grey,
    })
}

/// CMYK pixels (0 is no ink) as sRGB: by their profile when there is a good one, else by the plain product.
pub fn cmyk_to_rgb(cmyk: &[u8], icc: Option<&[u8]>) -> Vec<u8> {
    let mut rgb = vec![0; cmyk.len() / 4 * 3];
    let profile = icc.and_then(|icc| ColorProfile::new_from_slice(icc).ok()).filter(|p| p.color_space == DataColorSpace::Cmyk);
    let transform =
        profile.and_then(|p| p.create_transform_8bit(Layout::Rgba, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default()).ok());
    if transform.is_some_and(|t| t.transform(cmyk, &mut rgb).is_ok()) {
        return rgb;
    }
    for (ink, light) in cmyk.as_chunks::<4>().0.iter().zip(rgb.as_chunks_mut::<3>().0) {
        let white = 255 - u16::from(ink[3]);
        for (light, ink) in light.iter_mut().zip(ink) {
            *light = ((255 - u16::from(*ink)) * white / 255) as u8;
        }
    }
    rgb
}
