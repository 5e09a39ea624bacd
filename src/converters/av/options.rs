//! Options that several converters share.

mod audio;
mod language;
mod part;
mod tracks;
mod video;

pub use audio::{AudioCodec, AudioOptions};
pub use language::Language;
pub use part::{PARTS_MAX, Part};
pub use tracks::{Streams, Subtitles, Track};
pub use video::{Crop, Deinterlace, Denoise, Fit, Profile, SIDE_MAX, Speed, ToneMap, Tune, VideoCodec, VideoOptions};

use super::units::Time;
use crate::convert::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Places go, the rest stays.
    StripLocation,
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
