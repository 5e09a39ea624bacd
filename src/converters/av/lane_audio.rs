//! Sound: decoded, resampled, encoded.

use super::ffi::{self, Facts};
use super::lane::{Tally, Window, micros};
use super::mux::Mux;
use super::open::Source;
use super::options::{AudioCodec, AudioOptions};
use super::{decode, fault};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::codec::Flags;
use ffmpeg_next::filter::{self, Graph};
use ffmpeg_next::format::Sample;
use ffmpeg_next::{ChannelLayout, Dictionary, Error, Packet, Rational, Rescale, codec, decoder, encoder, frame};

/// What is made of the sound.
#[derive(Debug, Clone)]
pub struct Tone {
    pub codec: AudioCodec,
    pub rate: u32,
    pub channels: u32,
    pub samples: Sample,
    pub encoder: &'static str,
    pub bitrate: Option<u32>,
    /// 1 to 10, of codecs with a quality of their own.
    pub quality: Option<u8>,
}

impl Tone {
    pub fn plan(from: &Facts, codec: AudioCodec, options: &AudioOptions, quality: Option<u8>, least_rate: u32) -> Tone {
        let channels = codec.channels(options.channels.map_or(from.channels, u32::from));
        let rate = codec.rate(options.sample_rate.unwrap_or(from.sample_rate.max(least_rate)));
        let own_quality = quality.filter(|_| options.bitrate.is_none() && matches!(codec, AudioCodec::Mp3 | AudioCodec::Vorbis | AudioCodec::Flac));
        let usual = codec.bitrate(channels, rate);
        let bitrate = match (options.bitrate, quality) {
            _ if codec.lossless() => None,
            (Some(bitrate), _) => Some(bitrate.0),
            (None, Some(_)) if own_quality.is_some() => None,
            (None, Some(quality)) => Some((usual as f64 * (0.4 + 0.12 * f64::from(quality))) as u32),
            (None, None) => Some(usual),
        };
        Tone { codec, rate, channels, samples: codec.samples(from.bits), encoder: codec.encoder(from.bits), bitrate, quality: own_quality }
    }

    fn layout(&self) -> &'static str {
        ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"][(self.channels.clamp(1, 8) - 1) as usize]
    }

    /// The chain between decoder and encoder; numbers and words of ours only.
    fn filters(&self, window: &Window, first: bool) -> String {
        let cut = match (window.cut, window.length_us) {
            (false, None) => String::new(),
            (_, None) => "atrim=start=0,".into(),
            (_, Some(us)) => format!("atrim=start=0:end={}.{:06},", us / 1_000_000, us % 1_000_000),
        };
        // Gaps are filled with silence and the first sample is at 0: what the pictures need to stay in step.
        let start = if first { ":first_pts=0" } else { "" };
        format!(
            "{cut}aresample=osr={}:async=1{start},aformat=sample_fmts={}:sample_rates={}:channel_layouts={}",
            self.rate,
            self.samples.name(),
            self.rate,
            self.layout()
        )
    }

    fn settings(&self) -> Dictionary<'static> {
        let mut set = Dictionary::new();
        if let Some(bitrate) = self.bitrate {
            set.set("b", &bitrate.to_string());
        }
        if let Some(quality) = self.quality.map(f64::from) {
            match self.codec {
                AudioCodec::Flac => set.set("compression_level", &format!("{}", (quality * 1.2).round())),
                AudioCodec::Mp3 => {
                    set.set("flags", "+qscale");
                    set.set("global_quality", &format!("{}", ((10.0 - quality) * 118.0).round()));
                }
                _ => {
                    set.set("flags", "+qscale");
                    set.set("global_quality", &format!("{}", (quality * 118.0).round()));
                }
            }
        }
        set
    }
}

/// What a filter graph was built for.
type Shape = (u32, u16, Sample);

pub struct AudioLane {
    pub tally: Tally,
    pub done: bool,
    tone: Tone,
    decoder: decoder::Audio,
    encoder: encoder::audio::Encoder,
    graph: Option<(Graph, Shape)>,
    stream: usize,
    clock: Rational,
    window: Window,
    /// When the next sample is due, in the source's clock.
    next: Option<i64>,
    /// The result's samples so far.
    written: i64,
}

impl AudioLane {
    pub fn new(ctx: &Ctx, source: &Source, from: &Facts, tone: Tone, window: Window, mux: &mut Mux) -> Result<AudioLane, Failure> {
        let decoder = decode::audio(ctx, source, from.index)?;
        let wrong = |e| fault::encoding(ctx, e);
        let found = encoder::find_by_name(tone.encoder).ok_or_else(|| wrong(Error::EncoderNotFound))?;
        let mut context = codec::Context::new_with_codec(found).encoder().audio().map_err(wrong)?;
        context.set_rate(tone.rate as i32);
        context.set_format(tone.samples);
        context.set_channels(tone.channels as i32);
        context.set_channel_layout(ChannelLayout::default(tone.channels as i32));
        context.set_time_base(Rational::new(1, tone.rate as i32));
        if mux.wants_global_header() {
            context.set_flags(Flags::GLOBAL_HEADER);
        }
        let encoder = context.open_with(tone.settings()).map_err(wrong)?;
        let stream = mux.add_encoded(&encoder, from, Rational::new(1, tone.rate as i32), None, 0).map_err(wrong)?;
        let (clock, tally) = (from.time_base, Tally::default());
        Ok(AudioLane { tally, done: false, tone, decoder, encoder, graph: None, stream, clock, window, next: None, written: 0 })
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
        if self.written > 0 {
            self.encoder.send_eof().map_err(|e| fault::encoding(ctx, e))?;
            self.encoded(ctx, mux)?;
        }
        Ok(())
    }

    fn drain_graph(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        if let Some((graph, _)) = &mut self.graph {
            if let Some(mut source) = graph.get("in") {
                let _ = source.source().flush();
            }
            self.filtered(ctx, mux)?;
        }
        Ok(())
    }

    fn decoded(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
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
            self.next = Some(time + frame.samples() as i64);
            self.tally.frames += 1;
            if self.window.over(micros(time, own)) {
                self.done = true;
                return Ok(());
            }
            frame.set_pts(Some(time));
            self.filter(ctx, &frame, mux)?;
        }
    }

    fn filter(&mut self, ctx: &Ctx, frame: &frame::Audio, mux: &mut Mux) -> Result<(), Failure> {
        let shape = (frame.rate(), frame.channels(), frame.format());
        if self.graph.as_ref().is_some_and(|(_, old)| *old != shape) {
            self.drain_graph(ctx, mux)?;
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
        self.filtered(ctx, mux)
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
        graph.output("in", 0)?.input("out", 0)?.parse(&self.tone.filters(&self.window, self.written == 0))?;
        graph.validate()?;
        let size = ffi::fixed_frame_size(&self.encoder);
        if size > 0
            && let Some(mut sink) = graph.get("out")
        {
            sink.sink().set_frame_size(size);
        }
        Ok(graph)
    }

    fn filtered(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
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
            let own = Rational::new(1, self.tone.rate as i32);
            frame.set_pts(Some(self.written));
            self.written += frame.samples() as i64;
            self.tally.end_us = micros(self.written, own);
            self.encoder.send_frame(&frame).map_err(|e| fault::encoding(ctx, e))?;
            self.encoded(ctx, mux)?;
        }
    }

    fn encoded(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        let mut packet = Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(e) if fault::again(e) || e == Error::Eof => return Ok(()),
                Err(e) => return Err(fault::encoding(ctx, e)),
            }
            ctx.check()?;
            mux.write(&mut packet, self.stream, Rational::new(1, self.tone.rate as i32)).map_err(|e| fault::encoding(ctx, e))?;
        }
    }
}
