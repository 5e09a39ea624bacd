//! Pixels to files.

use super::metadata::Metadata;
use super::options::{Chroma, Options};
use super::picture::Picture;
use super::{apng, heif, jpeg, jxl, pdf, target, tiff, webp};
use crate::convert::Ctx;
use crate::failure::{Code, Failure};
use crate::format::Format;
use image::codecs::{bmp::BmpEncoder, gif::GifEncoder, ico::IcoEncoder, ico::IcoFrame, png, pnm::PnmEncoder, qoi::QoiEncoder, tga::TgaEncoder};
use image::{DynamicImage, ImageResult};
use std::borrow::Cow;
use turbojpeg::Subsamp;

/// Icons have one byte for a side.
pub const ICON_SIDE_MAX: u32 = 256;
/// Where the search for a size begins.
const QUALITY_BEST: u8 = 95;

/// Whether the format has room for transparency as we write it.
pub fn keeps_alpha(to: Format) -> bool {
    !matches!(to.id(), "jpeg" | "bmp" | "pnm" | "pdf")
}

/// Whether the format has room for a colour profile as we write it.
pub fn keeps_profile(to: Format) -> bool {
    matches!(to.id(), "jpeg" | "png" | "webp" | "avif" | "jxl" | "tiff")
}

/// Whether the format is made of planes with these options, and whether it is with a foreign profile too.
pub fn takes_planes(to: Format, options: &Options, foreign: bool) -> bool {
    match to.id() {
        "jpeg" => true,
        "webp" | "pdf" => !options.lossless,
        "avif" => !foreign && depth(to, options).is_none_or(|bits| bits == 8),
        _ => false,
    }
}

fn chroma(to: Format, options: &Options) -> Chroma {
    match (options.chroma, to.id()) {
        (Chroma::Auto, "jpeg") if options.quality.is_some_and(|q| q > 90) => Chroma::Full,
        (Chroma::Auto, _) | (_, "webp") => Chroma::Half,
        (asked, _) => asked,
    }
}

/// The size of the chroma planes of a picture of `size`.
pub fn chroma_size(to: Format, options: &Options, size: (u32, u32)) -> (u32, u32) {
    match chroma(to, options) {
        Chroma::Full => size,
        Chroma::HalfWidth => (size.0.div_ceil(2), size.1),
        Chroma::Auto | Chroma::Half => (size.0.div_ceil(2), size.1.div_ceil(2)),
    }
}

/// Bits of a channel where they were asked for, and where not those of a format that does not take the picture's own.
fn depth(to: Format, options: &Options) -> Option<u8> {
    options.bit_depth.or((to.id() == "avif").then_some(8))
}

fn jpeg_settings(options: &Options, to: Format, quality: u8) -> jpeg::Settings {
    let subsamp = match chroma(to, options) {
        Chroma::Full => Subsamp::None,
        Chroma::HalfWidth => Subsamp::Sub2x1,
        Chroma::Auto | Chroma::Half => Subsamp::Sub2x2,
    };
    jpeg::Settings { quality, progressive: options.progressive, subsamp }
}

pub fn webp_settings(ctx: &Ctx, options: &Options, quality: u8) -> webp::Settings {
    webp::Settings { quality, lossless: options.lossless, effort: options.effort(), threads: ctx.threads > 1 }
}

/// Quality where none was asked for; none where the format knows no such thing.
pub fn default_quality(to: Format) -> Option<u8> {
    match to.id() {
        "jpeg" => Some(82),
        "webp" | "jxl" => Some(80),
        "avif" => Some(60),
        "pdf" => Some(85),
        _ => None,
    }
}

/// Refuses what the target cannot do.
pub fn check_options(to: Format, options: &Options) -> Result<(), Failure> {
    let refuse = |option: &str, hint: &str| {
        let words = format!("The option `{option}` does not apply to {} in this way.", to.name());
        Err(Failure::new(Code::InvalidOption, words).hint(hint).stage("open"))
    };
    if options.lossless && matches!(to.id(), "jpeg" | "avif") {
        return refuse("lossless", "Choose webp or png to keep every pixel, or quality 100.");
    }
    if options.target_bytes.is_some() && (default_quality(to).is_none() || options.lossless) {
        return refuse("target_bytes", "Only lossy pictures can be made to fit: jpeg, webp, avif, jxl, pdf.");
    }
    let chroma = match to.id() {
        "jpeg" => true,
        // The library's encoder aborts at 4:2:2.
        "avif" => options.chroma != Chroma::HalfWidth,
        _ => matches!(options.chroma, Chroma::Auto | Chroma::Half),
    };
    if !chroma {
        return refuse("chroma", "jpeg has 4:2:0, 4:2:2 and 4:4:4, avif 4:2:0 and 4:4:4, others leave no choice.");
    }
    let depths: &[u8] = match to.id() {
        "png" | "tiff" | "pnm" | "jxl" => &[8, 16],
        // Debian's library aborts at 10.
        "avif" => &[8, 12],
        _ => &[8],
    };
    if options.bit_depth.is_some_and(|bits| !depths.contains(&bits)) {
        return refuse("bit_depth", "png, tiff, pnm and jxl have 8 or 16 bits, avif 8 or 12, all others 8.");
    }
    Ok(())
}

/// Encodes one still picture with its metadata, at the best quality that fits where a size was asked for.
pub fn file(ctx: &Ctx, picture: &Picture, to: Format, options: &Options, metadata: &Metadata) -> Result<Vec<u8>, Failure> {
    match options.target_bytes {
        Some(most) => target::fitted(most, options.quality.unwrap_or(QUALITY_BEST), |quality| {
            ctx.check()?;
            once(ctx, picture, to, options, quality, metadata)
        }),
        None => once(ctx, picture, to, options, options.quality.or(default_quality(to)).unwrap_or(QUALITY_BEST), metadata),
    }
}

/// Encodes the pages of a document, each when its turn comes.
pub fn pages(to: Format, options: &Options, metadata: &Metadata, pages: impl Iterator<Item = Result<Picture, Failure>>) -> Result<Vec<u8>, Failure> {
    if to.id() == "pdf" {
        let settings = jpeg_settings(options, to, options.quality.or(default_quality(to)).unwrap_or(QUALITY_BEST));
        return pdf::document(pages.map(|page| pdf::Page::new(&page?, &settings, options.lossless)));
    }
    let pixels = |picture| match picture {
        Picture::Pixels(image) => Ok(Cow::Owned(image)),
        Picture::Planes(_) => Err(Failure::internal("planes for a format of pixels")),
    };
    tiff::encode(pages.map(|page| page.and_then(pixels)), options.effort(), metadata)
}

/// An icon of these pictures.
pub fn icon(pictures: &[DynamicImage]) -> Result<Vec<u8>, Failure> {
    let frames: Vec<IcoFrame> = pictures
        .iter()
        .map(|p| IcoFrame::as_png(&p.to_rgba8(), p.width(), p.height(), image::ExtendedColorType::Rgba8))
        .collect::<ImageResult<_>>()
        .map_err(Failure::internal)?;
    let mut out = Vec::new();
    IcoEncoder::new(&mut out).encode_images(&frames).map_err(Failure::internal)?;
    Ok(out)
}

fn once(ctx: &Ctx, picture: &Picture, to: Format, options: &Options, quality: u8, metadata: &Metadata) -> Result<Vec<u8>, Failure> {
    let file = match (to.id(), picture) {
        ("jpeg", Picture::Planes(planes)) => jpeg::encode_planes(planes, &jpeg_settings(options, to, quality))?,
        ("jpeg", Picture::Pixels(image)) => jpeg::encode_pixels(image, &jpeg_settings(options, to, quality))?,
        ("webp", Picture::Planes(planes)) => webp::encode_planes(planes, &webp_settings(ctx, options, quality))?,
        ("webp", Picture::Pixels(image)) => webp::encode_pixels(image, &webp_settings(ctx, options, quality))?,
        ("avif", picture) => {
            let (chroma, depth) = (chroma(to, options), depth(to, options).unwrap_or(8));
            let settings = heif::Settings { quality, effort: options.effort(), threads: ctx.threads, chroma, depth };
            heif::encode(picture, &settings, metadata)?
        }
        ("pdf", picture) => pdf::document(std::iter::once(pdf::Page::new(picture, &jpeg_settings(options, to, quality), options.lossless)))?,
        (_, Picture::Planes(_)) => return Err(Failure::internal("planes for a format of pixels")),
        ("jxl", Picture::Pixels(image)) => {
            let settings = jxl::Settings { quality, lossless: options.lossless, effort: options.effort() };
            jxl::encode(image, &settings, metadata)?
        }
        ("tiff", Picture::Pixels(image)) => tiff::encode(std::iter::once(Ok(Cow::Borrowed(image))), options.effort(), metadata)?,
        ("apng", Picture::Pixels(image)) => {
            let mut animation = apng::Animation::new((image.width(), image.height()), 1, 1, options.effort())?;
            animation.add(image, 0)?;
            animation.finish()?
        }
        (_, Picture::Pixels(image)) => {
            let mut out = Vec::new();
            plain(&mut out, image, to, options).map_err(Failure::internal)?;
            out
        }
    };
    metadata.attach(file, to)
}

/// The picture in the bits of a channel that were asked for.
pub fn deepened(image: DynamicImage, to: Format, options: &Options) -> DynamicImage {
    let (colour, deep) = (image.color(), image.color().bytes_per_pixel() / image.color().channel_count() > 1);
    match (depth(to, options), colour.has_color(), colour.has_alpha()) {
        (Some(8), false, false) if deep => image.into_luma8().into(),
        (Some(8), true, false) if deep => image.into_rgb8().into(),
        (Some(8), _, true) if deep => image.into_rgba8().into(),
        (Some(16), false, false) if !deep => image.into_luma16().into(),
        (Some(16), true, false) if !deep => image.into_rgb16().into(),
        (Some(16), _, true) if !deep => image.into_rgba16().into(),
        _ => image,
    }
}

fn plain(out: &mut Vec<u8>, image: &DynamicImage, to: Format, options: &Options) -> ImageResult<()> {
    match to.id() {
        "png" => {
            let level = match options.effort() {
                1..=2 => png::CompressionType::Fast,
                3..=6 => png::CompressionType::Level(6),
                level => png::CompressionType::Level(level),
            };
            image.write_with_encoder(png::PngEncoder::new_with_quality(out, level, png::FilterType::Adaptive))
        }
        "gif" => {
            let mut encoder = GifEncoder::new_with_speed(out, gif_speed(options));
            encoder.encode_frame(image::Frame::new(image.to_rgba8()))
        }
        "bmp" => image.to_rgb8().write_with_encoder(BmpEncoder::new(out)),
        "ico" => image.to_rgba8().write_with_encoder(IcoEncoder::new(out)),
        "qoi" => eight_bit(image).write_with_encoder(QoiEncoder::new(out)),
        "tga" => eight_bit(image).write_with_encoder(TgaEncoder::new(out)),
        _ => match image {
            DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_) | DynamicImage::ImageRgb16(_) => {
                image.write_with_encoder(PnmEncoder::new(out))
            }
            other => other.to_rgb8().write_with_encoder(PnmEncoder::new(out)),
        },
    }
}

/// The palette search's speed, 1 (best) to 30.
pub fn gif_speed(options: &Options) -> i32 {
    i32::from(10 - options.effort().min(9)) * 3
}

fn eight_bit(image: &DynamicImage) -> DynamicImage {
    if image.color().has_alpha() { image.to_rgba8().into() } else { image.to_rgb8().into() }
}
