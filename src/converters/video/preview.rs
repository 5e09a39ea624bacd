//! `video.preview`: a small picture of a film: its cover, else a frame, else its sound as a curve.

use crate::convert::{Converter, Ctx, Input, Output, Produced, Spec};
use crate::converters::preview::{self, Options};
use crate::failure::{Code, Failure};
use crate::format::Family;

pub struct Preview;

impl Converter for Preview {
    const SPEC: Spec = Spec {
        id: "video.preview",
        family: Family::Video,
        summary: "A small picture of a film: its cover, else a frame of it.",
        pairs: &[(super::READS, &["preview"])],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let picture = match preview::cover(ctx, input)? {
            Some(picture) => picture,
            None => match preview::drawn(ctx, input, "video.poster", options.boxed()) {
                Err(failure) if failure.code == Code::UnsupportedConversion => preview::curve(ctx, input, options)?,
                frame => frame?,
            },
        };
        preview::finish(ctx, picture, options, output)
    }
}
