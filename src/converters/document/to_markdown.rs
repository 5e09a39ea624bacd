//! `document.to_markdown`: pages and text documents as Markdown.

use super::{epub, office, source};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::Failure;
use crate::format::Family;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of Markdown.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The password that opens the document. Default: none.
    pub password: Option<String>,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// What has no meaning in a text, or none that may be kept.
const LEFT_OUT: [&str; 9] = ["head", "script", "style", "template", "iframe", "object", "svg", "img", "noscript"];

/// Writes Markdown.
pub struct ToMarkdown;

impl Converter for ToMarkdown {
    const SPEC: Spec = Spec {
        id: "document.to_markdown",
        family: Family::Document,
        summary: "Web pages, books and text documents as Markdown; pictures are left out.",
        pairs: &[(&["html", "epub", "docx", "doc", "odt", "rtf"], &["md"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let bytes = match input.format.id() {
            "html" => {
                source::check(ctx, input)?;
                std::fs::read(&input.path).map_err(Failure::internal)?
            }
            "epub" => epub::page(ctx, input)?.into_bytes(),
            _ => {
                let file = ctx.scratch.join("page.html");
                let asked = office::Options { password: options.password.clone(), ..office::Options::default() };
                office::write(ctx, input, &source::checked(ctx, input)?, &asked, "html", &file)?;
                std::fs::read(&file).map_err(Failure::internal)?
            }
        };
        ctx.check()?;
        let page = decoded(&bytes);
        let written = htmd::HtmlToMarkdown::builder().skip_tags(LEFT_OUT.to_vec()).build().convert(&headed(&page));
        let written = written.map_err(|e| Failure::corrupt("The page cannot be read.").detail(e).stage("read"))?;
        std::fs::write(output.path(), format!("{}\n", unnumbered(written.trim()))).map_err(Failure::internal)?;
        let produced = Produced::single(output, Expect::default());
        Ok(if page.to_ascii_lowercase().contains("<img") { produced.warn("Pictures were left out.") } else { produced })
    }
}

/// A page's text, in the character set it names, or else in UTF-8, or else in what most old pages are.
fn decoded(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(bytes.get(..bytes.len().min(1024)).unwrap_or_default()).to_ascii_lowercase();
    let named = head.split_once("charset=").map(|(_, rest)| rest.trim_start_matches(['"', '\'']));
    let label = named.and_then(|rest| rest.split(['"', '\'', ';', '>', ' ', '/']).next()).unwrap_or_default();
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes());
    let guess = if std::str::from_utf8(bytes).is_ok() { encoding_rs::UTF_8 } else { encoding_rs::WINDOWS_1252 };
    encoding.unwrap_or(guess).decode(bytes).0.into_owned()
}

/// The page with the first row of each table as its head, where a table has none: Markdown knows no other tables.
fn headed(page: &str) -> String {
    let mut parts = page.split("<table");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("<table");
        let table = part.split("</table").next().unwrap_or_default();
        match part.split_once("</tr>") {
            Some((first, rest)) if !table.contains("<th") => {
                out.push_str(&first.replace("<td", "<th").replace("</td", "</th"));
                out.push_str("</tr>");
                out.push_str(rest);
            }
            _ => out.push_str(part),
        }
    }
    out
}

/// LibreOffice writes a heading as a member of a list: its number is none of the author's.
fn unnumbered(markdown: &str) -> String {
    let plain = |line: &str| match line.split_once(". ") {
        Some((number, rest)) if rest.trim_start().starts_with("# ") || rest.trim_start().starts_with("##") => {
            if number.bytes().all(|b| b.is_ascii_digit()) { rest.trim_start().to_owned() } else { line.to_owned() }
        }
        _ => line.to_owned(),
    };
    markdown.lines().map(plain).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_get_a_head_and_headings_lose_their_number() {
        let page = headed("a<table><tr><td>x</td></tr><tr><td>y</td></tr></table><table><tr><th>z</th></tr></table>");
        assert_eq!(page, "a<table><tr><th>x</th></tr><tr><td>y</td></tr></table><table><tr><th>z</th></tr></table>");
        assert_eq!(unnumbered("1.  # One\n1. item\n2. ## Two"), "# One\n1. item\n## Two");
    }

    #[test]
    fn the_character_set_is_the_one_named() {
        assert_eq!(decoded("<meta charset=\"utf-8\">ü".as_bytes()), "<meta charset=\"utf-8\">ü");
        assert_eq!(
            decoded(b"<meta http-equiv=x content='text/html; charset=windows-1251'>\xcc"),
            "<meta http-equiv=x content='text/html; charset=windows-1251'>М"
        );
        assert_eq!(decoded(b"\xfc"), "ü");
    }
}
