//! The pages of a tiff: where each begins, and turning to one.

use crate::failure::Failure;
use std::collections::HashSet;

/// Where the directories of the pages stand, in order; none for what has no such list (BigTIFF has another).
pub fn offsets(bytes: &[u8], most: u64) -> Vec<usize> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut at = (number(bytes, 2, 2) == Some(42)).then(|| number(bytes, 4, 4)).flatten().unwrap_or(0);
    while at != 0 && (found.len() as u64) <= most && seen.insert(at) {
        let Some(entries) = number(bytes, at, 2) else { break };
        found.push(at);
        at = number(bytes, at + 2 + entries * 12, 4).unwrap_or(0);
    }
    found
}

/// Makes the page at this offset the first, which is the one decoders read.
pub fn turn_to(bytes: &mut [u8], offset: usize) -> Result<(), Failure> {
    let wrong = || Failure::corrupt("The TIFF file is damaged or cut off.");
    let offset = u32::try_from(offset).map_err(|_| wrong())?;
    let raw = if bytes.starts_with(b"II") { offset.to_le_bytes() } else { offset.to_be_bytes() };
    bytes.get_mut(4..8).ok_or_else(wrong)?.copy_from_slice(&raw);
    Ok(())
}

/// A number in the byte order of the file.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let raw = bytes.get(at..at.checked_add(len)?)?;
    let fold = |sum: usize, b: &u8| sum << 8 | usize::from(*b);
    Some(if bytes.starts_with(b"II") { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) })
}
