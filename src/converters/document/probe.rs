//! Measures documents.

use super::{disclosed, pdf, source};
use crate::convert::{Ctx, Depth, Input};
use crate::failure::{Code, Failure};
use crate::job::Media;
use hayro_interpret::{Context, DummyDevice, InterpreterCache, InterpreterSettings, TransformExt, interpret_page};
use hayro_syntax::Pdf;
use kurbo::Rect;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use zip::ZipArchive;

/// Longest part of an office file that is read for its properties.
const PART_MAX: u64 = 1 << 20;
const TAG_CHARS: usize = 500;

/// Pages, title and author, as far as the format tells them cheaply; a pdf's first and last pages are read for a proof.
pub fn probe(ctx: &Ctx, input: &Input, depth: Depth) -> Result<Media, Failure> {
    match input.format.id() {
        "pdf" => {
            let pdf = match pdf::open(ctx, input, None) {
                // Nothing to be seen from outside.
                Err(failure) if failure.code == Code::PasswordRequired => return Ok(Media::default()),
                opened => opened?,
            };
            if depth == Depth::Proof {
                prove(ctx, &pdf)?;
            }
            Ok(of_pdf(&pdf))
        }
        "docx" | "xlsx" | "pptx" | "odt" | "ods" | "odp" | "odg" | "epub" => {
            source::check(ctx, input)?;
            of_package(input, depth)
        }
        _ => source::check(ctx, input).and_then(|()| of_text(input)),
    }
}

fn prove(ctx: &Ctx, pdf: &Pdf) -> Result<(), Failure> {
    let cache = InterpreterCache::new();
    let pages = pdf.pages();
    for page in [pages.first(), pages.last()].into_iter().flatten() {
        ctx.check()?;
        let (width, height) = page.render_dimensions();
        let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        let mut context = Context::new(page.initial_transform(true).to_kurbo(), area, &cache, page.xref(), InterpreterSettings::default());
        interpret_page(page, &mut context, &mut DummyDevice);
        if page.page_stream().is_none()
            && page.raw().get::<hayro_syntax::object::Array>(b"Contents" as &[u8]).is_some_and(|c| c.raw_iter().next().is_some())
        {
            return Err(Failure::corrupt("A page of the pdf cannot be read.").stage("verify"));
        }
    }
    Ok(())
}

/// What texts and the files of before 2007 give away; the rest of them is not to be had cheaply.
fn of_text(input: &Input) -> Result<Media, Failure> {
    let wrong = |e: std::io::Error| Failure::internal(e).stage("open");
    let discloses = match input.format.id() {
        "rtf" => Some(disclosed::of_rich_text(&std::fs::read(&input.path).map_err(wrong)?)),
        "html" => Some(disclosed::of_page(&std::fs::read(&input.path).map_err(wrong)?)),
        "doc" | "xls" | "ppt" => disclosed::of_compound(File::open(&input.path).map_err(wrong)?),
        // There is nothing in them but their text.
        "txt" | "md" | "csv" | "tsv" => Some(BTreeSet::new()),
        _ => None,
    };
    Ok(Media { discloses, ..Media::default() })
}

fn of_pdf(pdf: &Pdf) -> Media {
    let mut media = Media { pages: Some(pdf.pages().len() as u64), discloses: Some(disclosed::pdf::disclosed(pdf)), ..Media::default() };
    for (key, value) in information(pdf) {
        tag(&mut media, key, &value);
    }
    media
}

/// What a pdf tells of itself.
pub fn information(pdf: &Pdf) -> BTreeMap<&'static str, String> {
    let metadata = pdf.metadata();
    let told = [
        ("title", &metadata.title),
        ("author", &metadata.author),
        ("subject", &metadata.subject),
        ("keywords", &metadata.keywords),
        ("creator", &metadata.creator),
        ("producer", &metadata.producer),
    ];
    told.into_iter().filter_map(|(key, value)| Some((key, pdf_text(value.as_ref()?)))).collect()
}

/// A pdf text string: UTF-16 or UTF-8 with a mark, else Latin-1 for nearly all of it (ISO 32000, 7.9.2).
fn pdf_text(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => {
            let wide: Vec<u16> = rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&wide)
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        plain => plain.iter().map(|b| char::from(*b)).collect(),
    }
}

fn of_package(input: &Input, depth: Depth) -> Result<Media, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::corrupt(format!("This is not a readable {} file.", input.format.name())).detail(e).stage("open");
    let mut media = Media::default();
    let mut head = [0; 4];
    File::open(&input.path).and_then(|mut f| f.read_exact(&mut head)).map_err(|e| wrong(&e))?;
    if head != *b"PK\x03\x04" {
        // Encrypted, in another container; nothing to be seen from outside.
        return Ok(media);
    }
    let mut zip = ZipArchive::new(File::open(&input.path).map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    let mut found = disclosed::package::disclosed(&mut zip);
    let book = zip.file_names().flatten().find(|name| name.ends_with(".opf")).map(|name| name.to_string());
    for part in ["docProps/app.xml", "docProps/core.xml", "meta.xml"].into_iter().chain(book.as_deref()) {
        let Some(text) = read(&mut zip, part) else { continue };
        let Ok(xml) = roxmltree::Document::parse(&text) else { continue };
        for node in xml.descendants().filter(|n| n.is_element()) {
            let words = node.text().unwrap_or_default().trim();
            found.extend(disclosed::of_property(node.tag_name().name()).filter(|_| !words.is_empty()));
            match node.tag_name().name() {
                "Pages" | "Slides" => media.pages = words.parse().ok().filter(|n| *n > 0).or(media.pages),
                "document-statistic" => media.pages = node.attributes().find(|a| a.name() == "page-count").and_then(|a| a.value().parse().ok()),
                "title" => tag(&mut media, "title", words),
                "creator" | "initial-creator" => tag(&mut media, "author", words),
                "Application" | "generator" => tag(&mut media, "application", words),
                _ => {}
            }
        }
    }
    media.discloses = Some(found);
    if input.format.id() == "pptx" {
        let is_slide = |name: &str| name.strip_prefix("ppt/slides/slide").is_some_and(|rest| rest.ends_with(".xml"));
        media.pages = Some(zip.file_names().flatten().filter(|name| is_slide(name)).count() as u64);
    }
    if depth == Depth::Proof {
        for at in 0..zip.len() {
            let mut part = zip.by_index(at).map_err(|e| wrong(&e))?;
            std::io::copy(&mut part, &mut std::io::sink()).map_err(|e| wrong(&e))?;
        }
    }
    Ok(media)
}

fn read(zip: &mut ZipArchive<File>, part: &str) -> Option<String> {
    let mut text = String::new();
    zip.by_name(part).ok()?.take(PART_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn tag(media: &mut Media, key: &str, value: &str) {
    let value: String = value.chars().filter(|c| !c.is_control()).take(TAG_CHARS).collect();
    if !value.is_empty() {
        media.tags.insert(key.to_owned(), value);
    }
}
