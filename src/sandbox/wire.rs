//! What the launcher, a zygote and its children say to each other.
//!
//! Launcher, fork server and zygote: one JSON object a datagram (`SOCK_SEQPACKET`), with at most one descriptor.
//! Launcher and child: a stream of frames, each a little-endian u32 length and that many bytes of JSON. The launcher's first
//! frame is the order; any byte after it means stop.

use super::{End, Exit, Report};
use crate::convert::ProducedFile;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest frame a child may send.
pub const FRAME_MAX: usize = 64 * 1024;
/// Files named in one [`Said::Files`] frame.
pub const FILES_PER_FRAME: usize = 64;
const DATAGRAM_MAX: usize = 16 * 1024;

/// Launcher to fork server, with the zygote's end of its socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct Birth {
    pub which: crate::convert::Zygote,
    /// A folder of its own for what its libraries write.
    pub home: std::path::PathBuf,
}

/// Launcher to zygote, with the child's end of its report stream.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    pub id: u64,
}

/// Zygote to launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It was forked and begins to warm up; said for it by the fork server. Carries the pidfd of the process that was forked.
    Born,
    /// Warm, and this is what its children's jail was measured to be. Carries its pidfd: it may be another than the process
    /// that was started.
    Ready(super::probe::Measured),
    /// It cannot serve; it ends after this.
    Unfit(String),
    /// Carries the child's pidfd.
    Launched {
        id: u64,
        /// What the zygote itself holds in memory.
        memory_bytes: u64,
    },
    Refused {
        id: u64,
        reason: String,
    },
    Exited {
        id: u64,
        exit: Exit,
    },
}

/// Child to launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    Report(Report),
    /// Part of the file list of an output whose [`Report::Output`] follows.
    Files {
        output: usize,
        files: Vec<ProducedFile>,
    },
}

impl Exit {
    /// The end of a child that nobody was left to reap.
    pub(super) fn lost(sandbox_level: u8) -> Exit {
        Exit { end: End::ZygoteLost, cpu_ms: 0, memory_peak_bytes: 0, scratch_peak_bytes: 0, sandbox_level }
    }
}

/// Sends one datagram.
pub fn send<T: Serialize>(socket: BorrowedFd, message: &T, fd: Option<BorrowedFd>) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let fds: Vec<BorrowedFd> = fd.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&body)], &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one datagram; none at the end of the stream.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut body = vec![0; DATAGRAM_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::io::retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut body)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let fd = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .next();
    if got.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(body.get(..got.bytes).unwrap_or_default())?, fd)))
}

/// A frame, ready to be written.
pub fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let len = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    if let Some(head) = bytes.get_mut(..4) {
        head.copy_from_slice(&len.to_le_bytes());
    }
    Ok(bytes)
}

/// Takes the first whole frame out of `buffer`; an error when it is too long or not what it should be.
pub fn next_frame<T: DeserializeOwned>(buffer: &mut bytes::BytesMut, max: usize) -> io::Result<Option<T>> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*head) as usize;
    if len > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
    }
    if buffer.len() < 4 + len {
        return Ok(None);
    }
    let whole = buffer.split_to(4 + len);
    Ok(Some(serde_json::from_slice(whole.get(4..).unwrap_or_default())?))
}

/// A connected pair of datagram sockets that keep message boundaries and tell when the other end is gone.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Whether reading from here would not block, waiting at most `timeout_ms` (-1: for ever).
pub fn readable<F: AsFd>(fds: &[F], timeout_ms: i32) -> io::Result<Vec<bool>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled: Vec<PollFd> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = (timeout_ms >= 0).then(|| Timespec { tv_sec: i64::from(timeout_ms) / 1000, tv_nsec: i64::from(timeout_ms) % 1000 * 1_000_000 });
    rustix::io::retry_on_intr(|| poll(&mut polled, timeout.as_ref()))?;
    Ok(polled.iter().map(|p| !p.revents().is_empty()).collect())
}
