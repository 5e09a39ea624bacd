//! Subtitles that are text: read by one codec, written by another.

use super::fault;
use super::ffi::{Facts, Scribe};
use super::lane::{Tally, Window, micros};
use super::mux::Mux;
use super::open::Source;
use super::words::Words;
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Error, Packet, Rational};

/// How long a line is shown that does not say so.
const UNSAID_US: i64 = 4_000_000;
/// Of the packets made here.
const CLOCK: (i32, i32) = (1, 1_000_000);

pub struct WordsLane {
    pub tally: Tally,
    pub done: bool,
    scribe: Scribe,
    stream: usize,
    clock: Rational,
    window: Window,
    shift: i64,
    last_us: i64,
}

impl WordsLane {
    /// The window should have an end: what is said beyond it would make the result longer than its pictures.
    pub fn new(ctx: &Ctx, source: &Source, from: &Facts, words: Words, window: Window, mux: &mut Mux) -> Result<WordsLane, Failure> {
        let scribe = Scribe::open(&source.input, from.index, from.time_base, words.encoder()).map_err(|e| fault::decoding(ctx, e, None))?;
        let stream = mux.add_encoded(scribe.encoder(), from, CLOCK.into(), None, 0).map_err(|e| fault::encoding(ctx, e))?;
        let shift = window.shift(from.time_base);
        Ok(WordsLane { tally: Tally::default(), done: false, scribe, stream, clock: from.time_base, window, shift, last_us: 0 })
    }

    pub fn feed(&mut self, ctx: &Ctx, packet: &Packet, mux: &mut Mux) -> Result<(), Failure> {
        let Some(time) = packet.pts().map(|pts| micros(pts - self.shift, self.clock)).filter(|_| !self.done) else { return Ok(()) };
        self.tally.packets += 1;
        if self.window.over(time) {
            self.done = true;
            return Ok(());
        }
        let cue = match self.scribe.transcribe(packet) {
            Ok(Some(cue)) => cue,
            Ok(None) => return Ok(()),
            Err(e @ Error::Other { errno: libc::ENOMEM }) => return Err(fault::decoding(ctx, e, None)),
            Err(_) => {
                self.tally.error();
                return Ok(());
            }
        };
        let said_us = if packet.duration() > 0 { micros(packet.duration(), self.clock) } else { UNSAID_US };
        let start = time + i64::from(cue.delay_ms) * 1000;
        let end = self.window.within(start + cue.length_ms.map_or(said_us, |ms| i64::from(ms) * 1000));
        // In their order, which some files do not keep.
        let start = start.max(self.last_us);
        if end <= start || self.window.absurd(start) {
            return Ok(());
        }
        self.last_us = start;
        let mut written = Packet::copy(&cue.text);
        written.set_pts(Some(start));
        written.set_dts(Some(start));
        written.set_duration(end - start);
        self.tally.frames += 1;
        self.tally.end_us = self.tally.end_us.max(end);
        self.tally.read_us = self.tally.end_us;
        mux.write(&mut written, self.stream, CLOCK.into()).map_err(|e| fault::encoding(ctx, e))
    }
}
