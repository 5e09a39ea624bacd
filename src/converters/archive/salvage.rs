//! Broken archives: the entries that are whole are taken, the others are named. An entry is looked at to its end before anything is
//! done with it.

use super::entry::{Entry, Kind};
use super::fault::{self, shown};
use super::walk::{self, Reading, Visit};
use super::{guard::Guard, libarchive};
use crate::convert::{Input, Produced};
use crate::failure::{Code, Failure};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// So many lost entries are named; after that only their number would be news.
const NAMED_MAX: usize = 50;

/// What came of a broken archive.
#[derive(Debug, Default)]
pub struct Saved {
    entries: u64,
    bytes: u64,
    lost: u64,
    /// As they say of themselves.
    lost_bytes: u64,
    names: Vec<String>,
    /// Why nothing came after the last of them.
    end: Option<String>,
}

impl Saved {
    /// The share of the bytes of all entries that are known; none of an archive that is whole, or where nobody knows.
    pub fn recovered(&self) -> Option<f64> {
        let broken = self.lost > 0 && self.entries > 0;
        let (kept, all) = if self.lost_bytes > 0 { (self.bytes, self.bytes + self.lost_bytes) } else { (self.entries, self.entries + self.lost) };
        broken.then(|| kept as f64 / all as f64)
    }

    /// Says of a result what is not in it.
    pub fn tell(self, mut produced: Produced) -> Produced {
        let recovered = self.recovered();
        for file in &mut produced.files {
            file.expect.recovered = recovered;
        }
        let lost = self.names.iter().map(|name| format!("`{}` is damaged and was left out.", shown(name)));
        produced.warnings.extend(lost);
        if self.lost > self.names.len() as u64 {
            produced.warnings.push(format!("{} entries are damaged and were left out.", self.lost));
        }
        produced.warnings.extend(self.end.map(|end| format!("{end} What comes before is kept.")));
        produced
    }
}

/// Visits every entry; of a broken archive, where that is wanted, every one that is whole.
pub fn walk(reading: &Reading, input: &Input, visit: Visit) -> Result<Saved, Failure> {
    if !reading.salvage {
        return walk::walk(reading, input, visit).map(|()| Saved::default());
    }
    let mut sieve = Sieve { spool: reading.ctx.scratch.join("entry"), data: reading.data, visit, saved: Saved::default(), refused: None };
    let mut walked = walk::walk(reading, input, &mut |entry, data| sieve.take(entry, data));
    if is_broken(&walked) && sieve.is_untouched() && input.format.id() == "zip" {
        // Its directory is gone; each entry has a header of its own in front.
        let mut guard = Guard::new(reading.ctx, input.size_bytes);
        let again = libarchive::read(reading, input, &mut guard, &mut |entry, data| sieve.take(entry, data));
        if !sieve.is_untouched() {
            walked = again;
            sieve.saved.end = Some("The zip is cut off: its directory is gone.".into());
        }
    }
    if let Some(refused) = sieve.refused {
        return Err(refused);
    }
    let mut saved = sieve.saved;
    match walked {
        Err(failure) if failure.code == Code::CorruptInput && saved.entries > 0 => saved.end = Some(failure.message),
        walked => walked?,
    }
    if saved.entries == 0 && saved.lost > 0 {
        return Err(Failure::corrupt("No entry of the archive is whole.").stage("decode"));
    }
    if reading.cut.get() {
        saved.end = Some("The compressed file is damaged or cut off.".into());
    }
    Ok(saved)
}

fn is_broken(walked: &Result<(), Failure>) -> bool {
    walked.as_ref().is_err_and(|failure| failure.code == Code::CorruptInput)
}

/// Lets whole entries through.
struct Sieve<'v> {
    spool: PathBuf,
    data: bool,
    visit: Visit<'v>,
    saved: Saved,
    /// What is no fault of the archive.
    refused: Option<Failure>,
}

impl Sieve<'_> {
    fn is_untouched(&self) -> bool {
        self.saved.entries == 0 && self.saved.lost == 0 && self.refused.is_none()
    }

    fn take(&mut self, entry: Entry, data: &mut dyn Read) -> Result<(), Failure> {
        if entry.kind != Kind::File || !self.data || entry.hazard.is_some() {
            return self.let_through(entry, data);
        }
        let mut file = File::create(&self.spool).map_err(fault::writing)?;
        let copied = io::copy(data, &mut file).map_err(|e| fault::reading(e, Some(&entry.path)));
        match copied {
            Ok(size) => {
                let mut whole = File::open(&self.spool).map_err(fault::writing)?;
                self.saved.entries += 1;
                self.saved.bytes += size;
                self.let_through(Entry { size: Some(size), ..entry }, &mut whole)
            }
            Err(failure) if failure.code == Code::CorruptInput => {
                self.saved.lost += 1;
                self.saved.lost_bytes += entry.size.unwrap_or(0);
                if self.saved.names.len() < NAMED_MAX {
                    self.saved.names.push(entry.path);
                }
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn let_through(&mut self, entry: Entry, data: &mut dyn Read) -> Result<(), Failure> {
        let visited = (self.visit)(entry, data);
        self.refused = self.refused.take().or(visited.as_ref().err().cloned());
        visited
    }
}

/// Bytes up to where they cannot be read on.
pub struct Lenient<'c, R> {
    inner: R,
    cut: &'c Cell<bool>,
}

impl<'c, R: Read> Lenient<'c, R> {
    pub fn new(inner: R, cut: &'c Cell<bool>) -> Lenient<'c, R> {
        Lenient { inner, cut }
    }
}

impl<R: Read> Read for Lenient<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted && fault::unwrap(&e).is_none() => {
                self.cut.set(true);
                Ok(0)
            }
            read => read,
        }
    }
}
