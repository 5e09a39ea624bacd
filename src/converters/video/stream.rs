//! `video.stream`: a film as an adaptive stream, all its sizes made of one decoding.

use super::fates::picture;
use super::ladder::{Ladder, Rung};
use super::master::{self, Variant};
use super::package::{self, Package};
use super::renditions::{self, renditions};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, ProducedFile, Spec, StreamPlanner, Validate};
use crate::converters::av::containers::{Container, container};
use crate::converters::av::drawing::Drawing;
use crate::converters::av::film::{self, Made, Order};
use crate::converters::av::geometry::Turn;
use crate::converters::av::options::{
    AudioCodec, AudioOptions, Copying, Cover, Metadata, Speed, Streams, Subtitles, Tags, Trim, VideoCodec, VideoOptions,
};
use crate::converters::av::plan::{Circumstances, Fate, Planned};
use crate::converters::av::shaping::Shaping;
use crate::converters::av::units::Time;
use crate::converters::av::{Facts, SECOND_US, open, parts, words};
use crate::converters::watermark::Watermark;
use crate::failure::{Code, Failure};
use crate::format::{Family, Format};
use crate::job::StreamPlan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

pub struct Stream;

/// Options of `video.stream`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The sizes: `auto` for the usual ones up to the input's, or up to 10 rungs as `[{"height": 720, "bitrate": "2.5M"}]`.
    /// Default: auto.
    pub ladder: Ladder,
    /// The codec of all rungs: h264 or hevc; for dash also av1 or vp9. Default: h264.
    pub codec: Option<VideoCodec>,
    /// Constant quality as of `video.transcode`, which the bit rate of a rung caps. Default: that of the codec.
    pub crf: Option<u8>,
    /// Time spent on a smaller file, from `ultrafast` to `veryslow`. Default: medium.
    pub preset: Option<Speed>,
    /// Frames per second, 1 to 120. Default: the input's.
    pub fps: Option<f64>,
    /// How long a segment is, 1 to 30: seconds, or text as `4s`. Each begins with a keyframe, in all rungs alike. Default: 4.
    pub segment: Option<Time>,
    /// One file for each rung, of which segments are parts, instead of a file for each segment. Default: false.
    pub single_file: bool,
    /// A picture laid over the film, in every rung. Default: none.
    pub watermark: Option<Watermark>,
    /// The sound, which all rungs share.
    pub audio: AudioOptions,
    /// Which tracks of sound and subtitles a player has to choose from, each by its name and language, and which picture it is.
    /// Default: the picture, all sound, and all subtitles that are text.
    pub streams: Streams,
    /// What happens to subtitles: `auto`, `drop` or `burn`. Default: auto.
    pub subtitles: Subtitles,
    /// The part to keep. Default: all of it.
    pub trim: Trim,
    /// What happens to titles, dates and places. Default: keep.
    pub metadata: Metadata,
}

impl Options {
    fn segment_us(&self) -> i64 {
        self.segment.map_or(4_000_000, |t| t.us)
    }

    fn base(&self) -> VideoOptions {
        VideoOptions {
            codec: self.codec,
            crf: self.crf.or(Some(self.codec.unwrap_or(VideoCodec::H264).crf_default())),
            preset: self.preset,
            fps: self.fps,
            keyframe_interval: Some(Time { us: self.segment_us() }),
            ..VideoOptions::default()
        }
    }
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        self.ladder.validate()?;
        self.watermark.as_ref().map_or(Ok(()), Watermark::validate)?;
        self.streams.validate()?;
        OutOfRange::check("segment", Some(self.segment_us() as f64 / 1e6), 1.0..=30.0)?;
        if self.codec == Some(VideoCodec::Copy) {
            return Err(OutOfRange::new("codec", "copy", "a codec to encode to"));
        }
        self.base().validate("")?;
        self.audio.validate("audio.")?;
        self.trim.validate()
    }
}

impl Converter for Stream {
    const SPEC: Spec = Spec {
        id: "video.stream",
        family: Family::Video,
        summary: "Makes adaptive streams of films, HLS or DASH, in several sizes from one decoding.",
        pairs: &[(super::READS, &["hls", "dash"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let to = output.format.id();
        let container = container(output.format).ok_or_else(|| Failure::internal("no such container"))?;
        let mut source = open::open(ctx, input)?;
        let picture = picture(&source, input, &options.streams)?;
        let tracks = Tracks::chosen(&source, options)?;
        let rungs = options.ladder.rungs(Turn::of(picture.matrix).turned((picture.width, picture.height)), &options.base());
        let (streams, warnings) = tracks.fates(&source, input, options, container, &picture)?;
        let (sounds, lines): (Vec<&Facts>, Vec<&Facts>) = (tracks.sounds.iter().collect(), tracks.lines.iter().collect());
        let sounds = renditions("sound", &sounds);
        let lines = renditions::write_words(ctx, &source, &lines, options.trim, &output.dir)?;
        let burnt = tracks.burnt.as_ref().map(|track| words::script(ctx, &source, track.index, options.trim)).transpose()?.flatten();
        let names: Vec<String> = rungs.iter().map(|rung: &Rung| rung.name.clone()).collect();
        let package = Package { rungs: &names, sounds: &sounds, segment_us: options.segment_us(), single_file: options.single_file };
        let order = Order {
            container,
            settings: if to == "dash" { package.dash() } else { package.hls(&output.dir) },
            rungs: rungs.into_iter().map(|rung| rung.video).collect(),
            shaping: &Shaping { loudness: options.audio.loudness, ..Shaping::default() },
            drawing: &Drawing { words: burnt, mark: options.watermark.clone() },
            streams,
            audio: &options.audio,
            quality: None,
            trim: options.trim,
            metadata: options.metadata,
            tags: &Tags::default(),
            covers: Vec::new(),
            faststart: false,
            pass: None,
            stretch: None,
        };
        let made = film::make(ctx, &mut source, &order, &output.dir.join(Package::target(to)))?;
        let unwritten = |e: std::io::Error| Failure::internal(e).stage("encode");
        if to == "hls" {
            let sizes = made.sizes.iter().zip(&names).map(|(size, name)| Variant { name, size: *size });
            let variants: Vec<Variant> = sizes.collect();
            renditions::list_words(&output.dir, &lines, made.duration_us).map_err(unwritten)?;
            master::write(&output.dir, &variants, made.rate.unwrap_or(25.0), &sounds, &lines).map_err(unwritten)?;
        } else if !lines.is_empty() {
            renditions::add_words(&output.dir, &lines).map_err(unwritten)?;
        }
        prove(ctx, output, names.len(), &made)?;
        let mut produced = Produced::several(files(output)?, made.warnings);
        produced.warnings.extend(warnings);
        Ok(produced)
    }
}

impl StreamPlanner for Stream {
    fn plan(ctx: &Ctx, input: &Input, options: &Options, to: Format) -> Result<StreamPlan, Failure> {
        let container = container(to).ok_or_else(|| Failure::internal("no such container"))?;
        let source = open::open(ctx, input)?;
        let picture = picture(&source, input, &options.streams)?;
        let tracks = Tracks::chosen(&source, options)?;
        let (mut streams, left_out) = tracks.fates(&source, input, options, container, &picture)?;
        let beside =
            |facts: &Facts| Planned { index: facts.index, fate: Fate::Words(words::Words::Webvtt), why: "it goes beside the picture".into() };
        streams.extend(tracks.lines.iter().map(beside));
        Ok(StreamPlan { streams: streams.iter().map(|planned| planned.told(&source)).collect(), left_out })
    }
}

/// What goes beside the picture.
struct Tracks {
    sounds: Vec<Facts>,
    /// Subtitles to choose from.
    lines: Vec<Facts>,
    /// Those that are drawn into the picture.
    burnt: Option<Facts>,
    /// What stays out, in words.
    left: Vec<String>,
}

impl Tracks {
    fn chosen(source: &open::Source, options: &Options) -> Result<Tracks, Failure> {
        let Options { streams, subtitles, .. } = options;
        let sounds = streams.audio.as_ref().map_or(Ok(source.sounds()), |pick| pick.choose(&source.sounds(), "sound", "streams.audio"))?;
        let sounds = if options.audio.codec == Some(AudioCodec::None) { Vec::new() } else { sounds };
        let all = source.subtitles();
        let lines = streams.subtitles.as_ref().map_or(Ok(all.clone()), |pick| pick.choose(&all, "subtitles", "streams.subtitles"))?;
        let (text, drawn): (Vec<&Facts>, Vec<&Facts>) = lines.into_iter().partition(|facts| words::are_text(&facts.codec));
        let left = drawn.iter().filter(|_| *subtitles != Subtitles::Drop).map(|facts| {
            format!("Left out: subtitles, track {} ({}): they are pictures, which these streams have no room for.", facts.index + 1, facts.codec)
        });
        let left = left.collect();
        let own = |facts: Vec<&Facts>| facts.into_iter().cloned().collect::<Vec<Facts>>();
        let (lines, burnt) = match subtitles {
            Subtitles::Auto => (own(text), None),
            Subtitles::Drop => (Vec::new(), None),
            Subtitles::Burn => (Vec::new(), text.first().map(|facts| (*facts).clone())),
        };
        Ok(Tracks { sounds: own(sounds), lines, burnt, left })
    }

    /// What becomes of picture and sound: every size and every segment begins anew, so all is encoded. And what stays out, in words.
    fn fates(
        &self,
        source: &open::Source,
        input: &Input,
        options: &Options,
        container: &'static Container,
        picture: &Facts,
    ) -> Result<(Vec<Planned>, Vec<String>), Failure> {
        let cut = options.trim.start_us() > 0;
        let at = Circumstances { source, container, copying: Copying::Never, from: input.format.id(), cut, at_keyframe: false };
        let mut streams = vec![at.video(picture, &options.base(), None)?];
        for track in &self.sounds {
            streams.push(at.audio(track, &options.audio, None)?);
        }
        let mut left_out = at.others(Cover::Strip);
        left_out.extend(self.left.iter().cloned());
        Ok((streams, left_out))
    }
}

/// Reads every track of the finished package to its end: its files tell nothing one by one.
fn prove(ctx: &Ctx, output: &Output, rungs: usize, made: &Made) -> Result<(), Failure> {
    let wrong =
        |what: String| Failure::new(Code::ToolFailed, "The finished stream did not pass its check and was discarded.").stage("verify").detail(what);
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for files in package::tracks(&output.dir).map_err(|e| wrong(e.to_string()))? {
        let counted = parts::count(ctx, &files)?;
        if counted.picture {
            pictures.push(counted.packets);
        } else {
            sounds.push(counted.length_us);
        }
    }
    if pictures != vec![made.encoded; rungs] {
        return Err(wrong(format!("pictures: {pictures:?}, not {rungs} times {}", made.encoded)));
    }
    let mut expected = made.sound_ends_us.clone();
    sounds.sort_unstable();
    expected.sort_unstable();
    if sounds.len() != expected.len() || sounds.iter().zip(&expected).any(|(length, end)| (length - end).abs() > SECOND_US) {
        return Err(wrong(format!("sound: {sounds:?} us, not {expected:?}")));
    }
    Ok(())
}

/// All files of the package, in one folder by the result's name, the playlist that a player is given first.
fn files(output: &Output) -> Result<Vec<ProducedFile>, Failure> {
    let unreadable = |e: std::io::Error| Failure::internal(e).stage("encode");
    let entry = package::entry(output.format.id());
    let mut names = Vec::new();
    for file in std::fs::read_dir(&output.dir).map_err(unreadable)? {
        names.push(file.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_by_key(|name| (name != entry, name.clone()));
    let folder = output.stem();
    let one = |file: String| {
        let id = match Path::new(&file).extension().and_then(|e| e.to_str()) {
            Some("m3u8") => "hls",
            Some("mpd") => "dash",
            Some("vtt") => "vtt",
            _ => "mp4",
        };
        let format = Format::parse(id).unwrap_or(output.format);
        ProducedFile { name: format!("{folder}/{file}"), file, format, expect: Expect::default() }
    };
    Ok(names.into_iter().map(one).collect())
}
