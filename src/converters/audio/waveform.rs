//! `audio.waveform`: a song as a curve, as numbers or drawn, or as a picture of its tones.

use super::peaks::{Bits, Peaks};
use super::sketch::Sketch;
use super::spectrum::Spectrum;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::converters::av::Facts;
use crate::converters::av::ear::Listening;
use crate::converters::av::lane_audio::layout;
use crate::converters::av::open::{self, Source};
use crate::converters::colour::Colour;
use crate::failure::{Code, Failure};
use crate::format::Family;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};

pub struct Waveform;

/// Options of `audio.waveform`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What a png shows: `curve`, or `spectrogram`, the tones from low to high over the time. Default: curve.
    pub style: Style,
    /// What lies between black and the loudest tone there can be in a spectrogram, in dB, 20 to 160. Default: 100.
    pub range: f64,
    /// How many samples one pair of least and greatest value stands for in json, 64 to 1000000. Default: 256.
    pub samples_per_pixel: u32,
    /// The size of a value in json: 8 (-128 to 127) or 16 (-32768 to 32767). Default: 16.
    pub bits: Bits,
    /// A curve for each channel, up to 8, instead of one for their mix. Default: false.
    pub split_channels: bool,
    /// Width of a drawing in pixels, 16 to 16384. Default: 1800.
    pub width: u32,
    /// Height of a drawing in pixels, 16 to 16384. Default: 280.
    pub height: u32,
    /// Stretches a drawing so that the loudest sample reaches its edge. Default: false.
    pub normalize: bool,
    /// Colour of the curve: `#rgb`, `#rrggbb`, `#rrggbbaa`, `white`, `black` or `transparent`. Default: `#2f6f9f`.
    pub color: Colour,
    /// Colour behind the curve, written as `color`. Default: `transparent`.
    pub background: Colour,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    #[default]
    Curve,
    Spectrogram,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            style: Style::Curve,
            range: 100.0,
            samples_per_pixel: FINEST,
            bits: Bits::Sixteen,
            split_channels: false,
            width: 1800,
            height: 280,
            normalize: false,
            color: Colour([0x2f, 0x6f, 0x9f, 255]),
            background: Colour::TRANSPARENT,
        }
    }
}

/// A drawing is made from pairs as fine as this.
const FINEST: u32 = 256;

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("range", Some(self.range), 20.0..=160.0)?;
        OutOfRange::check("samples_per_pixel", Some(self.samples_per_pixel), 64..=1_000_000)?;
        OutOfRange::check("width", Some(self.width), 16..=16_384)?;
        OutOfRange::check("height", Some(self.height), 16..=16_384)
    }
}

impl Converter for Waveform {
    const SPEC: Spec = Spec {
        id: "audio.waveform",
        family: Family::Audio,
        summary: "Draws sound as a curve, or gives its numbers as json in the shape of audiowaveform.",
        pairs: &[(super::READS, &["json", "svg", "png"])],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let mut source = open::open(ctx, input)?;
        let Some(track) = source.sounds().first().map(|s| (*s).clone()) else {
            let message = format!("There is no sound in this {} file.", input.format.name());
            return Err(Failure::new(Code::UnsupportedConversion, message).stage("open"));
        };
        if options.style == Style::Spectrogram {
            return spectrogram(ctx, &mut source, &track, options, output);
        }
        let numbers = output.format.id() == "json";
        let channels = if options.split_channels { track.channels.clamp(1, 8) } else { 1 };
        let mut peaks = Peaks::new(track.sample_rate, channels, if numbers { options.samples_per_pixel } else { FINEST });
        let filters = format!("aformat=sample_fmts=s16:channel_layouts={}", layout(channels));
        let warnings = Listening::whole(ctx, &source, &track, filters).listen(ctx, &mut source, &mut |frame| {
            peaks.add(frame.plane::<i16>(0), frame.samples() * channels as usize);
            Ok(())
        })?;
        peaks.end();
        let internal = |e: &dyn std::fmt::Display| Failure::internal(e).stage("encode");
        let mut file = BufWriter::new(File::create(output.path()).map_err(|e| internal(&e))?);
        let expect = if numbers {
            peaks.write_json(&mut file, options.bits).map_err(|e| internal(&e))?;
            Expect::default()
        } else {
            let sketch = Sketch { peaks: &peaks, size: (options.width, options.height), stretched: options.normalize };
            match output.format.id() {
                "svg" => sketch.write_svg(&mut file, options.color, options.background).map_err(|e| internal(&e))?,
                _ => sketch.write_png(&mut file, options.color, options.background).map_err(|e| internal(&e))?,
            }
            Expect { width: Some(options.width), height: Some(options.height), ..Expect::default() }
        };
        file.flush().map_err(|e| internal(&e))?;
        let mut produced = Produced::single(output, expect);
        produced.warnings = warnings;
        Ok(produced)
    }
}

/// The tones of all channels together.
fn spectrogram(ctx: &Ctx, source: &mut Source, track: &Facts, options: &Options, output: &Output) -> Result<Produced, Failure> {
    if output.format.id() != "png" {
        return Err(Failure::new(Code::InvalidOption, "`style`: a spectrogram is a png.").stage("open"));
    }
    let size = (options.width, options.height);
    let mut spectrum = Spectrum::new(size.0, size.1);
    let filters = format!("aformat=sample_fmts=flt:channel_layouts={}", layout(1));
    let warnings = Listening::whole(ctx, source, track, filters).listen(ctx, source, &mut |frame| {
        spectrum.add(frame.plane::<f32>(0).get(..frame.samples()).unwrap_or_default());
        Ok(())
    })?;
    spectrum.end();
    let mut file = BufWriter::new(File::create(output.path()).map_err(|e| Failure::internal(e).stage("encode"))?);
    spectrum.write_png(&mut file, size, options.range).map_err(|e| Failure::internal(e).stage("encode"))?;
    file.flush().map_err(|e| Failure::internal(e).stage("encode"))?;
    let expect = Expect { width: Some(size.0), height: Some(size.1), ..Expect::default() };
    Ok(Produced { warnings, ..Produced::single(output, expect) })
}
