//! `video.join`: a film of its parts, as several jobs have encoded them.

use super::part::JOINED;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::converters::av::containers::container;
use crate::converters::av::open;
use crate::converters::av::options::{Metadata, PARTS_MAX};
use crate::converters::av::splice::{self, Binding, Piece};
use crate::converters::zipped::{self, Members};
use crate::failure::{Code, Failure};
use crate::format::{self, Family, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Join;

/// Options of `video.join`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Puts the index of an mp4 or mov in front, so that it plays while it loads. Default: true.
    pub faststart: Option<bool>,
    /// What happens to titles, dates, places and chapters that the rest of the film still has. Default: keep.
    pub metadata: Metadata,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

impl Converter for Join {
    const SPEC: Spec = Spec {
        id: "video.join",
        family: Family::Video,
        summary: "Makes a film of its parts in a zip, as `part` of `video.transcode` has made them; nothing is encoded again.",
        pairs: &[(&["zip"], JOINED)],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let container = container(output.format).ok_or_else(|| Failure::internal("no such container"))?;
        let to = output.format.id();
        let is_part = |sample: &Sample| format::sniff(sample).filter(|format| JOINED.contains(&format.id()));
        let Members { taken, left } = zipped::members(ctx, input, &is_part)?;
        if taken.len() > usize::from(PARTS_MAX) + 1 {
            return Err(Failure::limit(format!("A film has at most {PARTS_MAX} parts.")).stage("open"));
        }
        let (mut pieces, mut rests) = (Vec::new(), Vec::new());
        for file in taken {
            ctx.check()?;
            let source = open::open(ctx, &file).map_err(|failure| Failure { message: format!("{}: {}", file.name, failure.message), ..failure })?;
            if file.format != output.format {
                let message = format!("`{}` is {}: parts made for {to} become {to}.", file.name, file.format);
                return Err(Failure::new(Code::UnsupportedConversion, message).stage("open"));
            }
            match Piece::of(&source, &file) {
                Some(piece) => pieces.push(piece),
                None => rests.push(file),
            }
        }
        pieces.sort_by_key(|piece| piece.mark.number);
        check(&pieces)?;
        let mut rest = match rests.as_slice() {
            [rest] => open::open(ctx, rest)?,
            [] => return Err(incomplete("The rest of the film is missing: what `part` makes as `rest`.".into())),
            several => return Err(incomplete(format!("{} files are no part of the film; one is its rest.", several.len()))),
        };
        let binding = Binding { container, metadata: options.metadata, faststart: options.faststart.unwrap_or(true), path: &output.path() };
        let joined = splice::join(ctx, &pieces, &mut rest, &binding)?;
        let (width, height) = pieces.first().map(Piece::size).unzip();
        let expect = Expect {
            duration_ms: Some(joined.duration_us.max(0) as u64 / 1000),
            duration_tolerance_ms: 200 + joined.duration_us.max(0) as u64 / 1_000_000,
            frames: matches!(to, "mp4" | "mov").then_some(joined.pictures),
            width,
            height,
            ..Expect::default()
        };
        let mut produced = Produced::single(output, expect);
        produced.warnings.extend(left.iter().map(|name| format!("`{name}` is no film and was left out.")));
        Ok(produced)
    }
}

fn incomplete(message: String) -> Failure {
    Failure::corrupt(message).stage("open")
}

/// Whether these are all parts of one film, each once, which go on where the one before ends.
fn check(pieces: &[Piece]) -> Result<(), Failure> {
    let Some(first) = pieces.first() else { return Err(incomplete("There is no part of a film in the zip.".into())) };
    let of = first.mark.of;
    if let Some(other) = pieces.iter().find(|piece| piece.mark.of != of) {
        return Err(incomplete(format!("Some parts are of {of}, others of {}.", other.mark.of)));
    }
    for number in 1..=of {
        match pieces.iter().filter(|piece| piece.mark.number == number).count() {
            0 => return Err(incomplete(format!("Part {number} of {of} is missing."))),
            1 => {}
            times => return Err(incomplete(format!("Part {number} of {of} is there {times} times."))),
        }
    }
    for pair in pieces.windows(2) {
        let [one, next] = pair else { continue };
        let (n, m) = (one.mark.number, next.mark.number);
        if one.mark.to.is_none() || one.mark.to != next.mark.from {
            return Err(incomplete(format!("Part {m} does not begin where part {n} ends: they are of different films.")));
        }
        if let Some(what) = next.unlike(one) {
            return Err(incomplete(format!("Parts {n} and {m} differ in the {what} of their pictures."))
                .hint("Make all parts with the same options, on the same version."));
        }
    }
    Ok(())
}
