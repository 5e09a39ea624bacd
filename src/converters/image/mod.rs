//! The image family.

use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

mod animation;
mod apng;
mod colour;
mod decoders;
mod disclosed;
mod effects;
mod encode;
pub(super) mod exif;
mod frames;
pub(super) mod geometry;
mod heif;
mod jp2;
mod jpeg;
mod jxl;
mod limit;
mod metadata;
mod open;
mod options;
mod pages;
mod pdf;
pub(super) mod picture;
pub(super) mod placeholder;
mod preview;
mod probe;
mod psd;
mod raw;
mod salvage;
mod sequence;
mod set;
mod smart;
mod still;
pub(super) mod svg;
mod target;
mod tiff;
mod tone;
mod transcode;
mod turns;
pub(super) mod webp;
pub(super) mod xmp;

/// What is read; every converter of the family reads all of it.
const READS: &[&str] = &[
    "jpeg", "png", "webp", "gif", "apng", "avif", "heic", "jxl", "jp2", "tiff", "bmp", "svg", "ico", "psd", "raw", "hdr", "exr", "dds", "qoi", "pnm",
    "tga",
];

static CONVERTERS: [Erased; 3] = [erase::<transcode::Transcode>(), erase::<placeholder::Placeholder>(), erase::<preview::Preview>()];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Image, zygote: Zygote::Image, converters: &CONVERTERS, probe: probe::probe };

pub static WARMTH: Warmth = Warmth { warm: heif::load, idle: warm_later, readable: &[], threads: 1 };

/// What few files need. Without libjxl only jxl cannot be written.
fn warm_later() {
    svg::warm();
    let _ = jxl::load();
}
