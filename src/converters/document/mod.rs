//! The document family.

mod compound;
mod csv_shape;
mod disclosed;
mod epub;
mod fonts;
mod markdown;
mod office;
mod pdf;
mod preview;
mod probe;
mod ranges;
mod sheet;
mod source;
mod to_markdown;
mod warn;

use crate::convert::{FamilyEntry, Warmth, Zygote, erase};
use crate::format::Family;

pub static FAMILY: FamilyEntry = FamilyEntry {
    family: Family::Document,
    zygote: Zygote::Document,
    converters: &[
        erase::<office::Office>(),
        erase::<office::OfficePages>(),
        erase::<markdown::Markdown>(),
        erase::<to_markdown::ToMarkdown>(),
        erase::<epub::Epub>(),
        erase::<sheet::Sheet>(),
        erase::<pdf::Text>(),
        erase::<pdf::Pages>(),
        erase::<pdf::Rewrite>(),
        erase::<pdf::Merge>(),
        erase::<pdf::Info>(),
        erase::<preview::Preview>(),
    ],
    probe: probe::probe,
};

pub static WARMTH: Warmth = Warmth {
    warm: office::preload,
    idle: || (),
    readable: &[
        "/etc/libreoffice",
        "/etc/fonts",
        "/etc/passwd",
        "/etc/nsswitch.conf",
        "/var/lib/libreoffice",
        "/var/spool/libreoffice",
        "/var/cache/fontconfig",
    ],
    threads: 4,
};
