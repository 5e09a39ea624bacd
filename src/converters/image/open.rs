//! Opening a picture: what its header says, judged against the limits before anything is decoded.

use super::picture::Picture;
use super::{heif, jpeg, limit, svg, turns};
use crate::convert::{Ctx, Input};
use crate::failure::{Code, Failure};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat};
use std::io::Cursor;

/// What a header says.
pub struct Facts {
    /// As stored; swap for display when `orientation` says so.
    pub width: u32,
    pub height: u32,
    pub orientation: Orientation,
    pub alpha: bool,
    pub frames: u64,
    /// How often an animation plays; 0 for ever.
    pub plays: u32,
    pub pages: u64,
    pub exif: Option<Vec<u8>>,
    pub xmp: Option<Vec<u8>>,
    pub icc: Option<Vec<u8>>,
}

impl Facts {
    fn plain(width: u32, height: u32) -> Facts {
        Facts { width, height, orientation: Orientation::NoTransforms, alpha: false, frames: 1, plays: 1, pages: 1, exif: None, xmp: None, icc: None }
    }

    /// Width and height as displayed.
    pub fn displayed(&self) -> (u32, u32) {
        if turns::swaps_sides(self.orientation) { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// The codec a file needs.
pub enum Codec {
    Jpeg(jpeg::Header),
    Heif,
    Svg(Box<svg::Drawing>),
    /// WebP, still ones by libwebp.
    WebP,
    /// Everything the `image` crate reads.
    Plain(ImageFormat),
}

/// A file read into memory and its header understood.
pub struct Opened {
    pub bytes: Vec<u8>,
    pub codec: Codec,
    pub facts: Facts,
    /// The frame that stands for the whole where it cannot move, from 0.
    frame: usize,
    memory_max: u64,
}

pub fn damaged(input: &Input, cause: impl std::fmt::Display) -> Failure {
    Failure::corrupt(format!("The {} file is damaged or cut off.", input.format.name())).detail(cause)
}

/// The error of the `image` crate in our words.
pub fn image_error(input: &Input, error: image::ImageError) -> Failure {
    match error {
        image::ImageError::Limits(e) => Failure::limit("The picture is larger than this queue allows.").detail(e),
        image::ImageError::Unsupported(e) => {
            Failure::new(Code::UnsupportedFormat, format!("This kind of {} file cannot be read.", input.format.name())).detail(e)
        }
        other => damaged(input, other),
    }
}

fn plain_format(input: &Input) -> Option<ImageFormat> {
    Some(match input.format.id() {
        "png" => ImageFormat::Png,
        "gif" => ImageFormat::Gif,
        "tiff" => ImageFormat::Tiff,
        "bmp" => ImageFormat::Bmp,
        "ico" => ImageFormat::Ico,
        "qoi" => ImageFormat::Qoi,
        "pnm" => ImageFormat::Pnm,
        "tga" => ImageFormat::Tga,
        "webp" => ImageFormat::WebP,
        _ => return None,
    })
}

/// Opens a file; `page` selects one of a tiff's pages or of an animation's frames, from 1.
pub fn open(ctx: &Ctx, input: &Input, page: u32) -> Result<Opened, Failure> {
    ctx.progress("open", 0, 0, "frames");
    let mut bytes =
        std::fs::read(&input.path).map_err(|e| Failure::new(Code::InputUnavailable, "The file could not be read.").detail(e).stage("open"))?;
    if bytes.is_empty() {
        return Err(Failure::corrupt("The file is empty.").stage("open"));
    }
    // Sixteen bytes hold any pixel twice.
    let memory_max = ctx.limits.frame_pixels_max.saturating_mul(16).saturating_add(64 << 20);
    let (codec, facts) = match input.format.id() {
        "jpeg" => {
            let mut header = jpeg::header(&bytes).ok_or_else(|| damaged(input, "no frame header").stage("open"))?;
            let exif = header.exif.take();
            let orientation = exif.as_deref().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
            let facts = Facts { orientation, exif, xmp: header.xmp.take(), icc: header.icc.clone(), ..Facts::plain(header.width, header.height) };
            (Codec::Jpeg(header), facts)
        }
        "heic" | "avif" => {
            let file = heif::File::open(&bytes).map_err(|e| e.stage("open"))?;
            let facts = Facts { alpha: file.alpha, exif: file.exif(), xmp: file.xmp(), icc: file.icc(), ..Facts::plain(file.width, file.height) };
            limit::check(ctx.limits, facts.width.into(), facts.height.into(), file.pictures())?;
            (Codec::Heif, facts)
        }
        "svg" => {
            let drawing = svg::Drawing::open(&bytes, ctx.limits)?;
            let (width, height) = drawing.size();
            (Codec::Svg(Box::new(drawing)), Facts { alpha: true, ..Facts::plain(width, height) })
        }
        _ => {
            let format = plain_format(input)
                .ok_or_else(|| Failure::new(Code::UnsupportedFormat, format!("{} pictures cannot be read.", input.format.name())).stage("open"))?;
            let mut pages = 1;
            if format == ImageFormat::Tiff {
                pages = select_page(&mut bytes, page).map_err(|e| e.stage("open"))?;
            }
            let (frames, plays) = match format {
                ImageFormat::Gif => gif_frames(&bytes, ctx.limits.total_pixels_max),
                ImageFormat::WebP => webp_frames(&bytes),
                _ => (1, 1),
            };
            let facts = plain_facts(input, &bytes, format, memory_max).map_err(|e| e.stage("open"))?;
            let codec = if format == ImageFormat::WebP && frames == 1 { Codec::WebP } else { Codec::Plain(format) };
            (codec, Facts { frames, plays, pages, ..facts })
        }
    };
    if facts.width == 0 || facts.height == 0 {
        return Err(damaged(input, "a picture without pixels").stage("open"));
    }
    limit::check(ctx.limits, facts.width.into(), facts.height.into(), facts.frames)?;
    if facts.pages == 1 && u64::from(page) > facts.frames {
        let words = format!("There is no frame {page}; the file has {}.", facts.frames);
        return Err(Failure::new(Code::InvalidOption, words).stage("open"));
    }
    let frame = if facts.pages == 1 { page.saturating_sub(1) as usize } else { 0 };
    Ok(Opened { bytes, codec, facts, frame, memory_max })
}

fn plain_facts(input: &Input, bytes: &[u8], format: ImageFormat, most: u64) -> Result<Facts, Failure> {
    let mut decoder = decoder(bytes, format, most).map_err(|e| image_error(input, e))?;
    let (width, height) = decoder.dimensions();
    Ok(Facts {
        orientation: decoder.orientation().unwrap_or(Orientation::NoTransforms),
        alpha: decoder.color_type().has_alpha(),
        exif: decoder.exif_metadata().ok().flatten(),
        xmp: decoder.xmp_metadata().ok().flatten(),
        icc: decoder.icc_profile().ok().flatten(),
        ..Facts::plain(width, height)
    })
}

/// `most` bounds the decoder's own memory, which compressed metadata could fill.
fn decoder(bytes: &[u8], format: ImageFormat, most: u64) -> image::ImageResult<impl ImageDecoder + '_> {
    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(most);
    reader.limits(limits);
    reader.into_decoder()
}

impl Opened {
    /// Decodes the picture, or its first frame. Jpeg may come out smaller, but not below `at_least`.
    pub fn decode(&self, input: &Input, at_least: (u32, u32), planes: bool) -> Result<Picture, Failure> {
        if self.frame > 0 {
            let cut = || damaged(input, "fewer frames than announced").stage("decode");
            let frame = self.frames(input)?.nth(self.frame).ok_or_else(cut)?.map_err(|e| image_error(input, e).stage("decode"))?;
            return Ok(Picture::Pixels(frame.into_buffer().into()));
        }
        let image = match &self.codec {
            Codec::Jpeg(header) => return jpeg::decode(&self.bytes, header, at_least, planes),
            Codec::Heif => heif::File::open(&self.bytes)?.decode()?,
            Codec::Svg(drawing) => drawing.draw(at_least)?,
            Codec::WebP => super::webp::decode(&self.bytes, self.facts.width, self.facts.height, self.facts.alpha)?,
            Codec::Plain(format) => decoder(&self.bytes, *format, self.memory_max)
                .and_then(DynamicImage::from_decoder)
                .map_err(|e| image_error(input, e).stage("decode"))?,
        };
        Ok(Picture::Pixels(image))
    }

    /// The frames of an animation, each whole.
    pub fn frames(&self, input: &Input) -> Result<image::Frames<'_>, Failure> {
        use image::AnimationDecoder;
        let wrong = |e| image_error(input, e).stage("decode");
        let source = Cursor::new(self.bytes.as_slice());
        match self.codec {
            Codec::Plain(ImageFormat::Gif) => Ok(image::codecs::gif::GifDecoder::new(source).map_err(wrong)?.into_frames()),
            Codec::Plain(ImageFormat::WebP) => Ok(image::codecs::webp::WebPDecoder::new(source).map_err(wrong)?.into_frames()),
            _ => Err(Failure::internal("not an animation")),
        }
    }
}

/// Counts a gif's frames without unpacking them; stops where even frames of one pixel would be too many. Also how often it plays.
fn gif_frames(bytes: &[u8], most: u64) -> (u64, u32) {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let Ok(mut decoder) = options.read_info(Cursor::new(bytes)) else { return (1, 1) };
    let mut frames = 0;
    while frames <= most && matches!(decoder.next_frame_info(), Ok(Some(_))) {
        frames += 1;
    }
    let plays = match decoder.repeat() {
        gif::Repeat::Infinite => 0,
        gif::Repeat::Finite(repeats) => u32::from(repeats) + 1,
    };
    (frames.max(1), plays)
}

/// Counts the `ANMF` chunks of a webp and reads how often it plays from `ANIM`.
fn webp_frames(bytes: &[u8]) -> (u64, u32) {
    let (mut at, mut frames, mut plays) = (12usize, 0, 1);
    while let (Some(name), Some(size)) = (bytes.get(at..at + 4), bytes.get(at + 4..at + 8)) {
        frames += u64::from(name == b"ANMF");
        if let (b"ANIM", Some([low, high])) = (name, bytes.get(at + 12..at + 14)) {
            plays = u32::from(u16::from_le_bytes([*low, *high]));
        }
        let size = size.iter().rev().fold(0usize, |sum, b| sum << 8 | usize::from(*b));
        at = at.saturating_add(8).saturating_add(size.next_multiple_of(2));
        if at > bytes.len() {
            break;
        }
    }
    (frames.max(1), plays)
}

/// Counts a tiff's pages and makes the one wanted its first, by its offset in the header.
fn select_page(bytes: &mut [u8], page: u32) -> Result<u64, Failure> {
    let wrong = || Failure::corrupt("The TIFF file is damaged or cut off.");
    let little = bytes.starts_with(b"II");
    let read = |bytes: &[u8], at: usize, len: usize| -> Option<usize> {
        let raw = bytes.get(at..at.checked_add(len)?)?;
        let fold = |sum: usize, b: &u8| sum << 8 | usize::from(*b);
        Some(if little { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) })
    };
    if read(bytes, 2, 2) != Some(42) {
        return Ok(1); // BigTIFF: its first page only.
    }
    let mut offsets = Vec::new();
    let mut at = read(bytes, 4, 4).ok_or_else(wrong)?;
    while at != 0 && offsets.len() < 100_000 && !offsets.contains(&at) {
        let Some(count) = read(bytes, at, 2) else { break };
        offsets.push(at);
        at = read(bytes, at + 2 + count * 12, 4).unwrap_or(0);
    }
    let pages = offsets.len() as u64;
    let Some(offset) = offsets.get(page as usize - 1).filter(|_| page > 0) else {
        let words = format!("There is no page {page}; the file has {pages}.");
        return Err(if pages == 0 { wrong() } else { Failure::new(Code::InvalidOption, words) });
    };
    let raw = if little { (*offset as u32).to_le_bytes() } else { (*offset as u32).to_be_bytes() };
    bytes.get_mut(4..8).ok_or_else(wrong)?.copy_from_slice(&raw);
    Ok(pages)
}
