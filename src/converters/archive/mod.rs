//! The archive family.

#[cfg(feature = "testing")]
mod hostile;

#[cfg(feature = "testing")]
use crate::convert::erase;
use crate::convert::{Ctx, Depth, Erased, FamilyEntry, Input, Warmth, Zygote};
use crate::failure::{Code, Failure};
use crate::format::Family;
use crate::job::Media;

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Archive, zygote: Zygote::Archive, converters: CONVERTERS, probe };

const CONVERTERS: &[Erased] = &[
    #[cfg(feature = "testing")]
    erase::<hostile::Hostile>(),
    #[cfg(feature = "testing")]
    erase::<hostile::Noop>(),
];

pub static WARMTH: Warmth = Warmth { warm: || Ok(()), readable: &[], threads: 1 };

fn probe(_ctx: &Ctx, input: &Input, _depth: Depth) -> Result<Media, Failure> {
    Err(Failure::new(Code::UnsupportedFormat, format!("{} cannot be measured", input.format)))
}
