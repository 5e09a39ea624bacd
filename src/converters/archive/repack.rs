//! `archive.repack`: one archive format to another, as a stream.

use super::compress::Compressor;
use super::entry::{Entry, Kind};
use super::fault::{self, shown};
use super::options::RepackOptions;
use super::salvage::walk;
use super::select::Selection;
use super::sink::{Sink, Threaded};
use super::tar::TarSink;
use super::walk::{self, Reading};
use super::{libarchive, seven, volumes, zip_copy, zip_locked, zip_sink};
use crate::convert::{Converter, Ctx, Expect, Input, Output, Produced, Spec};
use crate::failure::{Code, Failure};
use crate::format::Family;
use std::io::{self, BufReader, Read};

pub struct Repack;

const ARCHIVES: &[&str] = &["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz4", "7z"];
const SINGLE: &[&str] = &["gz", "bz2", "xz", "zst", "lz4"];
const COMPRESSED: &[&str] = &["gz", "bz2", "xz", "zst", "lz4", "br"];

impl Converter for Repack {
    const SPEC: Spec = Spec {
        id: "archive.repack",
        family: Family::Archive,
        summary: "Turns archives into other formats, as a stream: nothing is unpacked to disk.",
        pairs: &[(ARCHIVES, ARCHIVES), (libarchive::FORMATS, ARCHIVES), (COMPRESSED, ARCHIVES), (COMPRESSED, SINGLE)],
    };
    type Options = RepackOptions;

    fn convert(ctx: &Ctx, input: &Input, options: &RepackOptions, output: &Output) -> Result<Produced, Failure> {
        let to = output.format.id();
        if options.output_password.is_some() && !["zip", "7z"].contains(&to) {
            let words = "The option `output_password` applies to zip and 7z only.";
            return Err(Failure::new(Code::InvalidOption, words).hint("Choose zip or 7z, or leave the password out."));
        }
        let produced = if SINGLE.contains(&to) { recompress(ctx, input, options, output) } else { repack(ctx, input, options, output) }?;
        match options.volume_bytes {
            Some(size) => volumes::cut(ctx, produced, output, size),
            None => Ok(produced),
        }
    }
}

/// One archive to another.
fn repack(ctx: &Ctx, input: &Input, options: &RepackOptions, output: &Output) -> Result<Produced, Failure> {
    let to = output.format.id();
    if (input.format.id(), to) == ("zip", "zip")
        && !options.salvage
        && let Some(copied) = zip_copy::copy(ctx, input, options, output)?
    {
        return Ok(copied);
    }
    let reading_options = options.reading();
    let mut selection = Selection::new(&reading_options)?;
    let sink: Box<dyn Sink> = match to {
        "zip" => match options.output_password.as_deref() {
            Some(password) => Box::new(zip_locked::LockedZipSink::create(&output.path(), options.level, password)?),
            None => Box::new(zip_sink::ZipSink::create(&output.path(), options.level, ctx.threads)?),
        },
        "7z" => Box::new(seven::SevenSink::create(&output.path(), options.level, options.output_password.as_deref(), ctx.threads)?),
        _ => Box::new(TarSink::new(Compressor::create(&output.path(), to, options.level, ctx.threads).map_err(fault::writing)?)),
    };
    let mut sink = Threaded::start(ctx, sink)?;
    let mut entries = 0;
    let saved = walk(&Reading::new(ctx, &reading_options), input, &mut |mut entry, data| {
        if !selection.take(&mut entry)? {
            return Ok(());
        }
        if let Kind::Hardlink(target) = &entry.kind
            && !selection.has(target)
        {
            selection.warn(format!("`{}` was left out: it is another name of `{}`, which is not there.", shown(&entry.path), shown(target)));
            return Ok(());
        }
        entries += u64::from(!entry.is_folder());
        sink.add(entry, data)
    })?;
    let mut produced = Produced::single(output, Expect { entries: Some(entries), ..Expect::default() });
    produced.warnings = selection.warnings;
    produced.warnings.extend(sink.finish()?.into_iter().take(100));
    if entries == 0 {
        produced = produced.warn("No entry was taken; the result is empty.");
    }
    Ok(saved.tell(produced))
}

/// A compressed file has one entry and no list of it.
struct Single(Compressor);

impl Sink for Single {
    fn add(&mut self, _entry: &Entry, data: &mut dyn Read) -> Result<Option<String>, Failure> {
        let mut data = BufReader::with_capacity(128 << 10, data);
        io::copy(&mut data, &mut self.0).map_err(fault::writing)?;
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        self.0.finish().map_err(fault::writing)
    }
}

/// One compressor to another, without looking at what is inside.
fn recompress(ctx: &Ctx, input: &Input, options: &RepackOptions, output: &Output) -> Result<Produced, Failure> {
    let mut guard = super::guard::Guard::new(ctx, input.size_bytes);
    let whole = Entry::file(input.name.clone());
    let packed = walk::open(input)?;
    guard.follow(&[&packed]);
    let reading_options = options.reading();
    let reading = Reading::new(ctx, &reading_options);
    let source = reading.forgiving(walk::decompress(packed, input.format.id())?);
    let mut source = super::guard::Metered::new(source, &mut guard, &whole);
    let target = Compressor::create(&output.path(), output.format.id(), options.level, ctx.threads).map_err(fault::writing)?;
    let mut sink = Threaded::start(ctx, Box::new(Single(target)))?;
    sink.add(whole.clone(), &mut source)?;
    sink.finish()?;
    let produced = Produced::single(output, Expect { entries: Some(1), ..Expect::default() });
    Ok(if reading.cut.get() { produced.warn("The compressed file is damaged or cut off. What comes before is kept.") } else { produced })
}
