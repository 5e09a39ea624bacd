//! How the sound is encoded.

use crate::convert::OutOfRange;
use crate::converters::av::codecs::Depth;
use crate::converters::av::shaping::Loudness;
use crate::converters::av::units::Bitrate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl AudioOptions {
    pub fn validate(&self, at: &str) -> Result<(), OutOfRange> {
        OutOfRange::check(&format!("{at}channels"), self.channels, 1..=8)?;
        OutOfRange::check(&format!("{at}sample_rate"), self.sample_rate, 8000..=192_000)?;
        OutOfRange::check(&format!("{at}bitrate"), self.bitrate.map(|b| b.0), 6_000..=3_000_000)?;
        self.loudness.map_or(Ok(()), |goal| goal.validate(&format!("{at}loudness.")))
    }
}
