//! `audio.transcode`: the sound of a song or a film.

use super::split::Split;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, ProducedFile, Spec, StreamPlanner, Validate};
use crate::converters::av::Facts;
use crate::converters::av::codecs::Depth;
use crate::converters::av::containers::{Container, container};
use crate::converters::av::drawing::Drawing;
use crate::converters::av::film::{self, Made, Order};
use crate::converters::av::open::{self, Care, Source};
use crate::converters::av::options::{AudioCodec, AudioOptions, Copying, Cover, Metadata, Tags, Track, Trim};
use crate::converters::av::plan::{Circumstances, Planned};
use crate::converters::av::shaping::{Loudness, Shaping, Silence};
use crate::converters::av::units::{Bitrate, Time};
use crate::failure::{Code, Failure};
use crate::format::{Family, Format};
use crate::job::StreamPlan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

pub struct Transcode;

/// Options of `audio.transcode`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The codec, where the format has a choice: m4a aac or alac, ogg vorbis or flac; `copy` insists on keeping the stream as it is.
    /// Default: the input's where it fits, else aac for m4a, vorbis for ogg.
    pub codec: Option<AudioCodec>,
    /// Bits per second, as `128k` or 128000; flac and wav ignore it. Default: by codec and channels: mp3 192k, aac 128k, opus 96k for stereo.
    pub bitrate: Option<Bitrate>,
    /// Quality of a variable bit rate, 1 (small) to 10 (best); for flac the effort. `bitrate` outranks it. Default: none.
    pub quality: Option<u8>,
    /// Number of channels after mixing, 1 to 8. Default: the input's, as far as the codec can.
    pub channels: Option<u8>,
    /// Samples per second, 8000 to 192000; the nearest that the codec knows is taken. Default: the input's.
    pub sample_rate: Option<u32>,
    /// Bits of a sample where the codec is lossless: 16, 24, or for wav and aiff 32, floating point. Default: the input's, at most 24.
    pub bit_depth: Option<Depth>,
    /// Which track of sound, where there are several: its number, from 0, or a language as `de`. Default: the one marked as default, else the
    /// first.
    pub track: Option<Track>,
    /// The part to keep. Default: all of it.
    pub trim: Trim,
    /// Makes several files of one: `chapters`, or `{"silence": {"least": 2}}` to cut in the middle of each longer silence. Default: one.
    pub split: Option<Split>,
    /// Cuts the silence off at both ends. Default: it stays.
    pub trim_silence: Option<Silence>,
    /// How many times as fast, at the same pitch, 0.25 to 4. Default: 1.
    pub speed: Option<f64>,
    /// How loud it becomes, measured over its whole length. Default: as it is.
    pub loudness: Option<Loudness>,
    /// How long the sound takes to come in: seconds, or text as `1.5s`. Default: 0.
    pub fade_in: Option<Time>,
    /// How long it takes to die away at the end. Default: 0.
    pub fade_out: Option<Time>,
    /// Whether the stream is kept as it is where that is possible. Default: auto.
    pub copy: Copying,
    /// Puts the index of an m4a in front, so that it plays while it loads. Default: true.
    pub faststart: Option<bool>,
    /// Keeps what is there of a file that breaks off or is damaged for the most part, with a warning and the share that came
    /// through, instead of refusing it. Default: false.
    pub salvage: bool,
    /// What happens to titles, artists and chapters. Default: keep.
    pub metadata: Metadata,
    /// What the result says of itself, above what the input says. Default: nothing.
    pub tags: Tags,
    /// What happens to the picture of an album. Default: keep.
    pub cover: Cover,
}

impl Options {
    fn sound(&self) -> AudioOptions {
        AudioOptions {
            codec: self.codec,
            bitrate: self.bitrate,
            channels: self.channels,
            sample_rate: self.sample_rate,
            bit_depth: self.bit_depth,
            loudness: self.loudness,
        }
    }

    fn shaping(&self) -> Shaping {
        Shaping {
            silence: self.trim_silence,
            speed: self.speed.filter(|speed| *speed != 1.0),
            loudness: self.loudness,
            fade_in: self.fade_in,
            fade_out: self.fade_out,
        }
    }
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("quality", self.quality, 1..=10)?;
        if self.codec == Some(AudioCodec::None) {
            return Err(OutOfRange::new("codec", "none", "a codec"));
        }
        self.sound().validate("")?;
        self.shaping().validate()?;
        self.tags.validate()?;
        if self.split.is_some() && (self.trim.start.is_some() || self.trim.length_us().is_some()) {
            return Err(OutOfRange::new("split", "with a trim", "one of the two"));
        }
        self.split.map_or(Ok(()), |split| split.validate())?;
        self.trim.validate()
    }
}

impl Converter for Transcode {
    const SPEC: Spec = Spec {
        id: "audio.transcode",
        family: Family::Audio,
        summary: "Converts, mixes and cuts sound, and takes it out of films.",
        pairs: &[
            (
                &[
                    "mp3", "m4a", "aac", "opus", "ogg", "flac", "wav", "aiff", "wma", "ac3", "dts", "amr", "au", "caf", "wv", "tta", "mka", "mp4",
                    "mov", "mkv", "webm", "avi", "flv", "wmv", "mpg", "ts", "3gp", "ogv", "mxf",
                ],
                &["mp3", "m4a", "aac", "opus", "ogg", "flac", "wav", "aiff", "ac3", "wma", "mka"],
            ),
            (&["mp3", "m4a", "aac", "opus", "ogg", "flac", "wav", "aiff", "wma", "ac3", "dts", "amr", "au", "caf", "wv", "tta", "mka"], &["webm"]),
        ],
    };
    type Options = Options;

    fn takes_names(options: &Options) -> bool {
        options.split.is_some()
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let container = container(output.format).ok_or_else(|| Failure::internal("no such container"))?;
        let mut source = open::open_as(ctx, input, Care::of(options.salvage))?;
        let tracks = source.sounds().len();
        let work = Work { ctx, input, options, container, track: track(&source, input, options)? };
        let mut produced = match options.split {
            Some(split) => work.parts(&source, split, output)?,
            None => {
                let made = work.make(&mut source, options.trim, &options.tags, &output.path())?;
                let expect = expect(&made);
                Produced { warnings: made.warnings, ..Produced::single(output, expect) }
            }
        };
        produced.warnings.extend(work.left(&source));
        Ok(if tracks > 1 && options.track.is_none() { produced.warn(format!("The first of {tracks} tracks of sound was taken.")) } else { produced })
    }
}

impl StreamPlanner for Transcode {
    fn plan(ctx: &Ctx, input: &Input, options: &Options, to: Format) -> Result<StreamPlan, Failure> {
        let container = container(to).ok_or_else(|| Failure::internal("no such container"))?;
        let source = open::open_as(ctx, input, Care::of(options.salvage))?;
        let work = Work { ctx, input, options, container, track: track(&source, input, options)? };
        // All parts but the first begin with a cut.
        let is_cut = options.trim.start_us() > 0 || options.split.is_some();
        Ok(StreamPlan { streams: vec![work.fate(&source, is_cut)?.told(&source)], left_out: work.left(&source) })
    }
}

/// The track of sound that is asked for.
fn track(source: &Source, input: &Input, options: &Options) -> Result<Facts, Failure> {
    let sounds = source.sounds();
    let Some(first) = sounds.first() else {
        let message = format!("There is no sound in this {} file.", input.format.name());
        return Err(Failure::new(Code::UnsupportedConversion, message).stage("open"));
    };
    options.track.as_ref().map_or(Ok(*first), |track| track.find(&sounds, "sound", "track")).cloned()
}

/// What the result must measure.
fn expect(made: &Made) -> Expect {
    // What encoders put before and after, which not every container can say, and what containers round to.
    let tolerance = 100 + 3_000_000 / u64::from(made.sound_rate.max(8000)) + made.duration_us as u64 / 1_000_000;
    let duration_ms = Some(made.duration_us as u64 / 1000);
    Expect { duration_ms, duration_tolerance_ms: tolerance, recovered: made.recovered, probe: true, ..Expect::default() }
}

/// What all files of one recording have in common.
struct Work<'a> {
    ctx: &'a Ctx<'a>,
    input: &'a Input,
    options: &'a Options,
    container: &'static Container,
    track: Facts,
}

impl Work<'_> {
    fn circumstances<'s>(&self, source: &'s Source, cut: bool) -> Circumstances<'s> {
        Circumstances { source, container: self.container, copying: self.options.copy, from: self.input.format.id(), cut, at_keyframe: false }
    }

    /// What does not come along, in words; of a film nobody expects it.
    fn left(&self, source: &Source) -> Vec<String> {
        if source.picture().is_some() { Vec::new() } else { self.circumstances(source, false).others(self.options.cover) }
    }

    /// Copied or encoded.
    fn fate(&self, source: &Source, is_cut: bool) -> Result<Planned, Failure> {
        let (sound, shaping) = (self.options.sound(), self.options.shaping());
        let quality = self.options.quality.filter(|_| self.options.bitrate.is_none()).map(|_| "a quality was asked for");
        self.circumstances(source, is_cut).audio(&self.track, &sound, quality.or(shaping.wants_encoder()))
    }

    fn make(&self, source: &mut Source, trim: Trim, tags: &Tags, path: &Path) -> Result<Made, Failure> {
        let options = self.options;
        let (sound, shaping) = (options.sound(), options.shaping());
        let is_cut = trim.start_us() > 0;
        let streams = vec![self.fate(source, is_cut)?];
        let covers = self.circumstances(source, is_cut).covers(options.cover);
        let order = Order {
            container: self.container,
            streams,
            rungs: Vec::new(),
            audio: &sound,
            quality: options.quality,
            shaping: &shaping,
            drawing: &Drawing::default(),
            trim,
            metadata: options.metadata,
            tags,
            covers,
            faststart: options.faststart.unwrap_or(true),
            settings: Vec::new(),
            pass: None,
            stretch: None,
        };
        film::make(self.ctx, source, &order, path)
    }

    /// One file after the other, numbered.
    fn parts(&self, source: &Source, split: Split, output: &Output) -> Result<Produced, Failure> {
        let parts = split.parts(self.ctx, source, &self.track)?;
        let mut produced = Produced::default();
        for (n, part) in parts.iter().enumerate() {
            let (number, path) = (n + 1, output.numbered(n));
            let tags = part.tags(&self.options.tags, number, parts.len());
            let made = self.make(&mut source.again(self.ctx)?, part.trim(), &tags, &path)?;
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let name = output.format.file_name(&format!("{}-{number:02}", output.stem()));
            produced.files.push(ProducedFile { file, name, format: output.format, expect: expect(&made) });
            produced.warnings.extend(made.warnings.into_iter().map(|warning| format!("Part {number}: {warning}")));
        }
        Ok(produced)
    }
}
