//! A fragmented MP4 that lies in several files, counted through to its end.

use super::ffi::{self, Kind};
use super::lane::micros;
use super::{SECOND_US, fault};
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Dictionary, Error, Packet};
use std::path::PathBuf;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub picture: bool,
    pub packets: u64,
    /// Where the last one ends, from the first on.
    pub length_us: i64,
}

/// Reads the only stream of these files, the one with the headers first.
pub fn count(ctx: &Ctx, files: &[PathBuf]) -> Result<Counted, Failure> {
    let wrong = |e: Error| Failure::internal(format!("{e}\n{}", fault::flush_words(ctx))).stage("verify");
    let urls: Vec<String> = files.iter().map(|file| format!("file:{}", file.display())).collect();
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", "concat,file");
    let mut input = ffi::open_input(&format!("concat:{}", urls.join("|")), "mov", options).map_err(wrong)?;
    let facts = ffi::facts(&input, 0).ok_or_else(|| wrong(Error::StreamNotFound))?;
    let (mut packets, mut first, mut end) = (0, None::<i64>, 0);
    loop {
        ctx.check()?;
        let mut packet = Packet::empty();
        match packet.read(&mut input) {
            Ok(()) => {}
            Err(Error::Eof) => break,
            Err(e) => return Err(wrong(e)),
        }
        let time = packet.pts().unwrap_or(0);
        packets += 1;
        first = Some(first.map_or(time, |first| first.min(time)));
        end = end.max(time + packet.duration());
        ctx.progress("verify", micros(end, facts.time_base).max(0) as u64 * 1000 / SECOND_US as u64, 0, "ms");
    }
    Ok(Counted { picture: facts.kind == Kind::Video, packets, length_us: micros(end - first.unwrap_or(0), facts.time_base) })
}
