//! Where entries go. The sink works in a thread of its own, so that unpacking and packing overlap.

use super::entry::Entry;
use super::fault;
use crate::failure::Failure;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

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
    /// The entry's data ended, well or badly.
    End(Option<Failure>),
    Finish,
}

/// The near end of a sink in another thread.
pub struct Threaded {
    messages: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<Result<Vec<String>, Failure>>>,
}

impl Threaded {
    pub fn start(sink: Box<dyn Sink>) -> Result<Threaded, Failure> {
        let (messages, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("pack".into()).spawn(move || pack(sink, inbox)).map_err(Failure::internal)?;
        Ok(Threaded { messages: Some(messages), thread: Some(thread) })
    }

    pub fn add(&mut self, entry: Entry, data: &mut dyn Read) -> Result<(), Failure> {
        self.send(Message::Entry(Box::new(entry)))?;
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            match data.take(BLOCK as u64).read_to_end(&mut block) {
                Ok(0) => return self.send(Message::End(None)),
                Ok(_) => self.send(Message::Data(block))?,
                Err(e) => {
                    let failure = fault::reading(e, None);
                    self.send(Message::End(Some(failure.clone())))?;
                    return Err(failure);
                }
            }
        }
    }

    /// Ends the archive; returns the warnings.
    pub fn finish(mut self) -> Result<Vec<String>, Failure> {
        self.send(Message::Finish)?;
        self.join()
    }

    /// A closed channel means that the sink has failed; its reason is the one that counts.
    fn send(&mut self, message: Message) -> Result<(), Failure> {
        let sent = self.messages.as_ref().is_some_and(|m| m.send(message).is_ok());
        if sent { Ok(()) } else { Err(self.join().err().unwrap_or_else(|| Failure::internal("the packing thread is gone"))) }
    }

    fn join(&mut self) -> Result<Vec<String>, Failure> {
        self.messages = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(Failure::internal("the packing thread is gone")),
        }
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
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
                Ok(Message::End(None)) => self.ended = true,
                Ok(Message::End(Some(failure))) => return Err(fault::wrap(failure)),
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
