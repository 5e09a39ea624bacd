//! Sizes are judged from the header, before a pixel is decoded.

use crate::failure::Failure;
use crate::limits::Limits;

/// Refuses pictures with more pixels than an attempt may touch.
pub fn check(limits: &Limits, width: u64, height: u64, frames: u64) -> Result<(), Failure> {
    let pixels = width.saturating_mul(height);
    if pixels > limits.frame_pixels_max {
        let (allowed, given) = (limits.frame_pixels_max / 1_000_000, pixels / 1_000_000);
        return Err(Failure::limit(format!("The picture is {width} x {height} ({given} megapixels); at most {allowed} megapixels are allowed."))
            .stage("open"));
    }
    if pixels.saturating_mul(frames) > limits.total_pixels_max {
        let allowed = limits.total_pixels_max / 1_000_000;
        return Err(Failure::limit(format!(
            "The picture has {frames} frames of {width} x {height}; all frames together may have {allowed} megapixels."
        ))
        .stage("open"));
    }
    Ok(())
}
