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
    if frames > 1 {
        check_total(limits, pixels.saturating_mul(frames))?;
    }
    Ok(())
}

/// Refuses a sum of pixels over all frames or pages that is more than an attempt may touch.
pub fn check_total(limits: &Limits, pixels: u64) -> Result<(), Failure> {
    if pixels <= limits.total_pixels_max {
        return Ok(());
    }
    let (allowed, given) = (limits.total_pixels_max / 1_000_000, pixels / 1_000_000);
    let message = format!("All frames or pages together have {given} megapixels or more; {allowed} megapixels are allowed.");
    Err(Failure::limit(message).stage("open"))
}
