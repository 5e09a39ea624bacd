//! What a pdf gives away: its information, programs, notes and files, and what stands in its photographs.

use super::package::of_photographs;
use crate::converters::image::xmp;
use crate::job::Disclosure;
use hayro_syntax::Pdf;
use hayro_syntax::object::{Array, Dict, Name, Object, Stream};
use std::collections::BTreeSet;

/// Notes are looked for on so many pages.
const PAGES_MAX: usize = 1000;
/// The longest packet of XMP that is read.
const PACKET_MAX: usize = 4 << 20;

pub fn disclosed(pdf: &Pdf) -> BTreeSet<Disclosure> {
    let mut found = of_information(pdf);
    if let Some(root) = pdf.xref().get::<Dict>(pdf.xref().root_id()) {
        found.extend(of_catalog(&root));
    }
    for page in pdf.pages().iter().take(PAGES_MAX) {
        found.extend(of_page(page.raw()));
    }
    found.extend(of_photographs(pdf.data().as_ref()));
    found
}

fn of_information(pdf: &Pdf) -> BTreeSet<Disclosure> {
    let metadata = pdf.metadata();
    let filled = |text: &Option<Box<[u8]>>| text.as_ref().is_some_and(|text| text.iter().any(|byte| !matches!(byte, 0 | b' ' | 0xfe | 0xff)));
    let told = [
        (Disclosure::Author, filled(&metadata.author)),
        (Disclosure::Software, filled(&metadata.creator) || filled(&metadata.producer)),
        (Disclosure::Time, metadata.creation_date.is_some() || metadata.modification_date.is_some()),
        (Disclosure::Description, filled(&metadata.title) || filled(&metadata.subject) || filled(&metadata.keywords)),
    ];
    told.into_iter().filter(|(_, is)| *is).map(|(what, _)| what).collect()
}

/// Names of files and programs, what runs when it is opened, and the XML copy of the information.
fn of_catalog(root: &Dict) -> BTreeSet<Disclosure> {
    let names = root.get::<Dict>(b"Names" as &[u8]);
    let named = |key: &[u8]| names.as_ref().is_some_and(|names| names.contains_key(key));
    let opens = root.get::<Dict>(b"OpenAction" as &[u8]).and_then(|action| action.get::<Name>(b"S" as &[u8]));
    let runs = opens.is_some_and(|kind| kind.as_str() == "JavaScript") || root.contains_key(b"AA" as &[u8]);
    let mut found = BTreeSet::new();
    found.extend((named(b"JavaScript") || runs).then_some(Disclosure::Macros));
    found.extend((named(b"EmbeddedFiles") || root.contains_key(b"AF" as &[u8])).then_some(Disclosure::Attachments));
    let packet = root.get::<Stream>(b"Metadata" as &[u8]).and_then(|stream| stream.decoded().ok().map(|bytes| bytes.into_owned()));
    found.extend(packet.filter(|packet| packet.len() <= PACKET_MAX).iter().flat_map(|packet| xmp::disclosed(packet)));
    found
}

/// Notes and files that hang on a page.
fn of_page(page: &Dict) -> BTreeSet<Disclosure> {
    let notes = page.get::<Array>(b"Annots" as &[u8]);
    let kinds = notes.iter().flat_map(|notes| notes.iter::<Object>()).filter_map(|note| note.into_dict()?.get::<Name>(b"Subtype" as &[u8]));
    let what = |kind: Name| match kind.as_str() {
        "Text" | "FreeText" | "Highlight" | "Underline" | "StrikeOut" | "Squiggly" | "Caret" | "Ink" | "Popup" => Some(Disclosure::Comments),
        "FileAttachment" => Some(Disclosure::Attachments),
        _ => None,
    };
    kinds.filter_map(what).collect()
}
