//! zip to zip without packing anew: the compressed bytes of the entries that are taken are copied as they are, after all have
//! been unpacked once to see that they are whole.

use super::entry::{Entry, Kind};
use super::fault;
use super::near::Near;
use super::options::RepackOptions;
use super::select::Selection;
use super::walk::{self, Reading, walk};
use super::zip;
use crate::convert::{Ctx, Expect, Input, Output, Produced};
use crate::failure::Failure;
use ::zip::extra_fields::ExtraField;
use ::zip::read::Config;
use ::zip::unstable::read::ZipIterable;
use ::zip::{CompressionMethod, ZipReadOptions, ZipWriter};
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// None when an entry must be packed anew: another kind of compression than every reader knows, encryption, or a second name.
pub fn copy(ctx: &Ctx, input: &Input, options: &RepackOptions, output: &Output) -> Result<Option<Produced>, Failure> {
    if options.level.is_some() || options.password.is_some() || options.output_password.is_some() {
        return Ok(None);
    }
    let source = walk::open(input)?;
    let mut body = Near::new(walk::open(input)?);
    let mut archive = ZipIterable::try_new(source, Config::default()).map_err(|e| zip::failure(e, None))?;
    for found in archive.files().map_err(|e| zip::failure(e, None))? {
        let found = found.map_err(|e| zip::failure(e, None))?;
        if found.encrypted() || !matches!(found.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Ok(None);
        }
    }
    let reading_options = options.reading();
    let mut selection = Selection::new(&reading_options)?;
    let mut taken: Vec<Option<Entry>> = Vec::new();
    walk(&Reading::new(ctx, &reading_options), input, &mut |mut entry, data| {
        let wanted = selection.take(&mut entry)?;
        if wanted {
            io::copy(data, &mut io::sink()).map_err(|e| fault::reading(e, Some(&entry.path)))?;
        }
        taken.push(wanted.then_some(entry));
        Ok(())
    })?;
    let count = taken.len() as u64;
    let mut writer = ZipWriter::new(BufWriter::with_capacity(256 << 10, File::create(output.path()).map_err(fault::writing)?));
    let mut entries = 0;
    for (at, (found, entry)) in archive.files().map_err(|e| zip::failure(e, None))?.zip(&taken).enumerate() {
        ctx.check()?;
        ctx.progress("copy", at as u64, count, "entries");
        let Some(entry) = entry else { continue };
        let found = found.and_then(|found| found.with_reader(&mut body, ZipReadOptions::new())).map_err(|e| zip::failure(e, Some(&entry.path)))?;
        if found.extra_data_fields().any(|field| matches!(field, ExtraField::UnicodePath(_))) {
            return Ok(None);
        }
        let path = if entry.kind == Kind::Folder { format!("{}/", entry.path) } else { entry.path.clone() };
        writer.raw_copy_file_rename(found, path).map_err(|e| zip::failure(e, Some(&entry.path)))?;
        entries += u64::from(!entry.is_folder());
    }
    writer.finish().map_err(|e| zip::failure(e, None))?.flush().map_err(fault::writing)?;
    let mut produced = Produced::single(output, Expect { entries: Some(entries), ..Expect::default() });
    produced.warnings = selection.warnings;
    if entries == 0 {
        produced = produced.warn("No entry was taken; the result is empty.");
    }
    Ok(Some(produced))
}
