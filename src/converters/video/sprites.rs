//! `video.sprites`: the small pictures that a player shows above its bar.

use super::fates::no_picture;
use super::sheet::{self, Layout, Sheets};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, ProducedFile, Spec, Validate};
use crate::converters::av::drawing::Drawing;
use crate::converters::av::open;
use crate::converters::av::still::Still;
use crate::converters::av::units::Time;
use crate::failure::Failure;
use crate::format::{Family, Format};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

pub struct Sprites;

/// Options of `video.sprites`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// From one picture to the next, 0.2 to 600: seconds, or text as `5s`. From 10 seconds on the nearest keyframes are taken.
    /// Default: a hundredth of the film, at least 1 second.
    pub interval: Option<Time>,
    /// Width of each picture in pixels, 16 to 1024; it is never enlarged. Default: 160.
    pub width: u32,
    /// Pictures side by side on a sheet, 1 to 50. Default: 10.
    pub columns: u32,
    /// Rows of them on a sheet, 1 to 50. Default: 10.
    pub rows: u32,
    /// What the sheets are: `jpeg`, `webp` or `png`. Default: jpeg.
    pub format: Still,
    /// Quality of jpeg and webp, 1 (small) to 100 (best). Default: 85 for jpeg, 80 for webp.
    pub quality: Option<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Options { interval: None, width: 160, columns: 10, rows: 10, format: Still::Jpeg, quality: None }
    }
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("interval", self.interval.map(|t| t.us as f64 / 1e6), 0.2..=600.0)?;
        OutOfRange::check("width", Some(self.width), 16..=1024)?;
        OutOfRange::check("columns", Some(self.columns), 1..=50)?;
        OutOfRange::check("rows", Some(self.rows), 1..=50)?;
        OutOfRange::check("quality", self.quality, 1..=100)
    }
}

impl Converter for Sprites {
    const SPEC: Spec = Spec {
        id: "video.sprites",
        family: Family::Video,
        summary: "Lays small pictures of a film out in sheets, with a WebVTT file that tells a player which one to show when.",
        pairs: &[(super::READS, &["sprites"])],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let mut source = open::open(ctx, input)?;
        if source.picture().is_none() {
            return Err(no_picture(&source, input));
        }
        let hundredth = source.duration_us.unwrap_or(0) / 100;
        let layout = Layout {
            interval_us: options.interval.map_or(hundredth.max(1_000_000), |t| t.us),
            first_us: 0,
            width: Some(options.width),
            columns: options.columns,
            rows: options.rows,
            still: options.format,
            quality: options.quality,
            drawing: Drawing::default(),
        };
        let sheets = sheet::make(ctx, &mut source, &layout)?;
        let wrong = |e: std::io::Error| Failure::internal(e).stage("encode");
        let format = Format::parse(options.format.id()).ok_or_else(|| Failure::internal("no such picture format"))?;
        let (text, used) = vtt(&layout, &sheets, format.extension());
        std::fs::write(output.dir.join(TIMES), text).map_err(wrong)?;
        let folder = output.stem();
        let times = Format::parse("vtt").ok_or_else(|| Failure::internal("no such text format"))?;
        let mut files = vec![ProducedFile { file: TIMES.into(), name: format!("{folder}/{TIMES}"), format: times, expect: Expect::default() }];
        let size =
            Expect { width: Some(sheets.tile.0 * options.columns), height: Some(sheets.tile.1 * options.rows), probe: true, ..Expect::default() };
        for (n, bytes) in sheets.files.iter().take(used).enumerate() {
            let file = sheet_name(n, format.extension());
            std::fs::write(output.dir.join(&file), bytes).map_err(wrong)?;
            files.push(ProducedFile { name: format!("{folder}/{file}"), file, format, expect: size.clone() });
        }
        Ok(Produced::several(files, sheets.warnings))
    }
}

const TIMES: &str = "thumbnails.vtt";

fn sheet_name(n: usize, extension: &str) -> String {
    format!("sprite_{n:03}.{extension}")
}

/// The times (<https://www.w3.org/TR/webvtt1/>), each with the rectangle of its picture as a fragment of its sheet
/// (<https://www.w3.org/TR/media-frags/>); and how many sheets they use.
fn vtt(layout: &Layout, sheets: &Sheets, extension: &str) -> (String, usize) {
    let each = (layout.columns * layout.rows) as usize;
    let wanted = (sheets.length_us + layout.interval_us - 1) / layout.interval_us.max(1);
    let count = (wanted.max(1) as usize).min(sheets.files.len() * each);
    let (w, h) = sheets.tile;
    let mut text = String::from("WEBVTT\n");
    for n in 0..count {
        let start = n as i64 * layout.interval_us;
        let end = if n + 1 == count { sheets.length_us.max(start + 1000) } else { start + layout.interval_us };
        let place = (n % each) as u32;
        let (x, y) = (place % layout.columns * w, place / layout.columns * h);
        let file = sheet_name(n / each, extension);
        let _ = write!(text, "\n{} --> {}\n{file}#xywh={x},{y},{w},{h}\n", clock(start), clock(end));
    }
    (text, count.div_ceil(each))
}

fn clock(us: i64) -> String {
    let ms = us / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}
