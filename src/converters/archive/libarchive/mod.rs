//! rar, iso, cab, cpio, ar and deb, read through libarchive; also a zip that has lost its directory.

mod ffi;
mod rar;

use super::entry::{Entry, Kind};
use super::fault;
use super::guard::{Guard, Metered};
use super::names;
use super::walk::{Reading, Visit};
use crate::convert::Input;
use crate::failure::{Code, Failure};
use ffi::{Head, Reader, Trouble};
use flate2::Crc;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The formats that come here.
pub const FORMATS: &[&str] = &["rar", "iso", "cab", "cpio", "ar", "deb"];

pub fn read(reading: &Reading, input: &Input, guard: &mut Guard, visit: Visit) -> Result<(), Failure> {
    let name = input.format.name();
    let consumed = Arc::<AtomicU64>::default();
    guard.follow_count(consumed.clone());
    let rar = if input.format.id() == "rar" { rar::facts(&input.path, reading.ctx.limits.entries_max) } else { rar::Facts::default() };
    let mut checksums = rar.checksums.into_iter();
    let mut archive = Reader::open(&input.path, input.format.id()).map_err(|t| failure(t, reading, name, None).stage("open"))?;
    let mut last: Option<String> = None;
    while let Some(head) = archive.next().map_err(|t| failure(t, reading, name, last.as_deref()))? {
        guard.entry()?;
        let mut entry = describe(reading, &head);
        entry.crc32 = checksums.next().flatten();
        entry.encrypted |= rar.encrypted;
        last = Some(entry.path.clone());
        if entry.kind != Kind::File || !reading.data {
            visit(entry, &mut io::empty())?;
            continue;
        }
        if entry.encrypted {
            return Err(failure(Trouble::Encrypted, reading, name, None));
        }
        let data = Data { archive: &mut archive, consumed: &consumed, reading, name, checksum: Crc::new(), wanted: entry.crc32 };
        let mut data = Metered::new(data, guard, &entry);
        visit(entry.clone(), &mut data)?;
        // What is left unread still has to be unpacked to get past it: it counts.
        io::copy(&mut data, &mut io::sink()).map_err(|e| fault::reading(e, Some(&entry.path)))?;
    }
    Ok(())
}

fn failure(trouble: Trouble, reading: &Reading, format: &str, path: Option<&str>) -> Failure {
    match trouble {
        Trouble::Encrypted if reading.password.is_none() => fault::password_required(),
        Trouble::Encrypted => {
            Failure::new(Code::UnsupportedFormat, format!("Encrypted {format} archives cannot be read, not even with their password."))
        }
        Trouble::Archive(words) if words.contains("upport") => {
            Failure::new(Code::UnsupportedFormat, format!("The {format} archive uses something that cannot be read.")).detail(words)
        }
        Trouble::Archive(words) => fault::reading(io::Error::other(words), path),
        Trouble::Library(words) => Failure::new(Code::UnsupportedFormat, format!("{format} archives cannot be read on this machine.")).detail(words),
    }
}

fn describe(reading: &Reading, head: &Head) -> Entry {
    // As in a tar there is no list of names to look at first: each is judged alone.
    let text = |raw: &[u8]| reading.encoding.settled(std::iter::once(raw)).decode(raw);
    let (path, hazard) = names::inside(&text(&head.path), false);
    let mut entry = Entry { hazard, ..Entry::file(path) };
    entry.size = head.size;
    entry.mode = Some(head.permissions & 0o7777).filter(|m| *m != 0);
    entry.modified = head.modified;
    entry.encrypted = head.encrypted;
    if let Some(target) = &head.hardlink {
        let (target, hazard) = names::inside(&text(target), false);
        entry.hazard = entry.hazard.or(hazard);
        (entry.kind, entry.size) = (Kind::Hardlink(target), None);
        return entry;
    }
    match head.file_type {
        libc::S_IFDIR => (entry.kind, entry.size) = (Kind::Folder, None),
        libc::S_IFLNK => {
            let target = head.symlink.as_deref().map(text).unwrap_or_default();
            entry.hazard = entry.hazard.or_else(|| names::link_hazard(&entry.path, &target));
            (entry.kind, entry.size) = (Kind::Symlink(target), None);
        }
        libc::S_IFREG | 0 => {}
        _ => {
            let words = format!("The entry `{}` is a device, which an upload has no use for.", fault::shown(&entry.path));
            entry.hazard = Some(Failure::new(Code::PolicyViolation, words).stage("open"));
        }
    }
    entry
}

/// Data of one entry.
struct Data<'r> {
    archive: &'r mut Reader,
    consumed: &'r AtomicU64,
    reading: &'r Reading<'r>,
    name: &'static str,
    checksum: Crc,
    wanted: Option<u32>,
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read(buffer);
        self.consumed.store(self.archive.consumed(), Ordering::Relaxed);
        if let Ok(read) = read {
            self.checksum.update(buffer.get(..read).unwrap_or_default());
            if read == 0 && !buffer.is_empty() && self.wanted.is_some_and(|wanted| wanted != self.checksum.sum()) {
                return Err(io::Error::other("the checksum does not match"));
            }
        }
        read.map_err(|trouble| match trouble {
            Trouble::Archive(words) if !words.contains("upport") => io::Error::other(words),
            other => fault::wrap(failure(other, self.reading, self.name, None)),
        })
    }
}
