//! The image family.

use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

mod animation;
mod colour;
mod encode;
mod exif;
mod geometry;
mod heif;
mod jpeg;
mod limit;
mod open;
mod options;
mod picture;
mod probe;
mod svg;
mod transcode;
mod webp;

static CONVERTERS: [Erased; 1] = [erase::<transcode::Transcode>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Image, zygote: Zygote::Image, converters: &CONVERTERS, probe: probe::probe };

pub static WARMTH: Warmth = Warmth { warm: heif::load, idle: svg::warm, readable: &[], threads: 1 };
