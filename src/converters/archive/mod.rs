//! The archive family.

use crate::convert::{Erased, FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

mod compress;
mod deflate;
mod entry;
mod extract;
mod fault;
mod guard;
mod gzip;
#[cfg(feature = "testing")]
mod hostile;
mod libarchive;
mod list;
mod names;
mod near;
mod options;
mod preview;
mod probe;
mod repack;
mod salvage;
mod select;
mod seven;
mod sink;
mod sparse;
mod tar;
mod volumes;
mod walk;
mod zip;
mod zip_copy;
mod zip_locked;
mod zip_sink;

static CONVERTERS: &[Erased] = &[
    erase::<repack::Repack>(),
    erase::<extract::Extract>(),
    erase::<list::List>(),
    erase::<preview::Preview>(),
    #[cfg(feature = "testing")]
    erase::<hostile::Hostile>(),
    #[cfg(feature = "testing")]
    erase::<hostile::Noop>(),
];

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Archive, zygote: Zygote::Archive, converters: CONVERTERS, probe: probe::probe };

pub static WARMTH: Warmth = Warmth { warm: || Ok(()), idle: || (), readable: &[], threads: 1 };
