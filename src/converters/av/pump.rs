//! A source's packets, one after the other, for as long as it gives any.

use super::lane::micros;
use super::open::Source;
use super::{SECOND_US, fault};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Error, Packet, Rescale};

/// How many reads in a row may fail before the file counts as over.
pub const FAILED_READS_MAX: u32 = 200;

pub struct Pump<'a> {
    ctx: &'a Ctx<'a>,
    source: &'a mut Source,
    stage: &'a str,
    total_ms: u64,
    furthest_ms: u64,
    /// The latest time of any packet that went by, wanted or not, in the film's own time.
    pub passed_us: i64,
    steady: Steady,
}

impl<'a> Pump<'a> {
    /// `wanted_us` is how much there is to do, as far as it is known.
    pub fn new(ctx: &'a Ctx<'a>, source: &'a mut Source, stage: &'a str, wanted_us: Option<i64>) -> Self {
        let total_ms = wanted_us.unwrap_or(0).max(0) as u64 / 1000;
        Pump { ctx, source, stage, total_ms, furthest_ms: 0, passed_us: 0, steady: Steady { shift_us: 0, last_us: None } }
    }

    /// The next packet of these streams; none: the file is over, or what is left of it cannot be read.
    pub fn next(&mut self, streams: &[usize]) -> Result<Option<Packet>, Failure> {
        let mut failed = 0;
        loop {
            self.ctx.check()?;
            let mut packet = Packet::empty();
            match packet.read(&mut self.source.input) {
                Ok(()) => {
                    failed = 0;
                    if streams.contains(&packet.stream()) {
                        self.steady.settle(&mut packet, self.source);
                        self.pass(&packet);
                        return Ok(Some(packet));
                    }
                    self.pass(&packet);
                }
                Err(Error::Other { errno: libc::ENOMEM }) => return Err(fault::decoding(self.ctx, Error::Other { errno: libc::ENOMEM }, None)),
                Err(e) if (fault::again(e) || e == Error::InvalidData) && failed < FAILED_READS_MAX => failed += 1,
                Err(_) => return Ok(None),
            }
        }
    }

    fn pass(&mut self, packet: &Packet) {
        let clock = self.source.streams.get(packet.stream()).map(|facts| facts.time_base);
        if let (Some(clock), Some(time)) = (clock, packet.pts().or(packet.dts())) {
            self.passed_us = self.passed_us.max(micros(time + packet.duration(), clock) - self.source.start_us);
        }
    }

    /// Tells how far the result has come, and holds it against the longest allowed.
    pub fn reached(&mut self, end_us: i64) -> Result<(), Failure> {
        let at_ms = end_us.max(0) as u64 / 1000;
        let limit = self.ctx.limits.media_duration_max;
        if at_ms > limit.as_millis() {
            return Err(Failure::limit(format!("The film goes on beyond {limit}, the longest allowed.")).stage(self.stage));
        }
        self.furthest_ms = at_ms.max(self.furthest_ms);
        let current = if self.total_ms > 0 { self.furthest_ms.min(self.total_ms) } else { self.furthest_ms };
        self.ctx.progress(self.stage, current, self.total_ms, "ms");
        Ok(())
    }
}

/// Takes the jumps out of a broadcast's clock.
struct Steady {
    shift_us: i64,
    last_us: Option<i64>,
}

impl Steady {
    /// No two packets in a row are further apart than this.
    const JUMP_US: i64 = 10 * SECOND_US;

    fn settle(&mut self, packet: &mut Packet, source: &Source) {
        let (true, Some(dts)) = (source.jumps(), packet.dts()) else { return };
        let clock = source.streams[packet.stream()].time_base;
        let time = micros(dts, clock);
        if let Some(last) = self.last_us.filter(|last| (time + self.shift_us - last).abs() > Self::JUMP_US) {
            self.shift_us = last - time;
        }
        self.last_us = Some(time + self.shift_us);
        if self.shift_us != 0 {
            let shift = self.shift_us.rescale((1, 1_000_000), clock);
            packet.set_dts(Some(dts + shift));
            packet.set_pts(packet.pts().map(|pts| pts + shift));
        }
    }
}
