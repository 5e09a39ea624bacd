//! What a person should know of a result that is not quite the original.

use crate::convert::{Input, Produced};
use crate::format::Format;

/// Says what the target cannot hold.
pub fn missing_parts(produced: Produced, input: &Input, to: Format) -> Produced {
    match (input.format.id(), to.id()) {
        ("xlsx" | "xls" | "ods", "csv") => produced.warn("csv holds one sheet: the first one was written, with values in place of formulas."),
        ("docx" | "doc" | "odt" | "rtf" | "html", "txt") => produced.warn("Plain text holds no pictures and no layout."),
        _ => produced,
    }
}
