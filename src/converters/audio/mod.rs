//! The audio family.

use super::av;
use crate::convert::{Erased, FamilyEntry, Zygote, erase};
use crate::format::Family;

mod peaks;
mod sketch;
mod spectrum;
mod split;
mod transcode;
mod waveform;

static CONVERTERS: [Erased; 2] = [erase::<transcode::Transcode>(), erase::<waveform::Waveform>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Audio, zygote: Zygote::Av, converters: &CONVERTERS, probe: av::probe::probe };
