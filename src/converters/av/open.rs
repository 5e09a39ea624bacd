//! Opens a file by the demuxer of its sniffed format and holds what its headers claim against the limits.

use super::containers::demuxers;
use super::ffi::{self, Facts, Kind};
use super::{SECOND_US, fault};
use crate::convert::{Ctx, Input};
use crate::failure::Failure;
use ffmpeg_next::{Dictionary, format::context};

/// An open file.
pub struct Source {
    pub input: context::Input,
    pub streams: Vec<Facts>,
    /// Where the file's own clock begins.
    pub start_us: i64,
    pub duration_us: Option<i64>,
    /// The duration is only what size and bit rate suggest.
    pub guessed: bool,
}

pub fn open(ctx: &Ctx, input: &Input) -> Result<Source, Failure> {
    ffi::catch_log();
    ctx.check()?;
    let name = input.format.name();
    if input.size_bytes == 0 {
        return Err(Failure::corrupt("The file is empty.").stage("open"));
    }
    let path = input.path.to_str().ok_or_else(|| Failure::internal("the path of the input is not UTF-8"))?;
    let mut opened = Err(ffmpeg_next::Error::DemuxerNotFound);
    for demuxer in demuxers(input.format) {
        let mut options = Dictionary::new();
        options.set("protocol_whitelist", "file");
        options.set("format_whitelist", demuxer_names(demuxer));
        options.set("max_streams", "200");
        opened = ffi::open_input(&format!("file:{path}"), demuxer, options);
        if opened.as_ref().is_ok_and(|i| (0..i.nb_streams() as usize).any(|n| ffi::facts(i, n).is_some_and(|f| usable(&f)))) {
            break;
        }
    }
    let opened = opened.map_err(|e| fault::opening(ctx, input, e))?;
    let streams: Vec<Facts> = (0..opened.nb_streams() as usize).filter_map(|n| ffi::facts(&opened, n)).collect();
    if !streams.iter().any(|s| matches!(s.kind, Kind::Video | Kind::Audio)) {
        return Err(Failure::corrupt(format!("There is neither picture nor sound in this {name} file.")).stage("open"));
    }
    let (start, duration, guessed) = ffi::times(&opened);
    let source = Source { input: opened, streams, start_us: start.unwrap_or(0), duration_us: duration, guessed };
    source.check(ctx)?;
    Ok(source)
}

/// A stream that something can be made of.
fn usable(facts: &Facts) -> bool {
    match facts.kind {
        Kind::Video => facts.width > 0,
        Kind::Audio => facts.sample_rate > 0,
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

    /// The film's picture; cover art is none.
    pub fn picture(&self) -> Option<&Facts> {
        let films = || self.streams.iter().filter(|s| s.kind == Kind::Video && !s.still && s.width > 0 && s.height > 0);
        films().find(|s| s.default).or_else(|| films().max_by_key(|s| u64::from(s.width) * u64::from(s.height)))
    }

    /// The tracks of sound, the default one first.
    pub fn sounds(&self) -> Vec<&Facts> {
        let mut found: Vec<&Facts> = self.streams.iter().filter(|s| s.kind == Kind::Audio && s.sample_rate > 0 && s.channels > 0).collect();
        found.sort_by_key(|s| !s.default);
        found
    }

    /// How long these streams say they are; none when it is not known well.
    pub fn claimed_us(&self, streams: &[usize]) -> Option<i64> {
        if self.guessed {
            return None;
        }
        let one = |index: &usize| {
            let facts = self.streams.get(*index)?;
            let us = |t: i64| ffmpeg_next::Rescale::rescale(&t, facts.time_base, (1, SECOND_US as i32));
            Some(us(facts.start?) + us(facts.duration?) - self.start_us)
        };
        let known: Option<Vec<i64>> = streams.iter().map(one).collect();
        known.and_then(|all| all.into_iter().max()).or(self.duration_us).filter(|us| *us > 0)
    }

    /// Moves to the last keyframe at or before `at_us` of the film's own time. Some demuxers cannot; then it stays where it is.
    pub fn seek(&mut self, at_us: i64) -> bool {
        let target = self.start_us.saturating_add(at_us);
        self.input.seek(target, ..target.saturating_add(1)).is_ok()
    }
}
