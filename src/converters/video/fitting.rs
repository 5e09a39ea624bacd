//! A film made to fit a size: encoded at the bit rate that should do, weighed, and encoded again at one that does.

use crate::converters::av::SECOND_US;
use crate::converters::av::units::Bitrate;
use crate::failure::{Code, Failure};
use crate::limits::Size;

/// How often a film is encoded at most.
const TRIES_MAX: u32 = 4;
/// What containers, headers and an encoder's aim take of the size.
const AIM: f64 = 0.97;
/// Below this share of the size a first try is worth another.
const LOOSE: f64 = 0.85;
/// No encoder makes a picture of fewer bits per second.
const LEAST: f64 = 20_000.0;

pub struct Fitting {
    target: Size,
    /// Bits per second for the picture.
    rate: f64,
    tries: u32,
}

impl Fitting {
    /// `sound_rate` are the bits per second of all that is not the picture.
    pub fn new(target: Size, length_us: Option<i64>, sound_rate: u64) -> Result<Fitting, Failure> {
        let length_us = length_us.filter(|us| *us > 0);
        let us = length_us.ok_or_else(|| wrong("The file does not say how long the film is, so it cannot be made to fit a size.".into()))?;
        let rate = target.0 as f64 * 8.0 * AIM * SECOND_US as f64 / us as f64 - sound_rate as f64;
        let fitting = Fitting { target, rate, tries: 0 };
        if rate < LEAST { Err(fitting.hopeless()) } else { Ok(fitting) }
    }

    pub fn bitrate(&self) -> Bitrate {
        Bitrate(self.rate.clamp(LEAST, 500e6) as u32)
    }

    /// Whether a result of so many bytes will do; if not, the next one gets another bit rate.
    pub fn fits(&mut self, bytes: u64) -> Result<bool, Failure> {
        self.tries += 1;
        let share = bytes as f64 / self.target.0.max(1) as f64;
        let loose = self.tries == 1 && share < LOOSE;
        if share <= 1.0 && !loose {
            return Ok(true);
        }
        // A film of few details never gets as large as it may.
        self.rate *= (AIM / share).min(2.0);
        if self.tries >= TRIES_MAX || self.rate < LEAST { Err(self.hopeless()) } else { Ok(false) }
    }

    fn hopeless(&self) -> Failure {
        wrong(format!("The film is too long to fit into {}.", self.target))
    }
}

fn wrong(message: String) -> Failure {
    Failure::new(Code::LimitExceeded, message).hint("Ask for a larger target_size, or for a part of it with trim.").stage("encode")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_weight() {
        let mut fitting = Fitting::new(Size(1_000_000), Some(10 * SECOND_US), 100_000).unwrap();
        assert_eq!(fitting.bitrate().0, 676_000);
        assert!(!fitting.fits(1_100_000).unwrap());
        assert!((590_000..600_000).contains(&fitting.bitrate().0));
        assert!(fitting.fits(600_000).unwrap(), "small enough, and not the first");
        let mut small = Fitting::new(Size(1_000_000), Some(10 * SECOND_US), 0).unwrap();
        assert!(!small.fits(100_000).unwrap() && small.fits(150_000).unwrap());
        assert!(Fitting::new(Size(1000), Some(10 * SECOND_US), 0).is_err() && Fitting::new(Size(1000), None, 0).is_err());
        let mut stubborn = Fitting::new(Size(1_000_000), Some(10 * SECOND_US), 0).unwrap();
        assert!((0..4).any(|_| stubborn.fits(2_000_000).is_err()));
    }
}
