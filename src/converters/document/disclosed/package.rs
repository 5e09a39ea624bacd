//! What the parts of an office package give away (OOXML, ODF).

use crate::converters::image::exif;
use crate::job::Disclosure;
use memchr::memmem;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use zip::ZipArchive;

/// Of a part of text so much is searched.
const TEXT_MAX: u64 = 64 << 20;
/// Pictures that are looked into, and how far: metadata stands in front.
const PICTURES_MAX: usize = 200;
const PICTURE_HEAD: u64 = 128 << 10;

/// Parts that are something by being there: what they are, how their path begins, how it ends.
const PARTS: [(Disclosure, &str, &str); 12] = [
    (Disclosure::Macros, "", "vbaProject.bin"),
    (Disclosure::Macros, "Basic/", "/script-lb.xml"),
    (Disclosure::Macros, "Scripts/", ""),
    (Disclosure::Thumbnail, "docProps/thumbnail", ""),
    (Disclosure::Thumbnail, "Thumbnails/", ""),
    (Disclosure::Comments, "word/comments", ".xml"),
    (Disclosure::Comments, "xl/comments", ".xml"),
    (Disclosure::Comments, "xl/threadedComments/", ".xml"),
    (Disclosure::Comments, "ppt/comments/", ".xml"),
    (Disclosure::Attachments, "word/embeddings/", ""),
    (Disclosure::Attachments, "xl/embeddings/", ""),
    (Disclosure::Attachments, "ppt/embeddings/", ""),
];

/// Marks within parts of text: what they are, where, and what is looked for.
const MARKS: [(Disclosure, &str, &[&str]); 6] = [
    (Disclosure::TrackedChanges, "word/document.xml", &["<w:ins ", "<w:del ", "<w:moveFrom ", "<w:moveTo "]),
    (Disclosure::HiddenSheets, "xl/workbook.xml", &["state=\"hidden\"", "state=\"veryHidden\""]),
    (Disclosure::TrackedChanges, "content.xml", &["<text:tracked-changes", "<table:tracked-changes"]),
    (Disclosure::Comments, "content.xml", &["<office:annotation"]),
    (Disclosure::HiddenSheets, "content.xml", &["table:display=\"false\""]),
    (Disclosure::HiddenSlides, "content.xml", &["presentation:visibility=\"hidden\""]),
];

/// All but the properties, which the probe reads anyway.
pub fn disclosed(zip: &mut ZipArchive<File>) -> BTreeSet<Disclosure> {
    let names: Vec<String> = zip.file_names().flatten().map(|name| name.to_string()).collect();
    let is = |name: &str, start: &str, end: &str| name.starts_with(start) && name.ends_with(end) && name.len() > start.len();
    let there = PARTS.iter().filter(|(_, start, end)| names.iter().any(|name| is(name, start, end)));
    let mut found: BTreeSet<Disclosure> = there.map(|(what, _, _)| *what).collect();
    for part in ["word/document.xml", "xl/workbook.xml", "content.xml"] {
        let Some(text) = head(zip, part, TEXT_MAX) else { continue };
        let has = |words: &[&str]| words.iter().any(|word| memmem::find(&text, word.as_bytes()).is_some());
        found.extend(MARKS.iter().filter(|(_, at, words)| *at == part && has(words)).map(|(what, _, _)| *what));
    }
    // The attribute stands in the first element of a slide.
    let mut slides = names.iter().filter(|name| is(name, "ppt/slides/slide", ".xml"));
    let hidden = slides.any(|slide| head(zip, slide, 4096).is_some_and(|text| memmem::find(&text, b" show=\"0\"").is_some()));
    found.extend(hidden.then_some(Disclosure::HiddenSlides));
    let pictures = names.iter().filter(|name| is_photograph(name)).take(PICTURES_MAX);
    for bytes in pictures.filter_map(|name| head(zip, name, PICTURE_HEAD)).collect::<Vec<_>>() {
        found.extend(of_photographs(&bytes));
    }
    found
}

fn is_photograph(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".jpg") || name.ends_with(".jpeg")
}

fn head(zip: &mut ZipArchive<File>, part: &str, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    zip.by_name(part).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What photographs give away that stand somewhere in these bytes as they are.
pub fn of_photographs(bytes: &[u8]) -> BTreeSet<Disclosure> {
    // A segment has two bytes for its length.
    let block = |at: usize| bytes.get(at + EXIF.len()..(at + EXIF.len() + 65_535).min(bytes.len()));
    memmem::find_iter(bytes, EXIF).take(PICTURES_MAX).filter_map(block).flat_map(exif::disclosed).collect()
}

/// In front of the metadata of a photograph.
const EXIF: &[u8] = b"Exif\0\0";
