//! JPEG through libjpeg-turbo: planes in, planes out, scaled while decoding.

use super::colour;
use super::metadata::{EXIF_IN_JPEG, XMP_IN_JPEG};
use super::picture::{Picture, Planes};
use crate::failure::Failure;
use image::{DynamicImage, GrayImage, RgbImage};
use std::borrow::Cow;
use turbojpeg::{Colorspace, Compressor, DecompressHeader, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp, YuvImage, YuvPlanesImage};

/// More scans than any encoder writes; a file with thousands is an attack on our time.
const SCANS_MAX: u32 = 500;

/// What the markers before the first scan say.
#[derive(Debug, Default)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    /// A TIFF block, without the `Exif` prefix.
    pub exif: Option<Vec<u8>>,
    pub xmp: Option<Vec<u8>>,
    pub icc: Option<Vec<u8>>,
    /// What Photoshop left: the IPTC is in it.
    pub photoshop: Option<Vec<u8>>,
    pub comment: bool,
    /// Adobe's writers store ink inverted.
    pub adobe: bool,
    /// Coded without loss, as only raw files are.
    pub lossless: bool,
}

/// Walks the markers up to the first scan (ITU T.81, annex B).
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut found = Header::default();
    let mut profile: Vec<(u8, &[u8])> = Vec::new();
    let mut at = 2;
    loop {
        while bytes.get(at)? != &0xff {
            at += 1;
        }
        while bytes.get(at)? == &0xff {
            at += 1;
        }
        let marker = *bytes.get(at)?;
        at += 1;
        if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if matches!(marker, 0xd9 | 0xda) {
            break;
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let segment = bytes.get(at + 2..at + length)?;
        at += length;
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && found.width == 0 => {
                found.lossless = matches!(marker, 0xc3 | 0xc7 | 0xcb | 0xcf);
                found.height = u32::from(u16::from_be_bytes([*segment.get(1)?, *segment.get(2)?]));
                found.width = u32::from(u16::from_be_bytes([*segment.get(3)?, *segment.get(4)?]));
            }
            0xe1 => {
                let after = |name: &[u8]| segment.strip_prefix(name).map(<[u8]>::to_vec);
                found.exif = found.exif.or_else(|| after(EXIF_IN_JPEG));
                found.xmp = found.xmp.or_else(|| after(XMP_IN_JPEG));
            }
            0xe2 => {
                if let Some([number, _, part @ ..]) = segment.strip_prefix(b"ICC_PROFILE\0") {
                    profile.push((*number, part));
                }
            }
            0xed => found.photoshop = found.photoshop.or_else(|| Some(segment.to_vec())),
            0xfe => found.comment |= segment.iter().any(|byte| !matches!(byte, 0 | b' ')),
            0xee if segment.starts_with(b"Adobe") => found.adobe = true,
            _ => {}
        }
    }
    profile.sort_by_key(|(number, _)| *number);
    if !profile.is_empty() {
        found.icc = Some(profile.into_iter().flat_map(|(_, part)| part).copied().collect());
    }
    (found.width > 0).then_some(found)
}

fn damaged(cause: impl std::fmt::Display) -> Failure {
    Failure::corrupt("The JPEG picture is damaged or cut off.").detail(cause).stage("decode")
}

/// The library's complaints that leave every pixel intact.
fn harmless(error: &turbojpeg::Error) -> bool {
    let text = error.to_string();
    ["extraneous bytes before marker", "Adobe color transform", "JFIF revision", "Invalid SOS parameters"].iter().any(|t| text.contains(t))
}

fn tolerate(result: turbojpeg::Result<()>) -> Result<(), Failure> {
    result.or_else(|e| if harmless(&e) { Ok(()) } else { Err(damaged(e)) })
}

/// As [`tolerate`], of a file that is known to be broken: the pixels that are missing are made up.
fn tolerate_breaks(result: turbojpeg::Result<()>) -> Result<(), Failure> {
    let made_up = |e: &turbojpeg::Error| ["Premature end", "Corrupt JPEG data"].iter().any(|t| e.to_string().contains(t));
    result.or_else(|e| if harmless(&e) || made_up(&e) { Ok(()) } else { Err(damaged(e)) })
}

/// Decodes to the smallest size the codec gives that is not below `at_least`; planes only when `planes` are of use.
pub fn decode(bytes: &[u8], header: &Header, at_least: (u32, u32), planes: bool) -> Result<Picture, Failure> {
    let (mut codec, found, (width, height)) = open(bytes, header, at_least)?;
    let planar = matches!(found.colorspace, Colorspace::YCbCr | Colorspace::Gray) && found.subsamp != Subsamp::Unknown && !found.is_lossless;
    if planes && planar {
        return decode_planes(&mut codec, bytes, width, height, found.subsamp).map(Picture::Planes);
    }
    decode_pixels(&mut codec, bytes, header, &found, (width, height), tolerate).map(Picture::Pixels)
}

/// Decodes what is there of a broken file.
pub fn decode_broken(bytes: &[u8], header: &Header, at_least: (u32, u32)) -> Result<DynamicImage, Failure> {
    let (mut codec, found, size) = open(bytes, header, at_least)?;
    decode_pixels(&mut codec, bytes, header, &found, size, tolerate_breaks)
}

/// A decoder that has read the header, and the size that it will give.
fn open(bytes: &[u8], header: &Header, at_least: (u32, u32)) -> Result<(Decompressor, DecompressHeader, (usize, usize)), Failure> {
    let mut codec = Decompressor::new().map_err(Failure::internal)?;
    codec.set_scan_limit(SCANS_MAX).map_err(Failure::internal)?;
    let found = codec.read_header(bytes).map_err(damaged)?;
    if (found.width, found.height) != (header.width as usize, header.height as usize) {
        // The limits were judged by the one, memory would follow the other.
        return Err(damaged("two frame headers that differ"));
    }
    let factor = if found.is_lossless { ScalingFactor::ONE } else { scaling(found.width, found.height, at_least) };
    codec.set_scaling_factor(factor).map_err(Failure::internal)?;
    let size = (factor.scale(found.width), factor.scale(found.height));
    Ok((codec, found, size))
}

fn decode_pixels(
    codec: &mut Decompressor,
    bytes: &[u8],
    header: &Header,
    found: &DecompressHeader,
    (width, height): (usize, usize),
    tolerate: fn(turbojpeg::Result<()>) -> Result<(), Failure>,
) -> Result<DynamicImage, Failure> {
    let format = match found.colorspace {
        Colorspace::CMYK | Colorspace::YCCK => PixelFormat::CMYK,
        Colorspace::Gray => PixelFormat::GRAY,
        _ => PixelFormat::RGB,
    };
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    tolerate(codec.decompress(bytes, Image { pixels: &mut pixels[..], width, pitch, height, format }))?;
    let (w, h) = (width as u32, height as u32);
    let image = match format {
        PixelFormat::CMYK => {
            if header.adobe {
                pixels.iter_mut().for_each(|ink| *ink = 255 - *ink);
            }
            RgbImage::from_raw(w, h, colour::cmyk_to_rgb(&pixels, header.icc.as_deref())).map(DynamicImage::from)
        }
        PixelFormat::GRAY => GrayImage::from_raw(w, h, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(w, h, pixels).map(DynamicImage::from),
    };
    image.ok_or_else(|| Failure::internal("a buffer of the wrong size"))
}

/// The factors with vector code, the smallest that is large enough.
fn scaling(width: usize, height: usize, at_least: (u32, u32)) -> ScalingFactor {
    let large_enough = |f: &ScalingFactor| f.scale(width) >= at_least.0 as usize && f.scale(height) >= at_least.1 as usize;
    [(1, 8), (1, 4), (1, 2)].map(|(n, d)| ScalingFactor::new(n, d)).into_iter().find(large_enough).unwrap_or(ScalingFactor::ONE)
}

fn decode_planes(codec: &mut Decompressor, bytes: &[u8], width: usize, height: usize, subsamp: Subsamp) -> Result<Planes, Failure> {
    let mut packed = YuvImage { pixels: Vec::new(), width, align: 1, height, subsamp };
    let ((yw, yh), (cw, ch)) = (packed.y_size(), if subsamp == Subsamp::Gray { (0, 0) } else { packed.uv_size() });
    packed.pixels = vec![0; yw * yh + 2 * cw * ch];
    tolerate(codec.decompress_to_yuv(bytes, packed.as_deref_mut()))?;
    let plane = |pixels: Vec<u8>, w: usize, h: usize| {
        GrayImage::from_raw(w as u32, h as u32, pixels).map(DynamicImage::from).ok_or_else(|| Failure::internal("a plane of the wrong size"))
    };
    let mut cb = packed.pixels.split_off(yw * yh);
    let chroma = if cb.is_empty() {
        None
    } else {
        let cr = cb.split_off(cw * ch);
        Some((plane(cb, cw, ch)?, plane(cr, cw, ch)?))
    };
    packed.pixels.shrink_to_fit();
    let mut luma = plane(packed.pixels, yw, yh)?;
    if (yw, yh) != (width, height) {
        luma = luma.crop_imm(0, 0, width as u32, height as u32);
    }
    Ok(Planes { luma, chroma })
}

/// How to write.
pub struct Settings {
    pub quality: u8,
    pub progressive: bool,
    pub subsamp: Subsamp,
}

impl Settings {
    fn compressor(&self, subsamp: Subsamp) -> turbojpeg::Result<Compressor> {
        let mut codec = Compressor::new()?;
        codec.set_quality(i32::from(self.quality))?;
        codec.set_optimize(true)?;
        codec.set_progressive(self.progressive)?;
        codec.set_subsamp(subsamp)?;
        Ok(codec)
    }
}

/// Encodes planes whose chroma has the size that `settings` say.
pub fn encode_planes(planes: &Planes, settings: &Settings) -> Result<Vec<u8>, Failure> {
    if planes.chroma.is_none() {
        return encode_pixels(&planes.luma, settings);
    }
    let (width, height) = planes.size();
    let (width, height) = (width as usize, height as usize);
    let subsamp = settings.subsamp;
    let mut codec = settings.compressor(subsamp).map_err(Failure::internal)?;
    let [luma, cb, cr] = planes.all()?;
    // The codec reads whole chroma blocks: luma is widened to an even size.
    let odd = (subsamp != Subsamp::None && width % 2 == 1) || (subsamp == Subsamp::Sub2x2 && height % 2 == 1);
    let luma = if odd { Cow::Owned(widened(luma)) } else { Cow::Borrowed(luma) };
    let image = YuvPlanesImage {
        y_stride: luma.width() as usize,
        u_stride: cb.width() as usize,
        v_stride: cr.width() as usize,
        y_plane: luma.as_raw().as_slice(),
        u_plane: cb.as_raw().as_slice(),
        v_plane: cr.as_raw().as_slice(),
        width,
        height,
        subsamp,
    };
    codec.compress_yuv_planes_to_vec(&image).map_err(Failure::internal)
}

fn widened(plane: &GrayImage) -> GrayImage {
    let (w, h) = plane.dimensions();
    GrayImage::from_fn(w.next_multiple_of(2), h.next_multiple_of(2), |x, y| *plane.get_pixel(x.min(w - 1), y.min(h - 1)))
}

pub fn encode_pixels(image: &DynamicImage, settings: &Settings) -> Result<Vec<u8>, Failure> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (pixels, format, subsamp) = match image {
        DynamicImage::ImageLuma8(grey) => (Cow::Borrowed(grey.as_raw()), PixelFormat::GRAY, Subsamp::Gray),
        DynamicImage::ImageLuma16(_) => (Cow::Owned(image.to_luma8().into_raw()), PixelFormat::GRAY, Subsamp::Gray),
        DynamicImage::ImageRgb8(rgb) => (Cow::Borrowed(rgb.as_raw()), PixelFormat::RGB, settings.subsamp),
        other => (Cow::Owned(other.to_rgb8().into_raw()), PixelFormat::RGB, settings.subsamp),
    };
    let mut codec = settings.compressor(subsamp).map_err(Failure::internal)?;
    codec.compress_to_vec(Image { pixels: pixels.as_slice(), width, pitch: width * format.size(), height, format }).map_err(Failure::internal)
}
