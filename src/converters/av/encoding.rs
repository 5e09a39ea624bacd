//! A video encoder at work beside the decoder and the filters: while it is busy with one picture, the next is made ready.

use super::{fault, ffi};
use ffmpeg_next::{Error, Packet, encoder, frame};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Pictures that may wait for the encoder: enough to even out slow ones, few enough to hold in memory.
const AHEAD: usize = 4;

pub struct Encoding {
    frames: Option<SyncSender<frame::Video>>,
    packets: Receiver<Result<Packet, Error>>,
    thread: Option<JoinHandle<()>>,
}

impl Encoding {
    /// `notes`: where what it says to a second pass is kept.
    pub fn start(encoder: encoder::video::Encoder, notes: Option<PathBuf>) -> io::Result<Encoding> {
        let ((frames, waiting), (done, packets)) = (sync_channel(AHEAD), channel());
        let thread = Builder::new().name("encode".into()).spawn(move || {
            if let Err(error) = work(encoder, &waiting, &done, notes) {
                // Unread, the lane has given up already.
                let _ = done.send(Err(error));
            }
        })?;
        Ok(Encoding { frames: Some(frames), packets, thread: Some(thread) })
    }

    /// Hands a picture over, waiting while too many do. When the encoder has failed, its error is among the packets.
    pub fn send(&self, frame: frame::Video) {
        if let Some(frames) = &self.frames {
            let _ = frames.send(frame);
        }
    }

    /// A packet, if one is ready.
    pub fn ready(&self) -> Option<Result<Packet, Error>> {
        self.packets.try_recv().ok()
    }

    /// After the last picture: the next of the packets still to come.
    pub fn rest(&mut self) -> Option<Result<Packet, Error>> {
        self.frames = None;
        if let Ok(packet) = self.packets.recv() {
            return Some(packet);
        }
        let broken = self.thread.take().is_some_and(|thread| thread.join().is_err());
        broken.then_some(Err(Error::Bug))
    }
}

fn work(
    mut encoder: encoder::video::Encoder,
    frames: &Receiver<frame::Video>,
    packets: &Sender<Result<Packet, Error>>,
    notes: Option<PathBuf>,
) -> Result<(), Error> {
    let mut any = false;
    for frame in frames {
        encoder.send_frame(&frame)?;
        any = true;
        take(&mut encoder, packets)?;
    }
    if any {
        encoder.send_eof()?;
        take(&mut encoder, packets)?;
    }
    if let (Some(path), Some(notes)) = (notes, ffi::notes(&encoder)) {
        std::fs::write(path, notes).map_err(|e| Error::Other { errno: e.raw_os_error().unwrap_or(libc::EIO) })?;
    }
    Ok(())
}

/// Passes on all packets the encoder has.
fn take(encoder: &mut encoder::video::Encoder, packets: &Sender<Result<Packet, Error>>) -> Result<(), Error> {
    loop {
        let mut packet = Packet::empty();
        match encoder.receive_packet(&mut packet) {
            Ok(()) => drop(packets.send(Ok(packet))),
            Err(e) if fault::again(e) || e == Error::Eof => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}
