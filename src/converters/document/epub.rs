//! `document.epub`: a book as one page, with its pictures inside, and from that into whatever an office writes.

use super::{office, source};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::{Code, Failure};
use crate::format::{Family, Format};
use base64::prelude::{BASE64_STANDARD, Engine};
use roxmltree::{Document, Node};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, Read};
use zip::ZipArchive;

/// The longest part of a book that is read, unpacked, and the most of all together.
const PART_MAX: u64 = 32 << 20;
const BOOK_MAX: usize = 256 << 20;

/// Options of books.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How a pdf is written.
    pub pdf: office::PdfOptions,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        self.pdf.validate()
    }
}

/// Reads books.
pub struct Epub;

impl Converter for Epub {
    const SPEC: Spec = Spec {
        id: "document.epub",
        family: Family::Document,
        summary: "Books into one web page, pdf or an office document.",
        pairs: &[(&["epub"], &["html", "pdf", "docx", "odt", "txt"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let page = page(ctx, input)?;
        if output.format.id() == "html" {
            std::fs::write(output.path(), page).map_err(Failure::internal)?;
            return Ok(Produced::single(output, Expect::default()));
        }
        let file = ctx.scratch.join("book.html");
        std::fs::write(&file, page).map_err(Failure::internal)?;
        let html = Input { format: Format::parse("html").unwrap_or(input.format), ..input.clone() };
        let asked = office::Options { pdf: options.pdf.clone(), ..office::Options::default() };
        office::produce(ctx, &html, &file, &asked, output)
    }
}

fn broken(cause: impl std::fmt::Display) -> Failure {
    Failure::corrupt("This is not a readable EPUB file.").detail(cause).stage("open")
}

/// The chapters of a book in their order, as one page that needs no other file.
pub fn page(ctx: &Ctx, input: &Input) -> Result<String, Failure> {
    source::check(ctx, input)?;
    let mut zip = ZipArchive::new(BufReader::new(File::open(&input.path).map_err(broken)?)).map_err(broken)?;
    let mut part = |name: &str| -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        zip.by_name(name).ok()?.take(PART_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let mut text = |name: &str| part(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if text("META-INF/encryption.xml").is_some_and(|list| list.contains("EncryptedData") && !list.contains("obfuscation")) {
        return Err(Failure::new(Code::UnsupportedFormat, "The book is protected against copying.").stage("open"));
    }
    let container = text("META-INF/container.xml").ok_or_else(|| broken("no container.xml"))?;
    let container = Document::parse(&container).map_err(broken)?;
    let package_path = container.descendants().find_map(|n| n.attribute("full-path")).ok_or_else(|| broken("no package"))?.to_owned();
    let package = text(&package_path).ok_or_else(|| broken("the package is missing"))?;
    let package = Document::parse(&package).map_err(broken)?;
    let named = |name: &'static str| package.descendants().filter(move |n: &Node| n.tag_name().name() == name);
    let title = named("title").find_map(|n| n.text()).unwrap_or("Book").trim().to_owned();
    let files: HashMap<&str, (&str, &str)> =
        named("item").filter_map(|n| Some((n.attribute("id")?, (n.attribute("href")?, n.attribute("media-type").unwrap_or_default())))).collect();
    let types: HashMap<String, &str> = files.values().map(|(href, mime)| (resolved(&package_path, href), *mime)).collect();
    let mut body = String::new();
    for item in named("itemref") {
        ctx.check()?;
        let Some((href, _)) = item.attribute("idref").and_then(|id| files.get(id)) else { continue };
        let chapter_path = resolved(&package_path, href);
        let Some(chapter) = part(&chapter_path) else { continue };
        let chapter = String::from_utf8_lossy(&chapter);
        let mut picture = |href: &str| {
            let path = resolved(&chapter_path, href);
            let mime = types.get(&path).filter(|mime| mime.starts_with("image/") && **mime != "image/svg+xml")?;
            part(&path).map(|bytes| format!("data:{mime};base64,{}", BASE64_STANDARD.encode(bytes)))
        };
        append(&mut body, inside(&chapter), &mut picture);
        if body.len() > BOOK_MAX {
            return Err(Failure::limit("The book is too large for one page.").stage("read"));
        }
    }
    if body.is_empty() {
        return Err(broken("no chapters"));
    }
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    Ok(format!("<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n</head>\n<body>\n{body}</body>\n</html>\n"))
}

/// The path of a reference within the book; `..` cannot lead out of what is only a list of names.
fn resolved(from: &str, href: &str) -> String {
    let href = href.split(['#', '?']).next().unwrap_or_default();
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for step in href.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(parts.pop()),
            step => parts.push(step),
        }
    }
    decoded(&parts.join("/"))
}

/// Undoes `%20` and its like.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What stands in the body of a chapter.
fn inside(chapter: &str) -> &str {
    let start = chapter.find("<body").and_then(|at| chapter.get(at..)?.find('>').map(|end| at + end + 1)).unwrap_or(0);
    let end = chapter.rfind("</body").filter(|end| *end >= start).unwrap_or(chapter.len());
    chapter.get(start..end).unwrap_or_default()
}

/// Elements that go with all they hold.
const LEFT_OUT: [&str; 5] = ["script", "style", "iframe", "object", "svg"];

/// Copies markup without what runs or loads; pictures are put inside by `picture`, or go.
fn append(out: &mut String, markup: &str, picture: &mut dyn FnMut(&str) -> Option<String>) {
    let mut rest = markup;
    while let Some((text, behind)) = rest.split_once('<') {
        out.push_str(text);
        let Some((tag, after)) = behind.split_once('>') else { return };
        rest = after;
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        if LEFT_OUT.contains(&name.as_str()) {
            if !tag.ends_with('/') {
                let close = format!("</{name}");
                let end = rest.to_ascii_lowercase().find(&close).unwrap_or(rest.len());
                rest = rest.get(end..).and_then(|rest| rest.split_once('>')).map_or("", |(_, rest)| rest);
            }
        } else if name == "img" {
            if let Some(data) = attribute(tag, "src").and_then(|href| picture(&href)) {
                let alt = attribute(tag, "alt").unwrap_or_default().replace('"', "&quot;");
                let _ = write!(out, "<img src=\"{data}\" alt=\"{alt}\">");
            }
        } else if tag.starts_with(['!', '?']) {
            // Comments and declarations hold nothing to read.
        } else {
            let _ = write!(out, "<{}>", plain(tag));
        }
    }
    out.push_str(rest);
    out.push('\n');
}

/// A tag without attributes but for those that carry meaning.
fn plain(tag: &str) -> String {
    let end = tag.find(|c: char| c.is_whitespace()).unwrap_or(tag.len());
    let mut kept = tag.get(..end).unwrap_or_default().to_owned();
    for name in ["id", "colspan", "rowspan", "lang"] {
        if let Some(value) = attribute(tag, name) {
            let _ = write!(kept, " {name}=\"{}\"", value.replace('"', "&quot;"));
        }
    }
    if let Some(href) =
        attribute(tag, "href").filter(|href| href.starts_with("http://") || href.starts_with("https://") || href.starts_with("mailto:"))
    {
        let _ = write!(kept, " href=\"{}\"", href.replace('"', "%22"));
    }
    if tag.ends_with('/') && !kept.ends_with('/') {
        kept.push('/');
    }
    kept
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let before = rest.get(..at)?.chars().next_back();
        rest = rest.get(at + name.len()..)?;
        let Some(value) = rest.trim_start().strip_prefix('=') else { continue };
        if before.is_some_and(char::is_whitespace) {
            let value = value.trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            return value.get(1..)?.split(quote).next().map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_stay_in_the_book() {
        assert_eq!(resolved("OEBPS/text/a.xhtml", "../images/b%20c.png#x"), "OEBPS/images/b c.png");
        assert_eq!(resolved("a.xhtml", "../../etc/passwd"), "etc/passwd");
        assert_eq!(decoded("100%"), "100%");
    }

    #[test]
    fn nothing_that_runs_is_kept() {
        let mut out = String::new();
        let markup = "<p class=\"x\" onclick=\"a()\">One<script>alert(1)</script> <a href=\"javascript:x\">two</a> <img alt='a\"b' src=\"p.png\"/><br/></p><!-- c -->";
        append(&mut out, markup, &mut |href| (href == "p.png").then(|| "data:image/png;base64,AA==".to_owned()));
        assert_eq!(out, "<p>One <a>two</a> <img src=\"data:image/png;base64,AA==\" alt=\"a&quot;b\"><br/></p>\n");
        append(&mut String::new(), "<svg><a", &mut |_| None);
    }
}
