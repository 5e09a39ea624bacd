//! Which tones a song is made of, over its time.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError, Rgb, RgbImage};
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use std::f32::consts::TAU;
use std::io::Write;
use std::sync::Arc;

/// Adds up the power of each tone in stretches of time that grow with the song, so that memory does not.
pub struct Spectrum {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// Samples not yet looked at.
    waiting: Vec<f32>,
    tones: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// Power by stretch and tone, and how many looks are in each stretch.
    stretches: Vec<(Vec<f32>, u32)>,
    looks_each: u32,
    /// How many stretches there are at most.
    most: usize,
}

/// From silence over the usual to the loudest.
const COLOURS: [[f32; 3]; 6] =
    [[0.0, 0.0, 0.0], [30.0, 16.0, 92.0], [130.0, 27.0, 122.0], [217.0, 70.0, 68.0], [251.0, 180.0, 62.0], [255.0, 255.0, 235.0]];

impl Spectrum {
    /// For a drawing of this size.
    pub fn new(width: u32, height: u32) -> Spectrum {
        let length = (height as usize * 2).next_power_of_two().clamp(512, 16_384);
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(length);
        // Hann's, whose sum is half its length.
        let window = (0..length).map(|n| 0.5 - 0.5 * (TAU * n as f32 / length as f32).cos()).collect();
        let (tones, scratch) = (transform.make_output_vec(), transform.make_scratch_vec());
        Spectrum { transform, window, waiting: Vec::new(), tones, scratch, stretches: Vec::new(), looks_each: 1, most: (width as usize * 2).max(2) }
    }

    pub fn add(&mut self, samples: &[f32]) {
        self.waiting.extend_from_slice(samples);
        let (length, step) = (self.window.len(), self.window.len() / 2);
        let mut at = 0;
        while at + length <= self.waiting.len() {
            self.look(at);
            at += step;
        }
        self.waiting.drain(..at);
    }

    /// What is left is looked at too, with silence behind it.
    pub fn end(&mut self) {
        if !self.waiting.is_empty() {
            self.waiting.resize(self.window.len(), 0.0);
            self.look(0);
            self.waiting.clear();
        }
    }

    fn look(&mut self, at: usize) {
        let mut part: Vec<f32> = self.waiting[at..].iter().zip(&self.window).map(|(sample, share)| sample * share).collect();
        // It refuses wrong lengths alone.
        if self.transform.process_with_scratch(&mut part, &mut self.tones, &mut self.scratch).is_err() {
            return;
        }
        if self.stretches.last().is_none_or(|(_, looks)| *looks >= self.looks_each) {
            if self.stretches.len() == self.most {
                self.join();
            }
            self.stretches.push((vec![0.0; self.tones.len()], 0));
        }
        let loudest = self.window.len() as f32 / 4.0;
        if let Some((powers, looks)) = self.stretches.last_mut() {
            powers.iter_mut().zip(&self.tones).for_each(|(power, tone)| *power += tone.norm_sqr() / (loudest * loudest));
            *looks += 1;
        }
    }

    /// Two stretches become one.
    fn join(&mut self) {
        let joined = self.stretches.chunks(2).map(|pair| {
            let (mut powers, mut looks) = pair[0].clone();
            if let Some((more, others)) = pair.get(1) {
                powers.iter_mut().zip(more).for_each(|(power, more)| *power += more);
                looks += others;
            }
            (powers, looks)
        });
        self.stretches = joined.collect();
        self.looks_each *= 2;
    }

    /// Power at a place of the drawing, 1 for the loudest tone there can be; its strongest tone and stretch count.
    fn power(&self, column: usize, columns: usize, row: usize, rows: usize) -> f32 {
        let (stretches, tones) = (self.stretches.len(), self.tones.len());
        let span = |n: usize, of: usize, all: usize| n * all / of..((n + 1) * all / of).clamp(n * all / of + 1, all.max(1));
        let times = self.stretches.get(span(column, columns, stretches)).unwrap_or_default();
        let one = |(powers, looks): &(Vec<f32>, u32)| {
            let there = powers.get(span(row, rows, tones)).unwrap_or_default();
            there.iter().fold(0.0, |most: f32, power| most.max(*power)) / (*looks).max(1) as f32
        };
        times.iter().map(one).fold(0.0, f32::max)
    }

    /// Time goes to the right, tones upwards; `range_db` lies between black and white.
    pub fn write_png(&self, to: &mut impl Write, (width, height): (u32, u32), range_db: f64) -> Result<(), ImageError> {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let power = self.power(x as usize, width as usize, (height - 1 - y) as usize, height as usize);
            let level = 1.0 + 10.0 * power.max(1e-20).log10() / range_db as f32;
            Rgb(colour(level.clamp(0.0, 1.0)))
        });
        PngEncoder::new(to).write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
    }
}

fn colour(level: f32) -> [u8; 3] {
    let place = level * (COLOURS.len() - 1) as f32;
    let (low, share) = ((place as usize).min(COLOURS.len() - 2), place - place.floor().min((COLOURS.len() - 2) as f32));
    std::array::from_fn(|i| (COLOURS[low][i] + (COLOURS[low + 1][i] - COLOURS[low][i]) * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(cycles: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (TAU * cycles * n as f32).sin()).collect()
    }

    #[test]
    fn a_tone_is_where_it_belongs_however_long_the_song_is() {
        for samples in [100, 4000, 200_000] {
            let mut spectrum = Spectrum::new(16, 64);
            tone(0.125, samples).chunks(777).for_each(|part| spectrum.add(part));
            spectrum.end();
            assert!(spectrum.stretches.len() <= 32, "{samples}: {}", spectrum.stretches.len());
            // An eighth of the sample rate is a quarter of the way up.
            let strongest = (0..64).max_by(|a, b| spectrum.power(7, 16, *a, 64).total_cmp(&spectrum.power(7, 16, *b, 64)));
            assert!(strongest.is_some_and(|row| (15..=16).contains(&row)), "{samples}: {strongest:?}");
            assert!(samples < 1000 || (0.5..1.1).contains(&spectrum.power(7, 16, 16, 64)), "{samples}: {}", spectrum.power(7, 16, 16, 64));
        }
    }

    #[test]
    fn colours_go_from_black_to_white() {
        assert_eq!((colour(0.0), colour(1.0), colour(0.2)), ([0, 0, 0], [255, 255, 235], [30, 16, 92]));
    }
}
