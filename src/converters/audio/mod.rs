//! The audio family.

use super::av;
use crate::convert::{Erased, FamilyEntry, Zygote, erase};
use crate::format::Family;

mod transcode;

static CONVERTERS: [Erased; 1] = [erase::<transcode::Transcode>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Audio, zygote: Zygote::Av, converters: &CONVERTERS, probe: av::probe::probe };
