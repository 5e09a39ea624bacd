//! Opens a file by the demuxer of its sniffed format and holds what its headers claim against the limits.

use super::containers::demuxers;
use super::ffi::{self, Chapter, Facts, Kind};
use super::{SECOND_US, fault};
use crate::convert::{Ctx, Input};
use crate::failure::Failure;
use crate::format::Format;
use ffmpeg_next::{Dictionary, format::context};
use std::io::Read;

/// A film of which less is there is not the film.
pub const LEAST_SHARE: f64 = 0.97;

/// What is done with a file that breaks off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Care {
    /// It is refused.
    #[default]
    Whole,
    /// What is there is kept.
    Salvage,
}

impl Care {
    pub fn of(salvage: bool) -> Care {
        if salvage { Care::Salvage } else { Care::Whole }
    }
}

/// An open file.
pub struct Source {
    origin: Input,
    pub care: Care,
    pub input: context::Input,
    pub streams: Vec<Facts>,
    /// Where the file's own clock begins.
    pub start_us: i64,
    pub duration_us: Option<i64>,
    /// The duration is only what size and bit rate suggest.
    pub guessed: bool,
    /// How far before the wanted place a search begins, where the demuxer only guesses where keyframes are.
    margin_us: i64,
    /// Its tracks of sound say to the sample where they end.
    exact_ends: bool,
    /// The share of its bytes that is there, where it says how many there should be.
    pub there: Option<f64>,
}

/// The bytes of the first picture beside the film or sound.
pub fn cover(ctx: &Ctx, input: &Input) -> Result<Option<Vec<u8>>, Failure> {
    let source = open(ctx, input)?;
    let packet = source.streams.iter().filter(|stream| stream.still).find_map(|stream| ffi::attached_picture(&source.input, stream.index));
    Ok(packet.and_then(|packet| packet.data().map(<[u8]>::to_vec)))
}

pub fn open(ctx: &Ctx, input: &Input) -> Result<Source, Failure> {
    open_as(ctx, input, Care::Whole)
}

pub fn open_as(ctx: &Ctx, input: &Input, care: Care) -> Result<Source, Failure> {
    ffi::load().map_err(Failure::internal)?;
    ffi::catch_log();
    ctx.check()?;
    let (name, script) = (input.format.name(), is_script(input.format));
    if input.size_bytes == 0 {
        return Err(Failure::corrupt("The file is empty.").stage("open"));
    }
    let there = riff_share(input, care)?;
    let path = input.path.to_str().ok_or_else(|| Failure::internal("the path of the input is not UTF-8"))?;
    let mut opened = Err(ffmpeg_next::Error::DemuxerNotFound);
    for demuxer in demuxers(input.format) {
        let mut options = Dictionary::new();
        options.set("protocol_whitelist", "file");
        options.set("format_whitelist", demuxer_names(demuxer));
        options.set("max_streams", "200");
        opened = ffi::open_input(&format!("file:{path}"), demuxer, options);
        if opened.as_ref().is_ok_and(|i| (0..i.nb_streams() as usize).any(|n| ffi::facts(i, n).is_some_and(|f| usable(&f, script)))) {
            break;
        }
    }
    let opened = opened.map_err(|e| fault::opening(ctx, input, e))?;
    let streams: Vec<Facts> = (0..opened.nb_streams() as usize).filter_map(|n| ffi::facts(&opened, n)).collect();
    if !streams.iter().any(|facts| usable(facts, script)) {
        return Err(Failure::corrupt(format!("There is neither picture nor sound in this {name} file.")).stage("open"));
    }
    let (start, duration, guessed) = ffi::times(&opened);
    let exact_ends = matches!(input.format.id(), "mp4" | "mov" | "m4a" | "3gp");
    let margin_us = if matches!(input.format.id(), "ts" | "mpg") { 10 * SECOND_US } else { 0 };
    let source = Source {
        origin: input.clone(),
        care,
        input: opened,
        streams,
        // The times of a script count from the start of the film that it was written for.
        start_us: start.filter(|_| !script).unwrap_or(0),
        duration_us: duration,
        guessed,
        margin_us,
        exact_ends,
        there,
    };
    source.check(ctx)?;
    Ok(source)
}

/// How much is there of a RIFF file (AVI, WAV) shorter than its own first line says: FFmpeg takes it as if that were all.
fn riff_share(input: &Input, care: Care) -> Result<Option<f64>, Failure> {
    let mut head = [0; 8];
    let read = std::fs::File::open(&input.path).and_then(|mut file| file.read_exact(&mut head));
    let claimed = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])) + 8;
    // Writers to a pipe do not know the size, and a few bytes of padding are forgotten by many.
    let unknown = claimed <= 8 || claimed > u64::from(u32::MAX);
    if read.is_err() || !head.starts_with(b"RIFF") || unknown || claimed <= input.size_bytes + 16 {
        return Ok(None);
    }
    let share = input.size_bytes as f64 / claimed as f64;
    if care == Care::Whole && share < LEAST_SHARE {
        let message = format!("The file is cut off: {} of {claimed} bytes are there.", input.size_bytes);
        return Err(fault::broken(message).stage("open"));
    }
    Ok(Some(share))
}

/// A file of nothing but subtitles.
pub fn is_script(format: Format) -> bool {
    matches!(format.id(), "srt" | "vtt" | "ass")
}

/// A stream that something can be made of.
fn usable(facts: &Facts, script: bool) -> bool {
    match facts.kind {
        Kind::Video => facts.width > 0,
        Kind::Audio => facts.sample_rate > 0,
        Kind::Subtitle => script,
        _ => false,
    }
}

/// A demuxer's full name is what the whitelist compares with.
fn demuxer_names(demuxer: &str) -> &str {
    match demuxer {
        "mov" => "mov,mp4,m4a,3gp,3g2,mj2",
        "matroska" => "matroska,webm",
        other => other,
    }
}

impl Source {
    /// The same file once more, from its beginning.
    pub fn again(&self, ctx: &Ctx) -> Result<Source, Failure> {
        open_as(ctx, &self.origin, self.care)
    }

    /// Refuses what is too long or too large, before anything is decoded.
    fn check(&self, ctx: &Ctx) -> Result<(), Failure> {
        let longest = ctx.limits.media_duration_max;
        if let Some(us) = self.duration_us.filter(|us| !self.guessed && *us / 1000 > longest.as_millis() as i64) {
            let hours = us / (3600 * SECOND_US);
            return Err(Failure::limit(format!("The file says it is {hours} hours long; at most {longest} are allowed.")).stage("open"));
        }
        for stream in self.streams.iter().filter(|s| s.kind == Kind::Video) {
            if u64::from(stream.width) * u64::from(stream.height) > ctx.limits.frame_pixels_max {
                let (w, h, most) = (stream.width, stream.height, ctx.limits.frame_pixels_max / 1_000_000);
                return Err(Failure::limit(format!("The picture is {w} x {h}; at most {most} megapixels are allowed.")).stage("open"));
            }
        }
        Ok(())
    }

    /// Everything that moves; cover art does not.
    pub fn pictures(&self) -> Vec<&Facts> {
        self.streams.iter().filter(|s| s.kind == Kind::Video && !s.still && s.width > 0 && s.height > 0).collect()
    }

    /// The film's picture.
    pub fn picture(&self) -> Option<&Facts> {
        let films = || self.pictures().into_iter();
        films().find(|s| s.default).or_else(|| films().max_by_key(|s| u64::from(s.width) * u64::from(s.height)))
    }

    /// The tracks of sound, the default one first.
    pub fn sounds(&self) -> Vec<&Facts> {
        let mut found: Vec<&Facts> = self.streams.iter().filter(|s| s.kind == Kind::Audio && s.sample_rate > 0 && s.channels > 0).collect();
        found.sort_by_key(|s| !s.default);
        found
    }

    /// The tracks of subtitles, the default one first.
    pub fn subtitles(&self) -> Vec<&Facts> {
        let mut found: Vec<&Facts> = self.streams.iter().filter(|s| s.kind == Kind::Subtitle).collect();
        found.sort_by_key(|s| !s.default);
        found
    }

    /// Where a track of sound ends by the word of a container that cuts to the sample; what is decoded beyond is padding.
    pub fn sound_end_us(&self, index: usize) -> Option<i64> {
        let facts = self.streams.get(index).filter(|_| self.exact_ends)?;
        let us = |t: i64| ffmpeg_next::Rescale::rescale(&t, facts.time_base, (1, SECOND_US as i32));
        Some(us(facts.start?) + us(facts.duration?) - self.start_us)
    }

    /// Whether every picture has its own time and a search ends at one that stands for itself.
    pub fn times_pictures(&self) -> bool {
        matches!(self.origin.format.id(), "mp4" | "mov" | "3gp" | "mkv" | "webm")
    }

    /// How long these streams say they are; none when it is not known well.
    pub fn claimed_us(&self, streams: &[usize]) -> Option<i64> {
        if self.guessed || self.jumps() {
            return None;
        }
        let one = |index: &usize| {
            let facts = self.streams.get(*index)?;
            let us = |t: i64| ffmpeg_next::Rescale::rescale(&t, facts.time_base, (1, SECOND_US as i32));
            Some(us(facts.start?) + us(facts.duration?) - self.start_us)
        };
        let known: Option<Vec<i64>> = streams.iter().map(one).collect();
        // Matroska says where it ends, not how long that is from where it begins.
        let late = if matches!(self.origin.format.id(), "mkv" | "webm" | "mka") { self.start_us.max(0) } else { 0 };
        known.and_then(|all| all.into_iter().max()).or(self.duration_us.map(|us| us - late)).filter(|us| *us > 0)
    }

    /// Its chapters, in its own time.
    pub fn chapters(&self) -> Vec<Chapter> {
        let own = |chapter: Chapter| Chapter { start_us: chapter.start_us - self.start_us, end_us: chapter.end_us - self.start_us, ..chapter };
        ffi::chapters(&self.input).into_iter().map(own).collect()
    }

    /// Whether its clock may jump on the way, as that of a recorded broadcast does.
    pub fn jumps(&self) -> bool {
        self.margin_us > 0
    }

    /// Moves to the last keyframe at or before `at_us` of the film's own time. Some demuxers cannot; then it stays where it is.
    pub fn seek(&mut self, at_us: i64) -> bool {
        if self.margin_us > 0 && at_us <= self.margin_us {
            return ffi::rewind(&mut self.input);
        }
        let target = self.start_us.saturating_add(at_us - self.margin_us);
        self.input.seek(target, ..target.saturating_add(1)).is_ok()
    }
}
