//! Gets the libraries ready before any fork: tables are built, pages are touched, no thread is started.

use super::codecs::Depth;
use super::ffi;
use super::options::{AudioCodec, VideoCodec};
use ffmpeg_next::filter::Graph;
use ffmpeg_next::{Dictionary, codec, decoder, encoder};

const DECODERS: &[&str] = &["h264", "hevc", "vp8", "vp9", "mpeg4", "mpeg2video", "mjpeg", "aac", "mp3float", "opus", "vorbis", "flac", "pcm_s16le"];

pub fn warm() -> Result<(), String> {
    ffi::load()?;
    ffmpeg_next::init().map_err(|e| e.to_string())?;
    ffi::catch_log();
    for wanted in [VideoCodec::H264, VideoCodec::Vp9] {
        encoder::find_by_name(wanted.encoder()).ok_or_else(|| format!("this FFmpeg has no encoder {}", wanted.encoder()))?;
    }
    for wanted in [AudioCodec::Aac, AudioCodec::Mp3, AudioCodec::Opus, AudioCodec::Flac] {
        encoder::find_by_name(wanted.encoder(Depth::Short)).ok_or_else(|| format!("this FFmpeg has no encoder {}", wanted.encoder(Depth::Short)))?;
    }
    for found in DECODERS.iter().filter_map(|name| decoder::find_by_name(name)) {
        let mut one_thread = Dictionary::new();
        one_thread.set("threads", "1");
        // Some cannot open without a stream's headers; their tables are built all the same.
        drop(codec::Context::new_with_codec(found).decoder().open_as_with(found, one_thread));
    }
    let mut graph = Graph::new();
    ffi::set_graph_threads(&mut graph, 1);
    graph.parse("color=s=64x64:d=0.1,scale=w=32:h=32:flags=bicubic,format=pix_fmts=yuv420p,nullsink").map_err(|e| e.to_string())?;
    graph.validate().map_err(|e| e.to_string())?;
    ffi::take_words();
    Ok(())
}
