//! `audio.preview`: a small picture of a song: its cover, else its sound as a curve.

use crate::convert::{Converter, Ctx, Input, Output, Produced, Spec};
use crate::converters::preview::{self, Options};
use crate::failure::Failure;
use crate::format::Family;

pub struct Preview;

impl Converter for Preview {
    const SPEC: Spec = Spec {
        id: "audio.preview",
        family: Family::Audio,
        summary: "A small picture of a song: its cover, else its sound as a curve.",
        pairs: &[(super::READS, &["preview"])],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let picture = match preview::cover(ctx, input)? {
            Some(picture) => picture,
            None => preview::curve(ctx, input, options)?,
        };
        preview::finish(ctx, picture, options, output)
    }
}
