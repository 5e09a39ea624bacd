//! Pictures: decoded, filtered, encoded.

use super::codecs::nearest_rate;
use super::containers::Container;
use super::encoding::Encoding;
use super::ffi::{self, Colour, Facts};
use super::geometry::{Geometry, Turn};
use super::lane::{Tally, Window, micros};
use super::mux::{Mux, tag};
use super::open::Source;
use super::options::{VideoCodec, VideoOptions};
use super::{decode, fault, graph};
use crate::convert::Ctx;
use crate::failure::{Code, Failure};
use ffmpeg_next::codec::Flags;
use ffmpeg_next::filter::Graph;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Error, Packet, Rational, Rescale, codec, decoder, encoder, frame, picture};

/// What is made of the picture.
#[derive(Debug, Clone)]
pub struct Look {
    pub codec: VideoCodec,
    pub turn: Turn,
    pub geometry: Geometry,
    /// Width to height of a pixel of the result.
    pub aspect: (i32, i32),
    pub colour: Colour,
    /// Full-range video becomes limited, which every player expects.
    pub narrow: bool,
    /// Frames per second of the result.
    pub rate: Rational,
    /// Frames are repeated and dropped to meet the rate.
    pub constant: bool,
    pub clock: Rational,
    /// The four letters by which the container names the codec; 0 for the muxer's choice.
    pub tag: u32,
}

impl Look {
    pub fn plan(from: &Facts, codec: VideoCodec, options: &VideoOptions, container: &Container) -> Look {
        let turn = Turn::of(from.matrix);
        let upright = if turn.swaps() { (from.height, from.width) } else { (from.width, from.height) };
        let mut aspect = if turn.swaps() { (from.aspect.1, from.aspect.0) } else { from.aspect };
        let (mut width, mut source) = (options.width, upright);
        if codec == VideoCodec::Gif {
            // Pixels of a gif are square, and one wider than this is larger than the film it was made of.
            source.0 = ((i64::from(source.0) * i64::from(aspect.0) / i64::from(aspect.1.max(1))).clamp(1, i64::from(u16::MAX))) as u32;
            aspect = (1, 1);
            width = width.or(options.height.is_none().then_some(480));
        }
        let geometry = Geometry::plan(source, width, options.height, options.fit, codec != VideoCodec::Gif);
        let own = from.frame_rate.or(from.average_rate).unwrap_or(Rational::new(25, 1));
        // A rate beyond what eyes see is the clock of a film with irregular frames.
        let irregular = f64::from(own) > 120.0;
        let calm = from.average_rate.filter(|r| (1.0..=120.0).contains(&f64::from(*r))).unwrap_or(Rational::new(30, 1));
        let mut rate = if irregular { calm } else { own };
        if codec == VideoCodec::Gif && f64::from(rate) > 15.0 {
            rate = Rational::new(15, 1);
        }
        let rate = options.fps.map_or(rate, |fps| Rational::new((fps * 1000.0).round() as i32, 1000).reduce());
        let mut rate = nearest_rate(codec, rate);
        if codec.strict_clock() {
            // Their headers have 16 bits for it.
            rate = rate.reduce_with_limit(60_000).unwrap_or_else(|nearest| nearest);
        }
        let constant = container.constant_rate || options.fps.is_some() || (irregular && codec.strict_clock());
        let clock = if irregular && !constant { from.time_base } else { rate.invert() };
        let narrow = from.pixels.starts_with("yuvj") || from.colour.range == 2;
        let rgb = from.colour.matrix == 0 || ["rgb", "bgr", "gbr", "pal", "0rgb", "argb", "abgr"].iter().any(|p| from.pixels.starts_with(p));
        let colour = if rgb { Colour { range: 1, primaries: 2, transfer: 2, matrix: 6 } } else { from.colour };
        let colour = if narrow { Colour { range: 1, ..colour } } else { colour };
        Look { codec, turn, geometry, aspect, colour, narrow, rate, constant, clock, tag: tag(container, codec.codec()) }
    }

    /// The chain between decoder and encoder; numbers and words of ours only.
    fn filters(&self, width: u32, height: u32) -> String {
        let mut chain: Vec<String> = Vec::new();
        if self.constant {
            chain.push(format!("fps=fps={}/{}:start_time=0", self.rate.numerator(), self.rate.denominator()));
        }
        chain.extend(self.turn.filters().into_iter().map(str::to_owned));
        let (upright_w, upright_h) = if self.turn.swaps() { (height, width) } else { (width, height) };
        let ((w, h), (cut_w, cut_h)) = (self.geometry.scaled, self.geometry.size);
        let range = if self.narrow { ":out_range=tv" } else { "" };
        if (w, h) != (upright_w, upright_h) || self.narrow {
            chain.push(format!("scale=w={w}:h={h}:flags=bicubic{range}"));
        }
        if (cut_w, cut_h) != (w, h) {
            chain.push(format!("crop=w={cut_w}:h={cut_h}"));
        }
        chain.push(format!("setsar=sar={}/{}", self.aspect.0, self.aspect.1));
        if self.codec == VideoCodec::Gif {
            chain.push("split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=sierra2_4a".into());
        } else {
            chain.push("format=pix_fmts=yuv420p".into());
        }
        chain.join(",")
    }
}

/// What a filter graph was built for.
type Shape = (u32, u32, Pixel);

pub struct VideoLane {
    pub tally: Tally,
    pub done: bool,
    look: Look,
    decoder: decoder::Video,
    encoding: Encoding<frame::Video>,
    graph: Option<(Graph, Shape)>,
    stream: usize,
    /// The source's clock.
    clock: Rational,
    window: Window,
    shift: i64,
    /// Length of a source frame in its clock.
    step: i64,
    /// The last frame's time in the source's clock.
    seen: Option<i64>,
    last: Option<i64>,
    quality: Option<i32>,
}

impl VideoLane {
    pub fn new(
        ctx: &Ctx,
        source: &Source,
        from: &Facts,
        look: Look,
        options: &VideoOptions,
        window: Window,
        mux: &mut Mux,
    ) -> Result<VideoLane, Failure> {
        let decoder = decode::video(ctx, source, from.index)?;
        let wrong = |e| fault::encoding(ctx, e);
        let found = encoder::find_by_name(look.codec.encoder()).ok_or_else(|| wrong(Error::EncoderNotFound))?;
        let mut context = codec::Context::new_with_codec(found).encoder().video().map_err(wrong)?;
        context.set_width(look.geometry.size.0);
        context.set_height(look.geometry.size.1);
        context.set_format(look.codec.pixels());
        context.set_time_base(look.clock);
        context.set_frame_rate(Some(look.rate));
        context.set_aspect_ratio(Rational::new(look.aspect.0, look.aspect.1));
        if look.codec != VideoCodec::Gif {
            ffi::set_colour(&mut context, look.colour);
        }
        if mux.wants_global_header() {
            context.set_flags(Flags::GLOBAL_HEADER);
        }
        let settings = look.codec.settings(options, decode::threads(ctx), look.geometry.size.0);
        let encoder = context.open_with(settings).map_err(wrong)?;
        let stream = mux.add_encoded(&encoder, from, look.clock, Some(look.rate), look.tag).map_err(wrong)?;
        let encoding = Encoding::start(encoder.0.0).map_err(Failure::internal)?;
        let step = from.average_rate.or(from.frame_rate).map_or(0, |rate| 1.rescale(rate.invert(), from.time_base)).max(1);
        let shift = window.shift(from.time_base);
        Ok(VideoLane {
            tally: Tally::default(),
            done: false,
            quality: look.codec.fixed_quality(options),
            look,
            decoder,
            encoding,
            graph: None,
            stream,
            clock: from.time_base,
            window,
            shift,
            step,
            seen: None,
            last: None,
        })
    }

    pub fn feed(&mut self, ctx: &Ctx, packet: &Packet, mux: &mut Mux) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        self.tally.packets += 1;
        match self.decoder.send_packet(packet) {
            Ok(()) => {}
            Err(Error::Other { errno: libc::ENOMEM }) => return Err(fault::decoding(ctx, Error::Other { errno: libc::ENOMEM }, None)),
            Err(_) => self.tally.error(),
        }
        self.decoded(ctx, mux)
    }

    pub fn finish(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        if !self.done && self.decoder.send_eof().is_ok() {
            self.decoded(ctx, mux)?;
        }
        self.drain_graph(ctx, mux)?;
        while let Some(packet) = self.encoding.rest() {
            self.write(ctx, packet, mux)?;
        }
        Ok(())
    }

    /// Takes all frames the decoder has.
    fn decoded(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
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
            self.filter(ctx, &frame, mux)?;
        }
    }

    /// Tells the filters when the last frame ends and takes what they still hold.
    fn drain_graph(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        if let Some((graph, _)) = &mut self.graph
            && let Some(mut source) = graph.get("in")
        {
            let end = self.tally.end_us.rescale((1, 1_000_000), self.clock);
            let _ = source.source().close(end);
        }
        self.filtered(ctx, mux)
    }

    fn filter(&mut self, ctx: &Ctx, frame: &frame::Video, mux: &mut Mux) -> Result<(), Failure> {
        let shape = (frame.width(), frame.height(), frame.format());
        if self.graph.as_ref().is_some_and(|(_, old)| *old != shape) {
            // The film changes its size on the way: what the old graph still holds comes first.
            self.drain_graph(ctx, mux)?;
            self.graph = None;
        }
        if self.graph.is_none() {
            self.graph = Some((self.build(ctx, frame).map_err(|e| fault::encoding(ctx, e))?, shape));
        }
        if let Some((graph, _)) = &mut self.graph
            && let Some(mut source) = graph.get("in")
        {
            source.source().add(frame).map_err(|e| fault::encoding(ctx, e))?;
        }
        self.filtered(ctx, mux)
    }

    fn build(&self, ctx: &Ctx, frame: &frame::Video) -> Result<Graph, Error> {
        let chain = self.look.filters(frame.width(), frame.height());
        graph::pictures(frame, self.clock, self.look.rate, &chain, ctx.threads)
    }

    /// Takes all frames the filters have.
    fn filtered(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        let mut frame = frame::Video::empty();
        loop {
            let Some((graph, _)) = &mut self.graph else { return Ok(()) };
            let Some(mut sink) = graph.get("out") else { return Ok(()) };
            match sink.sink().frame(&mut frame) {
                Ok(()) => {}
                Err(e) if fault::again(e) || e == Error::Eof => return Ok(()),
                Err(e) => return Err(fault::encoding(ctx, e)),
            }
            let clock = sink.sink().time_base();
            let time = frame.pts().unwrap_or(0).rescale(clock, self.look.clock);
            // Two frames within one tick: the first one stays.
            if self.last.is_some_and(|last| time <= last) {
                continue;
            }
            self.last = Some(time);
            self.tally.encoded += 1;
            frame.set_pts(Some(time));
            frame.set_kind(picture::Type::None);
            if let Some(quality) = self.quality {
                ffi::set_quality(&mut frame, quality);
            }
            self.encoding.send(std::mem::replace(&mut frame, frame::Video::empty()));
            while let Some(packet) = self.encoding.ready() {
                self.write(ctx, packet, mux)?;
            }
        }
    }

    fn write(&self, ctx: &Ctx, packet: Result<Packet, Error>, mux: &mut Mux) -> Result<(), Failure> {
        ctx.check()?;
        let mut packet = packet.map_err(|e| fault::encoding(ctx, e))?;
        if packet.duration() == 0 {
            packet.set_duration(1.rescale(self.look.rate.invert(), self.look.clock));
        }
        mux.write(&mut packet, self.stream, self.look.clock).map_err(|e| fault::encoding(ctx, e))
    }
}

/// A gif keeps all its frames in memory until the palette is known.
pub fn check_gif(ctx: &Ctx, look: &Look, length_us: Option<i64>) -> Result<(), Failure> {
    let (w, h) = look.geometry.size;
    let frames = length_us.map_or(1.0, |us| us as f64 / 1e6 * f64::from(look.rate)).max(1.0);
    let pixels = f64::from(w) * f64::from(h) * frames;
    if pixels > ctx.limits.total_pixels_max as f64 || pixels * 4.0 > ctx.limits.memory_max.0 as f64 * 0.8 {
        let message = format!("The film is too long for a gif of {w} x {h} at {:.0} frames per second.", f64::from(look.rate));
        return Err(Failure::new(Code::LimitExceeded, message).hint("Trim it, or ask for a smaller width or a lower fps.").stage("open"));
    }
    Ok(())
}
