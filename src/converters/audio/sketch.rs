//! Draws a waveform.

use super::peaks::{Pair, Peaks};
use crate::converters::colour::Colour;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError, Rgba, RgbaImage};
use std::io::{self, Write};

/// A drawing, not yet in any format.
pub struct Sketch<'a> {
    pub peaks: &'a Peaks,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Whether the loudest sample reaches the edge.
    pub stretched: bool,
}

/// One channel's curve: for each column where it begins and ends, from the top.
type Curve = Vec<(f32, f32)>;

impl Sketch<'_> {
    /// Each channel in a band of its own, one below the other.
    fn curves(&self) -> Vec<Curve> {
        let (channels, (width, height)) = (self.peaks.channels(), self.size);
        let band = height as f32 / channels as f32;
        let full = if self.stretched { self.peaks.loudest() as f32 } else { 32768.0 };
        let one = |channel: usize| {
            let middle = band * (channel as f32 + 0.5);
            let at = |value: i16| middle - f32::from(value) / full * band / 2.0;
            let line = |(low, high): Pair| {
                let (top, bottom) = (at(high), at(low));
                // Silence is a line, not nothing.
                let thin = (1.0 - (bottom - top)).max(0.0) / 2.0;
                (top - thin, bottom + thin)
            };
            self.peaks.columns(channel, width as usize).into_iter().map(line).collect()
        };
        (0..channels).map(one).collect()
    }

    pub fn write_svg(&self, to: &mut impl Write, color: Colour, background: Colour) -> io::Result<()> {
        let (width, height) = self.size;
        writeln!(to, r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">"#)?;
        if background != Colour::TRANSPARENT {
            writeln!(to, r#"<rect width="100%" height="100%" {}/>"#, fill(background))?;
        }
        for curve in self.curves() {
            let Some((first, _)) = curve.first() else { continue };
            write!(to, r#"<path {} d="M0 {first:.1}"#, fill(color))?;
            for (x, (top, _)) in curve.iter().enumerate() {
                write!(to, "V{top:.1}H{}", x + 1)?;
            }
            for (x, (_, bottom)) in curve.iter().enumerate().rev() {
                write!(to, "V{bottom:.1}H{x}")?;
            }
            writeln!(to, r#"Z"/>"#)?;
        }
        writeln!(to, "</svg>")
    }

    pub fn write_png(&self, to: &mut impl Write, color: Colour, background: Colour) -> Result<(), ImageError> {
        let (width, height) = self.size;
        let mut picture = RgbaImage::from_pixel(width, height, Rgba(background.0));
        for curve in self.curves() {
            for (x, (top, bottom)) in (0..width).zip(curve) {
                let rows = top.round().max(0.0) as u32..(bottom.round() as u32).min(height);
                rows.for_each(|y| picture.put_pixel(x, y, Rgba(color.0)));
            }
        }
        PngEncoder::new(to).write_image(picture.as_raw(), width, height, ExtendedColorType::Rgba8)
    }
}

fn fill(Colour([r, g, b, a]): Colour) -> String {
    format!(r##"fill="#{r:02x}{g:02x}{b:02x}" fill-opacity="{:.3}""##, f32::from(a) / 255.0)
}
