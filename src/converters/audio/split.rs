//! Where a long recording is cut into several files.

use crate::convert::{Ctx, OutOfRange};
use crate::converters::av::Facts;
use crate::converters::av::ear::Listening;
use crate::converters::av::lane_audio::layout;
use crate::converters::av::open::Source;
use crate::converters::av::options::{Tags, Trim};
use crate::converters::av::survey;
use crate::converters::av::units::Time;
use crate::failure::{Code, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What makes a new file begin.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Each chapter.
    Chapters,
    /// The middle of each longer silence.
    Silence(Pause),
}

/// A silence long enough.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pause {
    /// What is no louder is silence, in dBFS, -90 to -20. Default: -50.
    pub threshold: f64,
    /// How long it lasts at least, 0.1 to 60: seconds, or text as `2s`. Default: 2.
    pub least: Time,
}

impl Default for Pause {
    fn default() -> Self {
        Pause { threshold: -50.0, least: Time { us: 2_000_000 } }
    }
}

/// One of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub start_us: i64,
    pub end_us: i64,
    /// That of its chapter; may be empty.
    pub title: String,
}

/// More files than this are no album.
const PARTS_MAX: usize = 500;

impl Split {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let Split::Silence(pause) = self else { return Ok(()) };
        OutOfRange::check("split.silence.threshold", Some(pause.threshold), -90.0..=-20.0)?;
        OutOfRange::check("split.silence.least", Some(pause.least.us as f64 / 1e6), 0.1..=60.0)
    }

    /// The parts, one after the other; the last one goes on to the end.
    pub fn parts(&self, ctx: &Ctx, source: &Source, track: &Facts) -> Result<Vec<Part>, Failure> {
        let parts = match self {
            Split::Chapters => chapters(source),
            Split::Silence(pause) => {
                let filters = format!("aformat=sample_fmts=flt:channel_layouts={}", layout(track.channels));
                let listening = Listening::whole(ctx, source, track, filters);
                let (pauses, end_us) = survey::pauses(ctx, source, track.channels, pause.threshold, pause.least.us, listening)?;
                between(&pauses, end_us)
            }
        };
        match parts.len() {
            0 => Err(Failure::new(Code::InvalidOption, "`split`: there are no chapters in this file.").stage("open")),
            n if n > PARTS_MAX => {
                Err(Failure::limit(format!("The file would be cut into {n} parts; at most {PARTS_MAX} are allowed.")).stage("open"))
            }
            _ => Ok(parts),
        }
    }
}

fn chapters(source: &Source) -> Vec<Part> {
    let length_us = source.duration_us.unwrap_or(i64::MAX);
    let whole = source.chapters().into_iter().filter(|chapter| chapter.end_us > chapter.start_us.max(0) && chapter.start_us < length_us);
    whole.map(|chapter| Part { start_us: chapter.start_us.max(0), end_us: chapter.end_us, title: chapter.title }).collect()
}

/// What lies between the middles of these pauses; those at either end make no part of their own.
fn between(pauses: &[(i64, i64)], end_us: i64) -> Vec<Part> {
    let inner = pauses.iter().filter(|(from, to)| *from > 0 && *to < end_us);
    let mut cuts: Vec<i64> = inner.map(|(from, to)| from + (to - from) / 2).collect();
    cuts.insert(0, 0);
    cuts.push(end_us);
    cuts.windows(2).map(|cut| Part { start_us: cut[0], end_us: cut[1], title: String::new() }).collect()
}

impl Part {
    pub fn trim(&self) -> Trim {
        Trim { start: Some(Time { us: self.start_us }), end: Some(Time { us: self.end_us }), duration: None }
    }

    /// What the `n`th of `all` says of itself, where it is not told otherwise.
    pub fn tags(&self, given: &Tags, n: usize, all: usize) -> Tags {
        let title = Some(self.title.chars().filter(|c| !c.is_control()).take(1000).collect::<String>()).filter(|title| !title.is_empty());
        Tags { title: given.title.clone().or(title), track: given.track.clone().or(Some(format!("{n}/{all}"))), ..given.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_at_the_ends_make_no_parts() {
        let cuts = |pauses: &[(i64, i64)]| between(pauses, 100).into_iter().map(|part| (part.start_us, part.end_us)).collect::<Vec<_>>();
        assert_eq!(cuts(&[]), [(0, 100)]);
        assert_eq!(cuts(&[(0, 10), (40, 60), (90, 100)]), [(0, 50), (50, 100)]);
        assert_eq!(cuts(&[(10, 20), (70, 80)]), [(0, 15), (15, 75), (75, 100)]);
    }
}
