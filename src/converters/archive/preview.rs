//! `archive.preview`: what an archive holds, drawn as a list of names and sizes.

use super::entry::Entry;
use super::options::Options as ReadingOptions;
use super::walk::{READABLE, Reading, walk};
use crate::convert::{Converter, Ctx, Input, Output, Produced, Spec};
use crate::converters::image::svg::Drawing;
use crate::converters::preview::{self, Options};
use crate::failure::Failure;
use crate::format::Family;
use crate::limits::Size;
use std::fmt::Write;

pub struct Preview;

/// Entries that a drawing has lines for.
const LINES: usize = 16;
/// Characters of a name that fit into a line.
const NAME_LENGTH: usize = 44;
/// The drawing's own size, and the height of a line in it.
const SIDES: (u32, u32) = (640, 480);
const LINE: u32 = 25;

impl Converter for Preview {
    const SPEC: Spec =
        Spec { id: "archive.preview", family: Family::Archive, summary: "A drawing of what an archive holds.", pairs: &[(READABLE, &["preview"])] };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let (mut first, mut count, mut bytes) = (Vec::new(), 0u64, 0u64);
        let plain = ReadingOptions::default();
        walk(&Reading { data: false, ..Reading::new(ctx, &plain) }, input, &mut |entry, _| {
            count += 1;
            bytes = bytes.saturating_add(entry.size.unwrap_or(0));
            if first.len() < LINES {
                first.push(entry);
            }
            Ok(())
        })?;
        let drawing = Drawing::open(listing(&first, count, bytes).as_bytes(), ctx.limits)?;
        preview::finish(ctx, drawing.draw(SIDES)?, options, output)
    }
}

fn listing(first: &[Entry], count: u64, bytes: u64) -> String {
    let (width, height) = SIDES;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="15"><rect width="{width}" height="{height}" fill="#f7f7f4"/>"##
    );
    let mut line = |at: usize, colour: &str, left: &str, right: &str| {
        let y = (at as u32 + 1) * LINE + 8;
        // Writing to a string cannot fail.
        let _ = write!(svg, r#"<text x="24" y="{y}" fill="{colour}">{}</text>"#, escaped(left));
        let _ = write!(svg, r#"<text x="{}" y="{y}" fill="{colour}" text-anchor="end">{}</text>"#, width - 24, escaped(right));
    };
    for (at, entry) in first.iter().enumerate() {
        let name = shortened(&entry.path);
        let size = entry.size.map(|size| Size(size).to_string()).unwrap_or_default();
        match entry.is_folder() {
            true => line(at, "#8a8a80", &format!("{name}/"), ""),
            false => line(at, "#22221e", &name, &size),
        }
    }
    let more = count.saturating_sub(first.len() as u64);
    let rest = if more > 0 { format!("and {more} more") } else { format!("{count} in all") };
    line(LINES, "#8a8a80", &rest, &Size(bytes).to_string());
    svg + "</svg>"
}

/// The end of a long name tells more than its beginning.
fn shortened(path: &str) -> String {
    let length = path.chars().count();
    if length <= NAME_LENGTH { path.to_owned() } else { format!("…{}", path.chars().skip(length - NAME_LENGTH + 1).collect::<String>()) }
}

/// Text as XML has it; characters that XML has no way to write are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_get_out_of_the_drawing() {
        let hostile = Entry::file("</text><image href=\"file:/a\"/>&x;\n\0\u{ffff}".into());
        let drawn = listing(&[hostile], 1, 0);
        assert!(drawn.contains("&lt;/text&gt;&lt;image href=\"file:/a\"/&gt;&amp;x;\u{fffd}\u{fffd}\u{fffd}</text>"), "{drawn}");
        assert!(Drawing::open(drawn.as_bytes(), &crate::limits::Limits::default()).is_ok());
    }

    #[test]
    fn long_names_keep_their_end() {
        let long = format!("{}/photo.jpg", "folder/".repeat(20));
        let shown = shortened(&long);
        assert!(shown.starts_with('…') && shown.ends_with("/photo.jpg") && shown.chars().count() == NAME_LENGTH, "{shown}");
    }
}
