//! One stream's way from packets to packets.

use super::fault;
use super::lane_audio::AudioLane;
use super::lane_copy::CopyLane;
use super::lane_video::VideoLane;
use super::lane_words::WordsLane;
use super::mux::Mux;
use crate::convert::Ctx;
use crate::failure::Failure;
use ffmpeg_next::{Error, Packet, Rational, Rescale};

/// The part of the source that is wanted, as every lane sees it.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// What is taken off every time of the source: its own start, and what is cut away.
    pub shift_us: i64,
    /// Whether frames before the start of the window are to be dropped.
    pub cut: bool,
    pub length_us: Option<i64>,
    /// No frame of an honest file is later than this; one that says so would be preceded by hours of stillness.
    pub latest_us: i64,
}

impl Window {
    /// The shift in a stream's own clock.
    pub fn shift(&self, clock: Rational) -> i64 {
        self.shift_us.rescale((1, 1_000_000), clock)
    }

    pub fn absurd(&self, us: i64) -> bool {
        us > self.latest_us
    }

    /// A time, or the end of the window when that comes first.
    pub fn within(&self, us: i64) -> i64 {
        self.length_us.map_or(us, |length| us.min(length))
    }

    pub fn over(&self, us: i64) -> bool {
        self.length_us.is_some_and(|length| us >= length)
    }
}

/// What came of a stream.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Where its last frame ends, in the result's time.
    pub end_us: i64,
    /// How far the source was read, from the start of the window; filters may have made more or less of it.
    pub read_us: i64,
    pub packets: u64,
    pub frames: u64,
    /// Pictures given to the encoder, and where the last of them ends.
    pub encoded: u64,
    pub encoded_end_us: i64,
    pub errors: u64,
    pub first_error_us: Option<i64>,
}

impl Tally {
    /// A packet went into a decoder; one it cannot take is passed over.
    pub fn sent(&mut self, ctx: &Ctx, outcome: Result<(), Error>) -> Result<(), Failure> {
        self.packets += 1;
        match outcome {
            Ok(()) => Ok(()),
            Err(e @ Error::Other { errno: libc::ENOMEM }) => Err(fault::decoding(ctx, e, None)),
            Err(_) => {
                self.error();
                Ok(())
            }
        }
    }

    pub fn error(&mut self) {
        self.errors += 1;
        self.first_error_us.get_or_insert(self.read_us);
    }
}

pub enum Lane {
    Copy(CopyLane),
    Video(Box<VideoLane>),
    Audio(Box<AudioLane>),
    Words(Box<WordsLane>),
}

impl Lane {
    pub fn feed(&mut self, ctx: &Ctx, packet: &mut Packet, mux: &mut Mux) -> Result<(), Failure> {
        match self {
            Lane::Copy(lane) => lane.feed(ctx, packet, mux),
            Lane::Video(lane) => lane.feed(ctx, packet, mux),
            Lane::Audio(lane) => lane.feed(ctx, packet, mux),
            Lane::Words(lane) => lane.feed(ctx, packet, mux),
        }
    }

    /// The source has ended, or the window has.
    pub fn finish(&mut self, ctx: &Ctx, mux: &mut Mux) -> Result<(), Failure> {
        match self {
            Lane::Copy(_) | Lane::Words(_) => Ok(()),
            Lane::Video(lane) => lane.finish(ctx, mux),
            Lane::Audio(lane) => lane.finish(ctx, mux),
        }
    }

    /// Nothing more is wanted of the source.
    pub fn done(&self) -> bool {
        match self {
            Lane::Copy(lane) => lane.done,
            Lane::Video(lane) => lane.done(),
            Lane::Audio(lane) => lane.done(),
            Lane::Words(lane) => lane.done,
        }
    }

    pub fn tally(&self) -> &Tally {
        match self {
            Lane::Copy(lane) => &lane.tally,
            Lane::Video(lane) => lane.tally(),
            Lane::Audio(lane) => lane.tally(),
            Lane::Words(lane) => &lane.tally,
        }
    }
}

/// A time of `clock` in microseconds.
pub fn micros(time: i64, clock: Rational) -> i64 {
    time.rescale(clock, (1, 1_000_000))
}
