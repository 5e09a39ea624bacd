//! Compound files, as Word, Excel and PowerPoint wrote until 2007 ([MS-CFB]): whether one is whole. LibreOffice takes a broken one
//! for a text, and crashes over a question that its import of tables asks then.

use crate::format::Format;
use cfb::CompoundFile;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

const HEADER_LENGTH: usize = 512;
/// Sectors of 512 and of 4096 bytes, as powers of two.
const SECTOR_SHIFTS: [u16; 2] = [9, 12];
/// Parts of the allocation table that the header names itself: those of the first 7 MB. A cut shows there.
const NAMED_IN_HEADER: usize = 109;
/// Larger numbers are no sectors.
const LAST_SECTOR: u32 = 0xffff_fffa;
const UNUSED: u32 = 0xffff_ffff;

/// Whether a sector that is in use lies beyond the end of the file.
pub fn is_cut_off(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut header = [0; HEADER_LENGTH];
    if !read(file, &mut header, 0)? {
        return Ok(true);
    }
    let shift = u16::from_le_bytes([header[30], header[31]]);
    if !SECTOR_SHIFTS.contains(&shift) {
        return Ok(false);
    }
    let place = |sector: u64| (sector + 1) << shift;
    let mut table = vec![0; 1 << shift];
    let mut sector = 0;
    let named = header.get(76..).unwrap_or_default().as_chunks::<4>().0.iter().take(NAMED_IN_HEADER);
    for part in named.map(|bytes| u32::from_le_bytes(*bytes)).take_while(|part| *part <= LAST_SECTOR) {
        if !read(file, &mut table, place(part.into()))? {
            return Ok(true);
        }
        for next in table.as_chunks::<4>().0 {
            if u32::from_le_bytes(*next) != UNUSED && place(sector) >= length {
                return Ok(true);
            }
            sector += 1;
        }
    }
    Ok(false)
}

/// Whether the stream that makes it a file of this format is there, and all streams can be read to their ends.
pub fn holds(file: File, format: Format) -> bool {
    let names: &[&str] = match format.id() {
        "doc" => &["/WordDocument"],
        "xls" => &["/Workbook", "/Book"],
        "ppt" => &["/PowerPoint Document"],
        // What is encrypted has other streams.
        _ => return true,
    };
    let mut header = [0; HEADER_LENGTH];
    let length = file.metadata().map_or(0, |meta| meta.len());
    if !file.read_exact_at(&mut header, 0).is_ok_and(|()| is_sane(&header, length)) {
        return false;
    }
    let Ok(mut compound) = CompoundFile::open(file) else { return false };
    let streams: Vec<_> = compound.walk().filter(|entry| entry.is_stream()).map(|entry| (entry.path().to_owned(), entry.len())).collect();
    let mut whole = |path: &Path, length: u64| {
        let read = compound.open_stream(path).and_then(|mut stream| io::copy(&mut stream, &mut io::sink()));
        read.is_ok_and(|read| read == length)
    };
    let is_main = |path: &Path| names.iter().any(|name| path == Path::new(name));
    streams.iter().any(|(path, length)| is_main(path) && *length > 0) && streams.iter().all(|(path, length)| whole(path, *length))
}

/// What LibreOffice asks of a header before it takes a file for a compound one: numbers that are not negative, tables that are either
/// not there or have a place and a length, and no more sectors of them than the file has.
fn is_sane(header: &[u8; HEADER_LENGTH], length: u64) -> bool {
    const NONE: i32 = -2;
    let number = |at: usize| header.get(at..).and_then(<[u8]>::first_chunk).map_or(-1, |bytes| i32::from_le_bytes(*bytes));
    let fits = |sectors: i32| u64::try_from(sectors).is_ok_and(|sectors| sectors <= length >> SECTOR_SHIFTS[0]);
    let table = |place: i32, sectors: i32| place == NONE || (place >= 0 && sectors > 0 && fits(sectors));
    let (directory, threshold) = (number(0x30), number(0x38));
    directory >= 0 && threshold > 0 && fits(number(0x2c)) && table(number(0x3c), number(0x40)) && table(number(0x44), number(0x48))
}

/// False where the file ends before the buffer is full.
fn read(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_cut_shows_wherever_it_is() {
        for name in ["doc/good/letter.doc", "xls/good/sheet.xls", "ppt/good/slides.ppt"] {
            let whole = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/document").join(name)).unwrap();
            assert!(whole.starts_with(MAGIC), "{name}");
            // The last sector alone may be short: some programs do not fill it.
            for percent in (5..=90).step_by(5).chain([100]) {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&whole[..whole.len() * percent / 100]).unwrap();
                assert_eq!(is_cut_off(&file).unwrap(), percent < 100, "{name} at {percent} %");
            }
        }
    }

    /// Each of these made LibreOffice take a workbook for a table of text: sizes and numbers of sectors, the name and
    /// the length of streams.
    #[test]
    fn a_stream_that_cannot_be_found_shows() {
        let whole = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/document/xls/good/sheet.xls")).unwrap();
        let xls = Format::parse("xls").unwrap();
        let file = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file
        };
        assert!(holds(file(&whole), xls));
        for (at, byte) in [(0x20, 0xff), (0x2f, 0x20), (0x43, 0xff), (0x1a8e, 0x7f), (0x1c41, 0x08), (0x1cf9, 0xff)] {
            let mut broken = whole.clone();
            broken[at] = byte;
            assert!(!holds(file(&broken), xls), "{at:#x}");
        }
    }
}
