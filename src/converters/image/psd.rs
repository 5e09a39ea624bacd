//! Photoshop: the merged picture at the end of a file, which every program writes for those that know no layers.
//! (Adobe Photoshop File Formats Specification.)

use super::colour;
use crate::failure::{Code, Failure};
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};

const GREY: u16 = 1;
const INDEXED: u16 = 2;
const RGB: u16 = 3;
const CMYK: u16 = 4;
const DUOTONE: u16 = 8;
const ICC: u16 = 0x040f;
const EXIF: u16 = 0x0422;
const XMP: u16 = 0x0424;

/// What stands before the pixels.
pub struct Header {
    pub width: u32,
    pub height: u32,
    pub alpha: bool,
    pub exif: Option<Vec<u8>>,
    pub xmp: Option<Vec<u8>>,
    pub icc: Option<Vec<u8>>,
    mode: u16,
    depth: u16,
    /// Channels of the merged picture, and all that the file stores.
    channels: usize,
    stored: usize,
    /// Colours of an indexed picture: all reds, all greens, all blues.
    palette: Vec<u8>,
    large: bool,
    pixels_at: usize,
}

/// Reads a file from front to back; every step is checked.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(part)
    }

    fn number(&mut self, length: usize) -> Option<usize> {
        Some(self.take(length)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn block(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }
}

fn damaged() -> Failure {
    Failure::corrupt("The Photoshop file is damaged or cut off.")
}

pub fn header(bytes: &[u8]) -> Result<Header, Failure> {
    let header = read(bytes).ok_or_else(|| damaged().stage("open"))?;
    let known = matches!(header.mode, GREY | INDEXED | RGB | CMYK | DUOTONE) && matches!(header.depth, 8 | 16 | 32);
    if known { Ok(header) } else { Err(Failure::new(Code::UnsupportedFormat, "This kind of Photoshop file cannot be read.").stage("open")) }
}

fn read(bytes: &[u8]) -> Option<Header> {
    let mut file = Reader { bytes, at: 4 };
    let large = file.number(2)? == 2;
    file.take(6)?;
    let stored = file.number(2)?;
    let (height, width) = (u32::try_from(file.number(4)?).ok()?, u32::try_from(file.number(4)?).ok()?);
    let (depth, mode) = (file.number(2)? as u16, file.number(2)? as u16);
    let palette = file.block(4)?.to_vec();
    let mut resources = Reader { bytes: file.block(4)?, at: 0 };
    let (mut exif, mut xmp, mut icc) = (None, None, None);
    while let Some((id, content)) = resource(&mut resources) {
        match id {
            ICC => icc = Some(content.to_vec()),
            EXIF => exif = Some(content.to_vec()),
            XMP => xmp = Some(content.to_vec()),
            _ => {}
        }
    }
    let layers = file.block(if large { 8 } else { 4 })?;
    // A negative number of layers: the first channel beyond the colours is how opaque the merged picture is.
    let sign = layers.get(if large { 8 } else { 4 });
    let colours = match mode {
        RGB => 3,
        CMYK => 4,
        _ => 1,
    };
    let alpha = stored > colours && mode != CMYK && mode != INDEXED && sign.is_some_and(|byte| byte & 0x80 != 0);
    let channels = stored.min(colours + usize::from(alpha));
    (channels >= colours && width > 0 && height > 0).then_some(Header {
        width,
        height,
        alpha,
        exif,
        xmp,
        icc,
        mode,
        depth,
        channels,
        stored,
        palette,
        large,
        pixels_at: file.at,
    })
}

fn resource<'a>(resources: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    resources.take(4)?;
    let id = resources.number(2)? as u16;
    let name = resources.number(1)?;
    resources.take(name + (name + 1) % 2)?;
    let length = resources.number(4)?;
    let content = resources.take(length)?;
    resources.take(length % 2);
    Some((id, content))
}

/// The merged picture, in 8 bits a channel.
pub fn decode(bytes: &[u8], header: &Header) -> Result<DynamicImage, Failure> {
    let planes = planes(bytes, header).ok_or_else(|| damaged().stage("decode"))?;
    let (w, h) = (header.width, header.height);
    let pixels: Vec<u8> = match planes.as_slice() {
        [index] if header.mode == INDEXED => {
            let third = header.palette.len() / 3;
            let colour = |index: u8, n: usize| header.palette.get(n * third + usize::from(index)).copied().unwrap_or(0);
            index.iter().flat_map(|i| [0, 1, 2].map(|n| colour(*i, n))).collect()
        }
        planes => (0..planes.first().map_or(0, Vec::len)).flat_map(|at| planes.iter().map(move |plane| plane[at])).collect(),
    };
    let image = match (header.mode, header.alpha) {
        // Ink is stored inverted.
        (CMYK, _) => {
            let ink: Vec<u8> = pixels.into_iter().map(|light| 255 - light).collect();
            RgbImage::from_raw(w, h, colour::cmyk_to_rgb(&ink, header.icc.as_deref())).map(DynamicImage::from)
        }
        (RGB, true) => RgbaImage::from_raw(w, h, pixels).map(DynamicImage::from),
        (RGB | INDEXED, _) => RgbImage::from_raw(w, h, pixels).map(DynamicImage::from),
        (_, true) => GrayAlphaImage::from_raw(w, h, pixels).map(DynamicImage::from),
        _ => GrayImage::from_raw(w, h, pixels).map(DynamicImage::from),
    };
    image.ok_or_else(|| damaged().stage("decode"))
}

/// One channel after the other, each of as many values as the picture has pixels.
fn planes(bytes: &[u8], header: &Header) -> Option<Vec<Vec<u8>>> {
    let mut file = Reader { bytes, at: header.pixels_at };
    let packed = match file.number(2)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let (width, height) = (header.width as usize, header.height as usize);
    let value = usize::from(header.depth / 8);
    let lengths: Vec<usize> = match packed {
        true => (0..height.checked_mul(header.stored)?).map(|_| file.number(if header.large { 4 } else { 2 })).collect::<Option<_>>()?,
        false => Vec::new(),
    };
    let mut planes = Vec::new();
    for channel in 0..header.channels {
        let mut plane = Vec::with_capacity(width * height);
        for row in 0..height {
            let line = match packed {
                true => unpacked(file.take(*lengths.get(channel * height + row)?)?, width * value)?,
                false => file.take(width * value)?.to_vec(),
            };
            match header.depth {
                // Linear light from 0 to 1.
                32 => plane.extend(line.as_chunks::<4>().0.iter().map(|v| (f32::from_be_bytes(*v).clamp(0.0, 1.0).powf(1.0 / 2.2) * 255.0) as u8)),
                _ => plane.extend(line.iter().step_by(value)),
            }
        }
        planes.push(plane);
    }
    Some(planes)
}

/// PackBits.
fn unpacked(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(length);
    let mut packed = Reader { bytes: packed, at: 0 };
    while line.len() < length {
        match packed.number(1)? {
            128 => {}
            literal @ 0..=127 => line.extend_from_slice(packed.take(literal + 1)?),
            run => {
                let byte = *packed.take(1)?.first()?;
                line.resize(line.len() + 257 - run, byte);
            }
        }
    }
    (line.len() == length).then_some(line)
}
