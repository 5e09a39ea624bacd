//! AVIF out.
#![allow(unsafe_code)] // Calls of the library.

use super::*;
use crate::converters::image::metadata::Metadata;
use crate::converters::image::options::Chroma;
use crate::converters::image::picture::{Picture, Planes};
use crate::failure::Failure;
use image::{DynamicImage, RgbImage};

/// The encoder's speed for each effort. Below 6 a picture takes five times as long for a hundredth of its size.
const SPEEDS: [i32; 9] = [9, 8, 8, 7, 7, 6, 5, 4, 3];

/// How to write AVIF.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub quality: u8,
    /// 1 to 9.
    pub effort: u8,
    pub threads: usize,
    pub chroma: Chroma,
    /// Bits of a channel: 8 or 12.
    pub depth: u8,
}

impl Settings {
    /// The library's number for the layout of the planes, and its encoder's name of it.
    fn layout(&self) -> (c_int, &'static CStr) {
        match self.chroma {
            Chroma::Full => (CHROMA_444, c"444"),
            _ => (CHROMA_420, c"420"),
        }
    }
}

pub fn encode(source: &Picture, settings: &Settings, metadata: &Metadata) -> Result<Vec<u8>, Failure> {
    load().map_err(Failure::internal)?;
    let image = match source {
        Picture::Planes(planes) => picture_of_planes(planes, settings.layout().0)?,
        Picture::Pixels(image) => picture_of_pixels(image, settings.depth)?,
    };
    // SAFETY: every object is owned as soon as it exists; the writer's target outlives the call that fills it; blocks of metadata
    // and the profile are copied by the library.
    unsafe {
        if let Some(icc) = &metadata.icc {
            heif_image_set_raw_color_profile(image.0, c"prof".as_ptr(), icc.as_ptr().cast(), icc.len()).result().map_err(Failure::internal)?;
        }
        let context = Owned(heif_context_alloc(), release_context);
        let mut encoder = ptr::null_mut();
        heif_context_get_encoder_for_format(context.0, AV1, &mut encoder).result().map_err(Failure::internal)?;
        let encoder = Owned(encoder, release_encoder);
        let set = |name: &CStr, value: i32| heif_encoder_set_parameter_integer(encoder.0, name.as_ptr(), value).result().map_err(Failure::internal);
        heif_encoder_set_lossy_quality(encoder.0, c_int::from(settings.quality)).result().map_err(Failure::internal)?;
        set(c"speed", SPEEDS.get(usize::from(settings.effort.clamp(1, 9)) - 1).copied().unwrap_or(7))?;
        set(c"threads", settings.threads.clamp(1, 16) as c_int)?;
        heif_encoder_set_parameter_string(encoder.0, c"chroma".as_ptr(), settings.layout().1.as_ptr()).result().map_err(Failure::internal)?;
        let mut handle = ptr::null_mut();
        heif_context_encode_image(context.0, image.0, encoder.0, ptr::null(), &mut handle).result().map_err(Failure::internal)?;
        let handle = Owned(handle, release_handle);
        for (block, add) in [
            (&metadata.exif, heif_context_add_exif_metadata as unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void, c_int) -> Error),
            (&metadata.xmp, heif_context_add_XMP_metadata),
        ] {
            if let Some((block, length)) = block.as_ref().and_then(|b| Some((b, c_int::try_from(b.len()).ok()?))) {
                add(context.0, handle.0, block.as_ptr().cast(), length).result().map_err(Failure::internal)?;
            }
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
fn picture(size: (u32, u32), space: c_int, chroma: c_int, depth: u8, planes: &[(c_int, u32, u32, usize, &[u8])]) -> Result<Owned, Failure> {
    // SAFETY: each plane is created by the library with the size given, and rows are copied within its reported stride.
    unsafe {
        let mut image = ptr::null_mut();
        heif_image_create(size.0 as c_int, size.1 as c_int, space, chroma, &mut image).result().map_err(Failure::internal)?;
        let image = Owned(image, release_image);
        for (channel, width, height, bytes, pixels) in planes {
            heif_image_add_plane(image.0, *channel, *width as c_int, *height as c_int, c_int::from(depth)).result().map_err(Failure::internal)?;
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

fn picture_of_planes(planes: &Planes, layout: c_int) -> Result<Owned, Failure> {
    let size = planes.size();
    let parts = planes.all()?;
    let rows: Vec<_> = parts.iter().enumerate().map(|(i, p)| (CHANNEL_Y + i as c_int, p.width(), p.height(), 1, p.as_raw().as_slice())).collect();
    let image = picture(size, YCBCR, layout, 8, &rows)?;
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

fn picture_of_pixels(image: &DynamicImage, depth: u8) -> Result<Owned, Failure> {
    let size = (image.width(), image.height());
    let alpha = image.color().has_alpha();
    let whole =
        |layout: c_int, bytes: usize, pixels: &[u8]| picture(size, RGB, layout, depth, &[(CHANNEL_INTERLEAVED, size.0, size.1, bytes, pixels)]);
    let deep = |channels: &[u16]| channels.iter().flat_map(|c| (c >> (16 - depth)).to_le_bytes()).collect::<Vec<u8>>();
    match (depth, alpha, image) {
        (8, false, DynamicImage::ImageRgb8(rgb)) => whole(INTERLEAVED_RGB, 3, rgb.as_raw()),
        (8, false, other) => whole(INTERLEAVED_RGB, 3, RgbImage::as_raw(&other.to_rgb8())),
        (8, true, other) => whole(INTERLEAVED_RGBA, 4, other.to_rgba8().as_raw()),
        (_, false, other) => whole(INTERLEAVED_DEEP_RGB, 6, &deep(other.to_rgb16().as_raw())),
        (_, true, other) => whole(INTERLEAVED_DEEP_RGBA, 8, &deep(other.to_rgba16().as_raw())),
    }
}
