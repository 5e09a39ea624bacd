//! Markdown into web pages and pdf.

use super::office;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::Failure;
use crate::format::{Family, Format};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options as Syntax, Parser, Tag, TagEnd, html};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of Markdown conversion.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The page's title, up to 200 characters. Default: the first heading, or the file's name.
    pub title: Option<String>,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("title", self.title.as_ref().map(|t| t.chars().count()), 0..=200)
    }
}

/// Renders Markdown (CommonMark with tables, footnotes, strikethrough and task lists). HTML within it is shown, not obeyed.
pub struct Markdown;

impl Converter for Markdown {
    const SPEC: Spec = Spec {
        id: "document.markdown",
        family: Family::Document,
        summary: "Markdown into a web page, a pdf or an office document.",
        pairs: &[(&["md"], &["html", "pdf", "docx", "odt", "epub"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        super::source::check(ctx, input)?;
        let bytes = std::fs::read(&input.path).map_err(Failure::internal)?;
        let text = String::from_utf8(bytes)
            .map_err(|e| Failure::corrupt("The text is not UTF-8.").hint("Save the file as UTF-8 and try again.").detail(e).stage("open"))?;
        ctx.check()?;
        let page = page(&text, options.title.as_deref(), input.name.as_str());
        if output.format.id() == "html" {
            std::fs::write(output.path(), page).map_err(Failure::internal)?;
            return Ok(Produced::single(output, Expect::default()));
        }
        let file = ctx.scratch.join("page.html");
        std::fs::write(&file, page).map_err(Failure::internal)?;
        let html = Input { format: Format::parse("html").unwrap_or(input.format), ..input.clone() };
        office::produce(ctx, &html, &file, &office::Options::default(), output)
    }
}

const STYLE: &str = "body{font-family:sans-serif;line-height:1.5;max-width:46em;margin:2em auto;padding:0 1em}\
pre,code{font-family:monospace;background:#f4f4f4}pre{padding:.8em;overflow:auto}img{max-width:100%}\
table{border-collapse:collapse}th,td{border:1px solid #bbb;padding:.3em .6em}blockquote{border-left:.25em solid #bbb;margin-left:0;padding-left:1em;color:#555}";

/// A whole page.
fn page(markdown: &str, title: Option<&str>, name: &str) -> String {
    let syntax = Syntax::ENABLE_TABLES | Syntax::ENABLE_FOOTNOTES | Syntax::ENABLE_STRIKETHROUGH | Syntax::ENABLE_TASKLISTS;
    let mut first_heading = None;
    let mut within = false;
    let events: Vec<Event> = Parser::new_ext(markdown, syntax)
        .inspect(|event| match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) if first_heading.is_none() => {
                within = true;
                first_heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(_)) => within = false,
            Event::Text(text) | Event::Code(text) if within => {
                if let Some(heading) = &mut first_heading {
                    heading.push_str(text);
                }
            }
            _ => {}
        })
        .map(harmless)
        .collect();
    let mut body = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut body, events.into_iter());
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let title = escaped(title.or(first_heading.as_deref().filter(|h| !h.is_empty())).unwrap_or(stem));
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// HTML becomes text, and links lead only where a reader of a page may be led.
fn harmless(event: Event) -> Event {
    match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: safe(dest_url, false), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: safe(dest_url, true), title, id })
        }
        other => other,
    }
}

fn safe(url: CowStr, image: bool) -> CowStr {
    // Browsers skip control characters and spaces within a scheme.
    let plain: String = url.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let scheme = plain.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains(['/', '?', '#']));
    let allowed = match scheme {
        None | Some("http" | "https") => true,
        Some("mailto" | "tel") => !image,
        Some("data") => image && plain.starts_with("data:image/") && !plain.starts_with("data:image/svg"),
        Some(_) => false,
    };
    if allowed { url } else { CowStr::Borrowed("#") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_shown_and_scripts_lead_nowhere() {
        let page = page(
            "# A <b>\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) [y](java\tscript:z) ![i](file:///etc/passwd) [ok](https://a.example)",
            None,
            "n.md",
        );
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("javascript:") && !page.contains("file:///"), "{page}");
        assert!(page.contains("href=\"https://a.example\""));
        assert!(page.contains("<title>A "), "{page}");
    }
}
