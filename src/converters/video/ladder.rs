//! The rungs of an adaptive stream: which sizes, at which bit rates.

use crate::convert::OutOfRange;
use crate::converters::av::options::{SIDE_MAX, VideoOptions};
use crate::converters::av::units::Bitrate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Either the word `auto` or the rungs, up to 10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Ladder {
    Word(Auto),
    Rungs(Vec<RungOptions>),
}

/// The usual sizes up to the input's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    Auto,
}

/// One size of the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RungOptions {
    /// Lines of the picture, or its columns if it stands upright: 64 to 16384; those beyond the input's are left out.
    pub height: u32,
    /// The most bits per second it may use, as `2M` or 2000000. Default: by its height.
    #[serde(default)]
    pub bitrate: Option<Bitrate>,
}

/// One rung, settled.
#[derive(Debug, Clone)]
pub struct Rung {
    /// As its files are named: `720p`.
    pub name: String,
    pub video: VideoOptions,
}

impl Default for Ladder {
    fn default() -> Self {
        Ladder::Word(Auto::Auto)
    }
}

/// Lines and bits per second of h264 that look good to most; other codecs need less.
const USUAL: [(u32, u32); 8] =
    [(2160, 16_000_000), (1440, 9_000_000), (1080, 5_000_000), (720, 2_800_000), (480, 1_400_000), (360, 800_000), (240, 400_000), (144, 200_000)];
/// Below this many lines `auto` makes nothing but the smallest film itself.
const LEAST_AUTO: u32 = 240;

impl Ladder {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let Ladder::Rungs(rungs) = self else { return Ok(()) };
        if rungs.is_empty() || rungs.len() > 10 {
            return Err(OutOfRange::new("ladder", rungs.len(), "`auto`, or 1 to 10 rungs"));
        }
        for (n, rung) in rungs.iter().enumerate() {
            OutOfRange::check(&format!("ladder[{n}].height"), Some(rung.height), 64..=SIDE_MAX)?;
            if rungs[..n].iter().any(|other| other.height == rung.height) {
                return Err(OutOfRange::new(&format!("ladder[{n}].height"), rung.height, "each height once"));
            }
        }
        Ok(())
    }

    /// The rungs for an upright picture of this size, the largest first; never none.
    pub fn rungs(&self, (width, height): (u32, u32), base: &VideoOptions) -> Vec<Rung> {
        let own = width.min(height);
        let mut wanted: Vec<(u32, Option<Bitrate>)> = match self {
            Ladder::Word(Auto::Auto) => USUAL.iter().map(|(lines, _)| (*lines, None)).filter(|(lines, _)| *lines >= LEAST_AUTO).collect(),
            Ladder::Rungs(rungs) => rungs.iter().map(|rung| (rung.height, rung.bitrate)).collect(),
        };
        wanted.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
        let largest = wanted.first().copied();
        wanted.retain(|(lines, _)| *lines <= own);
        if let (true, Some((_, bitrate))) = (wanted.is_empty(), largest) {
            wanted.push((own, bitrate));
        }
        let rung = |(lines, bitrate): (u32, Option<Bitrate>)| {
            let side = Some(lines);
            let (width, height) = if width < height { (side, None) } else { (None, side) };
            let video = VideoOptions { width, height, bitrate: Some(bitrate.unwrap_or(Bitrate(usual(lines)))), ..base.clone() };
            Rung { name: format!("{lines}p"), video }
        };
        wanted.into_iter().map(rung).collect()
    }
}

/// Bits per second between those of the usual sizes.
fn usual(lines: u32) -> u32 {
    let (least, most) = (USUAL[USUAL.len() - 1], USUAL[0]);
    let pair = USUAL.windows(2).find(|pair| (pair[1].0..=pair[0].0).contains(&lines));
    match pair {
        Some([(above, more), (below, less)]) => less + (u64::from(more - less) * u64::from(lines - below) / u64::from(above - below)) as u32,
        _ if lines > most.0 => most.1,
        _ => least.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_fit_the_film() {
        let names = |ladder: &Ladder, size| {
            let rungs = ladder.rungs(size, &VideoOptions::default());
            rungs.iter().map(|r| (r.name.clone(), r.video.width, r.video.height, r.video.bitrate.unwrap().0)).collect::<Vec<_>>()
        };
        let auto = Ladder::default();
        let wide = names(&auto, (1920, 1080));
        assert_eq!(wide.iter().map(|r| r.0.as_str()).collect::<Vec<_>>(), ["1080p", "720p", "480p", "360p", "240p"]);
        assert_eq!(wide[1], ("720p".into(), None, Some(720), 2_800_000));
        assert_eq!(names(&auto, (720, 1280))[0], ("720p".into(), Some(720), None, 2_800_000));
        assert_eq!(names(&auto, (320, 180)), [("180p".into(), None, Some(180), 275_000)]);
        let own = Ladder::Rungs(vec![
            RungOptions { height: 360, bitrate: Some(Bitrate(700_000)) },
            RungOptions { height: 540, bitrate: None },
            RungOptions { height: 4000, bitrate: None },
        ]);
        assert_eq!(names(&own, (1280, 720)), [("540p".into(), None, Some(540), 1_750_000), ("360p".into(), None, Some(360), 700_000)]);
    }
}
