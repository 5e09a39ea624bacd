//! What is done to sound between decoder and encoder, beyond what the encoder needs.

use super::ear::Listening;
use super::ffi::Facts;
use super::lane::Window;
use super::lane_audio::{Tone, layout};
use super::open::Source;
use super::survey::{self, Edges, Level};
use super::units::Time;
use crate::convert::{Ctx, Level as Weight, OutOfRange};
use crate::failure::{Code, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How loud a result is to be, by EBU R 128 (<https://tech.ebu.ch/publications/r128>).
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Loudness {
    /// Integrated loudness in LUFS, -40 to -5. Default: -16.
    pub integrated: f64,
    /// What no true peak goes beyond, in dBTP, -9 to 0; where that takes it, the loudest moments are held down. Default: -1.5.
    pub true_peak: f64,
}

impl Default for Loudness {
    fn default() -> Self {
        Loudness { integrated: -16.0, true_peak: -1.5 }
    }
}

impl Loudness {
    pub fn validate(&self, at: &str) -> Result<(), OutOfRange> {
        OutOfRange::check(&format!("{at}integrated"), Some(self.integrated), -40.0..=-5.0)?;
        OutOfRange::check(&format!("{at}true_peak"), Some(self.true_peak), -9.0..=0.0)
    }
}

/// The silence at both ends, which goes away.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Silence {
    /// What is no louder is silence, in dBFS, -90 to -20. Default: -50.
    pub threshold: f64,
    /// How much of it stays at each end: seconds, or text as `0.5s`. Default: 0.1.
    pub keep: Time,
}

impl Default for Silence {
    fn default() -> Self {
        Silence { threshold: -50.0, keep: Time { us: 100_000 } }
    }
}

/// All that is done to a track, in this order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shaping {
    pub silence: Option<Silence>,
    /// As fast as before times this, at the same pitch.
    pub speed: Option<f64>,
    pub loudness: Option<Loudness>,
    pub fade_in: Option<Time>,
    pub fade_out: Option<Time>,
}

/// The track that is shaped.
pub struct Take<'a> {
    pub source: &'a Source,
    pub from: &'a Facts,
    pub tone: &'a Tone,
    pub window: Window,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Shaped {
    /// Words and numbers of ours only; empty, or with a comma at the end.
    pub filters: String,
    pub warnings: Vec<String>,
}

/// How far true peaks may rise when a lossy encoder rebuilds the sound, in dB.
const LOSSY_MARGIN: f64 = 1.0;
/// How close to its goal a limited track is brought, in LU and dB.
const CLOSE: f64 = 0.1;
/// The limiter works at this many samples a second, so that it sees what lies between them.
const FINE_RATE: u32 = 192_000;

impl Shaping {
    /// Why the sound cannot be copied, if it cannot.
    pub fn wants_encoder(&self) -> Option<&'static str> {
        match self {
            Shaping { silence: Some(_), .. } => Some("its silence is to be cut off"),
            Shaping { speed: Some(_), .. } => Some("another speed was asked for"),
            Shaping { loudness: Some(_), .. } => Some("a loudness was asked for"),
            Shaping { fade_in: Some(_), .. } | Shaping { fade_out: Some(_), .. } => Some("a fade was asked for"),
            _ => None,
        }
    }

    pub fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("trim_silence.threshold", self.silence.map(|s| s.threshold), -90.0..=-20.0)?;
        OutOfRange::check("speed", self.speed, 0.25..=4.0)
    }

    /// The filters for one track, which is heard first where only its whole tells them.
    pub fn shape(&self, ctx: &Ctx, take: &Take) -> Result<Shaped, Failure> {
        let mut chain = Chain::new(ctx, take);
        if self.wants_encoder().is_none() {
            return Ok(Shaped::default());
        }
        if let Some(silence) = self.silence {
            chain.cut_silence(silence)?;
        }
        if let Some(speed) = self.speed {
            chain.hurry(speed);
        }
        if let Some(goal) = self.loudness {
            chain.level(goal)?;
        }
        chain.fade(self.fade_in, self.fade_out)?;
        Ok(Shaped { filters: chain.filters.concat(), warnings: chain.warnings })
    }
}

/// The filters so far; each ends with a comma.
struct Chain<'a> {
    ctx: &'a Ctx<'a>,
    take: &'a Take<'a>,
    filters: Vec<String>,
    warnings: Vec<String>,
    /// How long the track is behind them, once that is known.
    length_us: Option<i64>,
}

impl<'a> Chain<'a> {
    fn new(ctx: &'a Ctx<'a>, take: &'a Take<'a>) -> Self {
        // What is measured is what is heard in the end: the mix, in the finest samples.
        let mix = format!("aformat=sample_fmts=flt:channel_layouts={},", layout(take.tone.channels));
        Chain { ctx, take, filters: vec![mix], warnings: Vec::new(), length_us: None }
    }

    fn listening(&self, more: &str) -> Listening<'a> {
        let Take { from, tone, window, .. } = self.take;
        let filters = format!("{}{more}aformat=sample_fmts=flt", self.filters.concat());
        Listening { from, window: *window, rate: tone.rate, filters, stage: "measure" }
    }

    fn measure(&self, more: &str) -> Result<Level, Failure> {
        survey::level(self.ctx, self.take.source, self.take.tone.channels, self.listening(more))
    }

    /// `threshold` is in dBFS.
    fn edges(&self, threshold: f64) -> Result<Edges, Failure> {
        survey::edges(self.ctx, self.take.source, self.take.tone.channels, threshold, self.listening(""))
    }

    fn cut_silence(&mut self, silence: Silence) -> Result<(), Failure> {
        let edges = self.edges(silence.threshold)?;
        let Some((first, end)) = edges.sound_us else {
            let message = format!("Nothing in the sound is louder than {} dB: it is all silence.", silence.threshold);
            return Err(Failure::new(Code::InvalidOption, message).hint("Ask for a lower trim_silence.threshold.").stage("measure"));
        };
        let (start, end) = ((first - silence.keep.us).max(0), (end + silence.keep.us).min(edges.length_us));
        self.filters.push(format!("atrim=start={}:end={},asetpts=expr=N/SR/TB,", seconds(start), seconds(end)));
        self.length_us = Some(end - start);
        Ok(())
    }

    /// Beyond 2 the filter leaves samples out; two of them do not.
    fn hurry(&mut self, speed: f64) {
        let step = speed.sqrt();
        self.filters.push(format!("atempo=tempo={step:.6},atempo=tempo={step:.6},"));
        self.length_us = self.length_us.map(|us| (us as f64 / speed) as i64);
    }

    /// One gain for all of the track, and a limiter if that would take its peaks too high.
    fn level(&mut self, goal: Loudness) -> Result<(), Failure> {
        let own = self.measure("")?;
        self.length_us = Some(own.length_us);
        if !own.integrated.is_finite() {
            self.warnings.push("The sound is silent; its loudness was left as it is.".into());
            return Ok(());
        }
        let told = format!("measured {:.1} LUFS, true peak {:.1} dBTP", own.integrated, own.true_peak);
        self.ctx.log(Weight::Info, told);
        let ceiling = goal.true_peak - if self.take.tone.codec.lossless() { 0.0 } else { LOSSY_MARGIN };
        let mut gain = goal.integrated - own.integrated;
        if own.true_peak + gain <= ceiling {
            self.filters.push(format!("volume=volume={gain:.3}dB:precision=float,"));
            return Ok(());
        }
        // What a limiter takes away is not known beforehand: it is heard, and the gain set anew.
        let mut limit = ceiling;
        for _ in 0..5 {
            let filters = self.limited(gain, limit);
            let got = self.measure(&filters)?;
            let (short, over) = (goal.integrated - got.integrated, got.true_peak - ceiling);
            if short.abs() <= CLOSE && over <= CLOSE / 2.0 {
                self.filters.push(filters);
                return Ok(());
            }
            gain = (gain + short).min(goal.integrated - own.integrated + 20.0);
            limit -= over.max(0.0);
        }
        let filters = self.limited(gain, limit);
        let got = self.measure(&filters)?;
        self.filters.push(filters);
        if (goal.integrated - got.integrated).abs() > 0.5 {
            let (wanted, found) = (goal.integrated, got.integrated);
            self.warnings.push(format!("The sound became {found:.1} LUFS, not {wanted:.1}: its peaks leave no more room."));
        }
        Ok(())
    }

    fn limited(&self, gain: f64, limit: f64) -> String {
        let (rate, linear) = (self.take.tone.rate, 10f64.powf(limit / 20.0).clamp(0.0625, 1.0));
        let fine = FINE_RATE.max(rate);
        format!(
            "volume=volume={gain:.3}dB:precision=float,aresample=osr={fine},\
             alimiter=limit={linear:.6}:level=disabled:attack=5:release=50:latency=enabled,aresample=osr={rate},"
        )
    }

    fn fade(&mut self, first: Option<Time>, last: Option<Time>) -> Result<(), Failure> {
        if let Some(Time { us }) = first.filter(|t| t.us > 0) {
            self.filters.push(format!("afade=type=in:duration={},", seconds(us)));
        }
        if let Some(Time { us }) = last.filter(|t| t.us > 0) {
            let length_us = match self.length_us {
                Some(known) => known,
                None => self.edges(0.0)?.length_us,
            };
            let us = us.min(length_us);
            self.filters.push(format!("afade=type=out:start_time={}:duration={},", seconds(length_us - us), seconds(us)));
        }
        Ok(())
    }
}

/// As FFmpeg reads it.
fn seconds(us: i64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
