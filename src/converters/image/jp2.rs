//! JPEG 2000, read by a decoder in safe code.

use super::colour;
use crate::failure::Failure;
use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};

const CODESTREAM: &[u8] = b"\xff\x4f\xff\x51";
const END_OF_CODESTREAM: &[u8] = b"\xff\xd9";

/// What stands before the pixels.
pub struct Header {
    pub width: u32,
    pub height: u32,
    pub alpha: bool,
    pub icc: Option<Vec<u8>>,
}

fn damaged(cause: impl std::fmt::Display) -> Failure {
    Failure::corrupt("The JPEG 2000 picture is damaged or cut off.").detail(cause)
}

fn open(bytes: &[u8]) -> Result<Image<'_>, Failure> {
    // Strict: otherwise half a file is a whole picture. But strictly a bare codestream with a channel beyond its colours, which is
    // nearly always how opaque it is, is one of inks: of those only the end is looked for.
    let bare = bytes.starts_with(CODESTREAM);
    if bare && !bytes.ends_with(END_OF_CODESTREAM) {
        return Err(damaged("no end of the codestream"));
    }
    Image::new(bytes, &DecodeSettings { strict: !bare, ..DecodeSettings::default() }).map_err(damaged)
}

pub fn header(bytes: &[u8]) -> Result<Header, Failure> {
    let image = open(bytes).map_err(|e| e.stage("open"))?;
    let icc = match image.color_space() {
        ColorSpace::Icc { profile, num_channels: 3 } => Some(profile.clone()),
        _ => None,
    };
    Ok(Header { width: image.width(), height: image.height(), alpha: image.has_alpha(), icc })
}

/// The picture, in 8 bits a channel.
pub fn decode(bytes: &[u8]) -> Result<DynamicImage, Failure> {
    let image = open(bytes)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|e| damaged(e).stage("decode"))?;
    let channels = decoded.components().len();
    let (w, h) = (image.width(), image.height());
    let values = u64::from(w) * u64::from(h);
    if decoded.components().iter().any(|c| c.samples().len() as u64 != values) {
        return Err(damaged("channels of different sizes").stage("decode"));
    }
    let pixels = decoded.data_u8();
    let whole = match (image.color_space().num_channels(), channels) {
        (1, 1) => GrayImage::from_raw(w, h, pixels).map(DynamicImage::from),
        (1, 2) => GrayAlphaImage::from_raw(w, h, pixels).map(DynamicImage::from),
        (3, 3) => RgbImage::from_raw(w, h, pixels).map(DynamicImage::from),
        (3, 4) => RgbaImage::from_raw(w, h, pixels).map(DynamicImage::from),
        (4, 4) => RgbImage::from_raw(w, h, colour::cmyk_to_rgb(&pixels, profile(&image))).map(DynamicImage::from),
        _ => None,
    };
    whole.ok_or_else(|| damaged(format!("{channels} channels")).stage("decode"))
}

fn profile<'a>(image: &'a Image) -> Option<&'a [u8]> {
    match image.color_space() {
        ColorSpace::Icc { profile, .. } => Some(profile),
        _ => None,
    }
}
