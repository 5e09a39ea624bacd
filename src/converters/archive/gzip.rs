//! gzip, packed by several threads.

use super::deflate::{self, BLOCK, Packed, Pool, Stream};
use flate2::Crc;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::Receiver;

/// No name, no time, no flags; by a Unix (RFC 1952, 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

pub struct GzipWriter<W> {
    target: W,
    pool: Pool,
    stream: Stream,
    block: Vec<u8>,
    waiting: VecDeque<Receiver<io::Result<Packed>>>,
    checksum: Crc,
}

impl<W: Write> GzipWriter<W> {
    pub fn new(mut target: W, level: Option<u8>, threads: usize) -> io::Result<GzipWriter<W>> {
        target.write_all(&HEADER)?;
        let pool = Pool::start(level, threads)?;
        Ok(GzipWriter { target, pool, stream: Stream::default(), block: Vec::with_capacity(BLOCK), waiting: VecDeque::new(), checksum: Crc::new() })
    }

    fn send(&mut self, last: bool) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(if last { 0 } else { BLOCK }));
        self.waiting.push_back(self.stream.send(&self.pool, block, last)?);
        self.drain(if last { 0 } else { self.pool.ahead })
    }

    /// Writes blocks, in order, until at most `leave` are on their way.
    fn drain(&mut self, leave: usize) -> io::Result<()> {
        while self.waiting.len() > leave {
            let Some(first) = self.waiting.pop_front() else { break };
            let packed = deflate::receive(first)?;
            self.checksum.combine(&packed.checksum);
            self.target.write_all(&packed.bytes)?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.send(true)?;
        self.target.write_all(&self.checksum.sum().to_le_bytes())?;
        // The length is told modulo 2^32.
        self.target.write_all(&self.checksum.amount().to_le_bytes())?;
        Ok(self.target)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.get(..bytes.len().min(BLOCK - self.block.len())).unwrap_or_default();
        self.block.extend_from_slice(taken);
        if self.block.len() == BLOCK {
            self.send(false)?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}
