//! Every converter, by family. Adding one: a new file in its family's folder and one word in that folder's list.

use crate::convert::{Erased, FamilyEntry, Warmth, Zygote};
use crate::format::{Family, Format};

pub mod archive;
pub mod audio;
mod av;
mod charset;
mod colour;
pub mod document;
pub mod image;
mod lazy;
mod preview;
pub mod video;
mod watermark;
mod zipped;

static FAMILIES: [&FamilyEntry; 5] = [&video::FAMILY, &audio::FAMILY, &image::FAMILY, &document::FAMILY, &archive::FAMILY];

/// The families and their converters.
pub fn families() -> impl Iterator<Item = &'static FamilyEntry> {
    FAMILIES.into_iter()
}

pub fn family(family: Family) -> &'static FamilyEntry {
    FAMILIES.into_iter().find(|f| f.family == family).unwrap_or(&archive::FAMILY)
}

/// Every converter, with its family.
pub fn all() -> impl Iterator<Item = (&'static FamilyEntry, &'static Erased)> {
    families().flat_map(|f| f.converters.iter().map(move |c| (f, c)))
}

/// The converter with this id.
pub fn by_id(id: &str) -> Option<(&'static FamilyEntry, &'static Erased)> {
    all().find(|(_, c)| c.spec.id == id)
}

/// The converter for a pair of formats; the first listed wins.
pub fn find(from: Format, to: Format) -> Option<(&'static FamilyEntry, &'static Erased)> {
    all().find(|(_, c)| c.spec.converts(from, to))
}

/// What `from` can become.
pub fn targets(from: Format) -> Vec<Format> {
    Format::all().filter(|to| find(from, *to).is_some()).collect()
}

/// How a zygote gets ready and what its children may read.
pub fn warmth(zygote: Zygote) -> &'static Warmth {
    match zygote {
        Zygote::Av => &video::WARMTH,
        Zygote::Image => &image::WARMTH,
        Zygote::Document => &document::WARMTH,
        Zygote::Archive => &archive::WARMTH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_name_known_formats_and_their_own_family() {
        for (family, converter) in all() {
            let spec = converter.spec;
            assert_eq!(spec.family, family.family, "{}", spec.id);
            assert!(spec.id.starts_with(family.family.as_str()), "{} is not named after its family", spec.id);
            for id in spec.pairs.iter().flat_map(|(left, right)| left.iter().chain(right.iter())) {
                assert_eq!(Format::parse(id).map(Format::id), Some(*id), "{} names the unknown format {id}", spec.id);
            }
        }
    }

    #[test]
    fn default_options_are_valid() {
        for (_, converter) in all() {
            let filled = (converter.check)(&serde_json::Value::Null);
            assert!(filled.is_ok(), "{}: {filled:?}", converter.spec.id);
            assert!((converter.check)(&serde_json::json!({"no_such_option": 1})).is_err(), "{} takes unknown options", converter.spec.id);
        }
    }
}
