//! What the previews of all families share: one small picture of a file, with what a page shows until it has come.
//!
//! Each family has a converter `preview` with an ordered list of what shows a file best; the first that the file has is taken.

use super::av;
use super::image::{geometry::Rect, picture, placeholder, webp};
use crate::convert::{Ctx, Expect, Input, OutOfRange, Output, Produced, ProducedFile, Validate};
use crate::failure::Failure;
use crate::format::Format;
use ::image::{DynamicImage, ImageReader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::Cursor;
use std::path::PathBuf;

/// Options of a preview.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Width of the box the picture has to fit, in pixels, 16 to 2048; only drawings (svg) are enlarged to it. Default: 640.
    pub width: u32,
    /// Height of that box, 16 to 2048. Default: 640.
    pub height: u32,
    /// Quality of the WebP, 1 (small) to 100 (best). Default: 78.
    pub quality: u8,
}

impl Default for Options {
    fn default() -> Self {
        Options { width: 640, height: 640, quality: 78 }
    }
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("width", Some(self.width), 16..=2048)?;
        OutOfRange::check("height", Some(self.height), 16..=2048)?;
        OutOfRange::check("quality", Some(self.quality), 1..=100)
    }
}

impl Options {
    /// The box as other converters' options have it.
    pub fn boxed(&self) -> Value {
        json!({"width": self.width, "height": self.height})
    }

    fn fitted(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let scale = (f64::from(self.width) / f64::from(width)).min(f64::from(self.height) / f64::from(height)).min(1.0);
        let side = |own: u32| ((f64::from(own) * scale).round() as u32).max(1);
        (side(width), side(height))
    }
}

/// The picture that comes with a film or song; one that cannot be read is none.
pub fn cover(ctx: &Ctx, input: &Input) -> Result<Option<DynamicImage>, Failure> {
    Ok(av::open::cover(ctx, input)?.and_then(|bytes| decoded(&bytes).ok()))
}

/// The sound as a curve, in the upper third of the box.
pub fn curve(ctx: &Ctx, input: &Input, options: &Options) -> Result<DynamicImage, Failure> {
    drawn(ctx, input, "audio.waveform", json!({"width": options.width, "height": (options.height / 3).max(16)}))
}

/// A picture by another converter.
pub fn drawn(ctx: &Ctx, input: &Input, converter: &str, options: Value) -> Result<DynamicImage, Failure> {
    let path = run(ctx, input, converter, "png", options)?;
    decoded(&std::fs::read(&path).map_err(Failure::internal)?)
}

/// The file as a pdf, by another converter.
pub fn printed(ctx: &Ctx, input: &Input, converter: &str) -> Result<Input, Failure> {
    let path = run(ctx, input, converter, "pdf", Value::Null)?;
    let size_bytes = path.metadata().map_err(Failure::internal)?.len();
    Ok(Input { path, format: format("pdf")?, name: input.name.clone(), size_bytes })
}

fn run(ctx: &Ctx, input: &Input, converter: &str, to: &str, options: Value) -> Result<PathBuf, Failure> {
    let (_, converter) = super::by_id(converter).ok_or_else(|| Failure::internal(format!("no converter {converter}")))?;
    let dir = ctx.scratch.join(format!("preview-{to}"));
    std::fs::create_dir_all(&dir).map_err(Failure::internal)?;
    let output = Output { dir: dir.clone(), format: format(to)?, name: format(to)?.file_name("preview") };
    let produced = (converter.run)(ctx, input, &options, &output)?;
    produced.files.first().map(|file| dir.join(&file.file)).ok_or_else(|| Failure::internal("no file was made"))
}

fn format(id: &str) -> Result<Format, Failure> {
    Format::parse(id).ok_or_else(|| Failure::internal(format!("no format {id}")))
}

fn decoded(bytes: &[u8]) -> Result<DynamicImage, Failure> {
    ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(Failure::internal)?.decode().map_err(Failure::internal)
}

/// Scales the picture into its box and writes it, with its placeholder.
pub fn finish(ctx: &Ctx, picture: DynamicImage, options: &Options, output: &Output) -> Result<Produced, Failure> {
    ctx.check()?;
    let picture = if picture.color().has_alpha() { DynamicImage::from(picture.into_rgba8()) } else { picture.into_rgb8().into() };
    let own = (picture.width(), picture.height());
    let size = options.fitted(own);
    let small = picture::resize(Cow::Owned(picture), Rect::whole(own.0, own.1), size)?;
    let settings = webp::Settings { quality: options.quality, lossless: false, effort: 5, threads: false };
    let path = output.path();
    std::fs::write(&path, webp::encode_pixels(&small, &settings)?).map_err(|e| Failure::internal(e).stage("encode"))?;
    ctx.progress("encode", 1, 1, "files");
    let expect = Expect { width: Some(size.0), height: Some(size.1), probe: true, ..Expect::default() };
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let file = ProducedFile { file, name: output.name.clone(), format: format("webp")?, expect };
    Ok(Produced { looks: Some(placeholder::looks(&small)?), ..Produced::several(vec![file], Vec::new()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_fits_its_box_and_is_never_enlarged() {
        for (own, shown) in [((4000, 1000), (640, 160)), ((100, 3000), (21, 640)), ((30, 20), (30, 20)), ((9000, 1), (640, 1))] {
            assert_eq!(Options::default().fitted(own), shown, "{own:?}");
        }
    }
}
