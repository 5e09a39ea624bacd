//! The video family.

use super::av;
use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

mod ladder;
mod master;
mod package;
mod poster;
mod sheet;
mod sprites;
mod stream;
mod transcode;

static CONVERTERS: [Erased; 4] = [erase::<transcode::Transcode>(), erase::<stream::Stream>(), erase::<sprites::Sprites>(), erase::<poster::Poster>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Video, zygote: Zygote::Av, converters: &CONVERTERS, probe: av::probe::probe };

pub static WARMTH: Warmth = Warmth { warm: av::warm::warm, idle: || (), readable: &[], threads: 1 };
