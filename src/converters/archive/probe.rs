//! Measures archives.

use super::entry::Kind;
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
        _ => {}
    }
    match measure(ctx, input, depth == Depth::Proof) {
        Err(failure) if failure.code == Code::PasswordRequired => measure(ctx, input, false),
        other => other,
    }
}

/// A header's look into a compressed tar ends here: what follows would take longer than a header may.
const LOOK_BYTES: u64 = 64 << 20;

fn measure(ctx: &Ctx, input: &Input, data: bool) -> Result<Media, Failure> {
    let options = Options::default();
    let mut reading = Reading::new(ctx, &options);
    reading.data = data;
    let (mut entries, mut unpacked, mut sizes_known, mut stopped) = (0u64, 0u64, true, false);
    let walked = walk(&reading, input, &mut |entry, content| {
        let mut size = entry.size;
        if data {
            size = Some(std::io::copy(content, &mut std::io::sink()).map_err(|e| fault::reading(e, Some(&entry.path)))?);
        }
        sizes_known &= size.is_some() || entry.kind != Kind::File;
        entries += u64::from(!entry.is_folder());
        unpacked = unpacked.saturating_add(size.unwrap_or(0));
        stopped = !data && input.format.id().starts_with("tar.") && unpacked > LOOK_BYTES;
        if stopped { Err(Failure::internal("enough seen")) } else { Ok(()) }
    });
    if stopped {
        return Ok(Media::default());
    }
    walked?;
    Ok(Media { entries: Some(entries), unpacked_bytes: sizes_known.then_some(unpacked), ..Media::default() })
}
