//! What a picture gives away beside what is to be seen in it.

use super::open::{Codec, Opened};
use super::{exif, jpeg, xmp};
use crate::format::Format;
use crate::job::Disclosure;
use image::ImageFormat;
use std::collections::BTreeSet;

/// What stands before the blocks of Photoshop in a jpeg, and before each of them.
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
const BLOCK: &[u8] = b"8BIM";
/// The block whose content is IPTC.
const IPTC: [u8; 2] = 0x0404u16.to_be_bytes();

pub fn disclosed(opened: &Opened, format: Format) -> BTreeSet<Disclosure> {
    let facts = &opened.facts;
    let blocks = [facts.exif.as_deref().map(exif::disclosed), facts.xmp.as_deref().map(xmp::disclosed)];
    let mut found: BTreeSet<Disclosure> = blocks.into_iter().flatten().flatten().collect();
    found.extend(match (&opened.codec, format.id()) {
        (Codec::Jpeg(header), _) => of_jpeg(header),
        (Codec::Plain(ImageFormat::Png), _) => of_png(&opened.bytes),
        // The file is a block itself.
        (_, "tiff") => exif::disclosed(&opened.bytes),
        (_, "svg") => xmp::disclosed(&opened.bytes),
        _ => BTreeSet::new(),
    });
    found
}

/// Comments and IPTC.
fn of_jpeg(header: &jpeg::Header) -> BTreeSet<Disclosure> {
    let blocks = header.photoshop.as_deref().and_then(|block| block.strip_prefix(PHOTOSHOP));
    let mut found = blocks.map(of_photoshop).unwrap_or_default();
    found.extend(header.comment.then_some(Disclosure::Description));
    found
}

/// Blocks of a name and a length, both of an even number of bytes.
fn of_photoshop(mut rest: &[u8]) -> BTreeSet<Disclosure> {
    while let Some([high, low, name, after @ ..]) = rest.strip_prefix(BLOCK) {
        let name = (usize::from(*name) + 1).next_multiple_of(2) - 1;
        let Some((length, body)) = after.get(name..).and_then(<[u8]>::split_first_chunk::<4>) else { break };
        let length = u32::from_be_bytes(*length) as usize;
        let Some(content) = body.get(..length) else { break };
        if [*high, *low] == IPTC {
            return of_iptc(content);
        }
        rest = body.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    BTreeSet::new()
}

/// Entries of a record, a number and a length (IPTC-IIM 4.2, chapter 6; the second record is the one for readers).
fn of_iptc(mut rest: &[u8]) -> BTreeSet<Disclosure> {
    let mut found = BTreeSet::new();
    while let Some([0x1c, record, number, high, low, after @ ..]) = rest.get(..) {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let what = match number {
            80 | 85 | 110 | 115 | 116 | 122 => Disclosure::Author,
            26 | 27 | 90 | 92 | 95 | 100 | 101 => Disclosure::Location,
            55 | 60 | 62 | 63 => Disclosure::Time,
            65 => Disclosure::Software,
            5 | 25 | 40 | 105 | 120 => Disclosure::Description,
            _ => {
                rest = after.get(length..).unwrap_or_default();
                continue;
            }
        };
        if *record == 2 && length > 0 {
            found.insert(what);
        }
        rest = after.get(length..).unwrap_or_default();
    }
    found
}

/// Times, and texts by their keywords (PNG, 11.3.3).
fn of_png(bytes: &[u8]) -> BTreeSet<Disclosure> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    let mut found = BTreeSet::new();
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let Some(contents) = body.get(..u32::from_be_bytes([a, b, c, d]) as usize) else { break };
        let keyword = contents.split(|byte| *byte == 0).next().unwrap_or_default().to_ascii_lowercase();
        found.extend(match (&kind, keyword.as_slice()) {
            (b"tIME", _) => Some(Disclosure::Time),
            (b"tEXt" | b"zTXt" | b"iTXt", keyword) => of_keyword(keyword),
            _ => None,
        });
        // A checksum follows.
        rest = body.get(contents.len() + 4..).unwrap_or_default();
    }
    found
}

fn of_keyword(keyword: &[u8]) -> Option<Disclosure> {
    match keyword {
        b"author" | b"copyright" => Some(Disclosure::Author),
        b"software" => Some(Disclosure::Software),
        b"source" => Some(Disclosure::Device),
        b"creation time" | b"date:create" | b"date:modify" => Some(Disclosure::Time),
        b"title" | b"description" | b"comment" => Some(Disclosure::Description),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of IPTC with one entry of record 2.
    fn block(number: u8, text: &[u8]) -> Vec<u8> {
        let entry = [&[0x1c, 2, number, 0, text.len() as u8], text].concat();
        [PHOTOSHOP, BLOCK, &[0x03, 0xed, 0, 0, 0, 0, 0, 1, 7, 0], BLOCK, &IPTC, &[0, 0, 0, 0, 0, entry.len() as u8], &entry].concat()
    }

    #[test]
    fn iptc_is_found_behind_other_blocks() {
        let of = |number, text: &[u8]| of_photoshop(block(number, text).strip_prefix(PHOTOSHOP).unwrap());
        assert_eq!(of(90, b"Vienna"), BTreeSet::from([Disclosure::Location]));
        assert_eq!(of(80, b"A. Painter"), BTreeSet::from([Disclosure::Author]));
        assert_eq!(of(80, b""), BTreeSet::new());
        assert_eq!(of(200, b"x"), BTreeSet::new());
    }

    proptest::proptest! {
        #[test]
        fn any_block_is_survived(bytes in proptest::collection::vec(0u8..40, 0..200), number: u8) {
            let whole = block(number, &bytes);
            let whole = whole.strip_prefix(PHOTOSHOP).unwrap();
            for cut in 0..whole.len() {
                of_photoshop(&whole[..cut]);
            }
            of_iptc(&bytes);
        }
    }
}
