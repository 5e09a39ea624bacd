//! FFmpeg's errors in words for people.

use super::ffi;
use crate::convert::{Ctx, Input, Level};
use crate::failure::{Code, Failure};
use ffmpeg_next::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Moves what FFmpeg has said into the job's log; the last lines come back for the failure's detail.
pub fn flush_words(ctx: &Ctx) -> String {
    let words = ffi::take_words();
    for line in &words {
        ctx.log(Level::Warn, format!("ffmpeg: {line}"));
    }
    words[words.len().saturating_sub(6)..].join("\n")
}

fn detailed(ctx: &Ctx, failure: Failure, error: Error) -> Failure {
    let words = flush_words(ctx);
    failure.detail(if words.is_empty() { error.to_string() } else { format!("{error}\n{words}") })
}

/// Why a file could not be opened.
pub fn opening(ctx: &Ctx, input: &Input, error: Error) -> Failure {
    let failure = match error {
        Error::Other { errno: libc::ENOMEM } => out_of_memory(),
        Error::DecoderNotFound | Error::DemuxerNotFound => {
            Failure::new(Code::UnsupportedFormat, format!("This kind of {} file cannot be read.", input.format.name()))
        }
        // Some demuxers say EIO where the file merely ends too soon.
        Error::Other { errno: libc::EIO } if has_end(input) => damaged(input),
        Error::Other { errno: libc::EACCES | libc::ENOENT | libc::EIO } => Failure::new(Code::InputUnavailable, "The file could not be read."),
        _ => damaged(input),
    };
    detailed(ctx, failure, error).stage("open")
}

/// A file of which only a part is there.
pub fn broken(message: String) -> Failure {
    Failure::corrupt(message).hint("Set `salvage` of video.transcode or audio.transcode to keep what is there.")
}

fn damaged(input: &Input) -> Failure {
    Failure::corrupt(format!("The file is not a readable {} file; it is damaged or incomplete.", input.format.name()))
}

/// Whether the last byte can be read.
fn has_end(input: &Input) -> bool {
    File::open(&input.path).and_then(|file| file.read_exact_at(&mut [0], input.size_bytes.saturating_sub(1))).is_ok()
}

/// Why a stream could not be decoded.
pub fn decoding(ctx: &Ctx, error: Error, at_us: Option<i64>) -> Failure {
    let failure = match (error, at_us) {
        (Error::Other { errno: libc::ENOMEM }, _) => out_of_memory(),
        (Error::DecoderNotFound | Error::PatchWelcome, _) => {
            Failure::new(Code::UnsupportedFormat, "The file uses a codec that cannot be decoded here.")
        }
        (_, Some(us)) => Failure::corrupt(format!("The file is damaged at {}.", clock(us))),
        _ => Failure::corrupt("The file's content cannot be decoded."),
    };
    detailed(ctx, failure, error).stage("decode")
}

/// Why the result could not be made.
pub fn encoding(ctx: &Ctx, error: Error) -> Failure {
    let failure = match error {
        Error::Other { errno: libc::ENOMEM } => out_of_memory(),
        Error::Other { errno: libc::EFBIG } => Failure::limit("The result would be larger than a file may be."),
        Error::Other { errno: libc::ENOSPC } => Failure::internal("no space left for the result"),
        _ => Failure::new(Code::ToolFailed, "The result could not be written with these settings."),
    };
    detailed(ctx, failure, error).stage("encode")
}

fn out_of_memory() -> Failure {
    Failure::new(Code::OutOfMemory, "The conversion needs more memory than it may use.")
}

/// A place in a film for people: `1:02:03.5`.
pub fn clock(us: i64) -> String {
    let tenths = us.max(0) / 100_000;
    let (hours, minutes, seconds, tenth) = (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60, tenths % 10);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}.{tenth}") } else { format!("{minutes}:{seconds:02}.{tenth}") }
}

/// Nothing to do now: more input is wanted first.
pub fn again(error: Error) -> bool {
    error == Error::Other { errno: libc::EAGAIN }
}
