//! `image.preview`: the picture itself, small; the first one of several.

use crate::convert::{Converter, Ctx, Input, Output, Produced, Spec};
use crate::converters::preview::{self, Options};
use crate::failure::Failure;
use crate::format::Family;

pub struct Preview;

impl Converter for Preview {
    const SPEC: Spec = Spec {
        id: "image.preview",
        family: Family::Image,
        summary: "A small version of a picture; the first one of several.",
        pairs: &[(super::READS, &["preview"])],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let picture = preview::drawn(ctx, input, "image.transcode", options.boxed())?;
        preview::finish(ctx, picture, options, output)
    }
}
