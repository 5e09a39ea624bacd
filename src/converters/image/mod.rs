//! The image family.

use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

mod animation;
mod colour;
mod effects;
mod encode;
mod exif;
mod geometry;
mod heif;
mod jpeg;
mod limit;
mod metadata;
mod open;
mod options;
mod picture;
mod probe;
mod smart;
mod still;
mod svg;
mod target;
mod tiff;
mod transcode;
mod turns;
mod webp;
mod xmp;

static CONVERTERS: [Erased; 1] = [erase::<transcode::Transcode>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Image, zygote: Zygote::Image, converters: &CONVERTERS, probe: probe::probe };

pub static WARMTH: Warmth = Warmth { warm: heif::load, idle: svg::warm, readable: &[], threads: 1 };
