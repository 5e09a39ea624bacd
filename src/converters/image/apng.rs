//! Animated PNG: how many frames one has, and writing them.

use crate::failure::Failure;
use image::DynamicImage;
use png::{BitDepth, ColorType, Compression, Encoder};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

/// What the animation control chunk says: frames, and how often they play (0 for ever). None where there is none before the pixels.
pub fn control(bytes: &[u8]) -> Option<(u64, u32)> {
    let mut at = 8usize;
    loop {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let length = number(at)? as usize;
        match bytes.get(at + 4..at + 8)? {
            b"acTL" => return Some((number(at + 8)?.into(), number(at + 12)?)),
            b"IDAT" => return None,
            _ => at = at.checked_add(length)?.checked_add(12)?,
        }
    }
}

/// The encoder keeps its sink to itself; this is the other end of it.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes an animation frame by frame.
pub struct Animation {
    writer: png::Writer<Shared>,
    file: Shared,
}

impl Animation {
    pub fn new(size: (u32, u32), frames: u64, plays: u32, effort: u8) -> Result<Animation, Failure> {
        let frames = u32::try_from(frames).map_err(|_| Failure::limit("APNG has no room for so many frames."))?;
        let file = Shared::default();
        let mut encoder = Encoder::new(file.clone(), size.0, size.1);
        encoder.set_color(ColorType::Rgba);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(match effort {
            1..=2 => Compression::Fast,
            3..=7 => Compression::Balanced,
            _ => Compression::High,
        });
        encoder.set_animated(frames, plays).map_err(Failure::internal)?;
        Ok(Animation { writer: encoder.write_header().map_err(Failure::internal)?, file })
    }

    pub fn add(&mut self, frame: &DynamicImage, delay_ms: u32) -> Result<(), Failure> {
        // The field has 16 bits for either part of a fraction of a second.
        let delay = match u16::try_from(delay_ms) {
            Ok(ms) => (ms, 1000),
            Err(_) => (u16::try_from(delay_ms / 1000).unwrap_or(u16::MAX), 1),
        };
        self.writer.set_frame_delay(delay.0, delay.1).map_err(Failure::internal)?;
        self.writer.write_image_data(&frame.to_rgba8()).map_err(Failure::internal)
    }

    pub fn finish(self) -> Result<Vec<u8>, Failure> {
        self.writer.finish().map_err(Failure::internal)?;
        Ok(self.file.0.take())
    }
}
