//! The text of a pdf, in the order it was written in or as it stands on the page.

use super::super::ranges;
use super::layout::{self, Piece};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::failure::Failure;
use crate::format::Family;
use hayro_interpret::font::GlyphRun;
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache, InterpreterSettings, SoftMask, TransformExt,
    interpret_page,
};
use kurbo::{BezPath, Point, Rect};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Write};

/// Options of text extraction.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The password that opens the pdf. Default: none.
    pub password: Option<String>,
    /// Pages to read, as `1-3,5`. Default: all.
    pub pages: Option<String>,
    /// Whether columns and tables are set out with spaces, as they stand on the page; else the text comes in the order it was written in. Default: false.
    pub layout: bool,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        match &self.pages {
            Some(pages) => ranges::parse(pages).map(|_| ()).map_err(|allowed| OutOfRange::new("pages", pages, allowed)),
            None => Ok(()),
        }
    }
}

/// Takes the text out of a pdf; pages end with a form feed.
pub struct Text;

impl Converter for Text {
    const SPEC: Spec = Spec { id: "document.pdf_text", family: Family::Document, summary: "The text of a pdf.", pairs: &[(&["pdf"], &["txt"])] };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let pdf = super::open(ctx, input, options.password.as_deref())?;
        let wanted = ranges::pages(options.pages.as_deref(), pdf.pages().len() as u32);
        let mut file = BufWriter::new(std::fs::File::create(output.path()).map_err(Failure::internal)?);
        let cache = InterpreterCache::new();
        let mut characters = 0;
        for (done, number) in wanted.iter().enumerate() {
            ctx.check()?;
            ctx.progress("read", done as u64, wanted.len() as u64, "pages");
            let Some(page) = pdf.pages().get(*number as usize - 1) else { continue };
            let (width, height) = page.render_dimensions();
            let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
            let mut context = Context::new(page.initial_transform(true).to_kurbo(), area, &cache, page.xref(), InterpreterSettings::default());
            let mut reader = Reader { pieces: options.layout.then(Vec::new), ..Reader::default() };
            interpret_page(page, &mut context, &mut reader);
            let text = reader.finish();
            characters += text.trim().len();
            file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\x0c")).map_err(Failure::internal)?;
        }
        file.flush().map_err(Failure::internal)?;
        let produced = Produced::single(output, Expect::default());
        Ok(if characters == 0 { produced.warn("No text was found; the pages may be pictures of text.") } else { produced })
    }
}

/// Puts glyphs together again to lines. All lengths are in units of the page, 1/72 inch.
#[derive(Default)]
struct Reader {
    text: String,
    line: String,
    /// Vowel signs whose letter comes next.
    signs: String,
    /// Where the last glyph ended, and how large it was.
    last: Option<(Point, f64)>,
    /// Every glyph, where the page is to be set out.
    pieces: Option<Vec<Piece>>,
}

/// A gap of this share of the font's size is a space.
const SPACE: f64 = 0.15;
/// Another baseline begins a new line, one further off than this a new paragraph.
const PARAGRAPH: f64 = 1.9;

impl Reader {
    fn glyph(&mut self, text: &str, start: Point, end: Point, size: f64) {
        if text.is_empty() || size <= 0.0 || !size.is_finite() {
            return;
        }
        // Marks stand over a letter, wherever their own place is: accents are drawn after it, and the vowel signs of scripts that
        // run leftward before it.
        if text.chars().all(is_vowel_sign) {
            self.signs.push_str(text);
            return;
        }
        if self.last.is_some() && text.chars().all(|c| matches!(c, '\u{300}'..='\u{36f}')) {
            self.line.push_str(text);
            if let Some(piece) = self.pieces.as_mut().and_then(|pieces| pieces.last_mut()) {
                piece.text.push_str(text);
            }
            return;
        }
        if let Some((at, last_size)) = self.last {
            let (down, right) = ((start.y - at.y).abs(), start.x - at.x);
            let scale = size.max(last_size);
            // Bold type is sometimes the same glyph drawn twice, a hair apart.
            if down < 0.1 * scale && (start.x - at.x + (end.x - start.x)).abs() < 0.05 * scale && self.line.ends_with(text) {
                return;
            }
            if down > 0.6 * scale || right < -0.6 * scale {
                self.end_line();
                if down > PARAGRAPH * scale {
                    self.text.push('\n');
                }
            } else if right > SPACE * scale && !self.line.ends_with(' ') && !text.starts_with(' ') {
                self.line.push(' ');
            }
        }
        if let Some(pieces) = &mut self.pieces {
            let text: String = text.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
            if !text.is_empty() {
                pieces.push(Piece { text: format!("{}{text}", self.signs), start, end, size });
            }
        }
        self.line.push_str(&std::mem::take(&mut self.signs));
        self.line.extend(text.chars().filter(|c| !c.is_control()));
        self.last = Some((end, size));
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.text.push_str(logical(line.trim_end()).as_str());
        self.text.push('\n');
    }

    fn finish(mut self) -> String {
        if let Some(pieces) = self.pieces {
            return layout::set_out(pieces);
        }
        if !self.line.is_empty() {
            self.end_line();
        }
        self.text
    }
}

impl Device<'_> for Reader {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, mode: &DrawMode) {
        // Type that is filled and outlined comes twice.
        if matches!(mode, DrawMode::Stroke(_)) && self.last.is_some() && self.line.chars().count() >= run.glyphs().len() {
            let drawn: String = run.glyphs().iter().filter_map(|g| g.as_unicode()).map(string).collect();
            if self.line.ends_with(&drawn) {
                return;
            }
        }
        for glyph in run.glyphs() {
            let place = props.transform * glyph.transform();
            let advance = match &**glyph {
                hayro_interpret::font::Glyph::Outline(g) => g.advance_width(),
                hayro_interpret::font::Glyph::Type3(g) => g.advance_width(),
            };
            let start = place * Point::ZERO;
            let end = place * Point::new(f64::from(advance.unwrap_or(500.0)), 0.0);
            let size = (place * Point::new(0.0, 1000.0) - start).hypot();
            self.glyph(&glyph.as_unicode().map(string).unwrap_or_default(), start, end, size);
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

fn is_vowel_sign(c: char) -> bool {
    matches!(c, '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}')
}

fn string(text: BfString) -> String {
    match text {
        BfString::Char(c) => c.to_string(),
        BfString::String(s) => s,
    }
}

/// Glyphs stand from left to right; Hebrew and Arabic are written the other way round.
pub fn logical(visual: &str) -> String {
    let rtl = |c: char| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}');
    let strong = visual.chars().filter(|c| c.is_alphabetic()).count();
    let count = visual.chars().filter(|c| rtl(*c)).count();
    if count == 0 {
        return visual.to_owned();
    }
    let mirrored = |c: char| match c {
        '(' => ')',
        ')' => '(',
        '[' => ']',
        ']' => '[',
        other => other,
    };
    let mostly_rtl = count * 2 >= strong;
    // Runs of one direction: reversed are those against the order of the line, and the line itself when it goes leftward.
    let mut runs: Vec<(bool, String)> = Vec::new();
    for c in visual.chars() {
        let against = if rtl(c) {
            Some(true)
        } else if c.is_alphanumeric() {
            Some(false)
        } else {
            None
        };
        match runs.last_mut() {
            Some((direction, run)) if against.is_none_or(|d| d == *direction) => run.push(c),
            _ => runs.push((against.unwrap_or(mostly_rtl), c.to_string())),
        }
    }
    let turned = runs.into_iter().map(|(rtl, run)| if rtl { run.chars().rev().map(mirrored).collect() } else { run });
    if mostly_rtl { turned.rev().collect() } else { turned.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_to_left_lines_are_turned_round() {
        assert_eq!(logical("plain text"), "plain text");
        assert_eq!(logical("םולש"), "שלום");
        assert!(logical("abc םולש def").contains("שלום"));
    }
}
