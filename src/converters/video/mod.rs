//! The video family.

use super::av;
use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase, erase_planner};
use crate::format::Family;

mod fates;
mod fitting;
mod join;
mod ladder;
mod master;
mod moving;
mod package;
mod part;
mod poster;
mod preview;
mod renditions;
mod sheet;
mod sprites;
mod stream;
mod subtitles;
mod transcode;

/// What is read as a film.
const READS: &[&str] = &["mp4", "mov", "mkv", "webm", "avi", "flv", "wmv", "mpg", "ts", "3gp", "ogv", "mxf", "y4m", "h264", "hevc", "obu", "ivf"];

static CONVERTERS: [Erased; 7] = [
    erase_planner::<transcode::Transcode>(),
    erase::<join::Join>(),
    erase_planner::<stream::Stream>(),
    erase::<sprites::Sprites>(),
    erase::<poster::Poster>(),
    erase::<subtitles::Subtitles>(),
    erase::<preview::Preview>(),
];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Video, zygote: Zygote::Av, converters: &CONVERTERS, probe: av::probe::probe };

/// Where the library that draws subtitles finds its letters.
const FONTS: &[&str] = &["/etc/fonts", "/var/cache/fontconfig"];

pub static WARMTH: Warmth = Warmth { warm: av::warm::warm, idle: || (), readable: FONTS, threads: 1 };
