//! Pixels to files.

use super::options::Options;
use super::{heif, jpeg, webp};
use crate::convert::Ctx;
use crate::failure::{Code, Failure};
use crate::format::Format;
use image::codecs::{bmp::BmpEncoder, gif::GifEncoder, ico::IcoEncoder, png, pnm::PnmEncoder, qoi::QoiEncoder, tga::TgaEncoder};
use image::{DynamicImage, ImageResult};
use std::io::Cursor;

/// Icons have one byte for a side.
pub const ICON_SIDE_MAX: u32 = 256;

/// Whether the format has room for transparency as we write it.
pub fn keeps_alpha(to: Format) -> bool {
    !matches!(to.id(), "jpeg" | "bmp" | "pnm")
}

pub fn jpeg_settings(options: &Options) -> jpeg::Settings {
    let quality = options.quality.unwrap_or(82);
    jpeg::Settings { quality, progressive: options.progressive, full_chroma: quality > 90 }
}

pub fn webp_settings(ctx: &Ctx, options: &Options) -> webp::Settings {
    webp::Settings { quality: options.quality.unwrap_or(80), lossless: options.lossless, effort: options.effort(), threads: ctx.threads > 1 }
}

pub fn avif_settings(ctx: &Ctx, options: &Options) -> heif::Settings {
    heif::Settings { quality: options.quality.unwrap_or(60), effort: options.effort(), threads: ctx.threads }
}

/// Refuses what the target cannot do.
pub fn check_options(to: Format, options: &Options) -> Result<(), Failure> {
    if options.lossless && matches!(to.id(), "jpeg" | "avif") {
        let words = format!("The option `lossless` does not apply to {}.", to.name());
        return Err(Failure::new(Code::InvalidOption, words).hint("Choose webp or png to keep every pixel, or quality 100."));
    }
    Ok(())
}

/// Encodes one still picture, without metadata.
pub fn still(ctx: &Ctx, image: DynamicImage, to: Format, options: &Options) -> Result<Vec<u8>, Failure> {
    match to.id() {
        "jpeg" => jpeg::encode_pixels(image, &jpeg_settings(options)),
        "webp" => webp::encode_pixels(&image, &webp_settings(ctx, options)),
        "avif" => heif::encode(heif::Source::Pixels(image), &avif_settings(ctx, options), None),
        "tiff" => tiff(image, options),
        _ => {
            let mut out = Vec::new();
            plain(&mut out, image, to, options).map_err(Failure::internal)?;
            Ok(out)
        }
    }
}

fn plain(out: &mut Vec<u8>, image: DynamicImage, to: Format, options: &Options) -> ImageResult<()> {
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
            encoder.encode_frame(image::Frame::new(image.into_rgba8()))
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

fn eight_bit(image: DynamicImage) -> DynamicImage {
    if image.color().has_alpha() { image.into_rgba8().into() } else { image.into_rgb8().into() }
}

fn tiff(image: DynamicImage, options: &Options) -> Result<Vec<u8>, Failure> {
    use tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, colortype};
    let mut out = Cursor::new(Vec::new());
    let level = match options.effort() {
        1..=2 => DeflateLevel::Fast,
        3..=7 => DeflateLevel::Balanced,
        _ => DeflateLevel::Best,
    };
    let (w, h) = (image.width(), image.height());
    let encoder = TiffEncoder::new(&mut out).map_err(Failure::internal)?;
    let mut encoder = encoder.with_compression(Compression::Deflate(level)).with_predictor(Predictor::Horizontal);
    match &image {
        DynamicImage::ImageLuma8(p) => encoder.write_image::<colortype::Gray8>(w, h, p),
        DynamicImage::ImageLuma16(p) => encoder.write_image::<colortype::Gray16>(w, h, p),
        DynamicImage::ImageRgb16(p) => encoder.write_image::<colortype::RGB16>(w, h, p),
        DynamicImage::ImageRgba16(p) => encoder.write_image::<colortype::RGBA16>(w, h, p),
        DynamicImage::ImageRgb8(p) => encoder.write_image::<colortype::RGB8>(w, h, p),
        other if other.color().has_alpha() => encoder.write_image::<colortype::RGBA8>(w, h, &other.to_rgba8()),
        other => encoder.write_image::<colortype::RGB8>(w, h, &other.to_rgb8()),
    }
    .map_err(Failure::internal)?;
    Ok(out.into_inner())
}

/// Puts EXIF and a colour profile into a finished file, where the format has a place for them; false when it has none.
pub fn attach(file: Vec<u8>, to: Format, exif: Option<Vec<u8>>, icc: Option<Vec<u8>>) -> Result<(Vec<u8>, bool), Failure> {
    use img_parts::{DynImage, ImageEXIF, ImageICC};
    if exif.is_none() && icc.is_none() {
        return Ok((file, true));
    }
    if !matches!(to.id(), "jpeg" | "png" | "webp") {
        return Ok((file, false));
    }
    let Some(mut parts) = DynImage::from_bytes(file.into()).map_err(Failure::internal)? else {
        return Err(Failure::internal("our own file is not recognised"));
    };
    parts.set_exif(exif.map(Into::into));
    parts.set_icc_profile(icc.map(Into::into));
    let mut out = Vec::new();
    parts.encoder().write_to(&mut out).map_err(Failure::internal)?;
    Ok((out, true))
}
