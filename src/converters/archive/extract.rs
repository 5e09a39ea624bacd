//! `archive.extract`: every entry as a file of its own.

use super::entry::Kind;
use super::fault::{self, shown};
use super::options::Options;
use super::salvage::walk;
use super::select::Selection;
use super::walk::{self, Reading};
use crate::convert::{Converter, Ctx, Expect, Input, Output, Produced, ProducedFile, Spec};
use crate::failure::Failure;
use crate::format::{self, Family, Format, Sample};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

pub struct Extract;

impl Converter for Extract {
    const SPEC: Spec =
        Spec { id: "archive.extract", family: Family::Archive, summary: "Unpacks archives into files.", pairs: &[(walk::READABLE, &["files"])] };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let mut selection = Selection::new(options)?;
        let mut files: Vec<ProducedFile> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        let saved = walk(&Reading::new(ctx, options), input, &mut |mut entry, data| {
            if !selection.take(&mut entry)? || entry.is_folder() {
                return Ok(());
            }
            let path = output.numbered(files.len());
            match &entry.kind {
                Kind::File => write(&path, data)?,
                Kind::Hardlink(target) => {
                    let Some(first) = index.get(target) else {
                        selection.warn(format!(
                            "`{}` was left out: it is another name of `{}`, which is not there.",
                            shown(&entry.path),
                            shown(target)
                        ));
                        return Ok(());
                    };
                    std::fs::hard_link(output.numbered(*first), &path).map_err(fault::writing)?;
                }
                _ => {
                    selection.warn(format!("The link `{}` was left out.", shown(&entry.path)));
                    return Ok(());
                }
            }
            index.insert(entry.path.clone(), files.len());
            let format = sniff(&path, &entry.path).map_err(fault::writing)?;
            let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            files.push(ProducedFile { file, name: entry.path, format, expect: Expect { probe: false, ..Expect::default() } });
            Ok(())
        })?;
        let mut produced = Produced::several(files, selection.warnings);
        if produced.files.is_empty() {
            produced = produced.warn("No file was taken out of the archive.");
        }
        Ok(saved.tell(produced))
    }
}

fn write(path: &Path, data: &mut dyn Read) -> Result<(), Failure> {
    let mut file = File::create(path).map_err(fault::writing)?;
    let mut block = vec![0; 256 << 10];
    loop {
        match data.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(n) => file.write_all(block.get(..n).unwrap_or_default()).map_err(fault::writing)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fault::reading(e, None)),
        }
    }
}

/// What the bytes are, or `bin`.
fn sniff(path: &Path, name: &str) -> io::Result<Format> {
    let mut file = File::open(path)?;
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    let size = file.metadata()?.len();
    (&mut file).take(Sample::LEN as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(size.saturating_sub(Sample::LEN as u64)))?;
    file.take(Sample::LEN as u64).read_to_end(&mut tail)?;
    let found = format::sniff(&Sample { head: &head, tail: &tail, name });
    found.or_else(|| Format::parse("bin")).ok_or_else(|| io::Error::other("the format `bin` is gone"))
}
