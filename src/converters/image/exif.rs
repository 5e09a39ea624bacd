//! EXIF: what is read from it, and what of it may travel on.

use super::options::Strip;
use crate::job::Disclosure;
use std::collections::{BTreeMap, BTreeSet};

const ORIENTATION: u16 = 0x0112;
const GPS: u16 = 0x8825;
const LATITUDE: u16 = 0x0002;
const EXIF: u16 = 0x8769;
const THUMBNAIL: u16 = 0x0201;
const THUMBNAIL_LENGTH: u16 = 0x0202;
const ENTRY: usize = 12;
/// The type of a text.
const ASCII: u16 = 2;

/// The tags people look for, by their EXIF names.
pub fn tags(raw: &[u8]) -> BTreeMap<String, String> {
    use exif::{In, Tag};
    let wanted = [
        (Tag::Make, "make"),
        (Tag::Model, "model"),
        (Tag::LensModel, "lens"),
        (Tag::DateTimeOriginal, "taken_at"),
        (Tag::Artist, "artist"),
        (Tag::Copyright, "copyright"),
        (Tag::ImageDescription, "description"),
        (Tag::Software, "software"),
        (Tag::GPSLatitude, "gps_latitude"),
        (Tag::GPSLongitude, "gps_longitude"),
    ];
    let Ok(parsed) = exif::Reader::new().read_raw(raw.to_vec()) else { return BTreeMap::new() };
    let shown = |tag| parsed.get_field(tag, In::PRIMARY).map(|f| f.display_value().to_string());
    wanted.into_iter().filter_map(|(tag, name)| shown(tag).map(|v| (name.to_owned(), v.trim_matches('"').chars().take(200).collect()))).collect()
}

/// The EXIF block for a result whose pixels are upright.
pub fn travelling(raw: &[u8], strip: Strip) -> Option<Vec<u8>> {
    if strip == Strip::All {
        return None;
    }
    let mut block = Block::new(raw.to_vec())?;
    let first = block.u32(4)? as usize;
    block.set_orientation_upright(first);
    if strip == Strip::Location {
        block.remove_directory(first, GPS);
    }
    block.remove_thumbnail(first);
    Some(block.bytes)
}

/// What the tags of a directory give away, by their numbers (EXIF 2.32, table 4 and 7; XP: as Windows writes them).
const DISCLOSING: [(u16, Disclosure); 20] = [
    (0x013b, Disclosure::Author),
    (0x8298, Disclosure::Author),
    (0x9c9d, Disclosure::Author),
    (0xa430, Disclosure::Author),
    (0x010f, Disclosure::Device),
    (0x0110, Disclosure::Device),
    (0x927c, Disclosure::Device),
    (0xa431, Disclosure::Device),
    (0xa433, Disclosure::Device),
    (0xa434, Disclosure::Device),
    (0xa435, Disclosure::Device),
    (0x0131, Disclosure::Software),
    (0x0132, Disclosure::Time),
    (0x9003, Disclosure::Time),
    (0x9004, Disclosure::Time),
    (0x010e, Disclosure::Description),
    (0x9286, Disclosure::Description),
    (0x9c9b, Disclosure::Description),
    (0x9c9c, Disclosure::Description),
    (0x9c9e, Disclosure::Description),
];

/// What a block gives away.
pub fn disclosed(raw: &[u8]) -> BTreeSet<Disclosure> {
    let Some(block) = Block::new(raw) else { return BTreeSet::new() };
    let first = block.u32(4).unwrap_or(0) as usize;
    let child = |tag: u16| block.find(first, tag).and_then(|at| block.u32(at + 8)).map(|at| at as usize);
    let entries = block.entries(first).chain(child(EXIF).into_iter().flat_map(|child| block.entries(child)));
    let tags: Vec<u16> = entries.filter(|at| block.is_filled(*at)).filter_map(|at| block.u16(at)).collect();
    let mut found: BTreeSet<Disclosure> = DISCLOSING.iter().filter(|(tag, _)| tags.contains(tag)).map(|(_, what)| *what).collect();
    // Some cameras write the directory and leave the place out.
    found.extend(child(GPS).filter(|child| block.find(*child, LATITUDE).is_some()).map(|_| Disclosure::Location));
    found.extend(block.next(first).filter(|second| block.find(*second, THUMBNAIL).is_some()).map(|_| Disclosure::Thumbnail));
    found
}

/// A TIFF-shaped block, changed in place where it is ours. Every read is checked: the bytes are the client's.
struct Block<B> {
    bytes: B,
    little: bool,
}

impl<B: AsRef<[u8]>> Block<B> {
    fn new(bytes: B) -> Option<Block<B>> {
        let little = match bytes.as_ref().get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Block { bytes, little })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let raw = self.bytes.as_ref().get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let raw = self.bytes.as_ref().get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
    }

    /// Where the entries of a directory stand.
    fn entries(&self, directory: usize) -> impl Iterator<Item = usize> + use<B> {
        let count = usize::from(self.u16(directory).unwrap_or(0)).min(self.bytes.as_ref().len() / ENTRY);
        (0..count).map(move |i| directory + 2 + i * ENTRY)
    }

    fn find(&self, directory: usize, tag: u16) -> Option<usize> {
        self.entries(directory).find(|at| self.u16(*at) == Some(tag))
    }

    /// Whether an entry has a value: more than blanks where it is text that stands within it or elsewhere.
    fn is_filled(&self, entry: usize) -> bool {
        let length = self.u32(entry + 4).unwrap_or(0) as usize;
        if self.u16(entry + 2) != Some(ASCII) {
            return length > 0;
        }
        let start = if length > 4 { self.u32(entry + 8).map(|at| at as usize) } else { Some(entry + 8) };
        let text = start.and_then(|start| self.bytes.as_ref().get(start..start.checked_add(length)?));
        text.is_some_and(|text| text.iter().any(|byte| !matches!(byte, 0 | b' ')))
    }

    /// The directory after this one.
    fn next(&self, directory: usize) -> Option<usize> {
        let at = directory + 2 + usize::from(self.u16(directory)?) * ENTRY;
        self.u32(at).map(|next| next as usize).filter(|next| *next >= 8)
    }
}

impl Block<Vec<u8>> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    fn put_u16(&mut self, at: usize, value: u16) {
        let raw = if self.little { value.to_le_bytes() } else { value.to_be_bytes() };
        self.put(at, &raw);
    }

    fn zero(&mut self, at: usize, length: usize) {
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(length)) {
            place.fill(0);
        }
    }

    fn set_orientation_upright(&mut self, directory: usize) {
        if let Some(at) = self.find(directory, ORIENTATION) {
            self.put_u16(at + 8, 1);
        }
    }

    /// Wipes a sub-directory and takes its entry out of the list.
    fn remove_directory(&mut self, directory: usize, tag: u16) {
        let Some(at) = self.find(directory, tag) else { return };
        if let Some(child) = self.u32(at + 8).map(|v| v as usize).filter(|c| *c >= 8) {
            for entry in self.entries(child).collect::<Vec<_>>() {
                let width = match self.u16(entry + 2) {
                    Some(1 | 2 | 6 | 7) => 1,
                    Some(3 | 8) => 2,
                    Some(5 | 10 | 12) => 8,
                    _ => 4,
                };
                let length = (self.u32(entry + 4).unwrap_or(0) as usize).saturating_mul(width).min(self.bytes.len());
                if let (true, Some(outside)) = (length > 4, self.u32(entry + 8)) {
                    self.zero(outside as usize, length);
                }
                self.zero(entry, ENTRY);
            }
            self.put_u16(child, 0);
        }
        let count = self.u16(directory).unwrap_or(0);
        let end = directory + 2 + usize::from(count) * ENTRY + 4;
        if end <= self.bytes.len() && at + ENTRY <= end {
            self.bytes.copy_within(at + ENTRY..end, at);
            self.put_u16(directory, count.saturating_sub(1));
        }
    }

    /// Cuts the second directory, the thumbnail's, off and wipes its picture.
    fn remove_thumbnail(&mut self, directory: usize) {
        let Some(second) = self.next(directory) else { return };
        let next = directory + 2 + usize::from(self.u16(directory).unwrap_or(0)) * ENTRY;
        let value = |block: &Self, tag| block.find(second, tag).and_then(|at| block.u32(at + 8)).map(|v| v as usize);
        if let (Some(start), Some(length)) = (value(self, THUMBNAIL), value(self, THUMBNAIL_LENGTH)) {
            self.zero(start, length.min(self.bytes.len()));
        }
        self.zero(next, 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_block_is_survived(little: bool, tail in proptest::collection::vec(0u8..40, 0..300)) {
            let mut raw = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
            raw.extend(tail);
            for strip in [Strip::Location, Strip::Keep] {
                if let Some(out) = travelling(&raw, strip) {
                    proptest::prop_assert_eq!(out.len(), raw.len());
                }
            }
            tags(&raw);
            disclosed(&raw);
        }
    }
}
