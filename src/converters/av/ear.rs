//! One track of sound, decoded, put in time and led through filters.

use super::ffi::{self, Facts};
use super::film::judge;
use super::lane::{Tally, Window, micros};
use super::open::Source;
use super::pump::Pump;
use super::{decode, fault};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::filter::{self, Graph};
use ffmpeg_next::format::Sample;
use ffmpeg_next::{Error, Packet, Rational, Rescale, decoder, frame};

/// What a filter graph was built for.
type Shape = (u32, u16, Sample);

/// Takes each frame that comes out.
type Hear<'a> = &'a mut dyn FnMut(&mut frame::Audio) -> Result<(), Failure>;

pub struct Ear {
    pub tally: Tally,
    pub done: bool,
    /// Samples of each frame but the last; 0: as they come.
    pub frame_size: u32,
    decoder: decoder::Audio,
    graph: Option<(Graph, Shape)>,
    /// Samples a second of what comes out.
    rate: u32,
    /// After the sound was put in time; words and numbers of ours only.
    filters: String,
    clock: Rational,
    window: Window,
    /// When the next sample is due, in the source's clock.
    next: Option<i64>,
    /// Samples that have come out.
    heard: i64,
}

impl Ear {
    pub fn new(ctx: &Ctx, source: &Source, from: &Facts, window: Window, rate: u32, filters: String) -> Result<Ear, Failure> {
        let decoder = decode::audio(ctx, source, from.index)?;
        let (clock, tally) = (from.time_base, Tally::default());
        Ok(Ear { tally, done: false, frame_size: 0, decoder, graph: None, rate, filters, clock, window, next: None, heard: 0 })
    }

    pub fn feed(&mut self, ctx: &Ctx, packet: &Packet, hear: Hear) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        self.tally.sent(ctx, self.decoder.send_packet(packet))?;
        self.decoded(ctx, hear)
    }

    /// The source has ended, or the window has.
    pub fn finish(&mut self, ctx: &Ctx, hear: Hear) -> Result<(), Failure> {
        if !self.done && self.decoder.send_eof().is_ok() {
            self.decoded(ctx, hear)?;
        }
        self.drain_graph(ctx, hear)
    }

    fn drain_graph(&mut self, ctx: &Ctx, hear: Hear) -> Result<(), Failure> {
        if let Some((graph, _)) = &mut self.graph {
            if let Some(mut source) = graph.get("in") {
                let _ = source.source().flush();
            }
            self.filtered(ctx, hear)?;
        }
        Ok(())
    }

    fn decoded(&mut self, ctx: &Ctx, hear: Hear) -> Result<(), Failure> {
        let mut frame = frame::Audio::empty();
        loop {
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {}
                Err(e) if fault::again(e) || e == Error::Eof => return Ok(()),
                Err(_) => {
                    self.tally.error();
                    return Ok(());
                }
            }
            if frame.rate() == 0 || frame.samples() == 0 {
                continue;
            }
            let own = Rational::new(1, frame.rate() as i32);
            let start = frame.timestamp().map(|t| t - self.window.shift(self.clock));
            let time = start.map(|t| t.rescale(self.clock, own)).or(self.next).unwrap_or(0);
            if self.window.absurd(micros(time, own)) {
                self.tally.error();
                continue;
            }
            self.next = Some(time + frame.samples() as i64);
            self.tally.frames += 1;
            self.tally.read_us = self.window.within(micros(time + frame.samples() as i64, own));
            if self.window.over(micros(time, own)) {
                self.done = true;
                return Ok(());
            }
            frame.set_pts(Some(time));
            self.filter(ctx, &frame, hear)?;
        }
    }

    fn filter(&mut self, ctx: &Ctx, frame: &frame::Audio, hear: Hear) -> Result<(), Failure> {
        let shape = (frame.rate(), frame.channels(), frame.format());
        if self.graph.as_ref().is_some_and(|(_, old)| *old != shape) {
            self.drain_graph(ctx, hear)?;
            self.graph = None;
        }
        if self.graph.is_none() {
            self.graph = Some((self.build(frame).map_err(|e| fault::encoding(ctx, e))?, shape));
        }
        if let Some((graph, _)) = &mut self.graph
            && let Some(mut source) = graph.get("in")
        {
            source.source().add(frame).map_err(|e| fault::encoding(ctx, e))?;
        }
        self.filtered(ctx, hear)
    }

    /// The way from the decoder on: cut, put in time, filtered.
    fn chain(&self) -> String {
        let cut = match (self.window.cut, self.window.length_us) {
            (false, None) => String::new(),
            (_, None) => "atrim=start=0,".into(),
            (_, Some(us)) => format!("atrim=start=0:end={}.{:06},", us / 1_000_000, us % 1_000_000),
        };
        // Gaps are filled with silence and the first sample is at 0: what the pictures need to stay in step.
        let start = if self.heard == 0 { ":first_pts=0" } else { "" };
        format!("{cut}aresample=osr={}:async=1{start},{}", self.rate, self.filters)
    }

    fn build(&self, frame: &frame::Audio) -> Result<Graph, Error> {
        let mut graph = Graph::new();
        ffi::set_graph_threads(&mut graph, 1);
        let (buffer, sink) = (filter::find("abuffer").ok_or(Error::FilterNotFound)?, filter::find("abuffersink").ok_or(Error::FilterNotFound)?);
        let mask = ffi::frame_mask(frame);
        let rate = frame.rate();
        let arguments = format!("time_base=1/{rate}:sample_rate={rate}:sample_fmt={}:channel_layout=0x{mask:x}", frame.format().name());
        graph.add(&buffer, "in", &arguments)?;
        graph.add(&sink, "out", "")?;
        graph.output("in", 0)?.input("out", 0)?.parse(&self.chain())?;
        graph.validate()?;
        if self.frame_size > 0
            && let Some(mut sink) = graph.get("out")
        {
            sink.sink().set_frame_size(self.frame_size);
        }
        Ok(graph)
    }

    fn filtered(&mut self, ctx: &Ctx, hear: Hear) -> Result<(), Failure> {
        let mut frame = frame::Audio::empty();
        loop {
            let Some((graph, _)) = &mut self.graph else { return Ok(()) };
            let Some(mut sink) = graph.get("out") else { return Ok(()) };
            match sink.sink().frame(&mut frame) {
                Ok(()) => {}
                Err(e) if fault::again(e) || e == Error::Eof => return Ok(()),
                Err(e) => return Err(fault::encoding(ctx, e)),
            }
            if frame.samples() == 0 {
                continue;
            }
            self.heard += frame.samples() as i64;
            self.tally.end_us = micros(self.heard, Rational::new(1, self.rate.max(1) as i32));
            hear(&mut frame)?;
        }
    }
}

/// A part of one track to be heard without being encoded.
pub struct Listening<'a> {
    pub from: &'a Facts,
    pub window: Window,
    /// Samples a second of what is heard.
    pub rate: u32,
    /// After the sound was put in time; words and numbers of ours only.
    pub filters: String,
    /// What progress calls it.
    pub stage: &'a str,
}

impl<'a> Listening<'a> {
    /// The whole of a track at its own rate.
    pub fn whole(ctx: &Ctx, source: &Source, from: &'a Facts, filters: String) -> Listening<'a> {
        let longest = ctx.limits.media_duration_max.as_millis() as i64 * 1000;
        let length_us = source.sound_end_us(from.index).filter(|end| *end > 0);
        let window = Window { shift_us: source.start_us, cut: false, length_us, latest_us: longest };
        Listening { from, window, rate: from.sample_rate, filters, stage: "decode" }
    }

    /// Hears it to its end; what comes back has to be said about it.
    pub fn listen(self, ctx: &Ctx, source: &mut Source, hear: Hear) -> Result<Vec<String>, Failure> {
        let index = self.from.index;
        let start_us = self.window.shift_us - source.start_us;
        let claimed = source.claimed_us(&[index]).map(|us| us - start_us);
        let expected = claimed.map(|us| self.window.length_us.map_or(us, |most| us.min(most)));
        if start_us > 0 {
            source.seek(start_us);
        }
        let mut ear = Ear::new(ctx, source, self.from, self.window, self.rate, self.filters)?;
        let mut pump = Pump::new(ctx, source, self.stage, expected);
        while let Some(packet) = pump.next(&[index])? {
            ear.feed(ctx, &packet, hear)?;
            pump.reached(ear.tally.read_us)?;
            if ear.done {
                break;
            }
        }
        ear.finish(ctx, hear)?;
        fault::flush_words(ctx);
        Ok(judge(ctx, source, &[&ear.tally], expected)?.warnings)
    }
}
