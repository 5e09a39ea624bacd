//! Cuts a finished archive into volumes: its writers go back to fill in what they know last, so it has to be whole first.

use super::fault;
use crate::convert::{Ctx, Expect, Output, Produced, ProducedFile};
use crate::failure::{Code, Failure};
use crate::format::Format;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};

/// What people's unpackers count to by three digits.
const VOLUMES_MAX: u64 = 999;

/// From the end on, so that no more than one volume is on the disk twice.
pub fn cut(ctx: &Ctx, mut produced: Produced, output: &Output, size: u64) -> Result<Produced, Failure> {
    let mut whole = OpenOptions::new().read(true).write(true).open(output.path()).map_err(fault::writing)?;
    let count = whole.metadata().map_err(fault::writing)?.len().div_ceil(size);
    if count > VOLUMES_MAX {
        let words = format!("The result would be cut into {count} volumes; at most {VOLUMES_MAX} are made.");
        return Err(Failure::new(Code::InvalidOption, words).hint("Ask for larger volumes."));
    }
    let format = Format::parse("bin").unwrap_or(output.format);
    let volume = |n: u64, path: &std::path::Path| ProducedFile {
        file: path.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default(),
        name: format!("{}.{:03}", output.name, n + 1),
        format,
        expect: Expect::default(),
    };
    let mut files = Vec::new();
    for n in (1..count).rev() {
        ctx.check()?;
        let path = output.numbered(n as usize);
        whole.seek(SeekFrom::Start(n * size)).map_err(fault::writing)?;
        let mut target = File::create(&path).map_err(fault::writing)?;
        io::copy(&mut (&mut whole).take(size), &mut target).map_err(fault::writing)?;
        whole.set_len(n * size).map_err(fault::writing)?;
        files.push(volume(n, &path));
        ctx.progress("cut", count - n, count, "volumes");
    }
    files.push(volume(0, &output.path()));
    files.reverse();
    produced.files = files;
    Ok(produced)
}
