//! Checks a document before a library opens it: LibreOffice would take any bytes for a text.

use super::compound;
use crate::convert::{Ctx, Input};
use crate::failure::Failure;
use crate::format::{Format, Sample, sniff};
use crate::limits::Size;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// The largest document of any kind.
const SIZE_MAX: Size = Size::mib(100);

/// The input's path under a name whose extension is its format's, which LibreOffice goes by.
pub fn checked(ctx: &Ctx, input: &Input) -> Result<PathBuf, Failure> {
    check(ctx, input)?;
    let extension = input.format.extension();
    if input.path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension)) {
        return Ok(input.path.clone());
    }
    let copy = ctx.scratch.join(format!("input.{extension}"));
    std::fs::copy(&input.path, &copy).map_err(Failure::internal)?;
    Ok(copy)
}

/// Refuses what is too large, empty, or not what it claims to be.
pub fn check(ctx: &Ctx, input: &Input) -> Result<(), Failure> {
    let most = SIZE_MAX.0.min(ctx.limits.input_max.0);
    if input.size_bytes > most {
        return Err(Failure::limit(format!("The document has {}; at most {} are converted.", Size(input.size_bytes), Size(most))).stage("open"));
    }
    let wrong = || Failure::corrupt(format!("This is not a readable {} file.", input.format.name())).stage("open");
    let (head, tail) = ends(&input.path).map_err(|e| Failure::internal(e).stage("open"))?;
    if head.is_empty() {
        return Err(Failure::corrupt("The file is empty.").stage("open"));
    }
    let name = format!("input.{}", input.format.extension());
    let found = sniff(&Sample { head: &head, tail: &tail, name: &name }).ok_or_else(wrong)?;
    let is_text = |format: Format| ["txt", "md", "html", "csv", "tsv", "json", "svg"].contains(&format.id());
    if found != input.format && !(is_text(found) && is_text(input.format)) {
        return Err(wrong().detail(format!("the bytes look like {found}")));
    }
    // A zip without its directory at the end was cut off.
    let cut_zip = head.starts_with(b"PK\x03\x04") && !tail.windows(4).any(|w| w == b"PK\x05\x06");
    let cut_compound = || File::open(&input.path).and_then(|file| compound::is_cut_off(&file)).map_err(|e| Failure::internal(e).stage("open"));
    if cut_zip || (head.starts_with(compound::MAGIC) && cut_compound()?) {
        return Err(Failure::corrupt(format!("The {} file is incomplete: its end is missing.", input.format.name())).stage("open"));
    }
    if head.starts_with(compound::MAGIC) && !compound::holds(File::open(&input.path).map_err(|e| Failure::internal(e).stage("open"))?, input.format) {
        return Err(wrong().detail("its main stream cannot be read"));
    }
    Ok(())
}

fn ends(path: &std::path::Path) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = Vec::new();
    (&mut file).take(Sample::LEN as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(len.saturating_sub(Sample::LEN as u64)))?;
    let mut tail = Vec::new();
    file.take(Sample::LEN as u64).read_to_end(&mut tail)?;
    Ok((head, tail))
}
