//! Decoders, encoders and filter graphs: what is set and asked there.

use super::{Colour, cstring, text};
use ffmpeg_next::filter::Graph;
use ffmpeg_next::{Error, codec, ffi, frame};
use libc::c_int;
use std::ptr::{addr_of, addr_of_mut};

/// Has an encoder put its headers beside the packets; what else it is set to by default stays.
pub fn set_global_header(encoder: &mut codec::Context) {
    // SAFETY: the context is owned and not open yet.
    unsafe { (*encoder.as_mut_ptr()).flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as c_int };
}

/// Tells an encoder its input's colours; they go into its headers.
pub fn set_colour(encoder: &mut codec::Context, colour: Colour) {
    // SAFETY: the context is not open yet; the numbers came from FFmpeg's own fields of the same types.
    unsafe {
        let raw = encoder.as_mut_ptr();
        addr_of_mut!((*raw).color_range).cast::<c_int>().write(colour.range);
        addr_of_mut!((*raw).color_primaries).cast::<c_int>().write(colour.primaries);
        addr_of_mut!((*raw).color_trc).cast::<c_int>().write(colour.transfer);
        addr_of_mut!((*raw).colorspace).cast::<c_int>().write(colour.matrix);
    }
}

/// Gives the decoder a channel layout where the file names only their number.
pub fn settle_layout(decoder: &mut codec::Context) {
    // SAFETY: the context is open and owned; an unspecified layout owns no memory.
    unsafe {
        let raw = decoder.as_mut_ptr();
        let layout = addr_of_mut!((*raw).ch_layout);
        if (*layout).order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC && (*layout).nb_channels > 0 {
            let channels = (*layout).nb_channels;
            ffi::av_channel_layout_default(layout, channels);
        }
    }
}

/// What an encoder has to say to its second pass, once it has ended its first.
pub fn notes(encoder: &codec::Context) -> Option<String> {
    // SAFETY: the text belongs to the open encoder and is copied.
    let told = unsafe { text((*encoder.as_ptr()).stats_out) };
    (!told.is_empty()).then_some(told)
}

/// Tells an encoder, before it is opened, what its first pass had to say.
pub fn set_notes(encoder: &mut codec::Context, notes: &str) -> Result<(), Error> {
    let notes = cstring(notes)?;
    // SAFETY: the context is owned and not open yet; the copy lives as long as this process, for FFmpeg does not free it.
    unsafe { (*encoder.as_mut_ptr()).stats_in = ffi::av_strdup(notes.as_ptr()) };
    Ok(())
}

/// Has an open decoder leave out all pictures but those that stand for themselves.
pub fn only_keyframes(decoder: &mut codec::Context) {
    // SAFETY: the context is open and owned.
    unsafe { (*decoder.as_mut_ptr()).skip_frame = ffi::AVDiscard::AVDISCARD_NONKEY };
}

/// Has an open decoder leave out pictures that no other is made from, or take all of them again.
pub fn skip_unreferenced(decoder: &mut codec::Context, skip: bool) {
    // SAFETY: the context is open and owned; FFmpeg reads this field anew with every packet, in the caller's thread.
    unsafe { (*decoder.as_mut_ptr()).skip_frame = if skip { ffi::AVDiscard::AVDISCARD_NONREF } else { ffi::AVDiscard::AVDISCARD_DEFAULT } };
}

/// The mask of a frame's channels; the usual one of their number when their places are unknown.
pub fn frame_mask(frame: &frame::Audio) -> u64 {
    // SAFETY: the mask is read of native layouts only, and of a layout made here, which owns no memory.
    unsafe {
        let layout = addr_of!((*frame.as_ptr()).ch_layout);
        if (*layout).order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE {
            return (*layout).u.mask;
        }
        let mut usual: ffi::AVChannelLayout = std::mem::zeroed();
        ffi::av_channel_layout_default(&mut usual, (*layout).nb_channels);
        usual.u.mask
    }
}

/// Threads a filter graph may start; to be called before any filter is added.
pub fn set_graph_threads(graph: &mut Graph, threads: usize) {
    // SAFETY: the graph is owned.
    unsafe { (*graph.as_mut_ptr()).nb_threads = threads.min(64) as c_int }
}

/// Samples that the encoder takes at once; 0 for any number.
pub fn fixed_frame_size(encoder: &codec::Context) -> u32 {
    // SAFETY: an open encoder has a codec.
    unsafe {
        let raw = encoder.as_ptr();
        let any = (*(*raw).codec).capabilities as u32 & ffi::AV_CODEC_CAP_VARIABLE_FRAME_SIZE != 0;
        if any { 0 } else { (*raw).frame_size.max(0) as u32 }
    }
}

/// The quality that an encoder with a fixed quantiser takes from each frame.
pub fn set_quality(frame: &mut frame::Video, quality: i32) {
    // SAFETY: the frame is owned.
    unsafe { (*frame.as_mut_ptr()).quality = quality }
}
