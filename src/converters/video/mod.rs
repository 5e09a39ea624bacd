//! The video family.

use super::av;
use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

mod poster;
mod transcode;

static CONVERTERS: [Erased; 2] = [erase::<transcode::Transcode>(), erase::<poster::Poster>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Video, zygote: Zygote::Av, converters: &CONVERTERS, probe: av::probe::probe };

pub static WARMTH: Warmth = Warmth { warm: av::warm::warm, idle: || (), readable: &[], threads: 1 };
