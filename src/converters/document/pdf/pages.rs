//! Pictures of pages.

use super::super::ranges;
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, ProducedFile, Spec, Validate};
use crate::failure::{Code, Failure};
use crate::format::{Family, Format};
use hayro::vello_cpu::Pixmap;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};
use hayro_interpret::InterpreterSettings;
use hayro_syntax::Pdf;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The renderer counts pixels in 16 bits; far below that no screen shows more.
const SIDE_MAX: f32 = 32_000.0;

/// Options of page pictures.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The password that opens the document. Default: none.
    pub password: Option<String>,
    /// Pages to draw, as `1-3,5`. Default: all.
    pub pages: Option<String>,
    /// Pixels an inch, 20 to 600. Default: 150.
    pub dpi: Option<u16>,
    /// Quality of jpeg, 1 to 100. Default: 85. Png and webp are lossless.
    pub quality: Option<u8>,
    /// Takes the whole pages of a pdf that is cut off, with a warning and their share, instead of refusing it. Default: false.
    pub salvage: bool,
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        if let Some(pages) = &self.pages {
            ranges::parse(pages).map_err(|allowed| OutOfRange::new("pages", pages, allowed))?;
        }
        OutOfRange::check("dpi", self.dpi, 20..=600)?;
        OutOfRange::check("quality", self.quality, 1..=100)
    }
}

/// Draws the pages of a pdf, one file each.
pub struct Pages;

impl Converter for Pages {
    const SPEC: Spec = Spec {
        id: "document.pdf_pages",
        family: Family::Document,
        summary: "A picture of each page of a pdf.",
        pairs: &[(&["pdf"], &["png", "jpeg", "webp"])],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let opened = super::open_as(ctx, input, options.password.as_deref(), options.salvage)?;
        Ok(opened.tell(draw(ctx, &opened.pdf, options, output)?))
    }
}

/// Draws the wanted pages into the output's folder.
pub fn draw(ctx: &Ctx, pdf: &Pdf, options: &Options, output: &Output) -> Result<Produced, Failure> {
    let count = pdf.pages().len() as u32;
    let wanted = ranges::pages(options.pages.as_deref(), count);
    if wanted.is_empty() {
        return Err(Failure::new(Code::InvalidOption, format!("The document has {count} pages; none of them is asked for.")));
    }
    let digits = count.to_string().len().max(3);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let drawn: Mutex<Vec<(usize, ProducedFile)>> = Mutex::default();
    let work = || -> Result<(), Failure> {
        let cache = RenderCache::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(number) = wanted.get(at).copied() else { return Ok(()) };
            ctx.check()?;
            let pixels = page(ctx, pdf, &cache, number, options)?;
            let path = output.numbered(at + 1);
            encode(&pixels, &path, output.format, options.quality.unwrap_or(85)).map_err(|e| Failure::internal(e).stage("encode"))?;
            let file = ProducedFile {
                file: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
                name: output.format.file_name(&format!("page-{number:0digits$}")),
                format: output.format,
                expect: Expect { width: Some(u32::from(pixels.width())), height: Some(u32::from(pixels.height())), probe: true, ..Expect::default() },
            };
            drawn.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, file));
            ctx.progress("draw", done.fetch_add(1, Ordering::Relaxed) as u64 + 1, wanted.len() as u64, "pages");
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..ctx.threads.min(wanted.len())).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            let joined = other.join().unwrap_or_else(|_| Err(Failure::new(Code::Crashed, "The pages could not be drawn.")));
            result = result.and(joined);
        }
        result
    })?;
    let mut drawn = drawn.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    drawn.sort_by_key(|(at, _)| *at);
    Ok(Produced::several(drawn.into_iter().map(|(_, file)| file).collect(), Vec::new()))
}

fn page<'a>(ctx: &Ctx, pdf: &'a Pdf, cache: &RenderCache<'a>, number: u32, options: &Options) -> Result<Pixmap, Failure> {
    let page = pdf.pages().get(number as usize - 1).ok_or_else(|| Failure::corrupt(format!("Page {number} cannot be read.")))?;
    let scale = f32::from(options.dpi.unwrap_or(150)) / 72.0;
    let (width, height) = page.render_dimensions();
    let (width, height) = (width * scale, height * scale);
    let sane = width >= 1.0 && height >= 1.0;
    if !sane {
        return Err(Failure::corrupt(format!("Page {number} has no size.")).stage("draw"));
    }
    let most = ctx.limits.frame_pixels_max;
    if width > SIDE_MAX || height > SIDE_MAX || f64::from(width) * f64::from(height) > most as f64 {
        return Err(Failure::limit(format!("Page {number} would have {width:.0} x {height:.0} pixels; at most {most} pixels are drawn."))
            .hint("Ask for fewer dpi.")
            .stage("draw"));
    }
    // The renderer cuts fractions of a pixel off; the page is stretched by less than one to end on the nearest whole one.
    let whole = |pixels: f32| (pixels.round().max(1.0) + 0.01) / pixels * scale;
    let settings = PixmapSettings { x_scale: whole(width), y_scale: whole(height), bg_color: WHITE };
    Ok(render(page, cache, &InterpreterSettings::default(), &RenderSettings::default(), &settings))
}

fn encode(pixels: &Pixmap, path: &Path, format: Format, quality: u8) -> Result<(), Box<dyn std::error::Error>> {
    // On white every pixel is opaque, so that premultiplied and plain colours are the same.
    let rgb: Vec<u8> = pixels.data_as_u8_slice().chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    let (width, height) = (u32::from(pixels.width()), u32::from(pixels.height()));
    let mut file = BufWriter::new(File::create(path)?);
    match format.id() {
        "jpeg" => JpegEncoder::new_with_quality(&mut file, quality).write_image(&rgb, width, height, ExtendedColorType::Rgb8)?,
        "webp" => WebPEncoder::new_lossless(&mut file).write_image(&rgb, width, height, ExtendedColorType::Rgb8)?,
        _ => PngEncoder::new(&mut file).write_image(&rgb, width, height, ExtendedColorType::Rgb8)?,
    }
    file.flush()?;
    Ok(())
}
