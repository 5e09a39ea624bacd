//! The audio family.

use super::av;
use crate::convert::{Erased, FamilyEntry, Zygote, erase, erase_planner};
use crate::format::Family;

mod peaks;
mod preview;
mod sketch;
mod spectrum;
mod split;
mod transcode;
mod waveform;

/// What is read as a song.
const READS: &[&str] = &["mp3", "m4a", "aac", "opus", "ogg", "flac", "wav", "aiff", "wma", "ac3", "dts", "amr", "au", "caf", "wv", "tta", "mka"];

static CONVERTERS: [Erased; 3] = [erase_planner::<transcode::Transcode>(), erase::<waveform::Waveform>(), erase::<preview::Preview>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Audio, zygote: Zygote::Av, converters: &CONVERTERS, probe: av::probe::probe };
