//! Camera raw files: the largest jpeg that the camera has put into one. Most are TIFF in shape; what only their maker can read
//! is passed over.

use super::jpeg;
use image::metadata::Orientation;
use std::ops::Range;

/// Bytes of an entry of a directory.
const ENTRY: usize = 12;
const COMPRESSION: u16 = 0x0103;
const STRIP_AT: u16 = 0x0111;
const ORIENTATION: u16 = 0x0112;
const STRIP_LENGTH: u16 = 0x0117;
const SUB_DIRECTORIES: u16 = 0x014a;
const JPEG_AT: u16 = 0x0201;
const JPEG_LENGTH: u16 = 0x0202;
/// Panasonic's.
const JPEG_FROM_RAW: u16 = 0x002e;
/// More directories than any camera writes.
const DIRECTORIES_MAX: usize = 64;
/// Fuji's files begin with this; where their picture is stands behind it.
const FUJI: &[u8] = b"FUJIFILMCCD-RAW";
const FUJI_JPEG: usize = 84;

/// Where the picture is, and which way up the file says it is (none: the picture says so itself).
pub struct Preview {
    pub place: Range<usize>,
    pub orientation: Option<Orientation>,
}

pub fn preview(bytes: &[u8]) -> Option<Preview> {
    if bytes.starts_with(FUJI) {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let place = number(FUJI_JPEG)?..number(FUJI_JPEG)?.checked_add(number(FUJI_JPEG + 4)?)?;
        return pixels(bytes, &place).map(|_| Preview { place, orientation: None });
    }
    let file = File { bytes, little: bytes.starts_with(b"II") };
    let mut waiting = vec![file.number(4, 4)?];
    let (mut seen, mut found) = (Vec::new(), Vec::new());
    let mut orientation = None;
    while let Some(directory) = waiting.pop().filter(|_| seen.len() < DIRECTORIES_MAX) {
        if directory == 0 || seen.contains(&directory) {
            continue;
        }
        seen.push(directory);
        let entries = file.number(directory, 2).unwrap_or(0);
        waiting.extend(file.number(directory + 2 + entries * ENTRY, 4));
        waiting.extend(file.values(directory, SUB_DIRECTORIES).into_iter().take(DIRECTORIES_MAX));
        orientation = orientation.or_else(|| file.value(directory, ORIENTATION));
        let jpeg_like = matches!(file.value(directory, COMPRESSION), Some(6 | 7));
        for (at, length) in [(JPEG_AT, JPEG_LENGTH), (STRIP_AT, STRIP_LENGTH)] {
            if let (Some(at), Some(length)) = (file.value(directory, at), file.value(directory, length)) {
                found.extend((at == JPEG_AT as usize || jpeg_like || length > 0).then_some(at..at.saturating_add(length)));
            }
        }
        found.extend(file.block(directory, JPEG_FROM_RAW));
    }
    let place = found.into_iter().filter_map(|place| Some((pixels(bytes, &place)?, place))).max_by_key(|(pixels, _)| *pixels)?.1;
    Some(Preview { place, orientation: orientation.and_then(|n| Orientation::from_exif(n as u8)) })
}

/// How many pixels the jpeg at this place has; none where there is no jpeg that shows a picture (raw data may be in a lossless one).
fn pixels(bytes: &[u8], place: &Range<usize>) -> Option<u64> {
    let file = bytes.get(place.start..place.end.min(bytes.len()))?;
    let header = file.starts_with(b"\xff\xd8").then(|| jpeg::header(file)).flatten()?;
    (!header.lossless).then_some(u64::from(header.width) * u64::from(header.height))
}

/// A file of TIFF's shape; every read is checked.
struct File<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl File<'_> {
    fn number(&self, at: usize, length: usize) -> Option<usize> {
        let raw = self.bytes.get(at..at.checked_add(length)?)?;
        let fold = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        Some(if self.little { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) })
    }

    /// The place of an entry.
    fn entry(&self, directory: usize, tag: u16) -> Option<usize> {
        let entries = self.number(directory, 2)?;
        (0..entries).map(|n| directory + 2 + n * ENTRY).take_while(|at| *at < self.bytes.len()).find(|at| self.number(*at, 2) == Some(tag.into()))
    }

    /// A single number.
    fn value(&self, directory: usize, tag: u16) -> Option<usize> {
        match self.values(directory, tag).as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// All numbers of an entry of 16 or 32 bits each.
    fn values(&self, directory: usize, tag: u16) -> Vec<usize> {
        let read = || {
            let entry = self.entry(directory, tag)?;
            let width = match self.number(entry + 2, 2)? {
                3 => 2,
                4 | 13 => 4,
                _ => return None,
            };
            let count = self.number(entry + 4, 4)?.min(DIRECTORIES_MAX);
            let at = if count * width <= 4 { entry + 8 } else { self.number(entry + 8, 4)? };
            (0..count).map(|n| self.number(at + n * width, width)).collect()
        };
        read().unwrap_or_default()
    }

    /// The place of an entry's own bytes.
    fn block(&self, directory: usize, tag: u16) -> Option<Range<usize>> {
        let entry = self.entry(directory, tag)?;
        let (length, at) = (self.number(entry + 4, 4)?, self.number(entry + 8, 4)?);
        (length > 4).then_some(at..at.checked_add(length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_file_is_survived(little: bool, tail in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut file = if little { b"II*\0\x08\0\0\0".to_vec() } else { b"MM\0*\0\0\0\x08".to_vec() };
            file.extend(tail);
            preview(&file);
            preview(&[FUJI, &file].concat());
        }
    }
}
