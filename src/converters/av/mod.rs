//! What the video and audio families share: FFmpeg within this process.
//!
//! One conversion: [`open`] demuxes the file by the demuxer of its sniffed format, [`plan`] decides for each stream whether
//! it is copied or encoded, [`film`] moves packets and frames through one [`lane`] per stream into the [`mux`].

mod bitrates;
pub mod codecs;
pub mod containers;
pub mod decode;
mod disclosed;
pub mod drawing;
pub mod ear;
mod encoding;
pub mod eye;
pub mod fault;
mod ffi;
pub mod film;
pub mod geometry;
pub mod graph;
mod in_order;
pub mod lane;
pub mod lane_audio;
pub mod lane_copy;
pub mod lane_video;
pub mod lane_words;
mod lanes;
pub mod look;
pub mod mark;
pub mod mux;
pub mod open;
pub mod options;
pub mod parts;
pub mod passes;
pub mod plan;
mod plan_words;
pub mod probe;
pub mod pump;
pub mod shaping;
pub mod splice;
pub mod still;
pub mod stretch;
pub mod survey;
pub mod units;
pub mod warm;
pub mod words;

pub use ffi::Facts;

/// Microseconds in a second: the unit of every time here that is not in a stream's own time base.
pub const SECOND_US: i64 = 1_000_000;
