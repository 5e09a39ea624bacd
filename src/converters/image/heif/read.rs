//! HEIC and AVIF in.
#![allow(unsafe_code)] // Calls of the library.

use super::*;
use crate::failure::Failure;
use image::DynamicImage;
use std::marker::PhantomData;

fn damaged(cause: String) -> Failure {
    Failure::corrupt("The picture is damaged or cut off.").detail(cause).stage("decode")
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
        let block = self.block(c"Exif")?;
        let offset = u32::from_be_bytes(block.get(..4)?.try_into().ok()?) as usize;
        block.get(4usize.checked_add(offset)?..).map(<[u8]>::to_vec)
    }

    /// The XMP packet: the block of a MIME type that reads like one.
    pub fn xmp(&self) -> Option<Vec<u8>> {
        self.block(c"mime").filter(|block| block.windows(8).any(|w| w == b"<rdf:RDF"))
    }

    /// The first block of metadata of this kind.
    fn block(&self, kind: &CStr) -> Option<Vec<u8>> {
        // SAFETY: one id fits into the place given; the buffer has the size the library asks for.
        unsafe {
            let mut id = 0u32;
            if heif_image_handle_get_list_of_metadata_block_IDs(self.handle.0, kind.as_ptr(), &mut id, 1) < 1 {
                return None;
            }
            let size = heif_image_handle_get_metadata_size(self.handle.0, id);
            let mut block = vec![0u8; size.min(16 << 20)];
            let whole = size == block.len() && size > 0;
            (whole && heif_image_handle_get_metadata(self.handle.0, id, block.as_mut_ptr().cast()).result().is_ok()).then_some(block)
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
