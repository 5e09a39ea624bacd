//! One conversion from first packet to last.

use super::containers::Container;
use super::geometry::Turn;
use super::lane::{Lane, Tally, Window};
use super::lane_audio::{AudioLane, Tone};
use super::lane_copy::CopyLane;
use super::lane_video::VideoLane;
use super::look::{Look, check_gif};
use super::mux::{Mux, tag};
use super::open::Source;
use super::options::{AudioOptions, Metadata, Tags, Trim, VideoCodec, VideoOptions};
use super::plan::{Fate, Planned};
use super::pump::Pump;
use super::shaping::{Shaping, Take};
use super::{SECOND_US, fault};
use crate::convert::{Ctx, Level};
use crate::failure::Failure;
use std::path::Path;

/// What is to be made of an open source.
pub struct Order<'a> {
    pub container: &'static Container,
    pub streams: Vec<Planned>,
    /// What is made of the picture: for a ladder several times, the largest first.
    pub rungs: Vec<VideoOptions>,
    pub audio: &'a AudioOptions,
    /// Quality of sound, 1 to 10.
    pub quality: Option<u8>,
    pub shaping: &'a Shaping,
    pub trim: Trim,
    pub metadata: Metadata,
    /// Said of the result beside, or instead of, what the source says.
    pub tags: &'a Tags,
    /// Pictures beside the sound.
    pub covers: Vec<usize>,
    pub faststart: bool,
    /// Of the muxer, beyond the usual.
    pub settings: Vec<(&'static str, String)>,
}

/// What was made.
pub struct Made {
    pub duration_us: i64,
    /// Of each rung, the largest first, as displayed.
    pub sizes: Vec<(u32, u32)>,
    pub rate: Option<f64>,
    /// Pictures that were encoded.
    pub encoded: u64,
    /// Samples a second of encoded sound; 0 without.
    pub sound_rate: u32,
    pub warnings: Vec<String>,
}

pub fn make(ctx: &Ctx, source: &mut Source, order: &Order, path: &Path) -> Result<Made, Failure> {
    let start_us = order.trim.start_us();
    let kept: Vec<usize> = order.streams.iter().map(|s| s.index).collect();
    let claimed = source.claimed_us(&kept);
    let total = claimed.or(source.duration_us).map(|us| us - start_us);
    let length_us = order.trim.length_us();
    if total.is_some_and(|left| left <= 0) && start_us > 0 {
        let message = format!("The start, {}, is after the end of the file.", fault::clock(start_us));
        return Err(Failure::new(crate::failure::Code::InvalidOption, message).stage("open"));
    }
    let wanted_us = match (total, length_us) {
        (Some(total), Some(length)) => Some(total.min(length)),
        (total, length) => total.or(length),
    };
    let longest = ctx.limits.media_duration_max.as_millis() as i64 * 1000;
    let latest_us = claimed.map_or(longest, |us| us - start_us + 10 * SECOND_US).min(longest + SECOND_US);
    let window = Window { shift_us: source.start_us + start_us, cut: start_us > 0, length_us, latest_us };
    let mut mux = Mux::create(ctx, order.container, path, order.metadata)?;
    let mut sizes = Vec::new();
    let (mut rate, mut sound_rate, mut said) = (None, 0, Vec::new());
    let mut lanes: Vec<Option<Lane>> = (0..source.streams.len()).map(|_| None).collect();
    for planned in &order.streams {
        let from = &source.streams[planned.index];
        let verb = if matches!(planned.fate, Fate::Copy) { "copied" } else { "encoded" };
        ctx.log(Level::Info, format!("track {} ({}) is {verb}: {}", planned.index + 1, from.codec, planned.why));
        let lane = match &planned.fate {
            Fate::Copy => {
                let stream = mux.add_copy(source, from, tag(order.container, &from.codec)).map_err(|e| fault::encoding(ctx, e))?;
                if from.width > 0 {
                    sizes = vec![Turn::of(from.matrix).turned((from.width, from.height))];
                    rate = from.average_rate.map(f64::from);
                }
                Lane::Copy(CopyLane::new(from, stream, window))
            }
            Fate::Video(codec) => {
                let look = |options: &VideoOptions| (Look::plan(from, *codec, options, order.container), options.clone());
                let looks: Vec<(Look, VideoOptions)> = order.rungs.iter().map(look).collect();
                if let Some((largest, _)) = looks.first() {
                    if *codec == VideoCodec::Gif {
                        check_gif(ctx, largest, wanted_us)?;
                    }
                    rate = Some(f64::from(largest.rate));
                }
                sizes = looks.iter().map(|(look, _)| look.geometry.size).collect();
                Lane::Video(Box::new(VideoLane::new(ctx, source, from, looks, window, &mut mux)?))
            }
            Fate::Audio(codec) => {
                let tone = Tone::plan(from, *codec, order.audio, order.quality, order.container.least_rate);
                sound_rate = sound_rate.max(tone.rate);
                let end = source.sound_end_us(planned.index).map(|end| end - start_us).filter(|end| *end > 0);
                let length_us = [window.length_us, end].into_iter().flatten().min();
                let window = Window { length_us, ..window };
                let shaped = order.shaping.shape(ctx, &Take { source, from, tone: &tone, window })?;
                said.extend(shaped.warnings);
                Lane::Audio(Box::new(AudioLane::new(ctx, source, from, tone, &shaped.filters, window, &mut mux)?))
            }
        };
        lanes[planned.index] = Some(lane);
    }
    for index in &order.covers {
        mux.add_cover(source, &source.streams[*index]).map_err(|e| fault::encoding(ctx, e))?;
    }
    mux.describe(source, order.container.chapters, start_us, wanted_us, order.tags);
    mux.begin(ctx, order.faststart, &order.settings)?;
    if start_us > 0 {
        source.seek(start_us);
    }
    let copies = order.streams.iter().all(|s| matches!(s.fate, Fate::Copy));
    let stage = if copies { "copy" } else { "encode" };
    let mut pump = Pump::new(ctx, source, stage, wanted_us);
    while let Some(mut packet) = pump.next(&kept)? {
        let Some(Some(lane)) = lanes.get_mut(packet.stream()) else { continue };
        lane.feed(ctx, &mut packet, &mut mux)?;
        pump.reached(lane.tally().read_us)?;
        if lanes.iter().flatten().all(Lane::done) {
            break;
        }
    }
    for lane in lanes.iter_mut().flatten() {
        ctx.check()?;
        lane.finish(ctx, &mut mux)?;
    }
    mux.end(ctx)?;
    let total_ms = wanted_us.unwrap_or(0) as u64 / 1000;
    ctx.progress(stage, total_ms, total_ms, "ms");
    fault::flush_words(ctx);
    let expected = claimed.map(|us| us - start_us).map(|us| length_us.map_or(us, |most| us.min(most)));
    let tallies: Vec<&Tally> = lanes.iter().flatten().map(Lane::tally).collect();
    let mut warnings = source.notes.clone();
    warnings.extend(said);
    warnings.extend(judge(ctx, &tallies, expected)?);
    let encoded = tallies.iter().map(|t| t.encoded).max().unwrap_or(0);
    let duration_us = tallies.iter().map(|t| t.end_us).max().unwrap_or(0);
    Ok(Made { duration_us, sizes, rate, encoded, sound_rate, warnings })
}

/// Whether enough of the file came through, and what has to be said about it.
pub fn judge(ctx: &Ctx, tallies: &[&Tally], expected_us: Option<i64>) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    let end_us = tallies.iter().map(|t| t.read_us).max().unwrap_or(0);
    let errors: u64 = tallies.iter().map(|t| t.errors).sum();
    let first = tallies.iter().filter_map(|t| t.first_error_us).min();
    if tallies.iter().all(|t| t.frames == 0 || t.end_us <= 0) || end_us <= 0 {
        return Err(Failure::corrupt("Nothing in the file could be decoded.").detail(fault::flush_words(ctx)).stage("decode"));
    }
    for tally in tallies.iter().filter(|t| t.errors > 0) {
        if tally.frames < tally.packets / 2 {
            let message = format!("Most of the file is damaged, from {} on.", fault::clock(tally.first_error_us.unwrap_or(0)));
            return Err(Failure::corrupt(message).stage("decode"));
        }
    }
    if let Some(expected) = expected_us {
        if end_us < expected / 2 {
            let message = format!("The file breaks off at {} of {}.", fault::clock(end_us), fault::clock(expected));
            return Err(Failure::corrupt(message).stage("decode"));
        }
        if expected - end_us > SECOND_US / 8 && end_us < expected / 100 * 97 {
            warnings.push(format!("The file breaks off at {} of {}; what is there was kept.", fault::clock(end_us), fault::clock(expected)));
        }
    }
    if errors > 0 {
        let places = if errors == 1 { "One damaged place was".into() } else { format!("{errors} damaged places were") };
        warnings.push(format!("{places} passed over, the first at {}.", fault::clock(first.unwrap_or(0))));
    }
    Ok(warnings)
}
