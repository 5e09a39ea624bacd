//! The bit rates that encoders of sound take: what is asked beyond them becomes the nearest.

use super::options::AudioCodec;

/// Of MPEG-1 from 32 kHz on, of MPEG-2 below (ISO/IEC 11172-3 and 13818-3), in kbit/s.
const LAYER_3: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const LAYER_2: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const LOW_RATES: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
/// Of the unofficial MPEG-2.5, below 16 kHz, the first ones alone.
const LOWEST_RATES: usize = 8;
/// ATSC A/52, table 5.18, in kbit/s.
const DOLBY: [u32; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

impl AudioCodec {
    /// The rate nearest to `wanted` that its encoder takes for so many channels at this many samples a second.
    pub fn nearest_bitrate(self, wanted: u32, channels: u32, rate: u32) -> u32 {
        let among = |known: &[u32]| known.iter().map(|k| k * 1000).min_by_key(|k| k.abs_diff(wanted)).unwrap_or(wanted);
        match self {
            AudioCodec::Mp3 if rate >= 32000 => among(&LAYER_3),
            AudioCodec::Mp3 if rate < 16000 => among(&LOW_RATES[..LOWEST_RATES]),
            AudioCodec::Mp2 if rate >= 32000 => among(&LAYER_2),
            AudioCodec::Mp3 | AudioCodec::Mp2 => among(&LOW_RATES),
            // Six channels in less than this are no sound any more.
            AudioCodec::Ac3 if channels > 2 => among(&DOLBY[9..]),
            AudioCodec::Ac3 => among(&DOLBY),
            AudioCodec::Opus => wanted.clamp(6000 * channels, 256_000 * channels),
            AudioCodec::Vorbis => {
                let (least, most) = vorbis(channels, rate);
                wanted.clamp(least * channels, most * channels)
            }
            AudioCodec::Wma => wanted.clamp(24_000, 192_000),
            // 6144 bits are all that a frame of 1024 samples may take (ISO/IEC 14496-3, 4.5.3.3).
            AudioCodec::Aac => wanted.clamp(8000 * channels, 6 * rate * channels),
            _ => wanted,
        }
    }
}

/// The least and the most for one channel, from the tables in libvorbis (`lib/modes`); two channels are joined and need less.
fn vorbis(channels: u32, rate: u32) -> (u32, u32) {
    match (rate, channels == 2) {
        (..=8999, true) => (6000, 32_000),
        (..=8999, false) => (8000, 42_000),
        (9000..=14_999, true) => (8000, 44_000),
        (9000..=14_999, false) => (12_000, 50_000),
        (15_000..=18_999, true) => (12_000, 86_000),
        (15_000..=18_999, false) => (16_000, 100_000),
        (19_000..=25_999, true) => (15_000, 86_000),
        (19_000..=25_999, false) => (16_000, 90_000),
        (26_000..=39_999, true) => (18_000, 190_000),
        (26_000..=39_999, false) => (30_000, 190_000),
        (_, true) => (22_500, 250_000),
        (_, false) => (32_000, 240_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_met_where_they_can_be() {
        let nearest = |codec: AudioCodec, wanted, channels, rate| codec.nearest_bitrate(wanted, channels, rate);
        assert_eq!(nearest(AudioCodec::Vorbis, 160_000, 1, 22_050), 90_000);
        assert_eq!(nearest(AudioCodec::Vorbis, 160_000, 2, 44_100), 160_000);
        assert_eq!(nearest(AudioCodec::Mp3, 320_000, 1, 8000), 64_000);
        assert_eq!(nearest(AudioCodec::Mp2, 100_000, 2, 48_000), 96_000);
        assert_eq!(nearest(AudioCodec::Opus, 3_000_000, 2, 48_000), 512_000);
        assert_eq!(nearest(AudioCodec::Flac, 7, 2, 48_000), 7);
    }
}
