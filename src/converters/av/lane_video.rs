//! Pictures: seen by an eye, encoded once or, for a ladder, several times.

use super::encoding::Encoding;
use super::eye::{Eye, Seen};
use super::ffi::{self, Facts};
use super::film::Order;
use super::graph::Fork;
use super::lane::{Tally, Window, micros};
use super::look::Look;
use super::mux::Mux;
use super::open::Source;
use super::options::{VideoCodec, VideoOptions};
use super::stretch::Stretch;
use super::{decode, fault};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Error, Packet, Rational, Rescale, codec, encoder, picture};
use std::cmp::Ordering;

pub struct VideoLane {
    eye: Eye,
    rungs: Vec<Rung>,
}

impl VideoLane {
    /// `looks` share everything but their sizes; each becomes a stream.
    pub fn new(
        ctx: &Ctx,
        source: &Source,
        from: &Facts,
        looks: Vec<(Look, VideoOptions)>,
        window: Window,
        order: &Order,
        mux: &mut Mux,
    ) -> Result<VideoLane, Failure> {
        let Some((first, _)) = looks.first() else { return Err(Failure::internal("a film of no pictures")) };
        let (trunk, rate) = (first.trunk(order.stretch.and_then(Stretch::from).is_some()), first.rate);
        let all: Vec<Look> = looks.iter().map(|(look, _)| look.clone()).collect();
        let chains =
            move |width: u32, height: u32| Fork { trunk: trunk.clone(), branches: all.iter().map(|look| look.branch(width, height)).collect() };
        let eye = Eye::new(ctx, source, from, window, rate, looks.len(), Box::new(chains))?;
        let rungs: Result<Vec<Rung>, Failure> = looks.into_iter().map(|(look, options)| Rung::new(ctx, from, look, &options, order, mux)).collect();
        Ok(VideoLane { eye, rungs: rungs? })
    }

    pub fn feed(&mut self, ctx: &Ctx, packet: &Packet, mux: &mut Mux) -> Result<(), Failure> {
        let VideoLane { eye, rungs } = self;
        eye.feed(ctx, packet, &mut |tally, seen| paint(ctx, rungs, tally, seen, mux))?;
        eye.done |= rungs.iter().all(|rung| rung.over);
        Ok(())
    }

    pub fn finish(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        let VideoLane { eye, rungs } = self;
        eye.finish(ctx, &mut |tally, seen| paint(ctx, rungs, tally, seen, mux))?;
        rungs.iter_mut().try_for_each(|rung| rung.finish(ctx, mux))
    }

    pub fn done(&self) -> bool {
        self.eye.done
    }

    pub fn tally(&self) -> &Tally {
        &self.eye.tally
    }
}

fn paint(ctx: &Ctx, rungs: &mut [Rung], tally: &mut Tally, seen: Seen, mux: &mut Mux) -> Result<(), Failure> {
    let first = seen.branch == 0;
    let Some(rung) = rungs.get_mut(seen.branch) else { return Ok(()) };
    let painted = rung.encode(ctx, seen, mux)?;
    // Of a ladder, the pictures of its first rung count.
    if painted && first {
        tally.encoded += 1;
        tally.encoded_end_us = rung.end_us();
    }
    Ok(())
}

/// An encoder and its stream.
struct Rung {
    encoding: Encoding,
    stream: usize,
    rate: Rational,
    clock: Rational,
    /// The last picture's time.
    last: Option<i64>,
    /// The quantiser of encoders that have one for all pictures.
    quality: Option<i32>,
    /// The pictures that it is to take, in its clock; none: all.
    stretch: Option<Stretch>,
    /// Whether it has taken any, and whether no more of them come.
    any: bool,
    over: bool,
    /// The pictures that must stand for themselves: every so often, and when the next one is due, in its clock.
    keyframes: Option<(i64, i64)>,
}

impl Rung {
    fn new(ctx: &Ctx, from: &Facts, look: Look, options: &VideoOptions, order: &Order, mux: &mut Mux) -> Result<Rung, Failure> {
        let pass = order.pass.as_ref();
        let wrong = |e| fault::encoding(ctx, e);
        let found = encoder::find_by_name(look.codec.encoder()).ok_or_else(|| wrong(Error::EncoderNotFound))?;
        let mut context = codec::Context::new_with_codec(found).encoder().video().map_err(wrong)?;
        context.set_width(look.geometry.size.0);
        context.set_height(look.geometry.size.1);
        context.set_format(look.codec.pixels());
        context.set_time_base(look.clock);
        context.set_frame_rate(Some(look.rate));
        context.set_aspect_ratio(Rational::new(look.aspect.0, look.aspect.1));
        if !matches!(look.codec, VideoCodec::Gif | VideoCodec::Apng) {
            ffi::set_colour(&mut context, look.colour);
        }
        if mux.wants_global_header() {
            ffi::set_global_header(&mut context);
        }
        let mut settings = look.codec.settings(options, decode::threads(ctx), look.geometry.size.0);
        if let (VideoCodec::Av1, Some(interval)) = (look.codec, options.keyframe_interval) {
            // Its encoder is told beforehand, as it hears of no single picture.
            settings.set("g", &(interval.us as f64 / 1e6 * f64::from(look.rate)).round().max(1.0).to_string());
        }
        if let Some(pass) = pass {
            pass.settings(look.codec, &mut settings);
            pass.prepare(look.codec, &mut context).map_err(wrong)?;
        }
        if order.stretch.is_some() {
            Stretch::settings(look.codec, &mut settings);
        }
        let encoder = context.open_with(settings).map_err(wrong)?;
        let stream = mux.add_encoded(&encoder, from, look.clock, Some(look.rate), look.tag).map_err(wrong)?;
        if let Some(most) = options.bitrate {
            mux.announce(stream, most.0);
        }
        let encoding = Encoding::start(encoder, pass.and_then(|pass| pass.to_keep(look.codec))).map_err(Failure::internal)?;
        let every = options.keyframe_interval.map(|t| t.us.rescale((1, 1_000_000), look.clock).max(1));
        Ok(Rung {
            encoding,
            stream,
            rate: look.rate,
            clock: look.clock,
            last: None,
            quality: look.codec.fixed_quality(options),
            stretch: order.stretch.map(|stretch| stretch.ticks(from.time_base, look.clock)),
            any: false,
            over: false,
            keyframes: every.map(|every| (every, 0)),
        })
    }

    /// Whether the picture was taken.
    fn encode(&mut self, ctx: &Ctx, seen: Seen, mux: &mut Mux) -> Result<bool, Failure> {
        let Seen { mut frame, clock, .. } = seen;
        let time = frame.pts().unwrap_or(0).rescale(clock, self.clock);
        // Two frames within one tick: the first one stays.
        if self.last.is_some_and(|last| time <= last) {
            return Ok(false);
        }
        self.last = Some(time);
        match self.stretch.map_or(Ordering::Equal, |stretch| stretch.holds(time, self.any)) {
            Ordering::Equal => self.any = true,
            place => {
                self.over |= place == Ordering::Greater;
                return Ok(false);
            }
        }
        frame.set_pts(Some(time));
        frame.set_kind(self.kind(time));
        if let Some(quality) = self.quality {
            ffi::set_quality(&mut frame, quality);
        }
        self.encoding.send(frame);
        while let Some(packet) = self.encoding.ready() {
            self.write(ctx, packet, mux)?;
        }
        Ok(true)
    }

    /// Where the last picture ends, if it is as long as all.
    fn end_us(&self) -> i64 {
        micros(self.last.unwrap_or(0), self.clock) + micros(1, self.rate.invert())
    }

    /// What the encoder is told to make of the picture at `time`.
    fn kind(&mut self, time: i64) -> picture::Type {
        match &mut self.keyframes {
            Some((every, due)) if time >= *due => {
                *due = (time / *every + 1) * *every;
                picture::Type::I
            }
            _ => picture::Type::None,
        }
    }

    fn finish(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        while let Some(packet) = self.encoding.rest() {
            self.write(ctx, packet, mux)?;
        }
        Ok(())
    }

    fn write(&self, ctx: &Ctx, packet: Result<Packet, Error>, mux: &mut Mux) -> Result<(), Failure> {
        ctx.check()?;
        let mut packet = packet.map_err(|e| fault::encoding(ctx, e))?;
        if packet.duration() == 0 {
            packet.set_duration(1.rescale(self.rate.invert(), self.clock));
        }
        mux.write(&mut packet, self.stream, self.clock).map_err(|e| fault::encoding(ctx, e))
    }
}
