//! What Debian's libarchive does not tell of a RAR archive: the checksums of its entries, which it does not look at where they
//! are stored, and of version 5 whether they are encrypted, which it takes for the data itself.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const SIGNATURE_4: &[u8] = b"Rar!\x1a\x07\0";
const SIGNATURE_5: &[u8] = b"Rar!\x1a\x07\x01\0";

/// Found in the headers; ends where they do not make sense, which is the reader's to tell.
#[derive(Default)]
pub struct Facts {
    pub encrypted: bool,
    /// Of the unpacked data, entry by entry.
    pub checksums: Vec<Option<u32>>,
}

pub fn facts(path: &Path, entries_max: u64) -> Facts {
    let mut facts = Facts::default();
    // Beside the entries there are few other blocks; a chain that goes on for longer leads nowhere.
    let blocks_max = entries_max.saturating_mul(2).saturating_add(16);
    let _ = look(path, blocks_max, &mut facts);
    facts
}

/// None at the first thing that does not make sense.
fn look(path: &Path, blocks_max: u64, facts: &mut Facts) -> Option<()> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut signature = [0; 8];
    file.read_exact(&mut signature).ok()?;
    let block: fn(&mut BufReader<File>, &mut Facts) -> Option<u64> = if signature == SIGNATURE_5 {
        block_5
    } else if signature.starts_with(SIGNATURE_4) {
        file.seek_relative(-1).ok()?;
        block_4
    } else {
        return None;
    };
    for _ in 0..blocks_max {
        let data = block(&mut file, facts)?;
        file.seek(SeekFrom::Current(i64::try_from(data).ok()?)).ok()?;
    }
    None
}

/// Reads the header of a block; returns the size of the data behind it.
fn block_4(file: &mut BufReader<File>, facts: &mut Facts) -> Option<u64> {
    const FILE: u8 = 0x74;
    const HAS_DATA: u16 = 0x8000;
    /// Sizes have upper halves.
    const LARGE: u16 = 0x0100;
    let mut start = [0; 7];
    file.read_exact(&mut start).ok()?;
    let [_, _, kind, f0, f1, s0, s1] = start;
    let (flags, size) = (u16::from_le_bytes([f0, f1]), u16::from_le_bytes([s0, s1]));
    let mut body = vec![0; usize::from(size).checked_sub(start.len())?];
    file.read_exact(&mut body).ok()?;
    let word = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
    if kind == FILE {
        facts.checksums.push(Some(word(9)?));
    }
    let low = if flags & HAS_DATA != 0 { word(0)? } else { 0 };
    let high = if kind == FILE && flags & LARGE != 0 { word(25)? } else { 0 };
    Some(u64::from(high) << 32 | u64::from(low))
}

/// The same of version 5.
fn block_5(file: &mut BufReader<File>, facts: &mut Facts) -> Option<u64> {
    const FILE: u64 = 2;
    const ENCRYPTION: u64 = 4;
    const HAS_EXTRA: u64 = 1;
    const HAS_DATA: u64 = 2;
    const HAS_TIME: u64 = 2;
    const HAS_CHECKSUM: u64 = 4;
    /// The format's own limit to a header.
    const HEADER_MAX: u64 = 2 << 20;
    file.seek_relative(4).ok()?;
    let size = integer(file).filter(|size| *size <= HEADER_MAX)?;
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).ok()?;
    let mut rest = header.as_slice();
    let (kind, flags) = (integer(&mut rest)?, integer(&mut rest)?);
    let extra = if flags & HAS_EXTRA != 0 { integer(&mut rest)? } else { 0 };
    let data = if flags & HAS_DATA != 0 { integer(&mut rest)? } else { 0 };
    facts.encrypted |= kind == ENCRYPTION;
    if kind == FILE {
        let (of_file, _size, _attributes) = (integer(&mut rest)?, integer(&mut rest)?, integer(&mut rest)?);
        let at = if of_file & HAS_TIME != 0 { 4 } else { 0 };
        let checksum = rest.get(at..at + 4).filter(|_| of_file & HAS_CHECKSUM != 0);
        facts.checksums.push(checksum.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes));
        facts.encrypted |= is_encrypted(header.get(header.len().checked_sub(extra as usize)?..)?);
    }
    Some(data)
}

/// Whether an entry's extra area has the record that tells how it is encrypted.
fn is_encrypted(mut extra: &[u8]) -> bool {
    const CRYPT: u64 = 1;
    while let Some(size) = integer(&mut extra) {
        let Some((mut record, rest)) = usize::try_from(size).ok().and_then(|size| extra.split_at_checked(size)) else { return false };
        if integer(&mut record) == Some(CRYPT) {
            return true;
        }
        extra = rest;
    }
    false
}

/// Seven bits a byte, the lowest first.
fn integer(source: &mut impl Read) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let mut byte = [0];
        source.read_exact(&mut byte).ok()?;
        value |= u64::from(byte[0] & 0x7f).checked_shl(at * 7)?;
        if byte[0] & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
