//! JPEG XL: read by a decoder in safe code, written by libjxl, loaded when it is first needed.
#![allow(unsafe_code)] // There is no binding with a permissive licence for this version of the library.

use super::metadata::Metadata;
use crate::converters::lazy;
use crate::failure::Failure;
use image::DynamicImage;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

const SUCCESS: c_int = 0;
const MORE_OUTPUT: c_int = 2;
const EFFORT: c_int = 0;
const UINT8: c_int = 2;
const UINT16: c_int = 3;
const NATIVE_ENDIAN: c_int = 0;
/// Bytes of output made room for at a time.
const STEP: usize = 64 * 1024;

#[repr(C)]
struct BasicInfo {
    have_container: c_int,
    xsize: u32,
    ysize: u32,
    bits_per_sample: u32,
    exponent_bits_per_sample: u32,
    intensity_target: f32,
    min_nits: f32,
    relative_to_max_display: c_int,
    linear_below: f32,
    uses_original_profile: c_int,
    have_preview: c_int,
    have_animation: c_int,
    orientation: c_int,
    num_color_channels: u32,
    num_extra_channels: u32,
    alpha_bits: u32,
    alpha_exponent_bits: u32,
    alpha_premultiplied: c_int,
    preview: [u32; 2],
    animation: [u32; 4],
    intrinsic_size: [u32; 2],
    padding: [u8; 100],
}

/// Filled and read by the library alone.
#[repr(C, align(8))]
struct ColorEncoding([u8; 256]);

#[repr(C)]
struct PixelFormat {
    num_channels: u32,
    data_type: c_int,
    endianness: c_int,
    align: usize,
}

lazy::functions! {
    millrace_jxl:
    JxlEncoderCreate JxlEncoderDestroy JxlEncoderInitBasicInfo JxlEncoderSetBasicInfo JxlEncoderSetICCProfile
    JxlEncoderSetColorEncoding JxlColorEncodingSetToSRGB JxlEncoderUseContainer JxlEncoderUseBoxes JxlEncoderAddBox
    JxlEncoderFrameSettingsCreate JxlEncoderFrameSettingsSetOption JxlEncoderSetFrameDistance JxlEncoderSetFrameLossless
    JxlEncoderAddImageFrame JxlEncoderCloseInput JxlEncoderProcessOutput
}

unsafe extern "C" {
    fn JxlEncoderCreate(memory: *const c_void) -> *mut c_void;
    fn JxlEncoderDestroy(encoder: *mut c_void);
    fn JxlEncoderInitBasicInfo(info: *mut BasicInfo);
    fn JxlEncoderSetBasicInfo(encoder: *mut c_void, info: *const BasicInfo) -> c_int;
    fn JxlEncoderSetICCProfile(encoder: *mut c_void, profile: *const u8, size: usize) -> c_int;
    fn JxlEncoderSetColorEncoding(encoder: *mut c_void, encoding: *const ColorEncoding) -> c_int;
    fn JxlColorEncodingSetToSRGB(encoding: *mut ColorEncoding, grey: c_int);
    fn JxlEncoderUseContainer(encoder: *mut c_void, on: c_int) -> c_int;
    fn JxlEncoderUseBoxes(encoder: *mut c_void) -> c_int;
    fn JxlEncoderAddBox(encoder: *mut c_void, kind: *const c_char, bytes: *const u8, size: usize, compress: c_int) -> c_int;
    fn JxlEncoderFrameSettingsCreate(encoder: *mut c_void, source: *const c_void) -> *mut c_void;
    fn JxlEncoderFrameSettingsSetOption(settings: *mut c_void, option: c_int, value: i64) -> c_int;
    fn JxlEncoderSetFrameDistance(settings: *mut c_void, distance: f32) -> c_int;
    fn JxlEncoderSetFrameLossless(settings: *mut c_void, on: c_int) -> c_int;
    fn JxlEncoderAddImageFrame(settings: *const c_void, format: *const PixelFormat, pixels: *const c_void, size: usize) -> c_int;
    fn JxlEncoderCloseInput(encoder: *mut c_void);
    fn JxlEncoderProcessOutput(encoder: *mut c_void, next: *mut *mut u8, room: *mut usize) -> c_int;
}

/// Loads the library, once.
pub fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    // SAFETY: the table is made above, next to its names, and is not written but through its atomics.
    LOADED.get_or_init(|| lazy::fill(unsafe { &millrace_jxl }, NAMES, &["libjxl.so.0.7".into()])).clone()
}

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub quality: u8,
    pub lossless: bool,
    /// 1 to 9, as the library counts.
    pub effort: u8,
}

impl Settings {
    /// The distance to the original in units of what is just seen, as the library's own tools translate quality.
    fn distance(&self) -> f32 {
        let quality = f32::from(self.quality);
        match self.quality {
            100 => 0.05,
            30.. => 0.1 + (100.0 - quality) * 0.09,
            _ => 53.0 / 3000.0 * quality * quality - 23.0 / 20.0 * quality + 25.0,
        }
    }
}

struct Encoder(*mut c_void);

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by the library, destroyed once.
        unsafe { JxlEncoderDestroy(self.0) }
    }
}

fn done(status: c_int) -> Result<(), Failure> {
    if status == SUCCESS { Ok(()) } else { Err(Failure::internal(format!("libjxl answered {status}"))) }
}

/// Pixels as the library takes them.
struct Pixels {
    bytes: Vec<u8>,
    channels: u32,
    bits: u32,
}

fn pixels(image: &DynamicImage) -> Pixels {
    let colour = image.color();
    let (channels, bits) = (u32::from(colour.channel_count()), if colour.bytes_per_pixel() > colour.channel_count() { 16 } else { 8 });
    match image {
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => {
            Pixels { bytes: DynamicImage::from(image.to_rgba16()).into_bytes(), channels: 4, bits: 16 }
        }
        other => Pixels { bytes: other.as_bytes().to_vec(), channels, bits },
    }
}

pub fn encode(image: &DynamicImage, settings: &Settings, metadata: &Metadata) -> Result<Vec<u8>, Failure> {
    load().map_err(Failure::internal)?;
    let pixels = pixels(image);
    let (grey, alpha) = (pixels.channels <= 2, pixels.channels.is_multiple_of(2));
    // SAFETY: structures have the layout of the library's headers (0.7); what it is given outlives the calls, which copy it; the
    // output is written within the room told.
    unsafe {
        let encoder = Encoder(JxlEncoderCreate(ptr::null()));
        if encoder.0.is_null() {
            return Err(Failure::internal("libjxl gave no encoder"));
        }
        let mut info = std::mem::zeroed::<BasicInfo>();
        JxlEncoderInitBasicInfo(&mut info);
        (info.xsize, info.ysize, info.bits_per_sample) = (image.width(), image.height(), pixels.bits);
        info.num_color_channels = if grey { 1 } else { 3 };
        info.uses_original_profile = c_int::from(settings.lossless);
        if alpha {
            (info.num_extra_channels, info.alpha_bits) = (1, pixels.bits);
        }
        let boxes = [(c"Exif", metadata.exif.as_ref().map(|exif| [&[0; 4], exif.as_slice()].concat())), (c"xml ", metadata.xmp.clone())];
        if boxes.iter().any(|(_, content)| content.is_some()) {
            done(JxlEncoderUseContainer(encoder.0, 1))?;
            done(JxlEncoderUseBoxes(encoder.0))?;
        }
        done(JxlEncoderSetBasicInfo(encoder.0, &info))?;
        match &metadata.icc {
            Some(icc) => done(JxlEncoderSetICCProfile(encoder.0, icc.as_ptr(), icc.len()))?,
            None => {
                let mut srgb = ColorEncoding([0; 256]);
                JxlColorEncodingSetToSRGB(&mut srgb, c_int::from(grey));
                done(JxlEncoderSetColorEncoding(encoder.0, &srgb))?;
            }
        }
        for (kind, content) in &boxes {
            if let Some(content) = content {
                done(JxlEncoderAddBox(encoder.0, kind.as_ptr(), content.as_ptr(), content.len(), 0))?;
            }
        }
        let frame = JxlEncoderFrameSettingsCreate(encoder.0, ptr::null());
        done(JxlEncoderFrameSettingsSetOption(frame, EFFORT, i64::from(settings.effort.clamp(1, 9))))?;
        if settings.lossless {
            done(JxlEncoderSetFrameLossless(frame, 1))?;
        } else {
            done(JxlEncoderSetFrameDistance(frame, settings.distance()))?;
        }
        let kind = if pixels.bits == 16 { UINT16 } else { UINT8 };
        let format = PixelFormat { num_channels: pixels.channels, data_type: kind, endianness: NATIVE_ENDIAN, align: 0 };
        done(JxlEncoderAddImageFrame(frame, &format, pixels.bytes.as_ptr().cast(), pixels.bytes.len()))?;
        JxlEncoderCloseInput(encoder.0);
        let (mut out, mut step) = (Vec::new(), vec![0u8; STEP]);
        loop {
            let (mut next, mut room) = (step.as_mut_ptr(), step.len());
            let status = JxlEncoderProcessOutput(encoder.0, &mut next, &mut room);
            out.extend_from_slice(step.get(..step.len() - room).unwrap_or_default());
            if status != MORE_OUTPUT {
                return done(status).map(|()| out);
            }
        }
    }
}
