//! WebP through libwebp.
#![allow(unsafe_code)] // libwebp has no safe binding that takes planes or makes animations.

use super::picture::Planes;
use crate::failure::Failure;
use image::DynamicImage;
use libwebp_sys as lib;
use std::ffi::c_int;
use std::ptr;

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub quality: u8,
    pub lossless: bool,
    /// 1 to 9.
    pub effort: u8,
    pub threads: bool,
}

/// The largest side the format has room for.
pub const SIDE_MAX: u32 = 16_383;

impl Settings {
    fn config(&self) -> Result<lib::WebPConfig, Failure> {
        let mut config = lib::WebPConfig::new().map_err(|()| Failure::internal("libwebp and its binding differ"))?;
        let method = [0, 1, 2, 3, 4, 4, 5, 5, 6].get(usize::from(self.effort.clamp(1, 9)) - 1).copied().unwrap_or(4);
        config.quality = f32::from(self.quality);
        config.method = method;
        config.thread_level = c_int::from(self.threads);
        if self.lossless {
            config.lossless = 1;
            // For lossless files quality means effort.
            config.quality = (f32::from(self.effort) - 1.0) * 12.5;
            config.exact = 0;
        }
        Ok(config)
    }
}

/// A picture of the library's, freed with us.
struct Picture(lib::WebPPicture);

impl Picture {
    fn new(width: u32, height: u32) -> Result<Picture, Failure> {
        let mut picture = lib::WebPPicture::new().map_err(|()| Failure::internal("libwebp and its binding differ"))?;
        picture.width = side(width)?;
        picture.height = side(height)?;
        Ok(Picture(picture))
    }

    fn of_pixels(image: &DynamicImage, argb: bool) -> Result<Picture, Failure> {
        let mut picture = Picture::new(image.width(), image.height())?;
        picture.0.use_argb = c_int::from(argb);
        let width = picture.0.width;
        // SAFETY: the buffers hold height rows of exactly the strides given; the import copies them.
        let imported = unsafe {
            match image {
                DynamicImage::ImageRgba8(rgba) => lib::WebPPictureImportRGBA(&mut picture.0, rgba.as_ptr(), width * 4),
                DynamicImage::ImageRgb8(rgb) => lib::WebPPictureImportRGB(&mut picture.0, rgb.as_ptr(), width * 3),
                other if other.color().has_alpha() => lib::WebPPictureImportRGBA(&mut picture.0, other.to_rgba8().as_ptr(), width * 4),
                other => lib::WebPPictureImportRGB(&mut picture.0, other.to_rgb8().as_ptr(), width * 3),
            }
        };
        if imported == 0 { Err(out_of_memory()) } else { Ok(picture) }
    }

    fn encode(&mut self, config: &lib::WebPConfig) -> Result<Vec<u8>, Failure> {
        // SAFETY: the writer outlives the call that uses it; its memory is copied out and then released by its own function.
        unsafe {
            let mut writer = std::mem::zeroed::<lib::WebPMemoryWriter>();
            lib::WebPMemoryWriterInit(&mut writer);
            self.0.writer = Some(lib::WebPMemoryWrite);
            self.0.custom_ptr = (&raw mut writer).cast();
            let done = lib::WebPEncode(config, &mut self.0);
            let bytes = if done != 0 && !writer.mem.is_null() { std::slice::from_raw_parts(writer.mem, writer.size).to_vec() } else { Vec::new() };
            lib::WebPMemoryWriterClear(&mut writer);
            self.0.custom_ptr = ptr::null_mut();
            if bytes.is_empty() { Err(Failure::internal(format!("WebPEncode: {:?}", self.0.error_code))) } else { Ok(bytes) }
        }
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: frees only what the library itself allocated for this picture.
        unsafe { lib::WebPPictureFree(&mut self.0) }
    }
}

fn side(length: u32) -> Result<c_int, Failure> {
    match c_int::try_from(length) {
        Ok(length) if (1..=SIDE_MAX as c_int).contains(&length) => Ok(length),
        _ => Err(Failure::limit(format!("WebP has room for at most {SIDE_MAX} pixels a side.")).hint("Give a smaller width or height.")),
    }
}

fn out_of_memory() -> Failure {
    Failure::new(crate::failure::Code::OutOfMemory, "The picture does not fit into the memory this queue allows.")
}

pub fn encode_pixels(image: &DynamicImage, settings: &Settings) -> Result<Vec<u8>, Failure> {
    Picture::of_pixels(image, settings.lossless)?.encode(&settings.config()?)
}

/// Full-range planes in the narrow range of television, which WebP wants.
pub fn narrowed(planes: Planes) -> Planes {
    let narrow = |plane: DynamicImage, table: &[u8; 256]| {
        let mut plane = plane.into_luma8();
        plane.iter_mut().for_each(|v| *v = table.get(usize::from(*v)).copied().unwrap_or(*v));
        DynamicImage::from(plane)
    };
    let luma = std::array::from_fn(|v| (16.5 + v as f32 * 219.0 / 255.0) as u8);
    let chroma = std::array::from_fn(|v| (128.5 + (v as f32 - 128.0) * 224.0 / 255.0) as u8);
    let Planes { luma: y, chroma: colours } = planes.coloured();
    Planes { luma: narrow(y, &luma), chroma: colours.map(|(cb, cr)| (narrow(cb, &chroma), narrow(cr, &chroma))) }
}

/// Encodes planes of the narrow range with chroma halved both ways.
pub fn encode_planes(planes: &Planes, settings: &Settings) -> Result<Vec<u8>, Failure> {
    let (width, height) = planes.size();
    let mut picture = Picture::new(width, height)?;
    let [luma, cb, cr] = planes.all()?;
    if cb.dimensions() != (width.div_ceil(2), height.div_ceil(2)) || cr.dimensions() != cb.dimensions() {
        return Err(Failure::internal("chroma planes of the wrong size"));
    }
    picture.0.use_argb = 0;
    // The encoder only reads them, unless told to clean up what is transparent, of which there is nothing.
    picture.0.y = luma.as_ptr().cast_mut();
    picture.0.u = cb.as_ptr().cast_mut();
    picture.0.v = cr.as_ptr().cast_mut();
    picture.0.y_stride = width as c_int;
    picture.0.uv_stride = width.div_ceil(2) as c_int;
    // The planes are borrowed for longer than this call; freeing the picture leaves memory it did not allocate alone.
    picture.encode(&settings.config()?)
}

/// Decodes a still picture.
pub fn decode(bytes: &[u8], width: u32, height: u32, alpha: bool) -> Result<DynamicImage, Failure> {
    let channels = if alpha { 4 } else { 3 };
    let stride = side(width)? as usize * channels;
    let mut pixels = vec![0; stride * side(height)? as usize];
    // SAFETY: the library checks the size of the buffer it is given against the picture's own dimensions.
    let done = unsafe {
        let into = if alpha { lib::WebPDecodeRGBAInto } else { lib::WebPDecodeRGBInto };
        into(bytes.as_ptr(), bytes.len(), pixels.as_mut_ptr(), pixels.len(), stride as c_int)
    };
    let image = if alpha {
        image::RgbaImage::from_raw(width, height, pixels).map(DynamicImage::from)
    } else {
        image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
    };
    image.filter(|_| !done.is_null()).ok_or_else(|| Failure::corrupt("The WebP picture is damaged or cut off.").stage("decode"))
}

/// Writes an animation frame by frame.
pub struct Animation {
    encoder: *mut lib::WebPAnimEncoder,
    config: lib::WebPConfig,
    at_ms: c_int,
}

impl Animation {
    /// `loops` is the number of times it plays; 0 for ever.
    pub fn new(width: u32, height: u32, loops: u32, settings: &Settings) -> Result<Animation, Failure> {
        let (width, height) = (side(width)?, side(height)?);
        // SAFETY: the options are initialised by the library before they are read; a null encoder is refused below.
        let encoder = unsafe {
            let mut options = std::mem::zeroed::<lib::WebPAnimEncoderOptions>();
            lib::WebPAnimEncoderOptionsInitInternal(&mut options, lib::WEBP_MUX_ABI_VERSION as c_int);
            options.anim_params.loop_count = c_int::try_from(loops.min(65_535)).unwrap_or(0);
            options.allow_mixed = c_int::from(!settings.lossless);
            lib::WebPAnimEncoderNewInternal(width, height, &options, lib::WEBP_MUX_ABI_VERSION as c_int)
        };
        if encoder.is_null() { Err(out_of_memory()) } else { Ok(Animation { encoder, config: settings.config()?, at_ms: 0 }) }
    }

    pub fn add(&mut self, frame: &DynamicImage, delay_ms: u32) -> Result<(), Failure> {
        let mut picture = Picture::of_pixels(frame, true)?;
        // SAFETY: both pointers are alive; the encoder copies what it keeps.
        let added = unsafe { lib::WebPAnimEncoderAdd(self.encoder, &mut picture.0, self.at_ms, &self.config) };
        self.at_ms = self.at_ms.saturating_add(delay_ms.min(1 << 23) as c_int);
        if added == 0 { Err(self.error()) } else { Ok(()) }
    }

    pub fn finish(self) -> Result<Vec<u8>, Failure> {
        // SAFETY: a null frame ends the animation and gives the last frame its delay; the assembled data is copied, then freed.
        unsafe {
            let mut data = lib::WebPData::default();
            let done = lib::WebPAnimEncoderAdd(self.encoder, ptr::null_mut(), self.at_ms, ptr::null()) != 0
                && lib::WebPAnimEncoderAssemble(self.encoder, &mut data) != 0;
            let bytes = if done && !data.bytes.is_null() { std::slice::from_raw_parts(data.bytes, data.size).to_vec() } else { Vec::new() };
            lib::WebPDataClear(&mut data);
            if bytes.is_empty() { Err(self.error()) } else { Ok(bytes) }
        }
    }

    fn error(&self) -> Failure {
        // SAFETY: the library returns a string that lives as long as the encoder.
        let text = unsafe { std::ffi::CStr::from_ptr(lib::WebPAnimEncoderGetError(self.encoder)) };
        Failure::internal(text.to_string_lossy())
    }
}

impl Drop for Animation {
    fn drop(&mut self) {
        // SAFETY: made by the library, deleted once.
        unsafe { lib::WebPAnimEncoderDelete(self.encoder) }
    }
}
