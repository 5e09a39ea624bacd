//! `video.transcode`: one film in, one film out.

use super::fates::{Chosen, Fates, sounds};
use super::fitting::Fitting;
use super::part;
use crate::convert::{Converter, Ctx, Expect, Input, Level, OutOfRange, Output, Produced, Spec, StreamPlanner, Validate};
use crate::converters::av::containers::{Container, container};
use crate::converters::av::drawing::Drawing;
use crate::converters::av::film::{self, Made, Order};
use crate::converters::av::open::{self, Care, Source};
use crate::converters::av::options::{AudioCodec, AudioOptions, Copying, Metadata, Part, Streams, Subtitles, Tags, Trim, VideoCodec, VideoOptions};
use crate::converters::av::passes::Pass;
use crate::converters::av::shaping::Shaping;
use crate::converters::av::words;
use crate::converters::watermark::Watermark;
use crate::failure::{Code, Failure};
use crate::format::{Family, Format};
use crate::job::StreamPlan;
use crate::limits::Size;
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
    /// A part of a film that several jobs make together: `2/5` for the pictures of the second of five stretches, encoded at the
    /// times that they have in the whole, or `rest` for all that goes beside the pictures. `video.join` makes the film of them.
    /// Not with `target_size`, `trim`, `salvage`, two passes or a copied picture; mp4, mov, mkv and webm. Default: the whole film.
    pub part: Option<Part>,
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
        part::validate(self)?;
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
                check_target(options, output.format)?;
                let source = open::open_as(ctx, input, care)?;
                let container = container(output.format).ok_or_else(|| Failure::internal("no such container"))?;
                let mut fitting = Fitting::new(target, length_us(&source, options), sound_rate(&source, options, container))?;
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
        let expect = part::expect(options.part, &made, output, expect)?;
        Ok(Produced { warnings: made.warnings, ..Produced::single(output, expect) })
    }
}

impl StreamPlanner for Transcode {
    fn plan(ctx: &Ctx, input: &Input, options: &Options, to: Format) -> Result<StreamPlan, Failure> {
        let container = container(to).ok_or_else(|| Failure::internal("no such container"))?;
        let mut source = open::open_as(ctx, input, Care::of(options.salvage))?;
        let mut video = options.video.clone();
        if let Some(target) = options.target_size {
            check_target(options, to)?;
            video.bitrate = Some(Fitting::new(target, length_us(&source, options), sound_rate(&source, options, container))?.bitrate());
        }
        part::check(options.part, container)?;
        let chosen = Chosen::of(ctx, &mut source, input, options)?;
        // What is said in the part that is kept shows only when it is made.
        let drawn = Drawing::because(chosen.burnt.is_some(), options.watermark.is_some());
        let Fates { streams, left_out, .. } = chosen.fates(&source, input, options, &video, container, drawn)?;
        Ok(StreamPlan { streams: streams.iter().map(|planned| planned.told(&source)).collect(), left_out })
    }
}

/// Not every film can be made to fit.
fn check_target(options: &Options, to: Format) -> Result<(), Failure> {
    if to.family() == Family::Image || matches!(options.video.codec, Some(VideoCodec::Prores | VideoCodec::Ffv1)) {
        let message = "`target_size`: gif, apng, prores and ffv1 take the bytes that they need.";
        return Err(Failure::new(Code::InvalidOption, message).stage("open"));
    }
    Ok(())
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
    let chosen = Chosen::of(ctx, source, input, options)?;
    part::check(options.part, container)?;
    let stretch = options.part.map(|part| part::stretch(ctx, source, chosen.picture.index, part)).transpose()?;
    let tags = part::tags(options.part, stretch, &options.tags);
    let script = chosen.burnt.as_ref().map(|track| words::script(ctx, source, track.index, options.trim)).transpose()?.flatten();
    let drawing = Drawing { words: script, mark: options.watermark.clone() };
    let Fates { streams, covers, left_out } = chosen.fates(source, input, options, video, container, drawing.wants_encoder())?;
    let shaping = Shaping { loudness: options.audio.loudness, ..Shaping::default() };
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
        tags: &tags,
        covers,
        faststart: options.faststart.unwrap_or(true),
        settings: container.plays(options.plays),
        pass: None,
        stretch,
    };
    if video.takes_two() {
        let notes = ctx.scratch.join("passes.log");
        let picture = order.streams.first().cloned().into_iter().collect();
        let first = Order { streams: picture, covers: Vec::new(), pass: Some(Pass::First(notes.clone())), ..order.clone() };
        film::make(ctx, &mut source.again(ctx)?, &first, &output.path())?;
        order.pass = Some(Pass::Second(notes));
    }
    Ok((film::make(ctx, source, &order, &output.path())?, left_out))
}

/// How long the result will be.
fn length_us(source: &Source, options: &Options) -> Option<i64> {
    let left = source.duration_us.map(|us| us - options.trim.start_us());
    [left, options.trim.length_us()].into_iter().flatten().min()
}

/// About how many bits per second all tracks of sound will take.
fn sound_rate(source: &Source, options: &Options, container: &Container) -> u64 {
    let tracks = sounds(source, container, options).map_or(Vec::new(), |(tracks, _)| tracks);
    let codec = options.audio.codec.filter(|c| *c != AudioCodec::Copy).or(container.encode_audio.first().copied());
    let one = |index: usize| {
        let facts = &source.streams[index];
        let usual = codec.map_or(0, |codec| codec.bitrate(facts.channels, facts.sample_rate));
        options.audio.bitrate.map_or(u64::from(usual).max(facts.bit_rate.min(400_000)), |asked| u64::from(asked.0))
    };
    tracks.into_iter().map(one).sum()
}
