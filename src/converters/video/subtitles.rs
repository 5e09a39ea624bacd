//! `video.subtitles`: the words of a film as a file of their own, and such files in each other's format.

use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::converters::av::open::{self, Source, is_script};
use crate::converters::av::options::{Track, Trim};
use crate::converters::av::words::{self, are_text};
use crate::converters::charset;
use crate::failure::{Code, Failure};
use crate::format::Family;
use encoding_rs::Encoding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

pub struct Subtitles;

/// Options of `video.subtitles`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Which track of subtitles: its number among them, from 0, or a language as `de`. Default: the one marked as default, else the first
    /// that is text.
    pub track: Option<Track>,
    /// The part to keep; times count from its start. Default: all of it.
    pub trim: Trim,
    /// The character set of a file of subtitles, as `windows-1251`. Default: found out.
    pub encoding: Option<String>,
}

/// No honest file of words is larger.
const SCRIPT_MAX: u64 = 64 << 20;

impl Options {
    fn charset(&self) -> Option<&'static Encoding> {
        self.encoding.as_deref().and_then(|label| Encoding::for_label(label.as_bytes()))
    }
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        if let Some(label) = self.encoding.as_deref().filter(|_| self.charset().is_none()) {
            return Err(OutOfRange::new("encoding", label, "a character set as utf-8, windows-1251 or shift_jis"));
        }
        self.trim.validate()
    }
}

impl Converter for Subtitles {
    const SPEC: Spec = Spec {
        id: "video.subtitles",
        family: Family::Video,
        summary: "Takes subtitles out of films, and converts files of them.",
        pairs: &[(&["mp4", "mov", "mkv", "webm"], &["srt", "vtt", "ass"]), (&["srt", "vtt", "ass"], &["srt", "vtt", "ass"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let mut source = if is_script(input.format) { open::open(ctx, &in_utf8(ctx, input, options)?)? } else { open::open(ctx, input)? };
        let track = track(&source, options)?;
        let made = words::write(ctx, &mut source, track, output.format, options.trim, &output.path())?;
        if made.cues == 0 {
            return Err(nothing("Nothing is said in this part of the subtitles."));
        }
        // Scripts tell hundredths of a second.
        let expect = Expect { duration_ms: Some(made.duration_us as u64 / 1000), duration_tolerance_ms: 20, ..Expect::default() };
        Ok(Produced { warnings: made.warnings, ..Produced::single(output, expect) })
    }
}

fn nothing(message: &str) -> Failure {
    Failure::new(Code::UnsupportedConversion, message).stage("open")
}

/// The track that is asked for.
fn track(source: &Source, options: &Options) -> Result<usize, Failure> {
    let all = source.subtitles();
    let found = match &options.track {
        Some(track) => Some(track.find(&all, "subtitles", "track")?),
        None => all.iter().find(|facts| are_text(&facts.codec)).or(all.first()).copied(),
    };
    let found = found.ok_or_else(|| nothing("There are no subtitles in this film."))?;
    if !are_text(&found.codec) {
        return Err(nothing("These subtitles are pictures, not text.").detail(format!("track {} is {}", found.index + 1, found.codec)));
    }
    Ok(found.index)
}

/// The input, or what it says in UTF-8: decoders take nothing else.
fn in_utf8(ctx: &Ctx, input: &Input, options: &Options) -> Result<Input, Failure> {
    if input.size_bytes > SCRIPT_MAX {
        return Err(Failure::limit(format!("The subtitles are larger than {} MiB.", SCRIPT_MAX >> 20)).stage("open"));
    }
    let unreadable = |e: std::io::Error| Failure::new(Code::InputUnavailable, "The file could not be read.").detail(e).stage("open");
    let bytes = std::fs::read(&input.path).map_err(unreadable)?;
    // A byte order mark outranks all.
    let (text, used, broken) = options.charset().unwrap_or_else(|| charset::guess(&bytes)).decode(&bytes);
    if broken {
        let message = format!("The subtitles are not written in {}.", used.name());
        return Err(Failure::corrupt(message).hint("Give their character set in the option `encoding`.").stage("open"));
    }
    if matches!(text, Cow::Borrowed(_)) && bytes.len() == text.len() {
        return Ok(input.clone());
    }
    let path = ctx.scratch.join("words.txt");
    std::fs::write(&path, text.as_bytes()).map_err(|e| Failure::internal(e).stage("open"))?;
    Ok(Input { path, size_bytes: text.len() as u64, ..input.clone() })
}
