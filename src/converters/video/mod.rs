//! The video family.

use super::av;
use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

mod fitting;
mod ladder;
mod master;
mod moving;
mod package;
mod poster;
mod sheet;
mod sprites;
mod stream;
mod subtitles;
mod transcode;

static CONVERTERS: [Erased; 5] = [
    erase::<transcode::Transcode>(),
    erase::<stream::Stream>(),
    erase::<sprites::Sprites>(),
    erase::<poster::Poster>(),
    erase::<subtitles::Subtitles>(),
];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Video, zygote: Zygote::Av, converters: &CONVERTERS, probe: av::probe::probe };

/// Where the library that draws subtitles finds its letters.
const FONTS: &[&str] = &["/etc/fonts", "/var/cache/fontconfig"];

pub static WARMTH: Warmth = Warmth { warm: av::warm::warm, idle: || (), readable: FONTS, threads: 1 };
