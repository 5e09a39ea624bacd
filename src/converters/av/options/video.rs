//! How the picture is encoded.

use crate::convert::OutOfRange;
use crate::converters::av::units::{Bitrate, Time};
use schemars::{JsonSchema, JsonSchema_repr};
use serde::{Deserialize, Serialize};
use serde_repr::{Deserialize_repr, Serialize_repr};

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
    /// 2: the film is encoded twice, so that a `bitrate` or `target_size` goes where it is needed; h264, hevc, vp8 and vp9. Default: 1.
    pub passes: Option<u8>,
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
    /// The part of the upright picture that is kept. Default: all of it.
    pub crop: Option<Crop>,
    /// Turned clockwise by 0, 90, 180 or 270 degrees, after the input's own turn. Default: 0.
    pub rotate: Quarter,
    /// Makes whole pictures of interlaced half ones, where the film is encoded: `auto` where it says it is interlaced; `always`
    /// encodes it. Default: auto.
    pub deinterlace: Deinterlace,
    /// Takes grain and noise away: `light`, `medium` or `strong`. Default: none.
    pub denoise: Option<Denoise>,
    /// Whether HDR becomes SDR, which every screen shows, where it is encoded. Default: auto.
    pub tone_map: ToneMap,
    /// At least every so often a picture that stands for itself: seconds, or text as `2s`. Default: the codec's.
    pub keyframe_interval: Option<Time>,
    /// What players of h264, and of nothing else, must know: `baseline`, `main` or `high`. Default: the encoder's choice.
    pub profile: Option<Profile>,
    /// What h264 and hevc are tuned for: `film` (h264 alone), `animation`, `grain`, `stillimage` (h264 alone), `fastdecode` or
    /// `zerolatency`. Default: none.
    pub tune: Option<Tune>,
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
    Prores,
    Ffv1,
    /// Made for gif alone.
    #[serde(skip)]
    Gif,
    /// Made for apng alone.
    #[serde(skip)]
    Apng,
    /// Made for webp alone.
    #[serde(skip)]
    Webp,
    Copy,
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

/// A rectangle of the upright picture, in its pixels; sides are taken down to even numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Pixels to the left of it, 0 to 16382. Default: 0.
    #[serde(default)]
    pub left: u32,
    /// Pixels above it, 0 to 16382. Default: 0.
    #[serde(default)]
    pub top: u32,
    /// Its width, 2 to 16384.
    pub width: u32,
    /// Its height, 2 to 16384.
    pub height: u32,
}

/// Degrees clockwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize_repr, Deserialize_repr, JsonSchema_repr)]
#[repr(u16)]
pub enum Quarter {
    #[default]
    None = 0,
    Right = 90,
    Half = 180,
    Left = 270,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deinterlace {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Denoise {
    Light,
    Medium,
    Strong,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToneMap {
    #[default]
    Auto,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Baseline,
    Main,
    High,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tune {
    Film,
    Animation,
    Grain,
    Stillimage,
    Fastdecode,
    Zerolatency,
}

/// The largest side of a film.
pub const SIDE_MAX: u32 = 16_384;

impl VideoOptions {
    pub fn validate(&self, at: &str) -> Result<(), OutOfRange> {
        let name = |field: &str| format!("{at}{field}");
        OutOfRange::check(&name("width"), self.width, 2..=SIDE_MAX)?;
        OutOfRange::check(&name("height"), self.height, 2..=SIDE_MAX)?;
        OutOfRange::check(&name("fps"), self.fps, 1.0..=120.0)?;
        OutOfRange::check(&name("passes"), self.passes, 1..=2)?;
        if self.takes_two() && self.crf.is_some() {
            return Err(OutOfRange::new(&name("passes"), "2 with a crf", "2 with a bitrate"));
        }
        let range = self.codec.map_or(0..=63, VideoCodec::crf_range);
        OutOfRange::check(&name("crf"), self.crf, range)?;
        OutOfRange::check(&name("keyframe_interval"), self.keyframe_interval.map(|t| t.us as f64 / 1e6), 0.1..=600.0)?;
        if let Some(crop) = self.crop {
            OutOfRange::check(&name("crop.left"), Some(crop.left), 0..=SIDE_MAX - 2)?;
            OutOfRange::check(&name("crop.top"), Some(crop.top), 0..=SIDE_MAX - 2)?;
            OutOfRange::check(&name("crop.width"), Some(crop.width), 2..=SIDE_MAX)?;
            OutOfRange::check(&name("crop.height"), Some(crop.height), 2..=SIDE_MAX)?;
        }
        if self.fit != Fit::Contain && (self.width.is_none() || self.height.is_none()) {
            return Err(OutOfRange::new(&name("fit"), "cover or fill", "both width and height with it"));
        }
        Ok(())
    }

    /// Whether the film is encoded twice.
    pub fn takes_two(&self) -> bool {
        self.passes == Some(2)
    }

    /// Whether something was asked for that only an encoder can give.
    pub fn wants_encoder(&self) -> Option<&'static str> {
        match self {
            VideoOptions { crf: Some(_), .. } => Some("a quality (crf) was asked for"),
            VideoOptions { passes: Some(2), .. } => Some("two passes were asked for"),
            VideoOptions { preset: Some(_), .. } => Some("a speed preset was asked for"),
            VideoOptions { crop: Some(_), .. } => Some("a part of the picture was asked for"),
            VideoOptions { denoise: Some(_), .. } => Some("its noise is to be taken away"),
            VideoOptions { deinterlace: Deinterlace::Always, .. } => Some("it is to be deinterlaced"),
            VideoOptions { keyframe_interval: Some(_), .. } => Some("an interval of keyframes was asked for"),
            VideoOptions { profile: Some(_), .. } | VideoOptions { tune: Some(_), .. } => Some("a profile or a tuning was asked for"),
            VideoOptions { rotate, .. } if *rotate != Quarter::None => Some("it is to be turned"),
            _ => None,
        }
    }
}
