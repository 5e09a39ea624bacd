//! FFmpeg's libraries, loaded when a film or a song is first looked at.
//!
//! They bring 160 others along, and a program linked to them the usual way pays 40 ms for that at every start: also the one that
//! only asks a service for its jobs, also every zygote that never sees a film. So their functions are defined here, each a jump
//! through a slot, and [`load`] fills the slots. The linker finds every name here and leaves the libraries out; a name missing below
//! does no harm but the old slow start (`tests/shipping.rs` tells).

use libc::{c_int, c_void};
use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One function of the program's own that goes where its slot says, with all arguments as they are.
#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    ($name:ident) => {
        concat!(
            ".globl ",
            stringify!($name),
            "\n.hidden ",
            stringify!($name),
            "\n.type ",
            stringify!($name),
            ", @function\n",
            stringify!($name),
            ": jmp qword ptr [rip + millrace_slot_",
            stringify!($name),
            "]"
        )
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    ($name:ident) => {
        concat!(
            ".globl ",
            stringify!($name),
            "\n.hidden ",
            stringify!($name),
            "\n.type ",
            stringify!($name),
            ", %function\n",
            stringify!($name),
            ": adrp x16, millrace_slot_",
            stringify!($name),
            "\n",
            "ldr x16, [x16, :lo12:millrace_slot_",
            stringify!($name),
            "]\nbr x16"
        )
    };
}

macro_rules! functions {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        std::arch::global_asm!(
            ".pushsection .data.rel.millrace_ffmpeg, \"aw\"",
            ".p2align 3",
            ".globl millrace_slots",
            ".hidden millrace_slots",
            "millrace_slots:",
            $(concat!("millrace_slot_", stringify!($name), ": .quad {not_loaded}"),)*
            ".popsection",
            ".pushsection .text.millrace_ffmpeg, \"ax\"",
            $(jump!($name),)*
            ".popsection",
            not_loaded = sym not_loaded,
        );
    };
}

functions! {
    av_buffersink_get_frame av_buffersink_get_time_base av_buffersink_set_frame_size av_buffersrc_add_frame av_buffersrc_close
    av_channel_layout_default av_codec_is_decoder av_dict_free av_dict_get av_dict_set av_dynarray_add av_find_input_format
    av_frame_alloc av_frame_copy av_frame_copy_props av_frame_free av_frame_get_buffer av_frame_unref av_freep
    av_get_default_channel_layout av_get_pix_fmt_name av_get_sample_fmt_name av_guess_frame_rate av_init_packet
    av_interleaved_write_frame av_log_format_line2 av_log_set_callback av_log_set_level av_mallocz av_packet_rescale_ts
    av_packet_unref av_pix_fmt_desc_get av_read_frame av_reduce av_rescale_q av_seek_frame av_strdup av_stream_get_side_data
    av_stream_new_side_data av_strerror av_write_trailer avcodec_alloc_context3 avcodec_close avcodec_find_decoder
    avcodec_find_decoder_by_name avcodec_find_encoder_by_name avcodec_flush_buffers avcodec_free_context avcodec_get_name
    avcodec_open2 avcodec_parameters_copy avcodec_parameters_free avcodec_parameters_from_context avcodec_parameters_to_context
    avcodec_receive_frame avcodec_receive_packet avcodec_send_frame avcodec_send_packet avfilter_get_by_name
    avfilter_graph_alloc avfilter_graph_config avfilter_graph_create_filter avfilter_graph_free avfilter_graph_get_filter
    avfilter_graph_parse_ptr avfilter_inout_alloc avfilter_inout_free avformat_alloc_output_context2 avformat_close_input
    avformat_find_stream_info avformat_free_context avformat_new_stream avformat_open_input avformat_seek_file
    avformat_write_header avio_close avio_context_free avio_flush avio_open
}

unsafe extern "C" {
    /// The slots in the order of `NAMES`, made above.
    static millrace_slots: [AtomicPtr<c_void>; NAMES.len()];
}

/// Where every slot leads before [`load`]: a fault of this program, never of its input.
extern "C" fn not_loaded() -> ! {
    eprintln!("millrace: FFmpeg was called before it was loaded");
    std::process::abort()
}

/// Finds the functions; the second call and all later ones only tell what came of the first.
pub fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(fill).clone()
}

fn fill() -> Result<(), String> {
    // The first one brings the others; a search begins in the one asked and goes on in what that is made of.
    let libraries = [
        open("libavfilter", ffmpeg_next::ffi::LIBAVFILTER_VERSION_MAJOR)?,
        open("libavformat", ffmpeg_next::ffi::LIBAVFORMAT_VERSION_MAJOR)?,
        open("libavcodec", ffmpeg_next::ffi::LIBAVCODEC_VERSION_MAJOR)?,
        open("libavutil", ffmpeg_next::ffi::LIBAVUTIL_VERSION_MAJOR)?,
    ];
    // SAFETY: the table is defined above with one slot for every name, each of the size and alignment of a pointer.
    let slots = unsafe { &millrace_slots };
    for (name, slot) in NAMES.iter().zip(slots) {
        // SAFETY: only the address is taken; the binding says what stands there.
        let found = libraries.iter().find_map(|library| unsafe { library.get::<*mut c_void>(name.as_bytes()) }.ok());
        slot.store(*found.ok_or_else(|| format!("FFmpeg has no function {name}"))?, Ordering::Release);
    }
    // The slots lead into them for good.
    std::mem::forget(libraries);
    Ok(())
}

fn open(name: &str, version: c_int) -> Result<Library, String> {
    // SAFETY: the system's own libraries, of the version the binding was made for; their constructors start no thread.
    unsafe { Library::open(Some(format!("{name}.so.{version}")), RTLD_LAZY | RTLD_LOCAL) }.map_err(|e| e.to_string())
}
