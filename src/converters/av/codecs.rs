//! The encoders: their names, their settings, what they can take.

use super::options::{AudioCodec, Profile, Speed, Tune, VideoCodec, VideoOptions};
use ffmpeg_next::format::{Pixel, Sample, sample};
use ffmpeg_next::{Dictionary, Rational};
use schemars::JsonSchema_repr;
use serde_repr::{Deserialize_repr, Serialize_repr};

impl VideoCodec {
    /// FFmpeg's name of the encoder.
    pub fn encoder(self) -> &'static str {
        match self {
            VideoCodec::H264 => "libx264",
            VideoCodec::Hevc => "libx265",
            VideoCodec::Vp8 => "libvpx",
            VideoCodec::Vp9 => "libvpx-vp9",
            VideoCodec::Av1 => "libsvtav1",
            VideoCodec::Mpeg4 => "mpeg4",
            VideoCodec::Mpeg2 => "mpeg2video",
            VideoCodec::Theora => "libtheora",
            VideoCodec::Prores => "prores_ks",
            VideoCodec::Ffv1 => "ffv1",
            VideoCodec::Gif => "gif",
            VideoCodec::Apng => "apng",
            VideoCodec::Webp => "libwebp_anim",
            VideoCodec::Copy => "copy",
        }
    }

    /// FFmpeg's name of the codec.
    pub fn codec(self) -> &'static str {
        match self {
            VideoCodec::H264 => "h264",
            VideoCodec::Hevc => "hevc",
            VideoCodec::Vp8 => "vp8",
            VideoCodec::Vp9 => "vp9",
            VideoCodec::Av1 => "av1",
            VideoCodec::Mpeg4 => "mpeg4",
            VideoCodec::Mpeg2 => "mpeg2video",
            VideoCodec::Theora => "theora",
            VideoCodec::Prores => "prores",
            VideoCodec::Ffv1 => "ffv1",
            VideoCodec::Gif => "gif",
            VideoCodec::Apng => "apng",
            VideoCodec::Webp => "webp",
            VideoCodec::Copy => "copy",
        }
    }

    pub fn crf_range(self) -> std::ops::RangeInclusive<u8> {
        match self {
            VideoCodec::H264 | VideoCodec::Hevc => 0..=51,
            VideoCodec::Mpeg4 | VideoCodec::Mpeg2 => 1..=31,
            _ => 0..=63,
        }
    }

    pub fn crf_default(self) -> u8 {
        match self {
            VideoCodec::H264 => 23,
            VideoCodec::Hevc => 28,
            VideoCodec::Vp8 => 10,
            VideoCodec::Vp9 => 32,
            VideoCodec::Av1 => 35,
            VideoCodec::Theora => 20,
            VideoCodec::Webp => 16,
            _ => 4,
        }
    }

    pub fn pixels(self) -> Pixel {
        match self {
            VideoCodec::Gif => Pixel::PAL8,
            VideoCodec::Apng => Pixel::RGB24,
            VideoCodec::Prores => Pixel::YUV422P10LE,
            _ => Pixel::YUV420P,
        }
    }

    /// FFmpeg's name for them.
    pub fn pixel_names(self) -> &'static str {
        match self {
            VideoCodec::Gif => "pal8",
            VideoCodec::Apng => "rgb24",
            VideoCodec::Prores => "yuv422p10le",
            _ => "yuv420p",
        }
    }

    /// Frame rates the codec's headers can hold; empty for any. Then frames are repeated and dropped to meet them.
    pub fn rates(self) -> &'static [(i32, i32)] {
        match self {
            VideoCodec::Mpeg2 => &[(24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1)],
            _ => &[],
        }
    }

    /// What its encoder can be tuned for.
    pub fn tunes(self) -> &'static [Tune] {
        match self {
            VideoCodec::H264 => &[Tune::Film, Tune::Animation, Tune::Grain, Tune::Stillimage, Tune::Fastdecode, Tune::Zerolatency],
            VideoCodec::Hevc => &[Tune::Animation, Tune::Grain, Tune::Fastdecode, Tune::Zerolatency],
            _ => &[],
        }
    }

    /// Whether it is one of pictures that move: small ones, of square pixels, with few frames a second.
    pub fn is_picture(self) -> bool {
        matches!(self, VideoCodec::Gif | VideoCodec::Apng | VideoCodec::Webp)
    }

    /// Whether its time base must be that of a frame.
    pub fn strict_clock(self) -> bool {
        matches!(self, VideoCodec::Mpeg4 | VideoCodec::Mpeg2 | VideoCodec::Theora | VideoCodec::Gif)
    }

    /// The quantiser of the codecs that have one for all frames, in FFmpeg's unit of 118.
    pub fn fixed_quality(self, options: &VideoOptions) -> Option<i32> {
        let crf = options.crf.unwrap_or(self.crf_default());
        let by_quality = options.crf.is_some() || options.bitrate.is_none();
        let q = match self {
            VideoCodec::Mpeg4 | VideoCodec::Mpeg2 => f64::from(crf),
            // Theora's own scale runs the other way, 0 to 10.
            VideoCodec::Theora => f64::from(63 - crf.min(63)) / 6.3,
            _ => return None,
        };
        by_quality.then_some((q * 118.0).round() as i32)
    }

    /// The encoder's settings; every value is a number or a word of ours.
    pub fn settings(self, options: &VideoOptions, threads: usize, width: u32) -> Dictionary<'static> {
        let speed = options.preset.unwrap_or_default();
        let crf = options.crf.unwrap_or(self.crf_default());
        let by_quality = options.crf.is_some() || options.bitrate.is_none();
        let mut set = Dictionary::new();
        let mut put = |key: &str, value: String| set.set(key, &value);
        put("threads", threads.to_string());
        match self {
            VideoCodec::H264 | VideoCodec::Hevc => {
                put("preset", speed.name().into());
                if by_quality {
                    put("crf", crf.to_string());
                }
                if let Some(profile) = options.profile.filter(|_| self == VideoCodec::H264) {
                    put("profile", profile.name().into());
                }
                if let Some(tune) = options.tune {
                    put("tune", tune.name().into());
                }
                put("forced-idr", "1".into());
                if self == VideoCodec::Hevc {
                    put("x265-params", format!("pools={threads}:log-level=warning"));
                }
            }
            VideoCodec::Vp8 | VideoCodec::Vp9 => {
                let used = 5 - (speed as i32 / 2 + speed as i32 % 2).min(5);
                put("deadline", "good".into());
                put("cpu-used", used.to_string());
                if by_quality {
                    put("crf", crf.to_string());
                    put("b", options.bitrate.map_or(if self == VideoCodec::Vp8 { 2_000_000 } else { 0 }, |b| b.0).to_string());
                }
                if self == VideoCodec::Vp9 {
                    put("row-mt", "1".into());
                    // As many as the format allows: 256 pixels are the narrowest.
                    put("tile-columns", (width / 256).max(1).ilog2().to_string());
                }
            }
            VideoCodec::Av1 => {
                put("preset", (12 - speed as i32).to_string());
                put("svtav1-params", format!("lp={threads}"));
                // An open group begins with a picture that no player can jump to.
                put("flags", "+cgop".into());
                if by_quality {
                    put("crf", crf.to_string());
                }
            }
            // Its own scale runs the other way, 0 to 100.
            VideoCodec::Webp => put("quality", (100 - u32::from(crf.min(63)) * 100 / 63).to_string()),
            _ if let Some(quality) = self.fixed_quality(options) => {
                put("flags", "+qscale".into());
                put("global_quality", quality.to_string());
            }
            _ => {}
        }
        if let Some(bitrate) = options.bitrate {
            match (self, options.crf) {
                (VideoCodec::H264 | VideoCodec::Hevc, Some(_)) => {
                    put("maxrate", bitrate.0.to_string());
                    put("bufsize", (u64::from(bitrate.0) * 2).to_string());
                }
                (_, Some(_)) => {}
                (_, None) => put("b", bitrate.0.to_string()),
            }
        }
        set
    }
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Baseline => "baseline",
            Profile::Main => "main",
            Profile::High => "high",
        }
    }
}

impl Tune {
    pub fn name(self) -> &'static str {
        match self {
            Tune::Film => "film",
            Tune::Animation => "animation",
            Tune::Grain => "grain",
            Tune::Stillimage => "stillimage",
            Tune::Fastdecode => "fastdecode",
            Tune::Zerolatency => "zerolatency",
        }
    }
}

impl Speed {
    pub fn name(self) -> &'static str {
        match self {
            Speed::Ultrafast => "ultrafast",
            Speed::Superfast => "superfast",
            Speed::Veryfast => "veryfast",
            Speed::Faster => "faster",
            Speed::Fast => "fast",
            Speed::Medium => "medium",
            Speed::Slow => "slow",
            Speed::Slower => "slower",
            Speed::Veryslow => "veryslow",
        }
    }
}

/// How finely lossless sound is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_repr, Deserialize_repr, JsonSchema_repr)]
#[repr(u8)]
pub enum Depth {
    /// 16 bits a sample.
    Short = 16,
    /// 24 bits.
    Deep = 24,
    /// 32 bits, floating point.
    Float = 32,
}

impl Depth {
    /// For samples of so many bits; 32 are kept as 24, the finest that players know.
    pub fn of(bits: u32) -> Depth {
        if bits > 16 { Depth::Deep } else { Depth::Short }
    }

    fn choose<T>(self, short: T, deep: T, float: T) -> T {
        match self {
            Depth::Short => short,
            Depth::Deep => deep,
            Depth::Float => float,
        }
    }
}

impl AudioCodec {
    /// As the options write it.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// FFmpeg's name of the encoder; the depth counts for pcm.
    pub fn encoder(self, depth: Depth) -> &'static str {
        match self {
            AudioCodec::Aac => "aac",
            AudioCodec::Mp3 => "libmp3lame",
            AudioCodec::Mp2 => "mp2",
            AudioCodec::Opus => "libopus",
            AudioCodec::Vorbis => "libvorbis",
            AudioCodec::Flac => "flac",
            AudioCodec::Alac => "alac",
            AudioCodec::Ac3 => "ac3",
            AudioCodec::Wma => "wmav2",
            AudioCodec::Pcm => depth.choose("pcm_s16le", "pcm_s24le", "pcm_f32le"),
            AudioCodec::PcmBig => depth.choose("pcm_s16be", "pcm_s24be", "pcm_f32be"),
            AudioCodec::Copy | AudioCodec::None => "none",
        }
    }

    /// Whether a stream of FFmpeg's codec name is of this codec.
    pub fn is(self, codec: &str) -> bool {
        match self {
            AudioCodec::Aac => codec == "aac",
            AudioCodec::Mp3 => codec == "mp3",
            AudioCodec::Mp2 => codec == "mp2",
            AudioCodec::Opus => codec == "opus",
            AudioCodec::Vorbis => codec == "vorbis",
            AudioCodec::Flac => codec == "flac",
            AudioCodec::Alac => codec == "alac",
            AudioCodec::Ac3 => codec == "ac3",
            AudioCodec::Wma => codec == "wmav2",
            AudioCodec::Pcm => ["pcm_s16le", "pcm_s24le"].contains(&codec),
            AudioCodec::PcmBig => ["pcm_s16be", "pcm_s24be"].contains(&codec),
            AudioCodec::Copy => true,
            AudioCodec::None => false,
        }
    }

    pub fn lossless(self) -> bool {
        matches!(self, AudioCodec::Flac | AudioCodec::Alac | AudioCodec::Pcm | AudioCodec::PcmBig)
    }

    /// Whether its samples can be floating point.
    pub fn floats(self) -> bool {
        matches!(self, AudioCodec::Pcm | AudioCodec::PcmBig)
    }

    /// The sample format; deep sound stays deep where the codec is lossless.
    pub fn samples(self, depth: Depth) -> Sample {
        match (self, depth) {
            (AudioCodec::Aac | AudioCodec::Vorbis | AudioCodec::Mp3 | AudioCodec::Ac3 | AudioCodec::Wma, _) => Sample::F32(sample::Type::Planar),
            (AudioCodec::Opus, _) | (AudioCodec::Pcm | AudioCodec::PcmBig, Depth::Float) => Sample::F32(sample::Type::Packed),
            (AudioCodec::Alac, Depth::Short) => Sample::I16(sample::Type::Planar),
            (AudioCodec::Alac, _) => Sample::I32(sample::Type::Planar),
            (AudioCodec::Flac | AudioCodec::Pcm | AudioCodec::PcmBig, Depth::Deep | Depth::Float) => Sample::I32(sample::Type::Packed),
            _ => Sample::I16(sample::Type::Packed),
        }
    }

    /// The channels it gets of a source with `wanted`.
    pub fn channels(self, wanted: u32) -> u32 {
        match self {
            AudioCodec::Mp3 | AudioCodec::Mp2 | AudioCodec::Wma => wanted.clamp(1, 2),
            AudioCodec::Flac | AudioCodec::Pcm | AudioCodec::PcmBig => wanted.clamp(1, 8),
            // The layouts in between are not the same in every container and player.
            _ if wanted >= 6 => 6,
            _ => wanted.clamp(1, 2),
        }
    }

    /// The sample rate nearest to `wanted`, from above where there is one.
    pub fn rate(self, wanted: u32) -> u32 {
        let known: &[u32] = match self {
            AudioCodec::Opus => &[8000, 12000, 16000, 24000, 48000],
            AudioCodec::Mp3 => &[8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000],
            AudioCodec::Mp2 => &[16000, 22050, 24000, 32000, 44100, 48000],
            AudioCodec::Ac3 => &[32000, 44100, 48000],
            AudioCodec::Aac | AudioCodec::Vorbis | AudioCodec::Wma => &[8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000],
            _ => return wanted.clamp(8000, 192_000),
        };
        known.iter().copied().find(|rate| *rate >= wanted).unwrap_or(48000)
    }

    /// Bits per second that sound good to most.
    pub fn bitrate(self, channels: u32, rate: u32) -> u32 {
        let stereo = match self {
            AudioCodec::Opus => 96_000,
            AudioCodec::Mp3 | AudioCodec::Mp2 | AudioCodec::Ac3 => 192_000,
            _ => 128_000,
        };
        let all = match channels {
            1 => stereo / 2,
            2 => stereo,
            _ => stereo * 3,
        };
        if rate < 32000 && self != AudioCodec::Opus { all / 2 } else { all }
    }
}

/// The codec's rate nearest to `rate`, or `rate` itself.
pub fn nearest_rate(codec: VideoCodec, rate: Rational) -> Rational {
    let distance = |(n, d): &(i32, i32)| (f64::from(*n) / f64::from(*d) - f64::from(rate)).abs();
    codec.rates().iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).map_or(rate, |(n, d)| Rational::new(*n, *d))
}
