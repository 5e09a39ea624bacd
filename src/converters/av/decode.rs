//! Decoders, opened with their limits.

use super::fault;
use super::ffi;
use super::open::Source;
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Dictionary, Discard, Error, codec, decoder};

/// Threads of one decoder or encoder: more of them hold more frames in memory and make them hardly faster.
pub fn threads(ctx: &Ctx) -> usize {
    ctx.threads.clamp(1, 16)
}

fn context(ctx: &Ctx, source: &Source, index: usize) -> Result<(decoder::Decoder, codec::codec::Codec, Dictionary<'static>), Failure> {
    let wrong = |e| fault::decoding(ctx, e, None);
    let parameters = ffi::parameters(&source.input, index).ok_or_else(|| wrong(Error::StreamNotFound))?;
    let found = decoder::find(parameters.id()).ok_or_else(|| wrong(Error::DecoderNotFound))?;
    let mut opened = codec::Context::from_parameters(parameters).map_err(wrong)?.decoder();
    opened.set_packet_time_base(source.streams[index].time_base);
    let mut options = Dictionary::new();
    options.set("threads", &threads(ctx).to_string());
    options.set("max_pixels", &ctx.limits.frame_pixels_max.to_string());
    Ok((opened, found, options))
}

/// A decoder whose pictures are only to be counted: they come without the smoothing of their blocks.
pub fn roughly(ctx: &Ctx, source: &Source, index: usize) -> Result<decoder::Video, Failure> {
    let (mut opened, found, options) = context(ctx, source, index)?;
    opened.skip_loop_filter(Discard::All);
    opened.open_as_with(found, options).and_then(|o| o.video()).map_err(|e| fault::decoding(ctx, e, None))
}

pub fn video(ctx: &Ctx, source: &Source, index: usize) -> Result<decoder::Video, Failure> {
    let (opened, found, options) = context(ctx, source, index)?;
    opened.open_as_with(found, options).and_then(|o| o.video()).map_err(|e| fault::decoding(ctx, e, None))
}

pub fn audio(ctx: &Ctx, source: &Source, index: usize) -> Result<decoder::Audio, Failure> {
    let (opened, found, options) = context(ctx, source, index)?;
    let mut opened = opened.open_as_with(found, options).and_then(|o| o.audio()).map_err(|e| fault::decoding(ctx, e, None))?;
    ffi::settle_layout(&mut opened);
    Ok(opened)
}
