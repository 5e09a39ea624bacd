//! `document.preview`: the first page, slide or printed sheet, small.

use crate::convert::{Converter, Ctx, Input, Output, Produced, Spec};
use crate::converters::preview::{self, Options};
use crate::failure::Failure;
use crate::format::Family;
use serde_json::json;

pub struct Preview;

impl Converter for Preview {
    const SPEC: Spec = Spec {
        id: "document.preview",
        family: Family::Document,
        summary: "The first page, slide or printed sheet of a document, small.",
        pairs: &[(
            &["pdf", "docx", "doc", "odt", "rtf", "txt", "html", "md", "epub", "xlsx", "xls", "ods", "csv", "tsv", "pptx", "ppt", "odp", "odg"],
            &["preview"],
        )],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        // Notes and books have pages only once they are printed.
        let printer = match input.format.id() {
            "md" => Some("document.markdown"),
            "epub" => Some("document.epub"),
            _ => None,
        };
        let paged = printer.map_or_else(|| Ok(input.clone()), |printer| preview::printed(ctx, input, printer))?;
        let pages = if paged.format.id() == "pdf" { "document.pdf_pages" } else { "document.office_pages" };
        preview::finish(ctx, preview::drawn(ctx, &paged, pages, json!({"pages": "1"}))?, options, output)
    }
}
