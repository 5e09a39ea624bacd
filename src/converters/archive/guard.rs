//! Bombs: what may come out of an archive is counted while it comes. Progress is counted by what went in.

use super::entry::Entry;
use super::fault;
use crate::convert::Ctx;
use crate::failure::Failure;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ratios are looked at only after this much.
const FREE_BYTES: u64 = 10 << 20;

/// The counters of one archive.
pub struct Guard<'a> {
    ctx: &'a Ctx<'a>,
    packed: u64,
    entries: u64,
    unpacked: u64,
    /// How much of the archive was read, by each of its readers; none: not known.
    read: Vec<Arc<AtomicU64>>,
}

impl<'a> Guard<'a> {
    /// `packed` is the size of the whole archive.
    pub fn new(ctx: &'a Ctx<'a>, packed: u64) -> Guard<'a> {
        Guard { ctx, packed: packed.max(1), entries: 0, unpacked: 0, read: Vec::new() }
    }

    /// Progress is told by how far these readers of the archive have come.
    pub fn follow(&mut self, readers: &[&BufReader<Packed>]) {
        self.read = readers.iter().map(|reader| reader.get_ref().read.clone()).collect();
    }

    /// As [`Guard::follow`], for a library that reads by itself and only tells how far it has come.
    pub fn follow_count(&mut self, read: Arc<AtomicU64>) {
        self.read = vec![read];
    }

    /// Counts an entry.
    pub fn entry(&mut self) -> Result<(), Failure> {
        self.ctx.check()?;
        self.entries += 1;
        let most = self.ctx.limits.entries_max;
        if self.entries > most { Err(Failure::limit(format!("The archive has more than {most} entries.")).stage("open")) } else { Ok(()) }
    }

    /// Counts unpacked bytes.
    fn bytes(&mut self, more: u64) -> Result<(), Failure> {
        self.ctx.check()?;
        self.unpacked += more;
        let read = self.read.iter().map(|read| read.load(Ordering::Relaxed)).sum::<u64>().min(self.packed);
        self.ctx.progress("decode", read, if self.read.is_empty() { 0 } else { self.packed }, "bytes");
        let limits = self.ctx.limits;
        if self.unpacked > limits.unpacked_max.0 {
            return Err(Failure::limit(format!("The archive unpacks to more than {}.", limits.unpacked_max)).stage("decode"));
        }
        if self.unpacked > FREE_BYTES && self.unpacked / self.packed > limits.ratio_max {
            let words = format!("The archive unpacks to more than {} times its size.", limits.ratio_max);
            return Err(Failure::limit(words).stage("decode"));
        }
        Ok(())
    }

    /// Refuses sizes that the archive itself declares beyond the limits.
    pub fn declared(&self, unpacked: u64) -> Result<(), Failure> {
        let mut ahead = Guard { ctx: self.ctx, packed: self.packed, entries: 0, unpacked: 0, read: self.read.clone() };
        ahead.bytes(unpacked)
    }
}

/// The archive's own bytes, counted as they are read.
pub struct Packed {
    file: File,
    read: Arc<AtomicU64>,
}

impl Packed {
    pub fn new(file: File) -> Packed {
        Packed { file, read: Arc::default() }
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Packed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Reads an entry's data under guard. Every error of it is about the input and names the entry.
pub struct Metered<'g, 'a, R> {
    inner: R,
    guard: &'g mut Guard<'a>,
    path: String,
    left: Option<u64>,
    on_error: fn(io::Error, &str) -> Failure,
}

impl<'g, 'a, R: Read> Metered<'g, 'a, R> {
    pub fn new(inner: R, guard: &'g mut Guard<'a>, entry: &Entry) -> Self {
        Metered { inner, guard, path: entry.path.clone(), left: entry.size, on_error: |e, path| fault::reading(e, Some(path)) }
    }

    /// With the format's own way to tell a wrong password from damage.
    pub fn on_error(mut self, on_error: fn(io::Error, &str) -> Failure) -> Self {
        self.on_error = on_error;
        self
    }
}

impl<R: Read> Read for Metered<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(fault::wrap((self.on_error)(e, &self.path))),
                Ok(read) => break read as u64,
            }
        };
        if read == 0 && !buffer.is_empty() && self.left.is_some_and(|left| left > 0) {
            return Err(fault::wrap((self.on_error)(io::ErrorKind::UnexpectedEof.into(), &self.path)));
        }
        if let Some(left) = &mut self.left {
            match left.checked_sub(read) {
                Some(rest) => *left = rest,
                None => return Err(fault::wrap((self.on_error)(io::Error::other("more data than declared"), &self.path))),
            }
        }
        self.guard.bytes(read).map_err(fault::wrap)?;
        Ok(read as usize)
    }
}
