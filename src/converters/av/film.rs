//! One conversion from first packet to last.

use super::containers::Container;
use super::drawing::Drawing;
use super::ffi::Kind;
use super::lane::micros;
use super::lane::{Tally, Window};
use super::lanes::{Lanes, Setting};
use super::mux::Mux;
use super::open::{Care, LEAST_SHARE, Source};
use super::options::{AudioOptions, Metadata, Tags, Trim, VideoOptions};
use super::passes::Pass;
use super::plan::{Fate, Planned};
use super::pump::Pump;
use super::shaping::Shaping;
use super::stretch::{self, Stretch};
use super::{SECOND_US, fault};
use crate::convert::Ctx;
use crate::failure::{Code, Failure};
use std::path::Path;

/// What is to be made of an open source.
#[derive(Clone)]
pub struct Order<'a> {
    pub container: &'static Container,
    pub streams: Vec<Planned>,
    /// What is made of the picture: for a ladder several times, the largest first.
    pub rungs: Vec<VideoOptions>,
    pub audio: &'a AudioOptions,
    /// Quality of sound, 1 to 10.
    pub quality: Option<u8>,
    pub shaping: &'a Shaping,
    /// Over the picture.
    pub drawing: &'a Drawing,
    pub trim: Trim,
    pub metadata: Metadata,
    /// Said of the result beside, or instead of, what the source says.
    pub tags: &'a Tags,
    /// Pictures beside the sound.
    pub covers: Vec<usize>,
    pub faststart: bool,
    /// Of the muxer, beyond the usual.
    pub settings: Vec<(&'static str, String)>,
    /// Of two; the first one makes nothing but notes.
    pub pass: Option<Pass>,
    /// The pictures that are wanted; none: all.
    pub stretch: Option<Stretch>,
}

/// What was made.
pub struct Made {
    pub duration_us: i64,
    /// Of each rung, the largest first, as displayed.
    pub sizes: Vec<(u32, u32)>,
    pub rate: Option<f64>,
    /// Pictures that were encoded.
    pub encoded: u64,
    /// Lines of subtitles that were written anew.
    pub cues: u64,
    /// Samples a second of encoded sound; 0 without.
    pub sound_rate: u32,
    /// Where each track of sound ends, in the order of the result.
    pub sound_ends_us: Vec<i64>,
    /// The share of a broken file that came through.
    pub recovered: Option<f64>,
    pub warnings: Vec<String>,
}

pub fn make(ctx: &Ctx, source: &mut Source, order: &Order, path: &Path) -> Result<Made, Failure> {
    let start_us = order.trim.start_us();
    let kept: Vec<usize> = order.streams.iter().map(|s| s.index).collect();
    let shown: Vec<usize> = kept.iter().copied().filter(|index| source.streams[*index].kind != Kind::Subtitle).collect();
    let claimed = source.claimed_us(&shown);
    let total = claimed.or(source.duration_us).map(|us| us - start_us);
    let length_us = order.trim.length_us();
    if total.is_some_and(|left| left <= 0) && start_us > 0 {
        return Err(too_late(start_us));
    }
    let wanted_us = match (total, length_us) {
        (Some(total), Some(length)) => Some(total.min(length)),
        (total, length) => total.or(length),
    };
    let longest = ctx.limits.media_duration_max.as_millis() as i64 * 1000;
    let latest_us = claimed.map_or(longest, |us| us - start_us + 10 * SECOND_US).min(longest + SECOND_US);
    let window = Window { shift_us: source.start_us + start_us, cut: start_us > 0, length_us, latest_us };
    let notes_only = order.pass.as_ref().is_some_and(Pass::is_first);
    let muxer = if notes_only { "null" } else { order.container.muxer };
    let mut mux = Mux::create(ctx, order.container, muxer, path, order.metadata)?;
    let mut lanes = Lanes::build(&Setting { ctx, source, order, window, wanted_us }, &mut mux)?;
    for index in &order.covers {
        mux.add_cover(source, &source.streams[*index]).map_err(|e| fault::encoding(ctx, e))?;
    }
    let place = Place::of(source, order);
    mux.describe(source, order.container.chapters && !place.pictures_alone, start_us, wanted_us, order.tags);
    let exact = place.from.and_then(|_| mux.exact_start());
    let settings: Vec<(&str, String)> = order.settings.iter().cloned().chain(exact).collect();
    mux.begin(ctx, order.faststart, &settings)?;
    if start_us > 0 {
        source.seek(start_us);
    }
    if let Some((index, from)) = place.from {
        stretch::enter(ctx, source, index, from)?;
    }
    let copies = order.streams.iter().all(|s| matches!(s.fate, Fate::Copy));
    let stage = match (notes_only, copies) {
        (true, _) => "analyse",
        (false, true) => "copy",
        (false, false) => "encode",
    };
    let base_us = place.from_us;
    let mut pump = Pump::new(ctx, source, stage, place.to_us.or(wanted_us).map(|us| us - base_us));
    while let Some(mut packet) = pump.next(&kept)? {
        let read_us = lanes.feed(ctx, &mut packet, &mut mux)?;
        pump.reached(read_us - base_us)?;
        if lanes.done() {
            break;
        }
    }
    let passed_us = pump.passed_us - start_us;
    lanes.finish(ctx, &mut mux)?;
    mux.end(ctx)?;
    let total_ms = wanted_us.unwrap_or(0) as u64 / 1000;
    ctx.progress(stage, total_ms, total_ms, "ms");
    fault::flush_words(ctx);
    let expected = place.to_us.or(place.claimed(source, order, claimed)).map(|us| us - start_us).map(|us| length_us.map_or(us, |most| us.min(most)));
    let mut warnings = std::mem::take(&mut lanes.remarks);
    let (mut tallies, words) = (lanes.tallies(), lanes.words());
    // Where nothing but words is wanted, how far the film was read is all that tells whether it is whole.
    let passed = Tally { end_us: passed_us, read_us: passed_us, packets: 1, frames: 1, ..Tally::default() };
    if tallies.is_empty() {
        if passed_us <= 0 && start_us > 0 {
            return Err(too_late(start_us));
        }
        tallies.push(&passed);
    }
    let Judgement { warnings: said, recovered } = judge(ctx, source, &tallies, expected)?;
    warnings.extend(said);
    let (cues, unread) = (words.iter().map(|t| t.frames).sum(), words.iter().map(|t| t.errors).sum::<u64>());
    if unread > 0 {
        warnings.push(format!("{unread} lines of subtitles could not be read."));
    }
    let encoded = tallies.iter().map(|t| t.encoded).max().unwrap_or(0);
    let ends = lanes.tallies().into_iter().chain(words).map(|t| t.end_us);
    let duration_us = if place.pictures_alone { tallies.iter().map(|t| t.encoded_end_us).max() } else { ends.max() }.unwrap_or(0);
    let sounds = order.streams.iter().map(|s| s.index).filter(|index| source.streams[*index].kind == Kind::Audio);
    let sound_ends_us = sounds.filter_map(|index| lanes.end_us(index)).collect();
    let Lanes { sizes, rate, sound_rate, .. } = lanes;
    Ok(Made { duration_us, sizes, rate, encoded, cues, sound_rate, sound_ends_us, recovered, warnings })
}

/// What a stretch is for the whole of the work.
struct Place {
    /// Nothing but a stretch of pictures is made.
    pictures_alone: bool,
    /// The stream, and where its stretch begins, if not at the film's beginning.
    from: Option<(usize, i64)>,
    from_us: i64,
    to_us: Option<i64>,
}

impl Place {
    fn of(source: &Source, order: &Order) -> Place {
        let between = order.stretch.filter(|stretch| *stretch != Stretch::First);
        let picture = order.streams.iter().map(|s| s.index).find(|index| source.streams[*index].kind == Kind::Video);
        let (Some(stretch), Some(index)) = (between, picture) else {
            return Place { pictures_alone: false, from: None, from_us: 0, to_us: None };
        };
        let us = |time: i64| micros(time, source.streams[index].time_base);
        let from_us = stretch.from().map_or(0, us);
        Place { pictures_alone: true, from: stretch.from().map(|from| (index, from)), from_us, to_us: stretch.to().map(us) }
    }

    /// How far the film has to be read; of one whose first picture alone is wanted, as far as its sound goes.
    fn claimed(&self, source: &Source, order: &Order, claimed: Option<i64>) -> Option<i64> {
        if order.stretch != Some(Stretch::First) {
            return claimed;
        }
        let sounds = order.streams.iter().map(|s| s.index).filter(|index| source.streams[*index].kind == Kind::Audio);
        let sounds: Vec<usize> = sounds.collect();
        source.claimed_us(&sounds).filter(|_| !sounds.is_empty())
    }
}

fn too_late(start_us: i64) -> Failure {
    let message = format!("The start, {}, is after the end of the file.", fault::clock(start_us));
    Failure::new(Code::InvalidOption, message).stage("open")
}

/// What came through, in words and as a share.
#[derive(Debug, Default)]
pub struct Judgement {
    pub warnings: Vec<String>,
    /// Of a file that is broken.
    pub recovered: Option<f64>,
}

/// Whether enough of the file came through, and what has to be said about it.
pub fn judge(ctx: &Ctx, source: &Source, tallies: &[&Tally], expected_us: Option<i64>) -> Result<Judgement, Failure> {
    let mut judgement = Judgement::default();
    let salvage = source.care == Care::Salvage;
    let end_us = tallies.iter().map(|t| t.read_us).max().unwrap_or(0);
    let errors: u64 = tallies.iter().map(|t| t.errors).sum();
    let first = tallies.iter().filter_map(|t| t.first_error_us).min();
    if tallies.iter().all(|t| t.frames == 0 || t.end_us <= 0) || end_us <= 0 {
        return Err(Failure::corrupt("Nothing in the file could be decoded.").detail(fault::flush_words(ctx)).stage("decode"));
    }
    for tally in tallies.iter().filter(|t| t.errors > 0 && !salvage) {
        if tally.frames < tally.packets / 2 {
            let message = format!("Most of the file is damaged, from {} on.", fault::clock(tally.first_error_us.unwrap_or(0)));
            return Err(fault::broken(message).stage("decode"));
        }
    }
    let share = expected_us.filter(|expected| *expected - end_us > SECOND_US / 8).map(|expected| end_us as f64 / expected as f64);
    if let Some(share) = share.filter(|share| *share < LEAST_SHARE) {
        let place = format!("The file breaks off at {} of {}", fault::clock(end_us), fault::clock(expected_us.unwrap_or(0)));
        if !salvage {
            return Err(fault::broken(format!("{place}.")).stage("decode"));
        }
        judgement = Judgement { warnings: vec![format!("{place}; what is there was kept.")], recovered: Some(share) };
    } else if let Some(there) = source.there {
        judgement.warnings.push("The file is cut off; what is there was kept.".into());
        judgement.recovered = salvage.then_some(there);
    }
    if errors > 0 {
        let places = if errors == 1 { "One damaged place was".into() } else { format!("{errors} damaged places were") };
        judgement.warnings.push(format!("{places} passed over, the first at {}.", fault::clock(first.unwrap_or(0))));
    }
    Ok(judgement)
}
