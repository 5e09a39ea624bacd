//! Broken pictures: the rows that are there. The others become white, or transparent where the picture has transparency.

use super::jpeg;
use super::open::{Codec, Opened};
use crate::failure::Failure;
use image::{DynamicImage, ImageFormat};
use png::{BitDepth, ColorType, Transformations};
use std::io::Cursor;

/// What is there of a picture.
pub struct Rows {
    pub image: DynamicImage,
    /// The share of the rows; none where they are all there and some of them damaged.
    pub share: Option<f64>,
}

/// None for what cannot be salvaged.
pub fn decode(opened: &Opened, at_least: (u32, u32)) -> Option<Rows> {
    match &opened.codec {
        Codec::Jpeg(header) => of_jpeg(&opened.bytes, header, at_least).ok(),
        Codec::Plain(ImageFormat::Png) if opened.facts.frames == 1 => of_png(&opened.bytes),
        _ => None,
    }
}

/// Stands for what is missing: the rows that come out otherwise than without it are made up by the decoder.
static NOISE: [u8; 1 << 16] = [0x55; 1 << 16];

fn of_jpeg(bytes: &[u8], header: &jpeg::Header, at_least: (u32, u32)) -> Result<Rows, Failure> {
    let image = jpeg::decode_broken(bytes, header, at_least)?;
    if bytes.ends_with(&[0xff, 0xd9]) {
        return Ok(Rows { image, share: None });
    }
    let other = jpeg::decode_broken(&[bytes, &NOISE].concat(), header, at_least)?;
    let stride = image.as_bytes().len() / (image.height().max(1) as usize);
    let rows = image.as_bytes().chunks(stride.max(1)).zip(other.as_bytes().chunks(stride.max(1))).take_while(|(a, b)| a == b).count();
    kept(image, rows).ok_or_else(|| Failure::corrupt("No row of the picture is there.").stage("decode"))
}

/// The picture with only its first rows.
fn kept(mut image: DynamicImage, rows: usize) -> Option<Rows> {
    let (width, height, clear) = (image.width() as usize, image.height() as usize, image.color().has_alpha());
    let share = rows as f64 / height.max(1) as f64;
    let fill = if clear { 0 } else { 255 };
    match &mut image {
        DynamicImage::ImageLuma8(i) => blank(i, width * rows, fill),
        DynamicImage::ImageLumaA8(i) => blank(i, width * rows * 2, fill),
        DynamicImage::ImageRgb8(i) => blank(i, width * rows * 3, fill),
        DynamicImage::ImageRgba8(i) => blank(i, width * rows * 4, fill),
        _ => return None,
    }
    (rows > 0).then_some(Rows { image, share: Some(share) })
}

fn blank(samples: &mut [u8], from: usize, fill: u8) {
    samples.iter_mut().skip(from).for_each(|sample| *sample = fill);
}

/// Rows come one after the other unless the file is interlaced; then none is whole before the last pass.
fn of_png(bytes: &[u8]) -> Option<Rows> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.ignore_checksums(true);
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = (reader.info().width, reader.info().height);
    let (colour, BitDepth::Eight) = reader.output_color_type() else { return None };
    if reader.info().interlaced {
        return None;
    }
    let mut samples = Vec::new();
    let mut rows = 0;
    while let Ok(Some(row)) = reader.next_row() {
        samples.extend_from_slice(row.data());
        rows += 1;
    }
    samples.resize(width as usize * height as usize * colour.samples(), 0);
    let image = match colour {
        ColorType::Grayscale => image::GrayImage::from_raw(width, height, samples)?.into(),
        ColorType::GrayscaleAlpha => image::ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8)?,
        ColorType::Rgb => image::RgbImage::from_raw(width, height, samples)?.into(),
        ColorType::Rgba => image::RgbaImage::from_raw(width, height, samples)?.into(),
        ColorType::Indexed => return None,
    };
    kept(image, rows)
}
