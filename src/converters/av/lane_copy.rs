//! A stream that is kept as it is: only its times move.

use super::fault;
use super::ffi::{Facts, Kind};
use super::lane::{Tally, Window, micros};
use super::mux::Mux;
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Packet, Rational, Rescale};

pub struct CopyLane {
    pub tally: Tally,
    pub done: bool,
    stream: usize,
    clock: Rational,
    window: Window,
    shift: i64,
    /// Length of one frame in the stream's clock, where packets do not say.
    step: i64,
    last_dts: Option<i64>,
    /// Nothing can be shown before the first keyframe.
    started: bool,
    picture: bool,
}

impl CopyLane {
    pub fn new(from: &Facts, stream: usize, window: Window) -> CopyLane {
        let rate = from.average_rate.or(from.frame_rate);
        let step = rate.map_or(0, |rate| 1.rescale(rate.invert(), from.time_base));
        let (clock, picture) = (from.time_base, from.kind == Kind::Video);
        let shift = window.shift(clock);
        CopyLane { tally: Tally::default(), done: false, stream, clock, window, shift, step, last_dts: None, started: !picture, picture }
    }

    pub fn feed(&mut self, ctx: &Ctx, packet: &mut Packet, mux: &mut Mux) -> Result<(), Failure> {
        if self.done || (!self.started && !packet.is_key()) {
            return Ok(());
        }
        let (pts, dts) = (packet.pts().or(packet.dts()), packet.dts());
        let next = self.last_dts.map(|last| last + self.step.max(1));
        let Some(pts) = pts.map(|t| t - self.shift).or(next) else { return Ok(()) };
        let dts = dts.map(|t| t - self.shift).or(next).unwrap_or(pts);
        if self.window.absurd(micros(pts, self.clock)) {
            self.tally.error();
            return Ok(());
        }
        // Frames of the window may lean on later ones: only what is decoded after its end is dropped.
        if self.window.over(micros(if self.picture { dts } else { pts }, self.clock)) {
            self.done = true;
            return Ok(());
        }
        let half = micros(self.step / 2, self.clock);
        if self.window.cut && micros(pts, self.clock) < -half.max(1000) {
            return Ok(());
        }
        self.started = true;
        let dts = self.last_dts.map_or(dts, |last| dts.max(last + 1));
        let pts = pts.max(dts);
        self.last_dts = Some(dts);
        packet.set_pts(Some(pts));
        packet.set_dts(Some(dts));
        let length = if packet.duration() > 0 { packet.duration() } else { self.step };
        self.tally.end_us = self.tally.end_us.max(micros(pts + length, self.clock));
        self.tally.read_us = self.tally.end_us;
        self.tally.packets += 1;
        self.tally.frames += 1;
        mux.write(packet, self.stream, self.clock).map_err(|e| fault::encoding(ctx, e))
    }
}
