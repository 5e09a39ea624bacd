//! HEIC and AVIF through libheif, AVIF out through its libaom.
//!
//! The library's C interface is stable; the few functions used are declared here, because its bindings need a newer library
//! than Debian 12 has.
#![allow(unsafe_code)] // There is no safe binding for this version of the library.

mod read;
mod write;

pub use read::File;
pub use write::{Settings, encode};

use crate::converters::lazy;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

#[repr(C)]
struct Error {
    code: c_int,
    subcode: c_int,
    message: *const c_char,
}

#[repr(C)]
struct Writer {
    version: c_int,
    write: unsafe extern "C" fn(*mut c_void, *const c_void, usize, *mut c_void) -> Error,
}

const YCBCR: c_int = 0;
const RGB: c_int = 1;
const CHROMA_420: c_int = 1;
const CHROMA_444: c_int = 3;
const INTERLEAVED_RGB: c_int = 10;
const INTERLEAVED_RGBA: c_int = 11;
const INTERLEAVED_DEEP_RGB: c_int = 14;
const INTERLEAVED_DEEP_RGBA: c_int = 15;
const CHANNEL_Y: c_int = 0;
const CHANNEL_INTERLEAVED: c_int = 10;
const AV1: c_int = 4;

lazy::functions! {
    millrace_heif:
    heif_init heif_context_alloc heif_context_free heif_context_set_maximum_image_size_limit
    heif_context_read_from_memory_without_copy heif_context_get_number_of_top_level_images heif_context_get_primary_image_handle
    heif_image_handle_release heif_image_handle_get_width heif_image_handle_get_height heif_image_handle_has_alpha_channel
    heif_image_handle_get_raw_color_profile_size heif_image_handle_get_raw_color_profile
    heif_image_handle_get_list_of_metadata_block_IDs heif_image_handle_get_metadata_size heif_image_handle_get_metadata
    heif_decode_image heif_image_get_width heif_image_get_height heif_image_get_plane_readonly heif_image_create
    heif_image_add_plane heif_image_get_plane heif_image_release heif_nclx_color_profile_alloc heif_nclx_color_profile_free
    heif_nclx_color_profile_set_color_primaries heif_nclx_color_profile_set_transfer_characteristics
    heif_nclx_color_profile_set_matrix_coefficients heif_image_set_nclx_color_profile heif_context_get_encoder_for_format
    heif_encoder_release heif_encoder_set_lossy_quality heif_encoder_set_parameter_integer heif_context_encode_image
    heif_context_add_exif_metadata heif_context_add_XMP_metadata heif_context_write heif_image_set_raw_color_profile
    heif_encoder_set_parameter_string
}

unsafe extern "C" {
    fn heif_init(params: *const c_void) -> Error;
    fn heif_context_alloc() -> *mut c_void;
    fn heif_context_free(ctx: *mut c_void);
    fn heif_context_set_maximum_image_size_limit(ctx: *mut c_void, side: c_int);
    fn heif_context_read_from_memory_without_copy(ctx: *mut c_void, bytes: *const c_void, len: usize, options: *const c_void) -> Error;
    fn heif_context_get_number_of_top_level_images(ctx: *mut c_void) -> c_int;
    fn heif_context_get_primary_image_handle(ctx: *mut c_void, out: *mut *mut c_void) -> Error;
    fn heif_image_handle_release(handle: *const c_void);
    fn heif_image_handle_get_width(handle: *const c_void) -> c_int;
    fn heif_image_handle_get_height(handle: *const c_void) -> c_int;
    fn heif_image_handle_has_alpha_channel(handle: *const c_void) -> c_int;
    fn heif_image_handle_get_raw_color_profile_size(handle: *const c_void) -> usize;
    fn heif_image_handle_get_raw_color_profile(handle: *const c_void, out: *mut c_void) -> Error;
    fn heif_image_handle_get_list_of_metadata_block_IDs(handle: *const c_void, filter: *const c_char, ids: *mut u32, count: c_int) -> c_int;
    fn heif_image_handle_get_metadata_size(handle: *const c_void, id: u32) -> usize;
    fn heif_image_handle_get_metadata(handle: *const c_void, id: u32, out: *mut c_void) -> Error;
    fn heif_decode_image(handle: *const c_void, out: *mut *mut c_void, space: c_int, chroma: c_int, options: *const c_void) -> Error;
    fn heif_image_get_width(image: *const c_void, channel: c_int) -> c_int;
    fn heif_image_get_height(image: *const c_void, channel: c_int) -> c_int;
    fn heif_image_get_plane_readonly(image: *const c_void, channel: c_int, stride: *mut c_int) -> *const u8;
    fn heif_image_create(width: c_int, height: c_int, space: c_int, chroma: c_int, out: *mut *mut c_void) -> Error;
    fn heif_image_add_plane(image: *mut c_void, channel: c_int, width: c_int, height: c_int, bits: c_int) -> Error;
    fn heif_image_get_plane(image: *mut c_void, channel: c_int, stride: *mut c_int) -> *mut u8;
    fn heif_image_release(image: *const c_void);
    fn heif_nclx_color_profile_alloc() -> *mut c_void;
    fn heif_nclx_color_profile_free(profile: *mut c_void);
    fn heif_nclx_color_profile_set_color_primaries(profile: *mut c_void, value: u16) -> Error;
    fn heif_nclx_color_profile_set_transfer_characteristics(profile: *mut c_void, value: u16) -> Error;
    fn heif_nclx_color_profile_set_matrix_coefficients(profile: *mut c_void, value: u16) -> Error;
    fn heif_image_set_nclx_color_profile(image: *mut c_void, profile: *const c_void) -> Error;
    fn heif_context_get_encoder_for_format(ctx: *mut c_void, format: c_int, out: *mut *mut c_void) -> Error;
    fn heif_encoder_release(encoder: *mut c_void);
    fn heif_encoder_set_lossy_quality(encoder: *mut c_void, quality: c_int) -> Error;
    fn heif_encoder_set_parameter_integer(encoder: *mut c_void, name: *const c_char, value: c_int) -> Error;
    fn heif_context_encode_image(
        ctx: *mut c_void,
        image: *const c_void,
        encoder: *mut c_void,
        options: *const c_void,
        out: *mut *mut c_void,
    ) -> Error;
    fn heif_context_add_exif_metadata(ctx: *mut c_void, handle: *const c_void, data: *const c_void, size: c_int) -> Error;
    fn heif_context_add_XMP_metadata(ctx: *mut c_void, handle: *const c_void, data: *const c_void, size: c_int) -> Error;
    fn heif_image_set_raw_color_profile(image: *mut c_void, kind: *const c_char, profile: *const c_void, size: usize) -> Error;
    fn heif_encoder_set_parameter_string(encoder: *mut c_void, name: *const c_char, value: *const c_char) -> Error;
    fn heif_context_write(ctx: *mut c_void, writer: *mut Writer, user: *mut c_void) -> Error;
}

impl Error {
    fn result(self) -> Result<(), String> {
        if self.code == 0 {
            return Ok(());
        }
        // SAFETY: the library always sets a static or context-owned message; it is copied at once.
        Err(if self.message.is_null() { String::new() } else { unsafe { CStr::from_ptr(self.message) }.to_string_lossy().into_owned() })
    }
}

/// An object of the library's and how it is given back.
struct Owned(*mut c_void, unsafe fn(*mut c_void));

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the library with this very release function, and is released once.
        unsafe { (self.1)(self.0) }
    }
}

unsafe fn release_context(p: *mut c_void) {
    // SAFETY: called by `Owned` only, with a context.
    unsafe { heif_context_free(p) }
}
unsafe fn release_handle(p: *mut c_void) {
    // SAFETY: called by `Owned` only, with an image handle.
    unsafe { heif_image_handle_release(p) }
}
unsafe fn release_image(p: *mut c_void) {
    // SAFETY: called by `Owned` only, with an image.
    unsafe { heif_image_release(p) }
}
unsafe fn release_encoder(p: *mut c_void) {
    // SAFETY: called by `Owned` only, with an encoder.
    unsafe { heif_encoder_release(p) }
}
unsafe fn release_profile(p: *mut c_void) {
    // SAFETY: called by `Owned` only, with a colour profile.
    unsafe { heif_nclx_color_profile_free(p) }
}

/// Loads the library and its codecs, once.
pub fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let begin = || {
        // SAFETY: the table is made above, next to its names, and is not written but through its atomics.
        lazy::fill(unsafe { &millrace_heif }, NAMES, &["libheif.so.1".into()])?;
        // SAFETY: null parameters are the documented default; the call is reference counted.
        unsafe { heif_init(ptr::null()) }.result()
    };
    LOADED.get_or_init(begin).clone()
}
