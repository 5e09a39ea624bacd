//! Options that several converters share.

use super::codecs::Depth;
use super::shaping::Loudness;
use super::units::{Bitrate, Time};
use crate::convert::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the picture is encoded.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VideoOptions {
    /// The codec of the picture; `copy` insists on keeping the stream as it is. Default: the input's where the format and the
    /// other options allow a copy, else h264 (mp4, mov, mkv, flv, ts, 3gp), vp9 (webm), mpeg4 (avi), mpeg2 (mpg), theora (ogv).
    pub codec: Option<VideoCodec>,
    /// Constant quality, lower is better: 0 to 51 for h264 and hevc, 0 to 63 for vp8, vp9 and av1, 1 to 31 for mpeg4 and mpeg2, 0 to 63 for
    /// theora. Default: h264 23, hevc 28, vp8 10, vp9 32, av1 35, mpeg4 and mpeg2 4, theora 20.
    pub crf: Option<u8>,
    /// Average bits per second, as `2M` or 2000000. With `crf` too: the most that may be used. Default: none, `crf` rules.
    pub bitrate: Option<Bitrate>,
    /// Time spent on a smaller file, from `ultrafast` to `veryslow`. Default: medium.
    pub preset: Option<Speed>,
    /// Width of the box the picture has to fit, in pixels, 2 to 16384. Default: none.
    pub width: Option<u32>,
    /// Height of the box the picture has to fit, in pixels, 2 to 16384. Default: none.
    pub height: Option<u32>,
    /// How the picture meets its box; it is never enlarged. Default: contain.
    pub fit: Fit,
    /// Frames per second, 1 to 120. Default: the input's; for gif at most 15.
    pub fps: Option<f64>,
}

/// How the sound is encoded.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AudioOptions {
    /// The codec of the sound; `copy` insists on keeping the stream as it is, `none` leaves the sound out. Default: the input's where the
    /// format and the other options allow a copy, else aac (mp4, mov, mkv, flv, ts, 3gp), opus (webm), mp3 (avi), mp2 (mpg), vorbis (ogv).
    pub codec: Option<AudioCodec>,
    /// Bits per second, as `128k` or 128000; lossless codecs ignore it. Default: by codec and channels, 128k for aac stereo.
    pub bitrate: Option<Bitrate>,
    /// Number of channels after mixing, 1 to 8. Default: the input's, as far as the codec can.
    pub channels: Option<u8>,
    /// Samples per second, 8000 to 192000; the nearest that the codec knows is taken. Default: the input's.
    pub sample_rate: Option<u32>,
    /// Bits of a sample where the codec is lossless: 16, 24, or for pcm 32, floating point. Default: the input's, at most 24.
    pub bit_depth: Option<Depth>,
    /// How loud it becomes, measured over its whole length. Default: as it is.
    pub loudness: Option<Loudness>,
}

/// What a file says of its content, each up to 1000 characters without control characters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tags {
    /// Default: none.
    pub title: Option<String>,
    /// Default: none.
    pub artist: Option<String>,
    /// Default: none.
    pub album: Option<String>,
    /// Default: none.
    pub album_artist: Option<String>,
    /// Default: none.
    pub composer: Option<String>,
    /// Default: none.
    pub genre: Option<String>,
    /// A year, or a date as 2026-05-01. Default: none.
    pub date: Option<String>,
    /// Its number, as `3` or `3/12`. Default: none.
    pub track: Option<String>,
    /// Default: none.
    pub comment: Option<String>,
    /// Default: none.
    pub copyright: Option<String>,
}

/// The part to keep.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trim {
    /// Where it starts: seconds, or text as `1m30s` or `00:01:30`. Default: 0.
    pub start: Option<Time>,
    /// Where it ends, counted from the input's start. Default: the input's end.
    pub end: Option<Time>,
    /// How long it is; instead of `end`. Default: to the end.
    pub duration: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VideoCodec {
    H264,
    Hevc,
    Vp8,
    Vp9,
    Av1,
    Mpeg4,
    Mpeg2,
    Theora,
    /// Made for gif alone.
    #[serde(skip)]
    Gif,
    Copy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AudioCodec {
    Aac,
    Mp3,
    Mp2,
    Opus,
    Vorbis,
    Flac,
    Alac,
    Ac3,
    Wma,
    Pcm,
    /// Made for aiff alone.
    #[serde(skip)]
    PcmBig,
    Copy,
    None,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Speed {
    Ultrafast,
    Superfast,
    Veryfast,
    Faster,
    Fast,
    #[default]
    Medium,
    Slow,
    Slower,
    Veryslow,
}

/// How a picture meets a box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// As large as fits into the box.
    #[default]
    Contain,
    /// Fills the box, cut at its sides.
    Cover,
    /// Fills the box, stretched.
    Fill,
}

/// Whether streams are kept as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Copying {
    /// Where the format and the options allow it.
    #[default]
    Auto,
    /// All of them, or the conversion fails.
    Always,
    Never,
}

/// What happens to titles, artists, dates, places and chapters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metadata {
    #[default]
    Keep,
    /// All of it goes, but for the languages of the tracks.
    Strip,
}

/// What happens to a picture beside the sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cover {
    /// It comes along where the container has room for it: mp3, m4a, flac, mp4, mov.
    #[default]
    Keep,
    Strip,
}

/// The largest side of a film.
pub const SIDE_MAX: u32 = 16_384;

impl VideoOptions {
    pub fn validate(&self, at: &str) -> Result<(), OutOfRange> {
        let name = |field: &str| format!("{at}{field}");
        OutOfRange::check(&name("width"), self.width, 2..=SIDE_MAX)?;
        OutOfRange::check(&name("height"), self.height, 2..=SIDE_MAX)?;
        OutOfRange::check(&name("fps"), self.fps, 1.0..=120.0)?;
        let range = self.codec.map_or(0..=63, VideoCodec::crf_range);
        OutOfRange::check(&name("crf"), self.crf, range)?;
        if self.fit != Fit::Contain && (self.width.is_none() || self.height.is_none()) {
            return Err(OutOfRange::new(&name("fit"), "cover or fill", "both width and height with it"));
        }
        Ok(())
    }

    /// Whether something was asked for that only an encoder can give.
    pub fn wants_encoder(&self) -> Option<&'static str> {
        match self {
            VideoOptions { crf: Some(_), .. } => Some("a quality (crf) was asked for"),
            VideoOptions { preset: Some(_), .. } => Some("a speed preset was asked for"),
            _ => None,
        }
    }
}

impl AudioOptions {
    pub fn validate(&self, at: &str) -> Result<(), OutOfRange> {
        OutOfRange::check(&format!("{at}channels"), self.channels, 1..=8)?;
        OutOfRange::check(&format!("{at}sample_rate"), self.sample_rate, 8000..=192_000)?;
        OutOfRange::check(&format!("{at}bitrate"), self.bitrate.map(|b| b.0), 6_000..=3_000_000)?;
        self.loudness.map_or(Ok(()), |goal| goal.validate(&format!("{at}loudness.")))
    }
}

impl Tags {
    /// The tags that are set, by FFmpeg's names.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("title", &self.title),
            ("artist", &self.artist),
            ("album", &self.album),
            ("album_artist", &self.album_artist),
            ("composer", &self.composer),
            ("genre", &self.genre),
            ("date", &self.date),
            ("track", &self.track),
            ("comment", &self.comment),
            ("copyright", &self.copyright),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    pub fn validate(&self) -> Result<(), OutOfRange> {
        let wrong = |text: &str| text.chars().count() > 1000 || text.chars().any(char::is_control);
        match self.pairs().find(|(_, value)| wrong(value)) {
            None => Ok(()),
            Some((name, value)) => {
                let shown: String = value.chars().take(40).collect();
                Err(OutOfRange::new(&format!("tags.{name}"), format!("{shown:?}"), "up to 1000 characters, no control characters"))
            }
        }
    }
}

impl Trim {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let shown = |t: Time| t.us as f64 / 1e6;
        match (self.end, self.duration) {
            (Some(end), Some(_)) => Err(OutOfRange::new("trim.end", shown(end), "either end or duration")),
            (Some(end), None) if end <= self.start.unwrap_or(Time { us: 0 }) => {
                Err(OutOfRange::new("trim.end", shown(end), "a time after trim.start"))
            }
            (None, Some(Time { us: 0 })) => Err(OutOfRange::new("trim.duration", 0, "more than 0")),
            _ => Ok(()),
        }
    }

    pub fn start_us(&self) -> i64 {
        self.start.map_or(0, |t| t.us)
    }

    /// How much is kept at most.
    pub fn length_us(&self) -> Option<i64> {
        self.duration.map(|d| d.us).or(self.end.map(|e| e.us - self.start_us()))
    }
}
