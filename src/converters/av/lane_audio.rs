//! Sound: heard by an ear, encoded.

use super::codecs::Depth;
use super::ear::Ear;
use super::fault;
use super::ffi::{self, Facts};
use super::lane::{Tally, Window};
use super::mux::Mux;
use super::open::Source;
use super::options::{AudioCodec, AudioOptions};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::format::Sample;
use ffmpeg_next::{ChannelLayout, Dictionary, Error, Packet, Rational, codec, encoder, frame};

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
        let depth = options.bit_depth.unwrap_or(Depth::of(from.bits));
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
        let bitrate = bitrate.map(|wanted| codec.nearest_bitrate(wanted, channels, rate));
        Tone { codec, rate, channels, samples: codec.samples(depth), encoder: codec.encoder(depth), bitrate, quality: own_quality }
    }

    /// What is to be said of a bit rate that could not be met.
    pub fn remark(&self, options: &AudioOptions) -> Option<String> {
        let (asked, given) = (options.bitrate?.0, self.bitrate?);
        let name = self.codec.name();
        let bent = || format!("The bit rate of the sound became {given}, not {asked}: the nearest that {name} takes for {} Hz.", self.rate);
        (asked != given).then(bent)
    }

    /// What the encoder takes; numbers and words of ours only.
    fn filters(&self) -> String {
        format!("aformat=sample_fmts={}:sample_rates={}:channel_layouts={}", self.samples.name(), self.rate, layout(self.channels))
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

/// FFmpeg's name for the usual places of so many channels, 1 to 8.
pub fn layout(channels: u32) -> &'static str {
    ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"][(channels.clamp(1, 8) - 1) as usize]
}

pub struct AudioLane {
    ear: Ear,
    voice: Voice,
}

impl AudioLane {
    /// `shaping` are the filters between the decoder and what the encoder takes; none or a chain with a comma at its end.
    pub fn new(ctx: &Ctx, source: &Source, from: &Facts, tone: Tone, shaping: &str, window: Window, mux: &mut Mux) -> Result<AudioLane, Failure> {
        let mut ear = Ear::new(ctx, source, from, window, tone.rate, format!("{shaping}{}", tone.filters()))?;
        let voice = Voice::new(ctx, from, &tone, mux)?;
        ear.frame_size = ffi::fixed_frame_size(&voice.encoder);
        Ok(AudioLane { ear, voice })
    }

    pub fn feed(&mut self, ctx: &Ctx, packet: &Packet, mux: &mut Mux) -> Result<(), Failure> {
        let AudioLane { ear, voice } = self;
        ear.feed(ctx, packet, &mut |frame| voice.encode(ctx, frame, mux))
    }

    pub fn finish(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        let AudioLane { ear, voice } = self;
        ear.finish(ctx, &mut |frame| voice.encode(ctx, frame, mux))?;
        voice.finish(ctx, mux)
    }

    pub fn done(&self) -> bool {
        self.ear.done
    }

    pub fn tally(&self) -> &Tally {
        &self.ear.tally
    }
}

/// The encoder and its stream.
struct Voice {
    encoder: encoder::audio::Encoder,
    stream: usize,
    clock: Rational,
    /// Samples so far.
    written: i64,
}

impl Voice {
    fn new(ctx: &Ctx, from: &Facts, tone: &Tone, mux: &mut Mux) -> Result<Voice, Failure> {
        let wrong = |e| fault::encoding(ctx, e);
        let clock = Rational::new(1, tone.rate as i32);
        let found = encoder::find_by_name(tone.encoder).ok_or_else(|| wrong(Error::EncoderNotFound))?;
        let mut context = codec::Context::new_with_codec(found).encoder().audio().map_err(wrong)?;
        context.set_rate(tone.rate as i32);
        context.set_format(tone.samples);
        context.set_channels(tone.channels as i32);
        context.set_channel_layout(ChannelLayout::default(tone.channels as i32));
        context.set_time_base(clock);
        if mux.wants_global_header() {
            ffi::set_global_header(&mut context);
        }
        let encoder = context.open_with(tone.settings()).map_err(wrong)?;
        let stream = mux.add_encoded(&encoder, from, clock, None, 0).map_err(wrong)?;
        Ok(Voice { encoder, stream, clock, written: 0 })
    }

    fn encode(&mut self, ctx: &Ctx, frame: &mut frame::Audio, mux: &mut Mux) -> Result<(), Failure> {
        frame.set_pts(Some(self.written));
        self.written += frame.samples() as i64;
        self.encoder.send_frame(frame).map_err(|e| fault::encoding(ctx, e))?;
        self.encoded(ctx, mux)
    }

    fn finish(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        if self.written == 0 {
            return Ok(());
        }
        self.encoder.send_eof().map_err(|e| fault::encoding(ctx, e))?;
        self.encoded(ctx, mux)
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
            mux.write(&mut packet, self.stream, self.clock).map_err(|e| fault::encoding(ctx, e))?;
        }
    }
}
