//! What the office files of before 2007 give away ([MS-OLEPS], [MS-XLS]). Notes and tracked changes of texts are not looked for.

use crate::job::Disclosure;
use cfb::CompoundFile;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

/// Of a stream so much is read.
const STREAM_MAX: u64 = 64 << 20;
/// Properties by their numbers, in the first set and in the second.
const SUMMARY: [(u32, Disclosure); 10] = [
    (2, Disclosure::Description),
    (3, Disclosure::Description),
    (4, Disclosure::Author),
    (5, Disclosure::Description),
    (6, Disclosure::Description),
    (8, Disclosure::Author),
    (12, Disclosure::Time),
    (13, Disclosure::Time),
    (17, Disclosure::Thumbnail),
    (18, Disclosure::Software),
];
const DOCUMENT_SUMMARY: [(u32, Disclosure); 2] = [(14, Disclosure::Author), (15, Disclosure::Author)];
/// The type of a text in code page, as a property.
const TEXT: u32 = 0x1e;
/// Where programs are kept.
const PROGRAMS: [&str; 2] = ["/Macros", "/_VBA_PROJECT_CUR"];

/// Records of a workbook.
const BOUND_SHEET: u16 = 0x0085;
const NOTE: u16 = 0x001c;
const FILE_PASS: u16 = 0x002f;

/// None for a file that cannot be read.
pub fn of_compound(file: File) -> Option<BTreeSet<Disclosure>> {
    let mut compound = CompoundFile::open(file).ok()?;
    let mut found = BTreeSet::new();
    found.extend(PROGRAMS.iter().any(|path| compound.is_storage(path)).then_some(Disclosure::Macros));
    for (path, properties) in [("/\u{5}SummaryInformation", SUMMARY.as_slice()), ("/\u{5}DocumentSummaryInformation", DOCUMENT_SUMMARY.as_slice())] {
        let numbers = stream(&mut compound, path).map(|bytes| filled(&bytes)).unwrap_or_default();
        found.extend(properties.iter().filter(|(number, _)| numbers.contains(number)).map(|(_, what)| *what));
    }
    found.extend(stream(&mut compound, "/Workbook").map(|bytes| of_workbook(&bytes)).unwrap_or_default());
    Some(found)
}

fn stream(compound: &mut CompoundFile<File>, path: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    compound.open_stream(path).ok()?.take(STREAM_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_le_bytes(*raw))
}

/// The numbers of the properties of the first set that say something.
fn filled(bytes: &[u8]) -> Vec<u32> {
    const FIRST_SET: usize = 44;
    let Some(set) = u32_at(bytes, FIRST_SET).and_then(|start| bytes.get(start as usize..)) else { return Vec::new() };
    let count = u32_at(set, 4).unwrap_or(0).min(1000) as usize;
    let properties = (0..count).filter_map(|n| Some((u32_at(set, 8 + n * 8)?, u32_at(set, 12 + n * 8)? as usize)));
    properties.filter(|(_, at)| says_something(set, *at)).map(|(number, _)| number).collect()
}

fn says_something(set: &[u8], at: usize) -> bool {
    if u32_at(set, at) != Some(TEXT) {
        // Times are numbers of which 0 says nothing.
        return set.get(at.saturating_add(4)..).unwrap_or_default().iter().take(8).any(|byte| *byte != 0);
    }
    let length = u32_at(set, at.saturating_add(4)).unwrap_or(0) as usize;
    let text = set.get(at.saturating_add(8)..).unwrap_or_default();
    text.iter().take(length).any(|byte| !matches!(byte, 0 | b' '))
}

/// Walks the records; behind a password they say nothing.
fn of_workbook(mut bytes: &[u8]) -> BTreeSet<Disclosure> {
    let mut found = BTreeSet::new();
    while let Some(([a, b, c, d], body)) = bytes.split_first_chunk::<4>() {
        let (kind, length) = (u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d])));
        match kind {
            FILE_PASS => break,
            // Where the sheet begins, then whether it is shown.
            BOUND_SHEET => found.extend(body.get(4).filter(|state| **state & 3 != 0).map(|_| Disclosure::HiddenSheets)),
            NOTE => found.extend(Some(Disclosure::Comments)),
            _ => {}
        }
        bytes = body.get(length..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_say_who_made_them() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/document");
        for name in ["doc/good/letter.doc", "xls/good/sheet.xls", "ppt/good/slides.ppt"] {
            let found = of_compound(File::open(root.join(name)).unwrap()).unwrap();
            assert!(!found.contains(&Disclosure::Macros) && !found.contains(&Disclosure::HiddenSheets), "{name}: {found:?}");
        }
    }

    #[test]
    fn hidden_sheets_and_notes_are_found() {
        let record = |kind: u16, body: &[u8]| [&kind.to_le_bytes()[..], &(body.len() as u16).to_le_bytes(), body].concat();
        let shown = record(BOUND_SHEET, &[0, 0, 0, 0, 0, 0, 1, 0, b'A']);
        let hidden = record(BOUND_SHEET, &[0, 0, 0, 0, 2, 0, 1, 0, b'B']);
        assert_eq!(of_workbook(&shown), BTreeSet::new());
        assert_eq!(of_workbook(&[shown.clone(), hidden.clone()].concat()), BTreeSet::from([Disclosure::HiddenSheets]));
        assert_eq!(of_workbook(&[record(FILE_PASS, &[0, 0]), hidden, record(NOTE, &[])].concat()), BTreeSet::new());
        assert_eq!(of_workbook(&record(NOTE, &[0; 8])), BTreeSet::from([Disclosure::Comments]));
    }

    proptest::proptest! {
        #[test]
        fn any_set_is_survived(bytes in proptest::collection::vec(0u8..64, 0..200)) {
            filled(&bytes);
            of_workbook(&bytes);
        }
    }
}
