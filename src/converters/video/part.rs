//! `part` of `video.transcode`: what a film's parts can be made with, and what each of them is.

use super::transcode::Options;
use crate::convert::{Ctx, Expect, OutOfRange, Output};
use crate::converters::av::containers::Container;
use crate::converters::av::film::Made;
use crate::converters::av::mark::Mark;
use crate::converters::av::open::Source;
use crate::converters::av::options::{Copying, Part, Tags, VideoCodec};
use crate::converters::av::stretch::{self, Stretch};
use crate::failure::{Code, Failure};

/// Containers that parts are joined in.
pub const JOINED: &[&str] = &["mp4", "mov", "mkv", "webm"];

/// Refuses what is found out from the whole film, or cannot be joined.
pub fn validate(options: &Options) -> Result<(), OutOfRange> {
    if options.part.is_none() {
        return Ok(());
    }
    let trimmed = options.trim.start.is_some() || options.trim.end.is_some() || options.trim.duration.is_some();
    let wrong = [
        ("target_size", options.target_size.is_some(), "none with a part: the size of the whole would have to be known"),
        ("video.passes", options.video.takes_two(), "1 with a part: the first of two has to see the whole film"),
        ("trim", trimmed, "none with a part: cut the film before, or after its parts are joined"),
        ("salvage", options.salvage, "false with a part: mend the film before"),
        ("copy", options.copy == Copying::Always, "auto or never with a part: its pictures are encoded"),
        ("video.codec", options.video.codec == Some(VideoCodec::Copy), "a codec to encode to, with a part"),
    ];
    let found = wrong.into_iter().find(|(_, is, _)| *is);
    found.map_or(Ok(()), |(field, _, allowed)| Err(OutOfRange::new(field, "with a part", allowed)))
}

/// Parts are joined in some containers alone.
pub fn check(part: Option<Part>, container: &Container) -> Result<(), Failure> {
    if part.is_none() || JOINED.contains(&container.id) {
        return Ok(());
    }
    let message = format!("`part`: those of {} cannot be joined; those of {} can.", container.id, JOINED.join(", "));
    Err(Failure::new(Code::InvalidOption, message).stage("open"))
}

/// What of the pictures a part takes.
pub fn stretch(ctx: &Ctx, source: &Source, index: usize, part: Part) -> Result<Stretch, Failure> {
    match part {
        Part::Rest => Ok(Stretch::First),
        Part::Pictures { number, of } => stretch::cut(ctx, source, index, number, of),
    }
}

/// Whether it has nothing but pictures.
pub fn is_pictures(part: Option<Part>) -> bool {
    matches!(part, Some(Part::Pictures { .. }))
}

/// Whether the picture may be copied: that of parts has to be all of one encoder's.
pub fn copying(options: &Options) -> Copying {
    if options.part.is_some() { Copying::Never } else { options.copy }
}

/// What the part says of itself, for the one who joins it.
pub fn tags(part: Option<Part>, stretch: Option<Stretch>, given: &Tags) -> Tags {
    match (part, stretch) {
        (Some(Part::Pictures { number, of }), Some(stretch)) => Tags { comment: Some(Mark::new(number, of, stretch).to_string()), ..Tags::default() },
        _ => given.clone(),
    }
}

/// Every picture of a part is counted, where its container counts them.
pub fn expect(part: Option<Part>, made: &Made, output: &Output, expect: Expect) -> Result<Expect, Failure> {
    let Some(Part::Pictures { number, of }) = part else { return Ok(expect) };
    if made.encoded == 0 {
        let message = format!("`part`: there is no picture in part {number} of {of}; ask for fewer parts.");
        return Err(Failure::new(Code::InvalidOption, message).stage("encode"));
    }
    let counts = matches!(output.format.id(), "mp4" | "mov");
    Ok(Expect { frames: counts.then_some(made.encoded), ..expect })
}
