//! The part of a film's pictures that one of several jobs encodes.
//!
//! Whoever cuts a film in parts counts its pictures, so that all cut it at the same times and no part is without one. A part
//! keeps the film's own times; which pictures are its own is decided by the times that the encoder is given.

use super::lane::micros;
use super::open::Source;
use super::options::VideoCodec;
use super::pump::Pump;
use super::{SECOND_US, fault};
use crate::convert::Ctx;
use crate::failure::{Code, Failure};
use ffmpeg_next::{Dictionary, Packet, Rational, Rescale};
use std::cmp::Ordering;

/// Times are those of the picture's own clock, from the film's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// The first picture alone.
    First,
    Between {
        /// None: from the beginning.
        from: Option<i64>,
        /// Where the next part begins; none: to the end.
        to: Option<i64>,
    },
}

impl Stretch {
    /// The same in another clock.
    pub fn ticks(self, source: Rational, own: Rational) -> Stretch {
        let tick = |time: Option<i64>| time.map(|t| t.rescale(source, own));
        match self {
            Stretch::First => Stretch::First,
            Stretch::Between { from, to } => Stretch::Between { from: tick(from), to: tick(to) },
        }
    }

    /// Where a picture of this time lies; `any`: there was one in it before.
    pub fn holds(self, time: i64, any: bool) -> Ordering {
        match self {
            Stretch::First if any => Ordering::Greater,
            Stretch::Between { from: Some(from), .. } if time < from => Ordering::Less,
            Stretch::Between { to: Some(to), .. } if time >= to => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    /// Where it begins, if not at the film's beginning.
    pub fn from(self) -> Option<i64> {
        if let Stretch::Between { from, .. } = self { from } else { None }
    }

    /// Where it ends, if not at the film's end.
    pub fn to(self) -> Option<i64> {
        if let Stretch::Between { to, .. } = self { to } else { None }
    }

    /// What an encoder is told for pictures that others go on with: its headers have to be the same on every machine.
    pub fn settings(codec: VideoCodec, set: &mut Dictionary) {
        if codec == VideoCodec::Hevc {
            let own = set.get("x265-params").map(|own| format!("{own}:")).unwrap_or_default();
            set.set("x265-params", &format!("{own}info=0"));
        }
    }
}

/// Cuts the film into stretches of equally many pictures and takes the `number`th.
pub fn cut(ctx: &Ctx, source: &Source, index: usize, number: u16, of: u16) -> Result<Stretch, Failure> {
    let mut whole = source.again(ctx)?;
    let (clock, total) = (whole.streams[index].time_base, whole.duration_us);
    let shift = whole.start_us.rescale((1, SECOND_US as i32), clock);
    let step = whole.streams[index].average_rate.map_or(1, |rate| 1.rescale(rate.invert(), clock)).max(1);
    let mut times: Vec<i64> = Vec::new();
    let mut pump = Pump::new(ctx, &mut whole, "open", total);
    while let Some(packet) = pump.next(&[index])? {
        let next = times.last().map(|last| last + step);
        let time = packet.pts().or(packet.dts()).map(|t| t - shift).or(next).unwrap_or(0);
        times.push(time);
        pump.reached(micros(time, clock))?;
    }
    fault::flush_words(ctx);
    let pictures = times.len();
    if pictures < usize::from(of) {
        let message = format!("`part`: the film has {pictures} pictures, too few for {of} parts.");
        return Err(Failure::new(Code::InvalidOption, message).stage("open"));
    }
    times.sort_unstable();
    let at = |n: u16| (n > 0 && n < of).then(|| times[usize::from(n) * pictures / usize::from(of)]);
    Ok(Stretch::Between { from: at(number - 1), to: at(number) })
}

/// How long before a stretch the film is read from: filters look at what was before, and some demuxers find a keyframe by
/// when it is decoded, which is before it is shown.
const AHEAD_US: [i64; 3] = [SECOND_US, 5 * SECOND_US, 20 * SECOND_US];
/// Packets of other streams before the first picture, at most.
const OTHERS_MAX: usize = 2000;

/// Goes to a keyframe from which every picture of the stretch can be decoded: the film's beginning where none can be relied on.
pub fn enter(ctx: &Ctx, source: &mut Source, index: usize, from: i64) -> Result<(), Failure> {
    let at_us = micros(from, source.streams[index].time_base);
    let can = source.times_pictures();
    for ahead in AHEAD_US.into_iter().filter(|ahead| can && *ahead < at_us) {
        if source.seek(at_us - ahead) && begins_before(ctx, source, index, from)? && source.seek(at_us - ahead) {
            return Ok(());
        }
    }
    *source = source.again(ctx)?;
    Ok(())
}

/// Whether the next picture stands for itself and is not after `from`.
fn begins_before(ctx: &Ctx, source: &mut Source, index: usize, from: i64) -> Result<bool, Failure> {
    let shift = source.start_us.rescale((1, SECOND_US as i32), source.streams[index].time_base);
    for _ in 0..OTHERS_MAX {
        ctx.check()?;
        let mut packet = Packet::empty();
        if packet.read(&mut source.input).is_err() {
            return Ok(false);
        }
        if packet.stream() == index {
            return Ok(packet.is_key() && packet.pts().is_some_and(|time| time - shift <= from));
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_in_one_stretch() {
        let cuts = [None, Some(10), Some(20), None];
        for time in -5..40 {
            let inside = cuts.windows(2).filter(|w| Stretch::Between { from: w[0], to: w[1] }.holds(time, false) == Ordering::Equal);
            assert_eq!(inside.count(), 1, "{time}");
        }
        assert_eq!(Stretch::First.holds(7, false), Ordering::Equal);
        assert_eq!(Stretch::First.holds(8, true), Ordering::Greater);
    }
}
