//! What only the whole of a track tells: how loud it is, where its silence ends, where its pauses are.

use super::ear::Listening;
use super::open::Source;
use crate::convert::Ctx;
use crate::failure::Failure;
use ebur128::{EbuR128, Mode};

/// How loud a track is, by EBU R 128.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// Integrated loudness in LUFS; minus infinity for silence.
    pub integrated: f64,
    /// The highest true peak of any channel, in dBTP.
    pub true_peak: f64,
    pub length_us: i64,
}

/// Where the sound of a track is, in microseconds from its start.
#[derive(Debug, Clone, Copy)]
pub struct Edges {
    /// The first and the end of the last sample above the threshold; none: all is silence.
    pub sound_us: Option<(i64, i64)>,
    pub length_us: i64,
}

/// Hears 32-bit float samples, the channels interleaved.
fn hear(ctx: &Ctx, source: &Source, listening: Listening, take: &mut dyn FnMut(&[f32]) -> Result<(), Failure>) -> Result<(), Failure> {
    let channels = |frame: &ffmpeg_next::frame::Audio| frame.samples() * usize::from(frame.channels());
    listening.listen(ctx, &mut source.again(ctx)?, &mut |frame| take(frame.plane::<f32>(0).get(..channels(frame)).unwrap_or_default()))?;
    Ok(())
}

pub fn level(ctx: &Ctx, source: &Source, channels: u32, listening: Listening) -> Result<Level, Failure> {
    let wrong = |e: ebur128::Error| Failure::internal(e).stage("measure");
    let rate = listening.rate;
    let mut meter = EbuR128::new(channels, rate, Mode::I | Mode::TRUE_PEAK).map_err(wrong)?;
    let mut heard = 0;
    hear(ctx, source, listening, &mut |samples| {
        heard += samples.len() as i64 / i64::from(channels);
        meter.add_frames_f32(samples).map_err(wrong)
    })?;
    let integrated = meter.loudness_global().map_err(wrong)?;
    let mut peak = 0.0f64;
    for channel in 0..channels {
        peak = peak.max(meter.true_peak(channel).map_err(wrong)?);
    }
    Ok(Level { integrated, true_peak: 20.0 * peak.log10(), length_us: time_us(heard, rate) })
}

/// `threshold` is in dBFS.
pub fn edges(ctx: &Ctx, source: &Source, channels: u32, threshold: f64, listening: Listening) -> Result<Edges, Failure> {
    let (rate, least) = (listening.rate, 10f64.powf(threshold / 20.0) as f32);
    let (mut heard, mut sound) = (0i64, None);
    hear(ctx, source, listening, &mut |samples| {
        for moment in samples.chunks_exact(channels as usize) {
            if moment.iter().any(|sample| sample.abs() > least) {
                sound = Some((sound.map_or(heard, |(first, _)| first), heard + 1));
            }
            heard += 1;
        }
        Ok(())
    })?;
    let sound_us = sound.map(|(first, end)| (time_us(first, rate), time_us(end, rate)));
    Ok(Edges { sound_us, length_us: time_us(heard, rate) })
}

/// The pauses of a track and where it ends, in microseconds from its start: all that is no louder than `threshold`, in dBFS, for
/// `least_us` or longer.
pub fn pauses(
    ctx: &Ctx,
    source: &Source,
    channels: u32,
    threshold: f64,
    least_us: i64,
    listening: Listening,
) -> Result<(Vec<(i64, i64)>, i64), Failure> {
    let (rate, least) = (listening.rate, 10f64.powf(threshold / 20.0) as f32);
    let (mut heard, mut quiet_from, mut found) = (0i64, 0i64, Vec::new());
    let mut pause = |from: i64, to: i64| {
        let (start, end) = (time_us(from, rate), time_us(to, rate));
        if end - start >= least_us {
            found.push((start, end));
        }
    };
    hear(ctx, source, listening, &mut |samples| {
        for moment in samples.chunks_exact(channels as usize) {
            if moment.iter().any(|sample| sample.abs() > least) {
                pause(quiet_from, heard);
                quiet_from = heard + 1;
            }
            heard += 1;
        }
        Ok(())
    })?;
    pause(quiet_from, heard);
    Ok((found, time_us(heard, rate)))
}

fn time_us(samples: i64, rate: u32) -> i64 {
    samples * 1_000_000 / i64::from(rate.max(1))
}
