//! TIFF out: one page a picture.

use super::metadata::Metadata;
use crate::failure::Failure;
use image::DynamicImage;
use std::borrow::Cow;
use std::io::{Cursor, Seek, Write};
use tiff::TiffResult;
use tiff::encoder::colortype::ColorType;
use tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, TiffValue, colortype};
use tiff::tags::Tag;

/// Adobe's number for XMP, which the library has no name for.
const XMP: u16 = 700;

/// Writes page by page, so that only one of them is in memory beside the file.
pub fn encode<'a>(pages: impl Iterator<Item = Result<Cow<'a, DynamicImage>, Failure>>, effort: u8, metadata: &Metadata) -> Result<Vec<u8>, Failure> {
    let mut out = Cursor::new(Vec::new());
    let level = match effort {
        1..=2 => DeflateLevel::Fast,
        3..=7 => DeflateLevel::Balanced,
        _ => DeflateLevel::Best,
    };
    let encoder = TiffEncoder::new(&mut out).map_err(Failure::internal)?;
    let mut encoder = encoder.with_compression(Compression::Deflate(level)).with_predictor(Predictor::Horizontal);
    for page in pages {
        add(&mut encoder, &*page?, metadata).map_err(Failure::internal)?;
    }
    Ok(out.into_inner())
}

fn add<W: Write + Seek>(encoder: &mut TiffEncoder<W>, page: &DynamicImage, metadata: &Metadata) -> TiffResult<()> {
    let size = (page.width(), page.height());
    match page {
        DynamicImage::ImageLuma8(p) => write::<colortype::Gray8, W>(encoder, size, p, metadata),
        DynamicImage::ImageLuma16(p) => write::<colortype::Gray16, W>(encoder, size, p, metadata),
        DynamicImage::ImageRgb16(p) => write::<colortype::RGB16, W>(encoder, size, p, metadata),
        DynamicImage::ImageRgba16(p) => write::<colortype::RGBA16, W>(encoder, size, p, metadata),
        DynamicImage::ImageRgb8(p) => write::<colortype::RGB8, W>(encoder, size, p, metadata),
        other if other.color().has_alpha() => write::<colortype::RGBA8, W>(encoder, size, &other.to_rgba8(), metadata),
        other => write::<colortype::RGB8, W>(encoder, size, &other.to_rgb8(), metadata),
    }
}

fn write<C: ColorType, W: Write + Seek>(encoder: &mut TiffEncoder<W>, size: (u32, u32), pixels: &[C::Inner], metadata: &Metadata) -> TiffResult<()>
where
    [C::Inner]: TiffValue,
{
    let mut image = encoder.new_image::<C>(size.0, size.1)?;
    if let Some(icc) = &metadata.icc {
        image.encoder().write_tag(Tag::IccProfile, icc.as_slice())?;
    }
    if let Some(xmp) = &metadata.xmp {
        image.encoder().write_tag(Tag::Unknown(XMP), xmp.as_slice())?;
    }
    image.write_data(pixels)
}
