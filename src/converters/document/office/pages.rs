//! Pictures of the pages of office documents: through a pdf that nobody sees.

use super::{Options as OfficeOptions, SHEETS, SLIDES, TEXTS};
use crate::convert::{Converter, Ctx, Input, Output, Produced, Spec};
use crate::converters::document::{fonts, pdf};
use crate::failure::Failure;
use crate::format::{Family, Format};

/// Draws the pages of office documents, one file each.
pub struct OfficePages;

impl Converter for OfficePages {
    const SPEC: Spec = Spec {
        id: "document.office_pages",
        family: Family::Document,
        summary: "A picture of each page, slide or printed sheet of an office document.",
        pairs: &[
            (TEXTS, &["png", "jpeg", "webp"]),
            (SHEETS, &["png", "jpeg", "webp"]),
            (SLIDES, &["png", "jpeg", "webp"]),
            (&["odg"], &["png", "jpeg", "webp"]),
        ],
    };
    type Options = pdf::PageOptions;

    fn convert(ctx: &Ctx, input: &Input, options: &pdf::PageOptions, output: &Output) -> Result<Produced, Failure> {
        let path = ctx.scratch.join("pages.pdf");
        let office = OfficeOptions { password: options.password.clone(), ..OfficeOptions::default() };
        super::write(ctx, input, &super::source_of(ctx, input, &office)?, &office, "pdf", &path)?;
        let size_bytes = path.metadata().map_err(Failure::internal)?.len();
        let printed = Input { path, format: Format::parse("pdf").unwrap_or(input.format), name: input.name.clone(), size_bytes };
        let pdf = pdf::open(ctx, &printed, None)?;
        let mut produced = pdf::draw(ctx, &pdf, options, output)?;
        produced.warnings.extend(fonts::warnings(input, &pdf));
        Ok(produced)
    }
}
