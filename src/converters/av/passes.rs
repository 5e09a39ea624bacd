//! Two passes: the first writes down where a film is difficult, the second spends its bits there.

use super::ffi;
use super::options::VideoCodec;
use ffmpeg_next::{Dictionary, Error, codec};
use std::path::{Path, PathBuf};

/// Which of the two, and where the notes are.
#[derive(Debug, Clone)]
pub enum Pass {
    First(PathBuf),
    Second(PathBuf),
}

impl VideoCodec {
    /// Whether its encoder can take notes for a second pass.
    pub fn takes_notes(self) -> bool {
        matches!(self, VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Vp8 | VideoCodec::Vp9)
    }
}

impl Pass {
    pub fn is_first(&self) -> bool {
        matches!(self, Pass::First(_))
    }

    fn notes(&self) -> &Path {
        let (Pass::First(path) | Pass::Second(path)) = self;
        path
    }

    /// The encoder's settings, beside those it has.
    pub fn settings(&self, codec: VideoCodec, set: &mut Dictionary) {
        let (number, path) = (if self.is_first() { 1 } else { 2 }, self.notes().to_string_lossy());
        if codec == VideoCodec::Hevc {
            let own = set.get("x265-params").map(|own| format!("{own}:")).unwrap_or_default();
            let escaped: String = path.chars().flat_map(|c| "\\':".contains(c).then_some('\\').into_iter().chain([c])).collect();
            set.set("x265-params", &format!("{own}pass={number}:stats={escaped}"));
            return;
        }
        set.set("flags", &format!("+pass{number}"));
        if codec == VideoCodec::H264 {
            set.set("stats", &path);
        }
    }

    /// Hands the notes to an encoder that keeps none of its own.
    pub fn prepare(&self, codec: VideoCodec, context: &mut codec::Context) -> Result<(), Error> {
        if self.is_first() || !keeps_none(codec) {
            return Ok(());
        }
        let notes = std::fs::read_to_string(self.notes()).map_err(|_| Error::InvalidData)?;
        ffi::set_notes(context, &notes)
    }

    /// Where to put what such an encoder says at its end.
    pub fn to_keep(&self, codec: VideoCodec) -> Option<PathBuf> {
        (self.is_first() && keeps_none(codec)).then(|| self.notes().to_owned())
    }
}

/// Whether the encoder leaves its notes to us instead of writing a file.
fn keeps_none(codec: VideoCodec) -> bool {
    matches!(codec, VideoCodec::Vp8 | VideoCodec::Vp9)
}
