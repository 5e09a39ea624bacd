//! Files that are written: their streams, and what the containers say of them.

use super::{Facts, cstring};
use ffmpeg_next::format::context::{Input, Output};
use ffmpeg_next::{Error, ffi};
use libc::c_int;
use std::ptr::null_mut;

/// A file to be written by this muxer; one of those that write several opens them itself.
pub fn create_output(url: &str, muxer: &str) -> Result<Output, Error> {
    let (url, muxer) = (cstring(url)?, cstring(muxer)?);
    // SAFETY: the texts outlive the calls; the context is owned by `Output` as soon as it exists, which closes its file.
    unsafe {
        let mut context = null_mut();
        let made = ffi::avformat_alloc_output_context2(&mut context, null_mut(), muxer.as_ptr(), url.as_ptr());
        if made < 0 || context.is_null() {
            return Err(Error::from(made.min(-1)));
        }
        let output = Output::wrap(context);
        if (*(*context).oformat).flags & ffi::AVFMT_NOFILE == 0 {
            let opened = ffi::avio_open(&mut (*context).pb, url.as_ptr(), ffi::AVIO_FLAG_WRITE as c_int);
            if opened < 0 {
                return Err(Error::from(opened));
            }
        }
        Ok(output)
    }
}

/// Adds a stream that takes the packets of `from` as they are, with all that the container knew about it.
pub fn add_copy(output: &mut Output, input: &Input, from: &Facts, tag: u32) -> Result<usize, Error> {
    let stream = input.stream(from.index).ok_or(Error::StreamNotFound)?;
    // SAFETY: the new stream belongs to `output`, the old one to `input`; both live through this function. Side data is copied.
    unsafe {
        let old = stream.as_ptr();
        let new = ffi::avformat_new_stream(output.as_mut_ptr(), std::ptr::null());
        if new.is_null() {
            return Err(Error::Other { errno: libc::ENOMEM });
        }
        let copied = ffi::avcodec_parameters_copy((*new).codecpar, (*old).codecpar);
        if copied < 0 {
            return Err(Error::from(copied));
        }
        (*(*new).codecpar).codec_tag = tag;
        (*new).time_base = (*old).time_base;
        (*new).sample_aspect_ratio = (*old).sample_aspect_ratio;
        // Muxers look at the codec's, which not every codec tells.
        if (*(*new).codecpar).sample_aspect_ratio.num <= 0 {
            (*(*new).codecpar).sample_aspect_ratio = (*old).sample_aspect_ratio;
        }
        (*new).avg_frame_rate = (*old).avg_frame_rate;
        (*new).r_frame_rate = (*old).r_frame_rate;
        (*new).disposition = (*old).disposition;
        for i in 0..(*old).nb_side_data.max(0) as usize {
            let side = (*old).side_data.add(i);
            let room = ffi::av_stream_new_side_data(new, (*side).type_, (*side).size);
            if !room.is_null() {
                std::ptr::copy_nonoverlapping((*side).data, room, (*side).size);
            }
        }
        Ok((*new).index as usize)
    }
}

/// Marks stream `index` as the one that plays by default, or not.
pub fn set_default(output: &mut Output, index: usize, default: bool) {
    if let Some(mut stream) = output.stream_mut(index) {
        // SAFETY: the stream belongs to `output`.
        unsafe { (*stream.as_mut_ptr()).disposition = if default { ffi::AV_DISPOSITION_DEFAULT } else { 0 } }
    }
}

/// The four letters by which a container names the codec; 0 leaves the choice to the muxer.
pub fn set_tag(output: &mut Output, index: usize, tag: u32) {
    if let Some(mut stream) = output.stream_mut(index) {
        // SAFETY: the stream and its parameters belong to `output`.
        unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = tag }
    }
}

/// The bits per second that stream `index` is said to have.
pub fn set_bit_rate(output: &mut Output, index: usize, bitrate: u32) {
    if let Some(mut stream) = output.stream_mut(index) {
        // SAFETY: the stream and its parameters belong to `output`.
        unsafe { (*(*stream.as_mut_ptr()).codecpar).bit_rate = i64::from(bitrate) }
    }
}

/// Whether the container wants codec headers beside the packets.
pub fn wants_global_header(output: &Output) -> bool {
    // SAFETY: an output context has a format for all its life.
    unsafe { (*(*output.as_ptr()).oformat).flags & ffi::AVFMT_GLOBALHEADER != 0 }
}
