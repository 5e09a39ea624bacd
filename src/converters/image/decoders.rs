//! The decoders that share the interface of the `image` crate.

use crate::format::Format;
use image::{ImageDecoder, ImageFormat, ImageResult};
use jxl_oxide::JxlImage;
use jxl_oxide::integration::JxlDecoder;
use std::io::Cursor;

/// What the `image` crate itself reads.
pub fn plain_format(format: Format) -> Option<ImageFormat> {
    Some(match format.id() {
        "png" | "apng" => ImageFormat::Png,
        "gif" => ImageFormat::Gif,
        "tiff" => ImageFormat::Tiff,
        "bmp" => ImageFormat::Bmp,
        "ico" => ImageFormat::Ico,
        "qoi" => ImageFormat::Qoi,
        "pnm" => ImageFormat::Pnm,
        "tga" => ImageFormat::Tga,
        "webp" => ImageFormat::WebP,
        "hdr" => ImageFormat::Hdr,
        "exr" => ImageFormat::OpenExr,
        "dds" => ImageFormat::Dds,
        _ => return None,
    })
}

/// Bounds the decoder's own memory, which compressed metadata could fill.
pub fn limits(most: u64) -> image::Limits {
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(most);
    limits
}

pub fn plain(bytes: &[u8], format: ImageFormat, most: u64) -> ImageResult<impl ImageDecoder + '_> {
    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits(most));
    reader.into_decoder()
}

pub fn jxl(bytes: &[u8], most: u64) -> ImageResult<impl ImageDecoder + '_> {
    let mut decoder = JxlDecoder::new(Cursor::new(bytes))?;
    decoder.set_limits(limits(most))?;
    Ok(decoder)
}

/// Whether a file is there to its end; the decoder makes a picture of half a one, too.
pub fn jxl_is_whole(bytes: &[u8]) -> bool {
    JxlImage::builder().read(Cursor::new(bytes)).is_ok_and(|image| image.is_loading_done())
}
