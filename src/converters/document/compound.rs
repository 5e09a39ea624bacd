//! Compound files, as Word, Excel and PowerPoint wrote until 2007 ([MS-CFB]): whether one was cut off. LibreOffice crashes on some
//! that were.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

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
}
