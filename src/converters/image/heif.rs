//! HEIC and AVIF through libheif, AVIF out through its libaom.
//!
//! The library's C interface is stable; the few functions used are declared here, because its bindings need a newer library
//! than Debian 12 has.
#![allow(unsafe_code)] // There is no safe binding for this version of the library.

use super::picture::Planes;
use crate::converters::lazy;
use crate::failure::Failure;
use image::DynamicImage;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
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
const INTERLEAVED_RGB: c_int = 10;
const INTERLEAVED_RGBA: c_int = 11;
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
    heif_context_add_exif_metadata heif_context_write
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

fn damaged(cause: String) -> Failure {
    Failure::corrupt("The picture is damaged or cut off.").detail(cause).stage("decode")
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

/// An open file; the library reads from `bytes` as long as this lives.
pub struct File<'a> {
    handle: Owned,
    context: Owned,
    bytes: PhantomData<&'a [u8]>,
    pub width: u32,
    pub height: u32,
    pub alpha: bool,
}

impl<'a> File<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<File<'a>, Failure> {
        load().map_err(Failure::internal)?;
        // SAFETY: `bytes` outlives the context by the lifetime of `File`; both objects are owned as soon as they exist.
        unsafe {
            let context = Owned(heif_context_alloc(), release_context);
            heif_context_set_maximum_image_size_limit(context.0, 1 << 20);
            heif_context_read_from_memory_without_copy(context.0, bytes.as_ptr().cast(), bytes.len(), ptr::null()).result().map_err(damaged)?;
            let mut handle = ptr::null_mut();
            heif_context_get_primary_image_handle(context.0, &mut handle).result().map_err(damaged)?;
            let handle = Owned(handle, release_handle);
            let size = (heif_image_handle_get_width(handle.0), heif_image_handle_get_height(handle.0));
            let (Ok(width), Ok(height)) = (u32::try_from(size.0), u32::try_from(size.1)) else { return Err(damaged("negative size".into())) };
            let alpha = heif_image_handle_has_alpha_channel(handle.0) != 0;
            Ok(File { handle, context, bytes: PhantomData, width, height, alpha })
        }
    }

    pub fn pictures(&self) -> u64 {
        // SAFETY: the context is alive.
        unsafe { heif_context_get_number_of_top_level_images(self.context.0) }.max(1) as u64
    }

    pub fn icc(&self) -> Option<Vec<u8>> {
        // SAFETY: the buffer has the size the library asks for.
        unsafe {
            let size = heif_image_handle_get_raw_color_profile_size(self.handle.0);
            let mut profile = vec![0u8; size];
            let got = size > 0 && heif_image_handle_get_raw_color_profile(self.handle.0, profile.as_mut_ptr().cast()).result().is_ok();
            got.then_some(profile)
        }
    }

    /// The EXIF block, without its offset prefix.
    pub fn exif(&self) -> Option<Vec<u8>> {
        // SAFETY: one id fits into the place given; the buffer has the size the library asks for.
        unsafe {
            let mut id = 0u32;
            if heif_image_handle_get_list_of_metadata_block_IDs(self.handle.0, c"Exif".as_ptr(), &mut id, 1) < 1 {
                return None;
            }
            let size = heif_image_handle_get_metadata_size(self.handle.0, id);
            let mut block = vec![0u8; size.min(16 << 20)];
            if size != block.len() || size == 0 || heif_image_handle_get_metadata(self.handle.0, id, block.as_mut_ptr().cast()).result().is_err() {
                return None;
            }
            let offset = u32::from_be_bytes(block.get(..4)?.try_into().ok()?) as usize;
            block.get(4usize.checked_add(offset)?..).map(<[u8]>::to_vec)
        }
    }

    /// Decodes, already turned upright by the library.
    pub fn decode(&self) -> Result<DynamicImage, Failure> {
        let (chroma, channels) = if self.alpha { (INTERLEAVED_RGBA, 4) } else { (INTERLEAVED_RGB, 3) };
        // SAFETY: rows are read within the stride and height the library reports for its own plane.
        let (width, height, pixels) = unsafe {
            let mut image = ptr::null_mut();
            heif_decode_image(self.handle.0, &mut image, RGB, chroma, ptr::null()).result().map_err(damaged)?;
            let image = Owned(image, release_image);
            let (w, h) = (heif_image_get_width(image.0, CHANNEL_INTERLEAVED), heif_image_get_height(image.0, CHANNEL_INTERLEAVED));
            let mut stride = 0;
            let plane = heif_image_get_plane_readonly(image.0, CHANNEL_INTERLEAVED, &mut stride);
            if plane.is_null() || w <= 0 || h <= 0 || stride < w * channels {
                return Err(damaged("no pixels".into()));
            }
            let (row, stride) = ((w * channels) as usize, stride as usize);
            let mut pixels = Vec::with_capacity(row * h as usize);
            for y in 0..h as usize {
                pixels.extend_from_slice(std::slice::from_raw_parts(plane.add(y * stride), row));
            }
            (w as u32, h as u32, pixels)
        };
        let image = if self.alpha {
            image::RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from)
        } else {
            image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
        };
        image.ok_or_else(|| Failure::internal("a buffer of the wrong size"))
    }
}

/// How to write AVIF.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub quality: u8,
    /// 1 to 9.
    pub effort: u8,
    pub threads: usize,
}

pub enum Source {
    Planes(Planes),
    Pixels(DynamicImage),
}

pub fn encode(source: Source, settings: &Settings, exif: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
    load().map_err(Failure::internal)?;
    let image = match source {
        Source::Planes(planes) => picture_of_planes(planes)?,
        Source::Pixels(image) => picture_of_pixels(image)?,
    };
    // SAFETY: every object is owned as soon as it exists; the writer's target outlives the call that fills it.
    unsafe {
        let context = Owned(heif_context_alloc(), release_context);
        let mut encoder = ptr::null_mut();
        heif_context_get_encoder_for_format(context.0, AV1, &mut encoder).result().map_err(Failure::internal)?;
        let encoder = Owned(encoder, release_encoder);
        let set = |name: &CStr, value: i32| heif_encoder_set_parameter_integer(encoder.0, name.as_ptr(), value).result().map_err(Failure::internal);
        heif_encoder_set_lossy_quality(encoder.0, c_int::from(settings.quality)).result().map_err(Failure::internal)?;
        set(c"speed", [9, 8, 8, 7, 6, 5, 4, 3, 2].get(usize::from(settings.effort.clamp(1, 9)) - 1).copied().unwrap_or(6))?;
        set(c"threads", settings.threads.clamp(1, 16) as c_int)?;
        let mut handle = ptr::null_mut();
        heif_context_encode_image(context.0, image.0, encoder.0, ptr::null(), &mut handle).result().map_err(Failure::internal)?;
        let handle = Owned(handle, release_handle);
        if let Some((exif, length)) = exif.and_then(|e| Some((e, c_int::try_from(e.len()).ok()?))) {
            heif_context_add_exif_metadata(context.0, handle.0, exif.as_ptr().cast(), length).result().map_err(Failure::internal)?;
        }
        let mut out: Vec<u8> = Vec::new();
        let mut writer = Writer { version: 1, write: collect };
        heif_context_write(context.0, &mut writer, (&raw mut out).cast()).result().map_err(Failure::internal)?;
        Ok(out)
    }
}

unsafe extern "C" fn collect(_: *mut c_void, bytes: *const c_void, len: usize, user: *mut c_void) -> Error {
    // SAFETY: `user` is the vector handed to `heif_context_write`, `bytes` are `len` bytes of the library's.
    unsafe { (*user.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(bytes.cast::<u8>(), len)) };
    Error { code: 0, subcode: 0, message: c"".as_ptr() }
}

/// A new picture with its planes filled row by row.
fn picture(size: (u32, u32), space: c_int, chroma: c_int, planes: &[(c_int, u32, u32, usize, &[u8])]) -> Result<Owned, Failure> {
    // SAFETY: each plane is created by the library with the size given, and rows are copied within its reported stride.
    unsafe {
        let mut image = ptr::null_mut();
        heif_image_create(size.0 as c_int, size.1 as c_int, space, chroma, &mut image).result().map_err(Failure::internal)?;
        let image = Owned(image, release_image);
        for (channel, width, height, bytes, pixels) in planes {
            heif_image_add_plane(image.0, *channel, *width as c_int, *height as c_int, 8).result().map_err(Failure::internal)?;
            let mut stride = 0;
            let plane = heif_image_get_plane(image.0, *channel, &mut stride);
            let row = *width as usize * bytes;
            if plane.is_null() || (stride as usize) < row || pixels.len() < row * *height as usize {
                return Err(Failure::internal("a plane of the wrong size"));
            }
            for (y, line) in pixels.chunks_exact(row).take(*height as usize).enumerate() {
                ptr::copy_nonoverlapping(line.as_ptr(), plane.add(y * stride as usize), row);
            }
        }
        Ok(image)
    }
}

fn picture_of_planes(planes: Planes) -> Result<Owned, Failure> {
    let size = planes.size();
    let half = (size.0.div_ceil(2), size.1.div_ceil(2));
    let (luma, cb, cr) = planes.chroma_or_neutral();
    let (luma, cb, cr) = (luma.into_luma8(), cb.into_luma8(), cr.into_luma8());
    let parts = [(size, &luma), (half, &cb), (half, &cr)];
    let rows: Vec<_> = parts.iter().enumerate().map(|(i, (s, p))| (CHANNEL_Y + i as c_int, s.0, s.1, 1, p.as_raw().as_slice())).collect();
    let image = picture(size, YCBCR, CHROMA_420, &rows)?;
    // SAFETY: the profile is owned here and copied into the picture. Full range is the library's default for a new profile.
    unsafe {
        let profile = Owned(heif_nclx_color_profile_alloc(), release_profile);
        heif_nclx_color_profile_set_color_primaries(profile.0, 1).result().map_err(Failure::internal)?;
        heif_nclx_color_profile_set_transfer_characteristics(profile.0, 13).result().map_err(Failure::internal)?;
        heif_nclx_color_profile_set_matrix_coefficients(profile.0, 6).result().map_err(Failure::internal)?;
        heif_image_set_nclx_color_profile(image.0, profile.0).result().map_err(Failure::internal)?;
    }
    Ok(image)
}

fn picture_of_pixels(image: DynamicImage) -> Result<Owned, Failure> {
    let size = (image.width(), image.height());
    if image.color().has_alpha() {
        let rgba = image.into_rgba8();
        picture(size, RGB, INTERLEAVED_RGBA, &[(CHANNEL_INTERLEAVED, size.0, size.1, 4, rgba.as_raw())])
    } else {
        let rgb = image.into_rgb8();
        picture(size, RGB, INTERLEAVED_RGB, &[(CHANNEL_INTERLEAVED, size.0, size.1, 3, rgb.as_raw())])
    }
}
