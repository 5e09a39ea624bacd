//! `video.transcode`: one film in, one film out.

use super::fitting::Fitting;
use crate::convert::{Converter, Ctx, Expect, Input, Level, OutOfRange, Output, Produced, Spec, Validate};
use crate::converters::av::Facts;
use crate::converters::av::containers::{Container, container};
use crate::converters::av::drawing::Drawing;
use crate::converters::av::film::{self, Made, Order};
use crate::converters::av::lane::micros;
use crate::converters::av::open::{self, Care, Source};
use crate::converters::av::options::{
    AudioCodec, AudioOptions, Copying, Cover, Metadata, Streams, Subtitles, Tags, Track, Trim, VideoCodec, VideoOptions,
};
use crate::converters::av::passes::Pass;
use crate::converters::av::plan::Circumstances;
use crate::converters::av::shaping::Shaping;
use crate::converters::av::words;
use crate::converters::watermark::Watermark;
use crate::failure::{Code, Failure};
use crate::format::Family;
use crate::limits::Size;
use ffmpeg_next::Packet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Transcode;

/// Options of `video.transcode`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The picture.
    pub video: VideoOptions,
    /// The sound.
    pub audio: AudioOptions,
    /// What happens to subtitles: `auto`, `drop` or `burn`. Default: auto.
    pub subtitles: Subtitles,
    /// Which tracks are kept. Default: the picture, and all sound and subtitles that the format has room for.
    pub streams: Streams,
    /// A picture laid over the film. Default: none.
    pub watermark: Option<Watermark>,
    /// The most bytes the result may have, as `8MB` or 8000000: the picture is encoded, up to four times, until it fits.
    /// Instead of `video.crf` and `video.bitrate`. Default: none.
    pub target_size: Option<Size>,
    /// The part to keep. Default: all of it.
    pub trim: Trim,
    /// Whether streams are kept as they are where that is possible. Default: auto.
    pub copy: Copying,
    /// How often a gif or apng plays, 0 to 65535; 0: for ever. Default: 0.
    pub plays: u16,
    /// Puts the index of an mp4 or mov in front, so that it plays while it loads. Default: true.
    pub faststart: Option<bool>,
    /// Keeps what is there of a file that breaks off or is damaged for the most part, with a warning and the share that came
    /// through, instead of refusing it. Default: false.
    pub salvage: bool,
    /// What happens to titles, dates, places and chapters. Default: keep.
    pub metadata: Metadata,
    /// What the result says of itself, above what the input says. Default: nothing.
    pub tags: Tags,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        self.video.validate("video.")?;
        self.audio.validate("audio.")?;
        self.tags.validate()?;
        self.streams.validate()?;
        self.watermark.as_ref().map_or(Ok(()), Watermark::validate)?;
        OutOfRange::check("target_size", self.target_size.map(|size| size.0), 10_000..=1 << 40)?;
        if self.target_size.is_some() && (self.video.crf.is_some() || self.video.bitrate.is_some()) {
            return Err(OutOfRange::new("target_size", "with a crf or bitrate", "it alone"));
        }
        if self.video.takes_two() && self.video.bitrate.is_none() && self.target_size.is_none() {
            return Err(OutOfRange::new("video.passes", 2, "1, or 2 with a bitrate or target_size"));
        }
        self.trim.validate()
    }
}

impl Converter for Transcode {
    const SPEC: Spec = Spec {
        id: "video.transcode",
        family: Family::Video,
        summary: "Converts, scales and cuts films; what already fits is copied, not encoded again.",
        pairs: &[
            (super::READS, &["mp4", "mov", "mkv", "webm", "avi", "flv", "mpg", "ts", "3gp", "ogv", "gif", "apng"]),
            (&["gif"], &["mp4", "mov", "mkv", "webm", "avi"]),
        ],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let mut video = options.video.clone();
        let care = Care::of(options.salvage);
        let (mut made, mut left);
        match options.target_size {
            None => (made, left) = film(ctx, &mut open::open_as(ctx, input, care)?, input, options, &video, output)?,
            Some(target) => {
                if output.format.family() == Family::Image || matches!(video.codec, Some(VideoCodec::Prores | VideoCodec::Ffv1)) {
                    let message = "`target_size`: gif, apng, prores and ffv1 take the bytes that they need.";
                    return Err(Failure::new(Code::InvalidOption, message).stage("open"));
                }
                let source = open::open_as(ctx, input, care)?;
                let mut fitting = Fitting::new(target, length_us(&source, options), sound_rate(&source, options, output))?;
                loop {
                    video.bitrate = Some(fitting.bitrate());
                    (made, left) = film(ctx, &mut source.again(ctx)?, input, options, &video, output)?;
                    let bytes = std::fs::metadata(output.path()).map_err(|e| Failure::internal(e).stage("encode"))?.len();
                    if fitting.fits(bytes)? {
                        break;
                    }
                    ctx.log(Level::Info, format!("{bytes} bytes at {}; once more at {}", video.bitrate.map_or(0, |b| b.0), fitting.bitrate().0));
                }
            }
        }
        made.warnings.append(&mut left);
        let size = made.sizes.first();
        let mut expect = Expect { width: size.map(|s| s.0), height: size.map(|s| s.1), recovered: made.recovered, ..Expect::default() };
        if output.format.family() == Family::Video {
            // Two frames of the picture, one of the sound, and what containers round to.
            let frame_ms = 1000.0 / made.rate.unwrap_or(25.0).max(1.0);
            expect.duration_ms = Some(made.duration_us as u64 / 1000);
            expect.duration_tolerance_ms =
                100 + 3_000_000 / u64::from(made.sound_rate.max(32000)) + (2.0 * frame_ms) as u64 + made.duration_us as u64 / 1_000_000;
        }
        if output.format.family() == Family::Image && made.encoded > 1 {
            expect.frames = Some(made.encoded);
        }
        Ok(Produced { warnings: made.warnings, ..Produced::single(output, expect) })
    }
}

/// Makes the film once; also what is to be said of what was left out.
fn film(
    ctx: &Ctx,
    source: &mut Source,
    input: &Input,
    options: &Options,
    video: &VideoOptions,
    output: &Output,
) -> Result<(Made, Vec<String>), Failure> {
    let container = container(output.format).ok_or_else(|| Failure::internal("no such container"))?;
    let picture = picture(source, input, &options.streams)?;
    let start_us = options.trim.start_us();
    let at_keyframe = start_us > 0 && options.copy != Copying::Never && keyframe_at(ctx, source, picture.index, start_us)?;
    let copying = options.copy;
    let at = Circumstances { source, container, copying, from: input.format.id(), cut: start_us > 0, at_keyframe };
    let lines = options
        .streams
        .subtitles
        .as_ref()
        .map_or(Ok(source.subtitles()), |pick| pick.choose(&source.subtitles(), "subtitles", "streams.subtitles"))?;
    let drawing = drawing(ctx, source, options, &lines)?;
    let mut streams = vec![at.video(&picture, video, drawing.wants_encoder())?];
    let (sounds, mut warnings) = sounds(source, container, options)?;
    let shaping = Shaping { loudness: options.audio.loudness, ..Shaping::default() };
    for index in sounds {
        streams.push(at.audio(&source.streams[index], &options.audio, shaping.wants_encoder())?);
    }
    let covers = at.covers(Cover::Keep);
    let (words, left) = at.subtitles(&lines, options.subtitles);
    streams.extend(words);
    warnings.extend(left);
    warnings.extend(at.others(Cover::Keep));
    let mut order = Order {
        container,
        streams,
        rungs: vec![video.clone()],
        audio: &options.audio,
        quality: None,
        shaping: &shaping,
        drawing: &drawing,
        trim: options.trim,
        metadata: options.metadata,
        tags: &options.tags,
        covers,
        faststart: options.faststart.unwrap_or(true),
        settings: container.plays(options.plays),
        pass: None,
    };
    if video.takes_two() {
        let notes = ctx.scratch.join("passes.log");
        let picture = order.streams.first().cloned().into_iter().collect();
        let first = Order { streams: picture, covers: Vec::new(), pass: Some(Pass::First(notes.clone())), ..order.clone() };
        film::make(ctx, &mut source.again(ctx)?, &first, &output.path())?;
        order.pass = Some(Pass::Second(notes));
    }
    Ok((film::make(ctx, source, &order, &output.path())?, warnings))
}

/// The picture that is asked for.
pub fn picture(source: &Source, input: &Input, streams: &Streams) -> Result<Facts, Failure> {
    let usual = source.picture().cloned().ok_or_else(|| no_picture(source, input))?;
    let Some(number) = streams.video else { return Ok(usual) };
    Track::Number(number).find(&source.pictures(), "the picture", "streams.video").cloned()
}

/// What is drawn over the picture.
fn drawing(ctx: &Ctx, source: &Source, options: &Options, lines: &[&Facts]) -> Result<Drawing, Failure> {
    let plain = Drawing { words: None, mark: options.watermark.clone() };
    if options.subtitles != Subtitles::Burn || lines.is_empty() {
        return Ok(plain);
    }
    let Some(track) = Circumstances::drawn(lines) else {
        let message = "`subtitles`: those of this film are pictures, which cannot be drawn into it here.";
        return Err(Failure::new(Code::InvalidOption, message).stage("open"));
    };
    Ok(Drawing { words: words::script(ctx, source, track.index, options.trim)?, ..plain })
}

/// How long the result will be.
fn length_us(source: &Source, options: &Options) -> Option<i64> {
    let left = source.duration_us.map(|us| us - options.trim.start_us());
    [left, options.trim.length_us()].into_iter().flatten().min()
}

/// About how many bits per second all tracks of sound will take.
fn sound_rate(source: &Source, options: &Options, output: &Output) -> u64 {
    let Some(container) = container(output.format) else { return 0 };
    let tracks = sounds(source, container, options).map_or(Vec::new(), |(tracks, _)| tracks);
    let codec = options.audio.codec.filter(|c| *c != AudioCodec::Copy).or(container.encode_audio.first().copied());
    let one = |index: usize| {
        let facts = &source.streams[index];
        let usual = codec.map_or(0, |codec| codec.bitrate(facts.channels, facts.sample_rate));
        options.audio.bitrate.map_or(u64::from(usual).max(facts.bit_rate.min(400_000)), |asked| u64::from(asked.0))
    };
    tracks.into_iter().map(one).sum()
}

/// A file of this family that is no film.
pub fn no_picture(source: &Source, input: &Input) -> Failure {
    let what = if source.sounds().is_empty() { "no moving picture" } else { "only sound, no moving picture," };
    let message = format!("There is {what} in this {} file.", input.format.name());
    Failure::new(Code::UnsupportedConversion, message).hint("Convert it to an audio format instead.").stage("open")
}

/// The tracks of sound that are taken, and a word on those that are not.
fn sounds(source: &Source, container: &Container, options: &Options) -> Result<(Vec<usize>, Vec<String>), Failure> {
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
