//! Which streams of a film are taken, and whether each is copied or encoded.

use super::part;
use super::transcode::Options;
use crate::convert::{Ctx, Input};
use crate::converters::av::Facts;
use crate::converters::av::containers::Container;
use crate::converters::av::lane::micros;
use crate::converters::av::open::Source;
use crate::converters::av::options::{AudioCodec, Copying, Cover, Streams, Subtitles, Track, VideoOptions};
use crate::converters::av::plan::{Circumstances, Planned};
use crate::converters::av::shaping::Shaping;
use crate::failure::{Code, Failure};
use ffmpeg_next::Packet;

/// What is taken of a film.
pub struct Chosen {
    pub picture: Facts,
    /// The cut at the start is at one.
    at_keyframe: bool,
    /// Tracks of subtitles.
    lines: Vec<Facts>,
    /// The one that is drawn into the picture.
    pub burnt: Option<Facts>,
}

/// What becomes of it.
pub struct Fates {
    pub streams: Vec<Planned>,
    pub covers: Vec<usize>,
    /// What stays out, in words.
    pub left_out: Vec<String>,
}

impl Chosen {
    /// Looks at where the cut falls; the source is to be opened again or sought back then.
    pub fn of(ctx: &Ctx, source: &mut Source, input: &Input, options: &Options) -> Result<Chosen, Failure> {
        let picture = picture(source, input, &options.streams)?;
        let start_us = options.trim.start_us();
        let at_keyframe = start_us > 0 && options.copy != Copying::Never && keyframe_at(ctx, source, picture.index, start_us)?;
        let all = source.subtitles();
        let lines = options.streams.subtitles.as_ref().map_or(Ok(all.clone()), |pick| pick.choose(&all, "subtitles", "streams.subtitles"))?;
        let burnt = burnt(options, &lines)?.cloned();
        Ok(Chosen { picture, at_keyframe, burnt, lines: lines.into_iter().cloned().collect() })
    }

    /// `drawn`: what is drawn over the picture, if anything is.
    pub fn fates(
        &self,
        source: &Source,
        input: &Input,
        options: &Options,
        video: &VideoOptions,
        container: &'static Container,
        drawn: Option<&str>,
    ) -> Result<Fates, Failure> {
        let (cut, at_keyframe, copying) = (options.trim.start_us() > 0, self.at_keyframe, options.copy);
        let at = Circumstances { source, container, copying, from: input.format.id(), cut, at_keyframe };
        let mut streams = vec![Circumstances { copying: part::copying(options), ..at }.video(&self.picture, video, drawn)?];
        if part::is_pictures(options.part) {
            return Ok(Fates { streams, covers: Vec::new(), left_out: Vec::new() });
        }
        let (sounds, mut left_out) = sounds(source, container, options)?;
        let shaping = Shaping { loudness: options.audio.loudness, ..Shaping::default() };
        for index in sounds {
            streams.push(at.audio(&source.streams[index], &options.audio, shaping.wants_encoder())?);
        }
        let (words, left) = at.subtitles(&self.lines.iter().collect::<Vec<_>>(), options.subtitles);
        streams.extend(words);
        left_out.extend(left);
        left_out.extend(at.others(Cover::Keep));
        Ok(Fates { streams, covers: at.covers(Cover::Keep), left_out })
    }
}

/// The picture that is asked for.
pub fn picture(source: &Source, input: &Input, streams: &Streams) -> Result<Facts, Failure> {
    let usual = source.picture().cloned().ok_or_else(|| no_picture(source, input))?;
    let Some(number) = streams.video else { return Ok(usual) };
    Track::Number(number).find(&source.pictures(), "the picture", "streams.video").cloned()
}

/// The subtitles that are drawn over the picture.
fn burnt<'f>(options: &Options, lines: &[&'f Facts]) -> Result<Option<&'f Facts>, Failure> {
    if options.subtitles != Subtitles::Burn || lines.is_empty() {
        return Ok(None);
    }
    let unreadable = || {
        let message = "`subtitles`: those of this film are pictures, which cannot be drawn into it here.";
        Failure::new(Code::InvalidOption, message).stage("open")
    };
    Circumstances::drawn(lines).map(Some).ok_or_else(unreadable)
}

/// A file of this family that is no film.
pub fn no_picture(source: &Source, input: &Input) -> Failure {
    let what = if source.sounds().is_empty() { "no moving picture" } else { "only sound, no moving picture," };
    let message = format!("There is {what} in this {} file.", input.format.name());
    Failure::new(Code::UnsupportedConversion, message).hint("Convert it to an audio format instead.").stage("open")
}

/// The tracks of sound that are taken, and a word on those that are not.
pub fn sounds(source: &Source, container: &Container, options: &Options) -> Result<(Vec<usize>, Vec<String>), Failure> {
    let picked = options.streams.audio.as_ref();
    let chosen = picked.map_or(Ok(source.sounds()), |pick| pick.choose(&source.sounds(), "sound", "streams.audio"))?;
    let all: Vec<usize> = chosen.into_iter().map(|s| s.index).collect();
    if options.audio.codec == Some(AudioCodec::None) || all.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    if container.encode_audio.is_empty() {
        return Ok((Vec::new(), vec![format!("{} has no sound; it was left out.", container.id)]));
    }
    let taken = if container.tracks { all.len() } else { 1 };
    let left = all.len() - taken;
    let warnings = if left > 0 { vec![format!("{} has room for one track of sound; {left} were left out.", container.id)] } else { vec![] };
    Ok((all.into_iter().take(taken).collect(), warnings))
}

/// Whether the picture has a keyframe right at `start_us`. Leaves the source there.
fn keyframe_at(ctx: &Ctx, source: &mut Source, index: usize, start_us: i64) -> Result<bool, Failure> {
    if !source.seek(start_us) {
        return Ok(false);
    }
    for _ in 0..500 {
        ctx.check()?;
        let mut packet = Packet::empty();
        if packet.read(&mut source.input).is_err() {
            return Ok(false);
        }
        if packet.stream() == index {
            let clock = source.streams[index].time_base;
            let at = packet.pts().map(|t| micros(t, clock) - source.start_us - start_us);
            return Ok(packet.is_key() && at.is_some_and(|off| off.abs() < 2000));
        }
    }
    Ok(false)
}
