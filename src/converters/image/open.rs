//! Opening a picture: what its header says, judged against the limits before anything is decoded.

use super::picture::Picture;
use super::{decoders, frames, heif, jp2, jpeg, limit, pages, psd, raw, svg, tone, turns};
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
    Jxl,
    Jp2,
    Psd(Box<psd::Header>),
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
    /// Where the pages of a tiff begin.
    offsets: Vec<usize>,
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
    let mut offsets = Vec::new();
    let (codec, facts) = match input.format.id() {
        "jpeg" => jpeg_facts(input, &bytes)?,
        "raw" => {
            let preview = raw::preview(&bytes).ok_or_else(|| {
                let message = "There is no picture in this camera raw file that can be read.";
                Failure::new(Code::UnsupportedFormat, message).hint("Convert it to DNG with a preview.").stage("open")
            })?;
            bytes.truncate(preview.place.end);
            bytes.drain(..preview.place.start);
            let (codec, facts) = jpeg_facts(input, &bytes)?;
            let orientation = preview.orientation.unwrap_or(facts.orientation);
            (codec, Facts { orientation, ..facts })
        }
        "jxl" => {
            let facts = decoders::jxl(&bytes, memory_max).and_then(facts_of).map_err(|e| image_error(input, e).stage("open"))?;
            // The decoder turns it upright itself.
            (Codec::Jxl, Facts { orientation: Orientation::NoTransforms, ..facts })
        }
        "jp2" => {
            let header = jp2::header(&bytes)?;
            (Codec::Jp2, Facts { alpha: header.alpha, icc: header.icc, ..Facts::plain(header.width, header.height) })
        }
        "psd" => {
            let mut header = psd::header(&bytes)?;
            let (exif, xmp) = (header.exif.take(), header.xmp.take());
            let facts = Facts { alpha: header.alpha, exif, xmp, icc: header.icc.clone(), ..Facts::plain(header.width, header.height) };
            (Codec::Psd(Box::new(header)), facts)
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
            let format = decoders::plain_format(input.format)
                .ok_or_else(|| Failure::new(Code::UnsupportedFormat, format!("{} pictures cannot be read.", input.format.name())).stage("open"))?;
            if format == ImageFormat::Tiff {
                offsets = pages::offsets(&bytes, ctx.limits.pages_max);
                match offsets.get(page.saturating_sub(1) as usize) {
                    Some(offset) => pages::turn_to(&mut bytes, *offset).map_err(|e| e.stage("open"))?,
                    None if page > 1 => return Err(no_such("page", page, offsets.len() as u64)),
                    None => {}
                }
            }
            let (frames, plays) = frames::count(&bytes, format, ctx.limits.total_pixels_max);
            let facts = plain_facts(input, &bytes, format, memory_max).map_err(|e| e.stage("open"))?;
            let codec = if format == ImageFormat::WebP && frames == 1 { Codec::WebP } else { Codec::Plain(format) };
            (codec, Facts { frames, plays, pages: offsets.len().max(1) as u64, ..facts })
        }
    };
    if facts.width == 0 || facts.height == 0 {
        return Err(damaged(input, "a picture without pixels").stage("open"));
    }
    limit::check(ctx.limits, facts.width.into(), facts.height.into(), facts.frames)?;
    if facts.pages == 1 && u64::from(page) > facts.frames {
        return Err(no_such("frame", page, facts.frames));
    }
    let frame = if facts.pages == 1 { page.saturating_sub(1) as usize } else { 0 };
    Ok(Opened { bytes, codec, facts, frame, offsets, memory_max })
}

fn no_such(kind: &str, wanted: u32, there: u64) -> Failure {
    Failure::new(Code::InvalidOption, format!("There is no {kind} {wanted}; the file has {there}.")).stage("open")
}

fn jpeg_facts(input: &Input, bytes: &[u8]) -> Result<(Codec, Facts), Failure> {
    let mut header = jpeg::header(bytes).ok_or_else(|| damaged(input, "no frame header").stage("open"))?;
    let exif = header.exif.take();
    let orientation = exif.as_deref().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let facts = Facts { orientation, exif, xmp: header.xmp.take(), icc: header.icc.clone(), ..Facts::plain(header.width, header.height) };
    Ok((Codec::Jpeg(header), facts))
}

fn plain_facts(input: &Input, bytes: &[u8], format: ImageFormat, most: u64) -> Result<Facts, Failure> {
    decoders::plain(bytes, format, most).and_then(facts_of).map_err(|e| image_error(input, e))
}

fn facts_of(mut decoder: impl ImageDecoder) -> image::ImageResult<Facts> {
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

impl Opened {
    /// Decodes the picture, or its first frame. Jpeg may come out smaller, but not below `at_least`.
    pub fn decode(&self, input: &Input, at_least: (u32, u32), planes: bool) -> Result<Picture, Failure> {
        if self.frame > 0 {
            let cut = || damaged(input, "fewer frames than announced").stage("decode");
            let frame = self.frames(input)?.nth(self.frame).ok_or_else(cut)?.map_err(|e| image_error(input, e).stage("decode"))?;
            return Ok(Picture::Pixels(frame.into_buffer().into()));
        }
        let wrong = |e| image_error(input, e).stage("decode");
        let image = match &self.codec {
            Codec::Jpeg(header) => return jpeg::decode(&self.bytes, header, at_least, planes),
            Codec::Heif => heif::File::open(&self.bytes)?.decode()?,
            Codec::Svg(drawing) => drawing.draw(at_least)?,
            Codec::WebP => super::webp::decode(&self.bytes, self.facts.width, self.facts.height, self.facts.alpha)?,
            Codec::Jp2 => jp2::decode(&self.bytes)?,
            Codec::Psd(header) => psd::decode(&self.bytes, header)?,
            Codec::Jxl if !decoders::jxl_is_whole(&self.bytes) => return Err(damaged(input, "it ends too early").stage("decode")),
            Codec::Jxl => decoders::jxl(&self.bytes, self.memory_max).and_then(DynamicImage::from_decoder).map_err(wrong)?,
            Codec::Plain(format) => {
                let image = decoders::plain(&self.bytes, *format, self.memory_max).and_then(DynamicImage::from_decoder).map_err(wrong)?;
                if matches!(format, ImageFormat::Hdr | ImageFormat::OpenExr) { tone::mapped(image) } else { image }
            }
        };
        Ok(Picture::Pixels(image))
    }

    /// Turns to a page of a tiff, from 1.
    pub fn turn_to(&mut self, input: &Input, page: u64) -> Result<(), Failure> {
        if let Some(offset) = self.offsets.get(page.saturating_sub(1) as usize) {
            pages::turn_to(&mut self.bytes, *offset)?;
            let facts = plain_facts(input, &self.bytes, ImageFormat::Tiff, self.memory_max).map_err(|e| e.stage("open"))?;
            self.facts = Facts { pages: self.facts.pages, ..facts };
        }
        Ok(())
    }

    /// Refuses pages that are too many or too large, before any is decoded.
    pub fn check_pages(&mut self, ctx: &Ctx, input: &Input) -> Result<(), Failure> {
        if self.facts.pages > ctx.limits.pages_max {
            return Err(Failure::limit(format!("The file has more than the {} pages allowed.", ctx.limits.pages_max)).stage("open"));
        }
        let mut pixels = 0u64;
        for page in 1..=self.facts.pages {
            self.turn_to(input, page)?;
            limit::check(ctx.limits, self.facts.width.into(), self.facts.height.into(), 1)?;
            pixels = pixels.saturating_add(u64::from(self.facts.width) * u64::from(self.facts.height));
            limit::check_total(ctx.limits, pixels)?;
        }
        self.turn_to(input, 1)
    }

    /// The frames of an animation, each whole.
    pub fn frames(&self, input: &Input) -> Result<image::Frames<'_>, Failure> {
        use image::AnimationDecoder;
        let wrong = |e| image_error(input, e).stage("decode");
        let source = Cursor::new(self.bytes.as_slice());
        match self.codec {
            Codec::Plain(ImageFormat::Gif) => Ok(image::codecs::gif::GifDecoder::new(source).map_err(wrong)?.into_frames()),
            Codec::Plain(ImageFormat::Png) => {
                let decoder =
                    image::codecs::png::PngDecoder::with_limits(source, decoders::limits(self.memory_max)).and_then(|d| d.apng()).map_err(wrong)?;
                Ok(decoder.into_frames())
            }
            Codec::Plain(ImageFormat::WebP) => Ok(image::codecs::webp::WebPDecoder::new(source).map_err(wrong)?.into_frames()),
            _ => Err(Failure::internal("not an animation")),
        }
    }
}
