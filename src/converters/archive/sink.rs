//! Where entries go. The sink works in a thread of its own, so that unpacking and packing overlap.

use super::entry::Entry;
use super::fault;
use crate::convert::Ctx;
use crate::failure::Failure;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// An archive being written.
pub trait Sink: Send {
    /// Adds an entry, reading its data to the end; returns a warning when something of it was lost.
    fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<Option<String>, Failure>;
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

const BLOCK: usize = 128 << 10;
/// Blocks on their way; with the size of one this bounds the memory of the hand-over.
const QUEUE: usize = 16;

enum Message {
    Entry(Box<Entry>),
    Data(Vec<u8>),
    /// The entry's data ended well.
    End,
    Finish,
}

/// Between two looks at whether the sink has room, or is done: next to nothing beside the time a block takes to pack.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The near end of a sink in another thread. A sink may be busy with a block for many seconds, and even its drop may: the near
/// end heeds a stop all the same and leaves the thread to end with its process.
pub struct Threaded<'a> {
    ctx: &'a Ctx<'a>,
    messages: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<Result<Vec<String>, Failure>>>,
}

impl<'a> Threaded<'a> {
    pub fn start(ctx: &'a Ctx<'a>, sink: Box<dyn Sink>) -> Result<Threaded<'a>, Failure> {
        let (messages, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("pack".into()).spawn(move || pack(sink, inbox)).map_err(Failure::internal)?;
        Ok(Threaded { ctx, messages: Some(messages), thread: Some(thread) })
    }

    pub fn add(&mut self, entry: Entry, data: &mut dyn Read) -> Result<(), Failure> {
        self.send(Message::Entry(Box::new(entry)))?;
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            match data.take(BLOCK as u64).read_to_end(&mut block) {
                Ok(0) => return self.send(Message::End),
                Ok(_) => self.send(Message::Data(block))?,
                Err(e) => return Err(fault::reading(e, None)),
            }
        }
    }

    /// Ends the archive; returns the warnings.
    pub fn finish(mut self) -> Result<Vec<String>, Failure> {
        self.send(Message::Finish)?;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            self.ctx.check()?;
            std::thread::sleep(LOOK_AGAIN);
        }
        self.join()
    }

    /// A closed channel means that the sink has failed; its reason is the one that counts.
    fn send(&mut self, mut message: Message) -> Result<(), Failure> {
        while let Some(messages) = &self.messages {
            match messages.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(back)) => message = back,
                Err(TrySendError::Disconnected(_)) => break,
            }
            self.ctx.check()?;
            std::thread::sleep(LOOK_AGAIN);
        }
        Err(self.join().err().unwrap_or_else(|| Failure::internal("the packing thread is gone")))
    }

    fn join(&mut self) -> Result<Vec<String>, Failure> {
        self.messages = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(Failure::internal("the packing thread is gone")),
        }
    }
}

fn pack(mut sink: Box<dyn Sink>, inbox: Receiver<Message>) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    loop {
        match inbox.recv() {
            Ok(Message::Entry(entry)) => {
                let mut data = Incoming { inbox: &inbox, block: Vec::new(), at: 0, ended: false };
                warnings.extend(sink.add(&entry, &mut data)?);
                io::copy(&mut data, &mut io::sink()).map_err(fault::writing)?;
            }
            Ok(Message::Finish) => return sink.finish().map(|()| warnings),
            Ok(_) => {}
            // The near end gave up; what has been written so far goes with the attempt.
            Err(_) => return Err(Failure::internal("the archive was not finished")),
        }
    }
}

/// An entry's data as it comes out of the channel.
struct Incoming<'a> {
    inbox: &'a Receiver<Message>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() && !self.ended {
            match self.inbox.recv() {
                Ok(Message::Data(block)) => (self.block, self.at) = (block, 0),
                Ok(Message::End) => self.ended = true,
                _ => return Err(fault::wrap(Failure::internal("the entry was not finished"))),
            }
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..read), rest.get(..read)) {
            to.copy_from_slice(from);
        }
        self.at += read;
        Ok(read)
    }
}
