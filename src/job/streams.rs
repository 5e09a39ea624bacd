//! What would become of the streams of a film or song.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Kept as it is.
    Copy,
    /// Decoded, and encoded anew.
    Encode,
}

/// What would become of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedStream {
    /// Its position in the input's `media.streams`, from 0.
    pub stream: usize,
    /// `video`, `audio` or `subtitle`.
    pub kind: String,
    pub codec: String,
    pub treatment: Treatment,
    /// The codec that it has afterwards.
    pub to: String,
    /// In words, as `mp4 does not play vp8`.
    pub why: String,
}

/// What would become of all that an output takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlan {
    pub streams: Vec<PlannedStream>,
    /// What would stay out, in words.
    pub left_out: Vec<String>,
}

/// What is told of one output, at most.
const STREAMS_MAX: usize = 100;
const LEFT_OUT_MAX: usize = 50;

impl StreamPlan {
    /// No longer than a page.
    pub fn tamed(mut self) -> StreamPlan {
        self.streams.truncate(STREAMS_MAX);
        self.left_out.truncate(LEFT_OUT_MAX);
        self
    }
}
