//! Subtitles that are text: their codecs, and a film's own as a script to draw from.

use super::containers::container;
use super::drawing::Drawing;
use super::film::{self, Made, Order};
use super::open::Source;
use super::options::{AudioOptions, Metadata, Tags, Trim};
use super::plan::{Fate, Planned};
use super::shaping::Shaping;
use crate::convert::Ctx;
use crate::failure::Failure;
use crate::format::Format;
use std::path::{Path, PathBuf};

/// FFmpeg's names of the codecs that are text and that it reads.
const TEXT: [&str; 6] = ["subrip", "ass", "webvtt", "mov_text", "text", "ssa"];

/// Codecs of subtitles that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    Subrip,
    Webvtt,
    Ass,
    MovText,
}

impl Words {
    pub const ALL: [Words; 4] = [Words::Subrip, Words::Webvtt, Words::Ass, Words::MovText];

    /// FFmpeg's name of the codec, and of its encoder too.
    pub fn encoder(self) -> &'static str {
        match self {
            Words::Subrip => "subrip",
            Words::Webvtt => "webvtt",
            Words::Ass => "ass",
            Words::MovText => "mov_text",
        }
    }

    /// The codec of this name.
    pub fn of(codec: &str) -> Option<Words> {
        Words::ALL.into_iter().find(|words| words.encoder() == codec)
    }
}

/// Whether subtitles of this codec are text; the others are pictures.
pub fn are_text(codec: &str) -> bool {
    TEXT.contains(&codec)
}

/// Writes what track `index` says as a file of its own, in the times of the result.
pub fn write(ctx: &Ctx, source: &mut Source, index: usize, to: Format, trim: Trim, path: &Path) -> Result<Made, Failure> {
    let container = container(to).ok_or_else(|| Failure::internal("no such container"))?;
    let words = container.words.ok_or_else(|| Failure::internal("a container without words"))?;
    let order = Order {
        container,
        streams: vec![Planned { index, fate: Fate::Words(words), why: format!("{} was asked for", to.name()) }],
        rungs: Vec::new(),
        audio: &AudioOptions::default(),
        quality: None,
        shaping: &Shaping::default(),
        drawing: &Drawing::default(),
        trim,
        metadata: Metadata::Strip,
        tags: &Tags::default(),
        covers: Vec::new(),
        faststart: false,
        settings: Vec::new(),
        pass: None,
        stretch: None,
    };
    film::make(ctx, source, &order, path)
}

/// Writes them into a script of ours, to be drawn into the picture; none when nothing is said in this part.
pub fn script(ctx: &Ctx, source: &Source, index: usize, trim: Trim) -> Result<Option<PathBuf>, Failure> {
    let (ass, path) = (Format::parse("ass").ok_or_else(|| Failure::internal("no ass"))?, ctx.scratch.join("words.ass"));
    let made = write(ctx, &mut source.again(ctx)?, index, ass, trim, &path)?;
    Ok((made.cues > 0).then_some(path))
}
