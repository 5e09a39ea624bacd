//! Moving pictures, written frame by frame.

use super::options::Options;
use super::{apng, encode, webp};
use crate::convert::Ctx;
use crate::failure::Failure;
use crate::format::Format;
use image::DynamicImage;

/// An animation being written.
pub enum Writer {
    Gif { encoder: gif::Encoder<Vec<u8>>, speed: i32 },
    WebP(webp::Animation),
    Png(apng::Animation),
}

/// Whether the format can move.
pub fn moves(to: Format) -> bool {
    matches!(to.id(), "gif" | "webp" | "apng")
}

impl Writer {
    /// `frames` are how many will come; `loops` is how often they play, 0 for ever.
    pub fn new(ctx: &Ctx, to: Format, size: (u32, u32), frames: u64, loops: u32, options: &Options) -> Result<Writer, Failure> {
        if to.id() == "apng" {
            return Ok(Writer::Png(apng::Animation::new(size, frames, loops, options.effort())?));
        }
        if to.id() == "webp" {
            return Ok(Writer::WebP(webp::Animation::new(
                size.0,
                size.1,
                loops,
                &encode::webp_settings(ctx, options, options.quality.unwrap_or(80)),
            )?));
        }
        let (Ok(width), Ok(height)) = (u16::try_from(size.0), u16::try_from(size.1)) else {
            return Err(Failure::limit("GIF has room for at most 65535 pixels a side."));
        };
        let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[]).map_err(Failure::internal)?;
        // The file counts repeats, not plays; one play is the absence of the field.
        let repeat = match loops {
            0 => Some(gif::Repeat::Infinite),
            1 => None,
            n => Some(gif::Repeat::Finite(u16::try_from(n - 1).unwrap_or(u16::MAX))),
        };
        if let Some(repeat) = repeat {
            encoder.set_repeat(repeat).map_err(Failure::internal)?;
        }
        Ok(Writer::Gif { encoder, speed: encode::gif_speed(options) })
    }

    pub fn add(&mut self, frame: DynamicImage, delay_ms: u32) -> Result<(), Failure> {
        match self {
            Writer::WebP(animation) => animation.add(&frame, delay_ms),
            Writer::Png(animation) => animation.add(&frame, delay_ms),
            Writer::Gif { encoder, speed } => {
                let mut rgba = frame.into_rgba8();
                let (Ok(width), Ok(height)) = (u16::try_from(rgba.width()), u16::try_from(rgba.height())) else {
                    return Err(Failure::limit("GIF has room for at most 65535 pixels a side."));
                };
                let mut frame = gif::Frame::from_rgba_speed(width, height, &mut rgba, *speed);
                frame.delay = u16::try_from((delay_ms + 5) / 10).unwrap_or(u16::MAX);
                // Every frame is whole: what was before it is wiped, or holes would show it.
                frame.dispose = gif::DisposalMethod::Background;
                encoder.write_frame(&frame).map_err(Failure::internal)
            }
        }
    }

    pub fn finish(self) -> Result<Vec<u8>, Failure> {
        match self {
            Writer::WebP(animation) => animation.finish(),
            Writer::Png(animation) => animation.finish(),
            Writer::Gif { encoder, .. } => encoder.into_inner().map_err(Failure::internal),
        }
    }
}
