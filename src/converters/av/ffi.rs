//! What the safe binding of FFmpeg lacks, and what it does not do safely with hostile files: texts that are not UTF-8,
//! numbers outside of their enumerations. This and its folder hold all the `unsafe` of the two families.
#![allow(unsafe_code)]

mod coding;
mod headers;
mod library;
mod log;
mod output;
mod words;

pub use coding::*;
pub use headers::{delay, headers};
pub use library::load;
pub use log::{catch_log, take_words};
pub use output::*;
pub use words::Scribe;

use ffmpeg_next::codec::Parameters;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, ffi};
use libc::{c_char, c_int, c_void};
use std::ffi::{CStr, CString};
use std::ptr::{addr_of, null_mut};

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Video,
    Audio,
    Subtitle,
    Attachment,
    Data,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Video => "video",
            Kind::Audio => "audio",
            Kind::Subtitle => "subtitle",
            Kind::Attachment => "attachment",
            Kind::Data => "data",
        }
    }
}

/// Colour tags by their numbers in ISO/IEC 23091-4; 2 is "unspecified", of the range 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    pub range: i32,
    pub primaries: i32,
    pub transfer: i32,
    pub matrix: i32,
}

/// What the headers say of a stream.
#[derive(Debug, Clone)]
pub struct Facts {
    pub index: usize,
    pub kind: Kind,
    /// FFmpeg's name of the codec.
    pub codec: String,
    /// A picture beside the film: cover art.
    pub still: bool,
    pub default: bool,
    pub bit_rate: u64,
    pub width: u32,
    pub height: u32,
    /// FFmpeg's name of the pixel format.
    pub pixels: String,
    /// Width to height of one pixel; 1:1 when unknown.
    pub aspect: (i32, i32),
    pub colour: Colour,
    /// Each frame is two half ones, of two moments.
    pub interlaced: bool,
    /// Frames that are stored out of order.
    pub reordered: bool,
    pub frame_rate: Option<Rational>,
    pub average_rate: Option<Rational>,
    pub time_base: Rational,
    pub start: Option<i64>,
    pub duration: Option<i64>,
    pub frames: u64,
    /// The matrix that turns the picture upright, as it stands in the container.
    pub matrix: Option<[i32; 9]>,
    pub sample_rate: u32,
    pub channels: u32,
    /// Bits of a sample that count, of lossless sound.
    pub bits: u32,
    pub tags: Vec<(String, String)>,
}

impl Facts {
    /// As the file writes it, if it says.
    pub fn language(&self) -> Option<&str> {
        self.tags.iter().find(|(key, value)| key == "language" && value != "und").map(|(_, value)| value.as_str())
    }
}

fn cstring(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::InvalidData)
}

/// Opens and looks at the streams. The demuxer is given, never guessed: a playlist does not open as a film.
pub fn open_input(url: &str, demuxer: &str, options: Dictionary) -> Result<Input, Error> {
    let (url, demuxer) = (cstring(url)?, cstring(demuxer)?);
    // SAFETY: all texts outlive the calls; the dictionary is given up by its owner and taken back at once; the context is
    // owned by `Input` as soon as it exists, and FFmpeg frees it itself when opening fails.
    unsafe {
        let format = ffi::av_find_input_format(demuxer.as_ptr());
        if format.is_null() {
            return Err(Error::DemuxerNotFound);
        }
        let (mut context, mut options) = (null_mut(), options.disown());
        let opened = ffi::avformat_open_input(&mut context, url.as_ptr(), format, &mut options);
        drop(Dictionary::own(options));
        if opened < 0 {
            return Err(Error::from(opened));
        }
        let input = Input::wrap(context);
        match ffi::avformat_find_stream_info(context, null_mut()) {
            found if found < 0 => Err(Error::from(found)),
            _ => Ok(input),
        }
    }
}

/// When the file's clock starts, and how long it runs, in microseconds; whether that was only guessed from the bit rate.
pub fn times(input: &Input) -> (Option<i64>, Option<i64>, bool) {
    let known = |t: i64| (t != ffi::AV_NOPTS_VALUE).then_some(t);
    // SAFETY: the context lives as long as `input`; the method is read as a number.
    unsafe {
        let context = input.as_ptr();
        let method = addr_of!((*context).duration_estimation_method).cast::<u32>().read();
        (known((*context).start_time), known((*context).duration).filter(|d| *d > 0), method == 2)
    }
}

/// Goes back to the first byte, for formats without an index.
pub fn rewind(input: &mut Input) -> bool {
    // SAFETY: the context is owned.
    unsafe { ffi::av_seek_frame(input.as_mut_ptr(), -1, 0, ffi::AVSEEK_FLAG_BYTE as c_int) >= 0 }
}

/// The headers' view of stream `index`.
pub fn facts(input: &Input, index: usize) -> Option<Facts> {
    let stream = input.stream(index)?;
    let known = |t: i64| (t != ffi::AV_NOPTS_VALUE).then_some(t);
    let rate = |r: ffi::AVRational| (r.num > 0 && r.den > 0).then(|| Rational::new(r.num, r.den));
    // SAFETY: stream and parameters live as long as `input`; enumerations are read as plain numbers, the pixel
    // format only within its range; names are static texts.
    unsafe {
        let raw = stream.as_ptr();
        let par = (*raw).codecpar;
        let number = |at: *const c_void| at.cast::<c_int>().read();
        let kind = match number(addr_of!((*par).codec_type).cast()) {
            0 => Kind::Video,
            1 => Kind::Audio,
            3 => Kind::Subtitle,
            4 => Kind::Attachment,
            _ => Kind::Data,
        };
        let sar = [(*raw).sample_aspect_ratio, (*par).sample_aspect_ratio].into_iter().find(|r| r.num > 0 && r.den > 0);
        let pixels = match (*par).format {
            format if kind == Kind::Video && (0..ffi::AVPixelFormat::AV_PIX_FMT_NB as c_int).contains(&format) => {
                text(ffi::av_get_pix_fmt_name(std::mem::transmute::<c_int, ffi::AVPixelFormat>(format)))
            }
            _ => String::new(),
        };
        let guess = ffi::av_guess_frame_rate(input.as_ptr().cast_mut(), raw.cast_mut(), null_mut());
        Some(Facts {
            index,
            kind,
            codec: text(ffi::avcodec_get_name((*par).codec_id)),
            still: (*raw).disposition & (ffi::AV_DISPOSITION_ATTACHED_PIC | ffi::AV_DISPOSITION_TIMED_THUMBNAILS) != 0,
            default: (*raw).disposition & ffi::AV_DISPOSITION_DEFAULT != 0,
            bit_rate: (*par).bit_rate.max(0) as u64,
            width: (*par).width.max(0) as u32,
            height: (*par).height.max(0) as u32,
            pixels,
            aspect: sar.map_or((1, 1), |r| (r.num, r.den)),
            colour: Colour {
                range: number(addr_of!((*par).color_range).cast()),
                primaries: number(addr_of!((*par).color_primaries).cast()),
                transfer: number(addr_of!((*par).color_trc).cast()),
                matrix: number(addr_of!((*par).color_space).cast()),
            },
            // AV_FIELD_UNKNOWN is 0 and AV_FIELD_PROGRESSIVE 1.
            interlaced: kind == Kind::Video && number(addr_of!((*par).field_order).cast()) > 1,
            reordered: (*par).video_delay > 0,
            frame_rate: rate(guess),
            average_rate: rate((*raw).avg_frame_rate),
            time_base: stream.time_base(),
            start: known((*raw).start_time),
            duration: known((*raw).duration).filter(|d| *d > 0),
            frames: (*raw).nb_frames.max(0) as u64,
            matrix: matrix(raw),
            sample_rate: (*par).sample_rate.max(0) as u32,
            channels: (*par).ch_layout.nb_channels.max(0) as u32,
            bits: match (text(ffi::avcodec_get_name((*par).codec_id)), (*par).bits_per_raw_sample) {
                (codec, 0) if codec.starts_with("pcm_") => (*par).bits_per_coded_sample.max(0) as u32,
                (_, raw) => raw.max(0) as u32,
            },
            tags: pairs((*raw).metadata),
        })
    }
}

/// # Safety
/// `stream` is valid.
unsafe fn matrix(stream: *const ffi::AVStream) -> Option<[i32; 9]> {
    let mut size = 0;
    // SAFETY: the side data has `size` bytes and belongs to the stream.
    unsafe {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
        let data = ffi::av_stream_get_side_data(stream, kind, &mut size);
        (!data.is_null() && size >= 36).then(|| std::array::from_fn(|i| data.cast::<i32>().add(i).read_unaligned()))
    }
}

/// # Safety
/// `at` is null or a text that ends with NUL.
unsafe fn text(at: *const c_char) -> String {
    // SAFETY: as promised by the caller.
    if at.is_null() { String::new() } else { unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned() }
}

/// # Safety
/// `dictionary` is null or valid.
unsafe fn pairs(dictionary: *const ffi::AVDictionary) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut entry = null_mut();
    loop {
        // SAFETY: the dictionary is not changed meanwhile; each entry is only used before the next is asked for.
        unsafe {
            entry = ffi::av_dict_get(dictionary, c"".as_ptr(), entry, ffi::AV_DICT_IGNORE_SUFFIX);
            if entry.is_null() || found.len() >= 200 {
                return found;
            }
            found.push((text((*entry).key), text((*entry).value)));
        }
    }
}

/// The file's own tags.
pub fn tags(input: &Input) -> Vec<(String, String)> {
    // SAFETY: the dictionary lives as long as `input`.
    unsafe { pairs((*input.as_ptr()).metadata) }
}

/// A chapter, in microseconds of the file's clock.
pub struct Chapter {
    pub start_us: i64,
    pub end_us: i64,
    pub title: String,
}

pub fn chapters(input: &Input) -> Vec<Chapter> {
    // SAFETY: FFmpeg keeps `nb_chapters` valid entries.
    unsafe {
        let context = input.as_ptr();
        let all = 0..(*context).nb_chapters.min(1000) as usize;
        all.map(|i| {
            let chapter = *(*context).chapters.add(i);
            let us = |t: i64| ffi::av_rescale_q(t, (*chapter).time_base, ffi::AVRational { num: 1, den: 1_000_000 });
            let title = pairs((*chapter).metadata).into_iter().find(|(key, _)| key.eq_ignore_ascii_case("title"));
            Chapter { start_us: us((*chapter).start), end_us: us((*chapter).end), title: title.map(|t| t.1).unwrap_or_default() }
        })
        .collect()
    }
}

/// The picture that stream `index` is, of a stream that is one picture beside the sound.
pub fn attached_picture(input: &Input, index: usize) -> Option<Packet> {
    let stream = input.stream(index)?;
    // SAFETY: stream and packet live as long as `input`; the bytes are copied.
    unsafe {
        let picture = addr_of!((*stream.as_ptr()).attached_pic);
        let (at, size) = ((*picture).data, (*picture).size);
        (!at.is_null() && size > 0).then(|| Packet::copy(std::slice::from_raw_parts(at, size as usize)))
    }
}

/// A dictionary of tags; texts with NUL are left out.
pub fn dictionary(tags: &[(String, String)]) -> Dictionary<'static> {
    let mut dictionary = Dictionary::new();
    for (key, value) in tags.iter().filter(|(key, value)| !key.contains('\0') && !value.contains('\0')) {
        dictionary.set(key, value);
    }
    dictionary
}

/// The parameters of a stream.
pub fn parameters(input: &Input, index: usize) -> Option<Parameters> {
    input.stream(index).map(|s| s.parameters())
}
