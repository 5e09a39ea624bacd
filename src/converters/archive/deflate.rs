//! Deflate by several threads: a stream is cut into blocks, each packed on its own with the end of the one before as its
//! dictionary. Put together in order they are one plain stream, hardly larger than one packed in one go.

use crate::failure::Failure;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// As small as the usual zlib makes it at its default, 6, and still faster.
const LEVEL: u8 = 7;
/// Bytes of a block.
pub const BLOCK: usize = 256 << 10;
/// How far back the format can point.
const WINDOW: usize = 32 << 10;

struct Job {
    data: Vec<u8>,
    dictionary: Vec<u8>,
    last: bool,
    done: SyncSender<io::Result<Packed>>,
}

/// A block on its way back.
pub struct Packed {
    pub bytes: Vec<u8>,
    pub checksum: Crc,
    /// Unpacked.
    pub length: u64,
}

/// The threads.
pub struct Pool {
    jobs: Option<SyncSender<Job>>,
    workers: Vec<JoinHandle<()>>,
    /// Blocks that keep every thread busy while the first of them is waited for.
    pub ahead: usize,
}

impl Pool {
    pub fn start(level: Option<u8>, threads: usize) -> io::Result<Pool> {
        let threads = threads.clamp(1, 16);
        let (jobs, inbox) = sync_channel::<Job>(threads);
        let inbox = Arc::new(Mutex::new(inbox));
        let mut workers = Vec::new();
        for _ in 0..threads {
            let inbox = inbox.clone();
            let mut compress = Compress::new(Compression::new(level.unwrap_or(LEVEL).into()), false);
            let work = move || {
                while let Some(job) = next(&inbox) {
                    let packed = pack(&mut compress, &job);
                    let _ = job.done.send(packed);
                }
            };
            workers.push(std::thread::Builder::new().name("deflate".into()).spawn(work)?);
        }
        Ok(Pool { jobs: Some(jobs), workers, ahead: threads * 2 })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

fn next(inbox: &Mutex<Receiver<Job>>) -> Option<Job> {
    inbox.lock().ok()?.recv().ok()
}

/// One stream of blocks through a pool.
#[derive(Default)]
pub struct Stream {
    window: Vec<u8>,
}

impl Stream {
    /// Sends the next block out; only the last may be shorter than the window.
    pub fn send(&mut self, pool: &Pool, data: Vec<u8>, last: bool) -> io::Result<Receiver<io::Result<Packed>>> {
        let end = data.get(data.len().saturating_sub(WINDOW)..).unwrap_or_default().to_vec();
        let dictionary = std::mem::replace(&mut self.window, end);
        let (done, packed) = sync_channel(1);
        let jobs = pool.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { data, dictionary, last, done }).map_err(|_| gone())?;
        Ok(packed)
    }
}

/// Waits for a block.
pub fn receive(packed: Receiver<io::Result<Packed>>) -> io::Result<Packed> {
    packed.recv().map_err(|_| gone())?
}

fn gone() -> io::Error {
    super::fault::wrap(Failure::internal("the deflate threads are gone"))
}

fn pack(compress: &mut Compress, job: &Job) -> io::Result<Packed> {
    compress.reset();
    if !job.dictionary.is_empty() {
        compress.set_dictionary(&job.dictionary)?;
    }
    let start = compress.total_in();
    let mut checksum = Crc::new();
    checksum.update(&job.data);
    let mut bytes = Vec::with_capacity(job.data.len() / 2 + 256);
    let flush = if job.last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let taken = (compress.total_in() - start) as usize;
        let rest = job.data.get(taken..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut bytes, flush)?;
        let all_in = (compress.total_in() - start) as usize == job.data.len();
        // With room left there is nothing more to come.
        if status == Status::StreamEnd || (!job.last && all_in && bytes.len() < bytes.capacity()) {
            return Ok(Packed { bytes, checksum, length: job.data.len() as u64 });
        }
        bytes.reserve(BLOCK / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn blocks_are_one_stream_hardly_larger() {
        let text: Vec<u8> =
            (0..120_000u32).flat_map(|n| format!("{} the mill {}\n", n % 977, n.wrapping_mul(2_654_435_761) % 10_007).into_bytes()).collect();
        for length in [0, 1, WINDOW, BLOCK, BLOCK + 1, text.len()] {
            let data = &text[..length];
            let pool = Pool::start(None, 3).unwrap();
            let (mut stream, mut whole, mut checksum) = (Stream::default(), Vec::new(), Crc::new());
            let blocks: Vec<&[u8]> = if data.is_empty() { vec![data] } else { data.chunks(BLOCK).collect() };
            let count = blocks.len();
            for (at, block) in blocks.into_iter().enumerate() {
                let packed = receive(stream.send(&pool, block.to_vec(), at + 1 == count).unwrap()).unwrap();
                whole.extend(&packed.bytes);
                checksum.combine(&packed.checksum);
            }
            let mut back = Vec::new();
            flate2::read::DeflateDecoder::new(whole.as_slice()).read_to_end(&mut back).unwrap();
            assert!(back == data, "{length}");
            let mut plain = Crc::new();
            plain.update(data);
            assert_eq!((checksum.sum(), checksum.amount()), (plain.sum(), plain.amount()));
            let mut alone = flate2::write::DeflateEncoder::new(Vec::new(), Compression::new(LEVEL.into()));
            std::io::Write::write_all(&mut alone, data).unwrap();
            let alone = alone.finish().unwrap();
            assert!(whole.len() <= alone.len() + alone.len() / 50 + 64, "{} instead of {}", whole.len(), alone.len());
        }
    }
}
