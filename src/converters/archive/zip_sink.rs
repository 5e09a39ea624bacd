//! Writes zip: entries are packed by several threads, small ones beside each other, large ones block by block.

use super::deflate::{self, BLOCK, Packed, Pool, Stream};
use super::entry::{Entry, Kind};
use super::fault;
use super::sink::Sink;
use crate::failure::Failure;
use flate2::Crc;
use rawzip::time::UtcDateTime;
use rawzip::{CompressionMethod, DataDescriptorOutput, ZipArchiveWriter};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::mpsc::Receiver;

const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// What stands in the header of an entry.
struct Head {
    path: String,
    mode: u32,
    modified: Option<UtcDateTime>,
}

impl Head {
    fn of(entry: &Entry, kind: u32) -> Head {
        let mode = entry.mode.unwrap_or(if entry.is_folder() { 0o755 } else { 0o644 }) & 0o777;
        Head { path: entry.path.clone(), mode: kind | mode, modified: entry.modified.map(UtcDateTime::from_unix) }
    }
}

pub struct ZipSink {
    writer: ZipArchiveWriter<BufWriter<File>>,
    pool: Pool,
    /// Entries of one block, packed or being packed.
    waiting: VecDeque<(Head, Receiver<io::Result<Packed>>)>,
}

impl ZipSink {
    pub fn create(path: &Path, level: Option<u8>, threads: usize) -> Result<ZipSink, Failure> {
        let file = BufWriter::with_capacity(256 << 10, File::create(path).map_err(fault::writing)?);
        let pool = Pool::start(level, threads).map_err(Failure::internal)?;
        Ok(ZipSink { writer: ZipArchiveWriter::new(file), pool, waiting: VecDeque::new() })
    }

    /// Writes finished entries, in order, until at most `leave` are on their way.
    fn drain(&mut self, leave: usize) -> Result<(), Failure> {
        while self.waiting.len() > leave {
            let Some((head, packed)) = self.waiting.pop_front() else { break };
            write(&mut self.writer, &head, |out| {
                let packed = deflate::receive(packed)?;
                out.write_all(&packed.bytes)?;
                Ok((packed.checksum.sum(), packed.length))
            })?;
        }
        Ok(())
    }

    /// An entry of one block, to be written when it is packed and its turn has come.
    fn small(&mut self, head: Head, content: Vec<u8>) -> Result<(), Failure> {
        let packed = Stream::default().send(&self.pool, content, true).map_err(fault::writing)?;
        self.waiting.push_back((head, packed));
        self.drain(self.pool.ahead)
    }

    /// An entry of several blocks, of which `first` is the beginning.
    fn large(&mut self, head: &Head, first: Vec<u8>, data: &mut dyn Read) -> Result<(), Failure> {
        self.drain(0)?;
        let (pool, mut stream, mut waiting) = (&self.pool, Stream::default(), VecDeque::new());
        let (mut checksum, mut length) = (Crc::new(), 0);
        write(&mut self.writer, head, |out| {
            let mut block = first;
            loop {
                let following = read_block(data)?;
                let last = following.is_empty();
                waiting.push_back(stream.send(pool, std::mem::replace(&mut block, following), last)?);
                while waiting.len() > if last { 0 } else { pool.ahead } {
                    let Some(packed) = waiting.pop_front().map(deflate::receive).transpose()? else { break };
                    checksum.combine(&packed.checksum);
                    length += packed.length;
                    out.write_all(&packed.bytes)?;
                }
                if last {
                    return Ok((checksum.sum(), length));
                }
            }
        })
    }
}

/// One entry, whose packed bytes `pack` writes; it tells their checksum and length, unpacked.
fn write(
    writer: &mut ZipArchiveWriter<BufWriter<File>>,
    head: &Head,
    pack: impl FnOnce(&mut dyn Write) -> io::Result<(u32, u64)>,
) -> Result<(), Failure> {
    let mut file = writer.new_file(head.path.as_str()).compression_method(CompressionMethod::DEFLATE).unix_permissions(head.mode);
    if let Some(modified) = head.modified {
        file = file.last_modified(modified);
    }
    let (mut out, _) = file.start().map_err(failure)?;
    let (checksum, length) = pack(&mut out).map_err(fault::writing)?;
    out.finish(DataDescriptorOutput::new(checksum, length)).map(drop).map_err(failure)
}

fn failure(error: rawzip::Error) -> Failure {
    Failure::internal(error)
}

/// Up to a block; shorter only at the end.
fn read_block(data: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut block = Vec::new();
    data.take(BLOCK as u64).read_to_end(&mut block)?;
    Ok(block)
}

impl Sink for ZipSink {
    fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<Option<String>, Failure> {
        match &entry.kind {
            Kind::File => {
                let head = Head::of(entry, REGULAR);
                let first = read_block(data).map_err(fault::writing)?;
                if first.len() < BLOCK { self.small(head, first)? } else { self.large(&head, first, data)? }
            }
            Kind::Folder => {
                self.drain(0)?;
                let head = Head::of(entry, 0);
                let path = format!("{}/", head.path);
                let mut folder = self.writer.new_dir(path.as_str()).unix_permissions(head.mode);
                if let Some(modified) = head.modified {
                    folder = folder.last_modified(modified);
                }
                folder.create().map_err(failure)?;
            }
            Kind::Symlink(target) => self.small(Head { mode: LINK | 0o777, ..Head::of(entry, LINK) }, target.clone().into_bytes())?,
            Kind::Hardlink(target) => {
                let link = relative(&entry.path, target);
                self.small(Head { mode: LINK | 0o777, ..Head::of(entry, LINK) }, link.into_bytes())?;
                return Ok(Some(format!("`{}` was a second name of `{}` and became a link to it.", fault::shown(&entry.path), fault::shown(target))));
            }
        }
        Ok(None)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.drain(0)?;
        self.writer.finish().map_err(failure)?.flush().map_err(fault::writing)
    }
}

/// The way from an entry to another, as a symbolic link says it.
pub fn relative(from: &str, to: &str) -> String {
    let up = from.split('/').count() - 1;
    "../".repeat(up) + to
}
