//! Measures archives.

use super::fault;
use super::options::Options;
use super::walk::{Reading, walk};
use crate::convert::{Ctx, Depth, Input};
use crate::failure::{Code, Failure};
use crate::job::Media;

/// Entries that are no folders, and their unpacked size. The proof reads every entry to its checksum, where there is no password in the way.
pub fn probe(ctx: &Ctx, input: &Input, depth: Depth) -> Result<Media, Failure> {
    match input.format.id() {
        "json" | "bin" | "files" => return Ok(Media::default()),
        "rar" => return Err(Failure::new(Code::UnsupportedFormat, "RAR archives cannot be read.")),
        _ => {}
    }
    match measure(ctx, input, depth == Depth::Proof) {
        Err(failure) if failure.code == Code::PasswordRequired => measure(ctx, input, false),
        other => other,
    }
}

fn measure(ctx: &Ctx, input: &Input, data: bool) -> Result<Media, Failure> {
    let options = Options::default();
    let mut reading = Reading::new(ctx, &options);
    reading.data = data;
    let (mut entries, mut unpacked) = (0u64, 0u64);
    walk(&reading, input, &mut |entry, content| {
        let mut size = entry.size.unwrap_or(0);
        if data {
            size = std::io::copy(content, &mut std::io::sink()).map_err(|e| fault::reading(e, Some(&entry.path)))?;
        }
        entries += u64::from(!entry.is_folder());
        unpacked = unpacked.saturating_add(size);
        Ok(())
    })?;
    Ok(Media { entries: Some(entries), unpacked_bytes: Some(unpacked), ..Media::default() })
}
