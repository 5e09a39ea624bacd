//! A film's pictures, decoded, put in time and led through filters.

use super::ffi::{self, Facts};
use super::graph::{self, Fork};
use super::lane::{Tally, Window, micros};
use super::open::Source;
use super::{decode, fault};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::filter::Graph;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Error, Packet, Rational, Rescale, decoder, frame};

/// What a filter graph was built for.
type Shape = (u32, u32, Pixel);

/// A picture at the end of a branch, with its time in that branch's clock.
pub struct Seen {
    pub branch: usize,
    pub frame: frame::Video,
    pub clock: Rational,
}

/// Takes each picture that comes out.
type See<'a> = &'a mut dyn FnMut(&mut Tally, Seen) -> Result<(), Failure>;

/// The filters for pictures of this size.
pub type Chains = Box<dyn Fn(u32, u32) -> Fork>;

pub struct Eye {
    pub tally: Tally,
    pub done: bool,
    decoder: decoder::Video,
    graph: Option<(Graph, Shape)>,
    chains: Chains,
    branches: usize,
    /// Pictures a second that the filters are told.
    rate: Rational,
    /// The source's clock.
    clock: Rational,
    window: Window,
    shift: i64,
    /// Length of a source frame in its clock.
    step: i64,
    /// The last frame's time in the source's clock.
    seen: Option<i64>,
}

impl Eye {
    pub fn new(ctx: &Ctx, source: &Source, from: &Facts, window: Window, rate: Rational, branches: usize, chains: Chains) -> Result<Eye, Failure> {
        let decoder = decode::video(ctx, source, from.index)?;
        let step = from.average_rate.or(from.frame_rate).map_or(0, |rate| 1.rescale(rate.invert(), from.time_base)).max(1);
        let (clock, shift) = (from.time_base, window.shift(from.time_base));
        Ok(Eye { tally: Tally::default(), done: false, decoder, graph: None, chains, branches, rate, clock, window, shift, step, seen: None })
    }

    /// From now on only pictures that stand for themselves are looked at, which takes a small part of the time.
    pub fn only_keyframes(&mut self) {
        ffi::only_keyframes(&mut self.decoder);
    }

    pub fn feed(&mut self, ctx: &Ctx, packet: &Packet, see: See) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        self.tally.sent(ctx, self.decoder.send_packet(packet))?;
        self.decoded(ctx, see)
    }

    /// The source has ended, or the window has.
    pub fn finish(&mut self, ctx: &Ctx, see: See) -> Result<(), Failure> {
        if !self.done && self.decoder.send_eof().is_ok() {
            self.decoded(ctx, see)?;
        }
        self.drain_graph(ctx, see)
    }

    /// Takes all frames the decoder has.
    fn decoded(&mut self, ctx: &Ctx, see: See) -> Result<(), Failure> {
        let mut frame = frame::Video::empty();
        loop {
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {}
                Err(e) if fault::again(e) || e == Error::Eof => return Ok(()),
                Err(_) => {
                    self.tally.error();
                    return Ok(());
                }
            }
            let time = frame.timestamp().or(self.seen.map(|t| t + self.step)).unwrap_or(self.shift);
            if self.window.absurd(micros(time - self.shift, self.clock)) {
                self.tally.error();
                continue;
            }
            self.seen = Some(time);
            let (time, length) = (time - self.shift, if frame.packet().duration > 0 { frame.packet().duration } else { self.step });
            self.tally.frames += 1;
            if time >= 0 && (frame.is_corrupt() || frame.has_decode_errors()) {
                self.tally.error();
            }
            // A frame that is still on show when the window opens is its first one.
            if self.window.cut && time + length / 2 < 0 {
                continue;
            }
            if self.window.over(micros(time, self.clock)) {
                self.done = true;
                return Ok(());
            }
            self.tally.end_us = self.tally.end_us.max(micros(time + length, self.clock));
            if let Some(most) = self.window.length_us {
                self.tally.end_us = self.tally.end_us.min(most.max(micros(time + self.step, self.clock)));
            }
            self.tally.read_us = self.tally.end_us;
            frame.set_pts(Some(if self.window.cut { time.max(0) } else { time }));
            self.filter(ctx, &frame, see)?;
        }
    }

    /// Tells the filters when the last frame ends and takes what they still hold.
    fn drain_graph(&mut self, ctx: &Ctx, see: See) -> Result<(), Failure> {
        if let Some((graph, _)) = &mut self.graph
            && let Some(mut source) = graph.get("in")
        {
            let end = self.tally.end_us.rescale((1, 1_000_000), self.clock);
            let _ = source.source().close(end);
        }
        self.filtered(ctx, see)
    }

    fn filter(&mut self, ctx: &Ctx, frame: &frame::Video, see: See) -> Result<(), Failure> {
        let shape = (frame.width(), frame.height(), frame.format());
        if self.graph.as_ref().is_some_and(|(_, old)| *old != shape) {
            // The film changes its size on the way: what the old graph still holds comes first.
            self.drain_graph(ctx, see)?;
            self.graph = None;
        }
        if self.graph.is_none() {
            let fork = (self.chains)(frame.width(), frame.height());
            let graph = graph::pictures(frame, self.clock, self.rate, &fork, ctx.threads).map_err(|e| fault::encoding(ctx, e))?;
            self.graph = Some((graph, shape));
        }
        if let Some((graph, _)) = &mut self.graph
            && let Some(mut source) = graph.get("in")
        {
            source.source().add(frame).map_err(|e| fault::encoding(ctx, e))?;
        }
        self.filtered(ctx, see)
    }

    /// Takes all frames the filters have.
    fn filtered(&mut self, ctx: &Ctx, see: See) -> Result<(), Failure> {
        let Some((graph, _)) = &mut self.graph else { return Ok(()) };
        for branch in 0..self.branches {
            let Some(mut sink) = graph.get(&Fork::sink(branch)) else { continue };
            loop {
                let mut frame = frame::Video::empty();
                match sink.sink().frame(&mut frame) {
                    Ok(()) => {}
                    Err(e) if fault::again(e) || e == Error::Eof => break,
                    Err(e) => return Err(fault::encoding(ctx, e)),
                }
                let clock = sink.sink().time_base();
                see(&mut self.tally, Seen { branch, frame, clock })?;
            }
        }
        Ok(())
    }
}
