//! The audio family.

use crate::convert::{Ctx, Depth, FamilyEntry, Input, Zygote};
use crate::failure::{Code, Failure};
use crate::format::Family;
use crate::job::Media;

pub static FAMILY: FamilyEntry = FamilyEntry { family: Family::Audio, zygote: Zygote::Av, converters: &[], probe };

fn probe(_ctx: &Ctx, input: &Input, _depth: Depth) -> Result<Media, Failure> {
    Err(Failure::new(Code::UnsupportedFormat, format!("{} cannot be measured", input.format)))
}
