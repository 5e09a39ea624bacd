//! The least and greatest sample of each stretch of sound.

use schemars::JsonSchema_repr;
use serde_repr::{Deserialize_repr, Serialize_repr};
use std::io::{self, Write};

/// The size of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_repr, Deserialize_repr, JsonSchema_repr)]
#[repr(u8)]
pub enum Bits {
    Eight = 8,
    Sixteen = 16,
}

impl Bits {
    fn of(self, value: i16) -> i16 {
        match self {
            Bits::Eight => value >> 8,
            Bits::Sixteen => value,
        }
    }
}

/// Least and greatest.
pub type Pair = (i16, i16);

const NOTHING: Pair = (i16::MAX, i16::MIN);

pub struct Peaks {
    rate: u32,
    channels: usize,
    samples_per_pixel: u32,
    /// Channel after channel within each stretch.
    pairs: Vec<Pair>,
    /// The stretch under way, and how many samples of each channel it has.
    open: Vec<Pair>,
    taken: u32,
}

impl Peaks {
    pub fn new(rate: u32, channels: u32, samples_per_pixel: u32) -> Peaks {
        let channels = channels as usize;
        Peaks { rate, channels, samples_per_pixel, pairs: Vec::new(), open: vec![NOTHING; channels], taken: 0 }
    }

    /// Takes the first `count` of interleaved samples.
    pub fn add(&mut self, samples: &[i16], count: usize) {
        for moment in samples.get(..count).unwrap_or(samples).chunks_exact(self.channels) {
            for (pair, sample) in self.open.iter_mut().zip(moment) {
                *pair = (pair.0.min(*sample), pair.1.max(*sample));
            }
            self.taken += 1;
            if self.taken == self.samples_per_pixel {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.pairs.extend_from_slice(&self.open);
        self.open.fill(NOTHING);
        self.taken = 0;
    }

    /// Closes the last stretch, which may be shorter.
    pub fn end(&mut self) {
        if self.taken > 0 {
            self.close();
        }
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The farthest from silence, 1 to 32768.
    pub fn loudest(&self) -> u32 {
        self.pairs.iter().map(|(low, high)| u32::from(low.unsigned_abs().max(high.unsigned_abs()))).max().unwrap_or(1).max(1)
    }

    /// One channel in so many stretches of equal length; fewer where there is less sound.
    pub fn columns(&self, channel: usize, columns: usize) -> Vec<Pair> {
        let own: Vec<Pair> = self.pairs.iter().skip(channel).step_by(self.channels).copied().collect();
        let join = |some: &[Pair]| some.iter().fold(NOTHING, |sum, pair| (sum.0.min(pair.0), sum.1.max(pair.1)));
        match own.len() {
            0 => Vec::new(),
            // What is shorter than the drawing is spread over it.
            n => (0..columns).map(|c| join(&own[c * n / columns..((c + 1) * n / columns).max(c * n / columns + 1)])).collect(),
        }
    }

    /// As audiowaveform writes it, version 2
    /// (<https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md>).
    pub fn write_json(&self, to: &mut impl Write, bits: Bits) -> io::Result<()> {
        let (channels, length) = (self.channels, self.pairs.len() / self.channels);
        write!(
            to,
            r#"{{"version":2,"channels":{channels},"sample_rate":{},"samples_per_pixel":{},"bits":{},"length":{length},"data":["#,
            self.rate, self.samples_per_pixel, bits as u8
        )?;
        for (n, (low, high)) in self.pairs.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(to, "{comma}{},{}", bits.of(*low), bits.of(*high))?;
        }
        writeln!(to, "]}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_told_apart_and_the_last_may_be_short() {
        let mut peaks = Peaks::new(8000, 2, 2);
        peaks.add(&[1, -1, 5, -5, 300, 0], 6);
        peaks.add(&[-300, 512, 7, 8, 9, 9], 4);
        peaks.end();
        let mut json = Vec::new();
        peaks.write_json(&mut json, Bits::Sixteen).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(told["data"], serde_json::json!([1, 5, -5, -1, -300, 300, 0, 512, 7, 7, 8, 8]));
        assert_eq!((told["length"].as_u64(), told["channels"].as_u64(), told["bits"].as_u64()), (Some(3), Some(2), Some(16)));
        let mut json = Vec::new();
        peaks.write_json(&mut json, Bits::Eight).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(told["data"], serde_json::json!([0, 0, -1, -1, -2, 1, 0, 2, 0, 0, 0, 0]));
        assert_eq!(peaks.loudest(), 512);
    }

    #[test]
    fn columns_join_what_they_stand_for() {
        let mut peaks = Peaks::new(8000, 1, 1);
        peaks.add(&[1, 2, 3, 4], 4);
        assert_eq!(peaks.columns(0, 2), [(1, 2), (3, 4)]);
        assert_eq!(peaks.columns(0, 8), [(1, 1), (1, 1), (2, 2), (2, 2), (3, 3), (3, 3), (4, 4), (4, 4)]);
        assert_eq!(Peaks::new(8000, 1, 1).columns(0, 8), []);
    }
}
