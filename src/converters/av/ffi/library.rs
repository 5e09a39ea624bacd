//! FFmpeg's libraries, loaded when a film or a song is first looked at.

use crate::converters::lazy;
use ffmpeg_next::ffi::{LIBAVCODEC_VERSION_MAJOR, LIBAVFILTER_VERSION_MAJOR, LIBAVFORMAT_VERSION_MAJOR, LIBAVUTIL_VERSION_MAJOR};
use std::sync::OnceLock;

lazy::functions! {
    millrace_ffmpeg:
    av_buffersink_get_frame av_buffersink_get_time_base av_buffersink_set_frame_size av_buffersrc_add_frame av_buffersrc_close
    av_channel_layout_default av_codec_is_decoder av_dict_free av_dict_get av_dict_set av_dynarray_add av_find_input_format
    av_frame_alloc av_frame_copy av_frame_copy_props av_frame_free av_frame_get_buffer av_frame_unref av_freep
    av_get_bytes_per_sample av_get_default_channel_layout av_get_pix_fmt_name av_get_sample_fmt_name av_guess_frame_rate
    av_init_packet av_interleaved_write_frame av_log_format_line2 av_log_set_callback av_log_set_level av_mallocz av_new_packet
    av_packet_rescale_ts av_packet_unref av_pix_fmt_desc_get av_read_frame av_reduce av_rescale_q av_sample_fmt_is_planar
    av_seek_frame av_strdup av_stream_get_side_data av_stream_new_side_data av_strerror av_write_trailer avcodec_alloc_context3
    avcodec_close avcodec_decode_subtitle2 avcodec_encode_subtitle avcodec_find_decoder avcodec_find_decoder_by_name avcodec_find_encoder_by_name avcodec_flush_buffers
    avcodec_free_context avcodec_get_name avcodec_open2 avcodec_parameters_copy avcodec_parameters_free
    avcodec_parameters_from_context avcodec_parameters_to_context avcodec_receive_frame avcodec_receive_packet
    avcodec_send_frame avcodec_send_packet avfilter_get_by_name avfilter_graph_alloc avfilter_graph_config
    avfilter_graph_create_filter avfilter_graph_free avfilter_graph_get_filter avfilter_graph_parse_ptr avfilter_inout_alloc
    avfilter_inout_free avformat_alloc_output_context2 avformat_close_input avformat_find_stream_info avformat_free_context
    avformat_new_stream avformat_open_input avformat_seek_file avformat_write_header avio_close avio_context_free avio_flush
    avio_open avsubtitle_free
}

/// Finds the functions; the second call and all later ones only tell what came of the first.
pub fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    // The first one brings the others; a search begins in the one asked and goes on in what that is made of.
    let libraries = [
        format!("libavfilter.so.{LIBAVFILTER_VERSION_MAJOR}"),
        format!("libavformat.so.{LIBAVFORMAT_VERSION_MAJOR}"),
        format!("libavcodec.so.{LIBAVCODEC_VERSION_MAJOR}"),
        format!("libavutil.so.{LIBAVUTIL_VERSION_MAJOR}"),
    ];
    // SAFETY: the table is made above, next to its names, and is not written but through its atomics.
    LOADED.get_or_init(|| lazy::fill(unsafe { &millrace_ffmpeg }, NAMES, &libraries)).clone()
}
