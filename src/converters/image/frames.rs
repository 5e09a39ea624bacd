//! How many frames an animation has and how often it plays, told without unpacking one.

use super::apng;
use image::ImageFormat;
use std::io::Cursor;

/// Frames and plays, 0 for ever. Counting stops where even frames of one pixel would be more than `most`.
pub fn count(bytes: &[u8], format: ImageFormat, most: u64) -> (u64, u32) {
    match format {
        ImageFormat::Gif => gif_frames(bytes, most),
        ImageFormat::WebP => webp_frames(bytes),
        ImageFormat::Png => apng::control(bytes).map_or((1, 1), |(frames, plays)| (frames.max(1), plays)),
        _ => (1, 1),
    }
}

/// The blocks of a gif are walked.
fn gif_frames(bytes: &[u8], most: u64) -> (u64, u32) {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let Ok(mut decoder) = options.read_info(Cursor::new(bytes)) else { return (1, 1) };
    let mut frames = 0;
    while frames <= most && matches!(decoder.next_frame_info(), Ok(Some(_))) {
        frames += 1;
    }
    let plays = match decoder.repeat() {
        gif::Repeat::Infinite => 0,
        gif::Repeat::Finite(repeats) => u32::from(repeats) + 1,
    };
    (frames.max(1), plays)
}

/// The `ANMF` chunks of a webp; `ANIM` tells how often it plays.
fn webp_frames(bytes: &[u8]) -> (u64, u32) {
    let (mut at, mut frames, mut plays) = (12usize, 0, 1);
    while let (Some(name), Some(size)) = (bytes.get(at..at + 4), bytes.get(at + 4..at + 8)) {
        frames += u64::from(name == b"ANMF");
        if let (b"ANIM", Some([low, high])) = (name, bytes.get(at + 12..at + 14)) {
            plays = u32::from(u16::from_le_bytes([*low, *high]));
        }
        let size = size.iter().rev().fold(0usize, |sum, b| sum << 8 | usize::from(*b));
        at = at.saturating_add(8).saturating_add(size.next_multiple_of(2));
        if at > bytes.len() {
            break;
        }
    }
    (frames.max(1), plays)
}
