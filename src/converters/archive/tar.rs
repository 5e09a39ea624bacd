//! tar, read and written as a stream.

use super::compress::Compressor;
use super::entry::{Entry, Kind};
use super::fault;
use super::guard::{Guard, Metered};
use super::names;
use super::sink::Sink;
use super::sparse::{Holes, Sparse};
use super::walk::{Reading, Visit};
use crate::failure::{Code, Failure};
use ::tar::{Builder, EntryType, Header};
use std::borrow::Cow;
use std::io::{self, Read};

pub fn read(reading: &Reading, source: impl Read, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    let mut archive = ::tar::Archive::new(source);
    let mut last = None;
    for found in archive.entries().map_err(|e| fault::reading(e, None))? {
        guard.entry()?;
        let mut found = found.map_err(|e| fault::reading(e, last.as_deref()))?;
        let sparse = Sparse::of(&mut found);
        let name = sparse.as_ref().ok().and_then(|sparse| sparse.as_ref()?.name.as_deref());
        let Some(mut entry) = describe(reading, &found, name) else { continue };
        let sparse = match sparse {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                let words = format!("The entry `{}` is stored with holes in a way that cannot be read.", fault::shown(&entry.path));
                let hint = "Pack it again without the option for sparse files.";
                entry.hazard = Some(Failure::new(Code::UnsupportedFormat, words).hint(hint).stage("open"));
                None
            }
            sparse => sparse.map_err(|e| fault::reading(e, Some(&entry.path)))?,
        };
        last = Some(entry.path.clone());
        if entry.kind == Kind::File {
            let data: Box<dyn Read> = match sparse {
                Some(sparse) => {
                    entry.size = Some(sparse.size);
                    Box::new(Holes::new(found, sparse).map_err(|e| fault::reading(e, Some(&entry.path)))?)
                }
                None => Box::new(found),
            };
            let mut data = Metered::new(data, guard, &entry);
            visit(entry.clone(), &mut data)?;
            // What is left unread still has to be unpacked to get past it: it counts.
            io::copy(&mut data, &mut io::sink()).map_err(|e| fault::reading(e, Some(&entry.path)))?;
        } else {
            visit(entry, &mut io::empty())?;
        }
    }
    if last.is_none() { Err(Failure::corrupt("There is no tar archive in this file, or it is empty.").stage("open")) } else { Ok(()) }
}

/// `name` is the one that the entry has beside its header.
fn describe(reading: &Reading, found: &::tar::Entry<impl Read>, name: Option<&[u8]>) -> Option<Entry> {
    let header = found.header();
    let raw = name.map_or_else(|| found.path_bytes(), Cow::Borrowed);
    // A tar has no list of its names to look at first: each is judged alone.
    let text = reading.encoding.settled(std::iter::once(raw.as_ref())).decode(&raw);
    let (path, hazard) = names::inside(&text, false);
    let mut entry = Entry { hazard, ..Entry::file(path) };
    entry.mode = header.mode().ok().map(|m| m & 0o7777);
    entry.modified = header.mtime().ok().and_then(|t| i64::try_from(t).ok());
    let target = || found.link_name_bytes().map(|raw| reading.encoding.settled(std::iter::once(raw.as_ref())).decode(&raw)).unwrap_or_default();
    match header.entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if !text.ends_with('/') => entry.size = Some(found.size()),
        EntryType::Directory | EntryType::Regular => entry.kind = Kind::Folder,
        EntryType::Symlink => {
            let target = target();
            entry.hazard = entry.hazard.or_else(|| names::link_hazard(&entry.path, &target));
            entry.kind = Kind::Symlink(target);
        }
        EntryType::Link => {
            let (target, hazard) = names::inside(&target(), false);
            entry.hazard = entry.hazard.or(hazard);
            entry.kind = Kind::Hardlink(target);
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            let words = format!("The entry `{}` is a device, which an upload has no use for.", fault::shown(&entry.path));
            entry.hazard = Some(Failure::new(Code::PolicyViolation, words).stage("open"));
        }
        _ => return None,
    }
    Some(entry)
}

/// Writes a tar into a compressor.
pub struct TarSink(Builder<Compressor>);

impl TarSink {
    pub fn new(target: Compressor) -> TarSink {
        TarSink(Builder::new(target))
    }
}

impl Sink for TarSink {
    fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<Option<String>, Failure> {
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode.unwrap_or(if entry.is_folder() { 0o755 } else { 0o644 }) & 0o777);
        header.set_mtime(entry.modified.and_then(|t| u64::try_from(t).ok()).unwrap_or(0));
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match &entry.kind {
            Kind::File => {
                let size = entry.size.ok_or_else(|| Failure::internal("a tar entry without a size"))?;
                header.set_size(size);
                header.set_entry_type(EntryType::Regular);
                self.0.append_data(&mut header, &entry.path, data)
            }
            Kind::Folder => {
                header.set_entry_type(EntryType::Directory);
                self.0.append_data(&mut header, format!("{}/", entry.path), io::empty())
            }
            Kind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                self.0.append_link(&mut header, &entry.path, target)
            }
            Kind::Hardlink(target) => {
                header.set_entry_type(EntryType::Link);
                self.0.append_link(&mut header, &entry.path, target)
            }
        }
        .map_err(fault::writing)?;
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        self.0.into_inner().and_then(Compressor::finish).map_err(fault::writing)
    }
}
