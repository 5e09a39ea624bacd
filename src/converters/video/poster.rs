//! `video.poster`: one still picture of a film.

use super::fates::no_picture;
use super::moving::{self, Animation};
use super::sheet::{self, Layout};
use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, Spec, Validate};
use crate::converters::av::drawing::Drawing;
use crate::converters::av::geometry::Geometry;
use crate::converters::av::graph::{self, Fork};
use crate::converters::av::lane::micros;
use crate::converters::av::open::{self, Source};
use crate::converters::av::options::{Fit, SIDE_MAX};
use crate::converters::av::still::{Still, shown};
use crate::converters::av::units::Place;
use crate::converters::av::{decode, fault, pump};
use crate::converters::watermark::Watermark;
use crate::failure::Failure;
use crate::format::Family;
use ffmpeg_next::{Error, Packet, Rational, frame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Poster;

/// Options of `video.poster`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Which moment: a share of the film's length as `10%`, or a time as 12.5, `1m30s` or `00:01:30`. After a share, black frames are
    /// passed over for up to 5 seconds. Default: 10%.
    pub at: Place,
    /// Width of the box the picture has to fit, 1 to 16384; it is never enlarged. Default: none.
    pub width: Option<u32>,
    /// Height of that box, 1 to 16384. Default: none.
    pub height: Option<u32>,
    /// Quality of jpeg and webp, 1 (small) to 100 (best). Default: 85 for jpeg, 80 for webp.
    pub quality: Option<u8>,
    /// A picture laid over the result: the poster, the sheet as a whole, every frame of a moving one. Default: none.
    pub watermark: Option<Watermark>,
    /// Instead of one picture a contact sheet of many, taken at equal distances; `width` is then that of each. Default: none.
    pub sheet: Option<Sheet>,
    /// Instead of one picture a moving one, from `at` on; webp alone. Default: none.
    pub animation: Option<Animation>,
}

/// A contact sheet.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sheet {
    /// Pictures side by side, 1 to 20. Default: 4.
    pub columns: u32,
    /// Rows of them, 1 to 20. Default: 4.
    pub rows: u32,
}

impl Default for Sheet {
    fn default() -> Self {
        Sheet { columns: 4, rows: 4 }
    }
}

impl Options {
    pub fn drawing(&self) -> Drawing {
        Drawing { words: None, mark: self.watermark.clone() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { at: Place::Percent(10.0), width: None, height: None, quality: None, watermark: None, sheet: None, animation: None }
    }
}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("width", self.width, 1..=SIDE_MAX)?;
        OutOfRange::check("height", self.height, 1..=SIDE_MAX)?;
        OutOfRange::check("quality", self.quality, 1..=100)?;
        self.watermark.as_ref().map_or(Ok(()), Watermark::validate)?;
        if self.sheet.is_some() && self.animation.is_some() {
            return Err(OutOfRange::new("animation", "with a sheet", "one of the two"));
        }
        self.animation.map_or(Ok(()), |animation| animation.validate())?;
        OutOfRange::check("sheet.columns", self.sheet.map(|s| s.columns), 1..=20)?;
        OutOfRange::check("sheet.rows", self.sheet.map(|s| s.rows), 1..=20)
    }
}

/// How long black frames are passed over.
const DARK_US: i64 = 5_000_000;

impl Converter for Poster {
    const SPEC: Spec = Spec {
        id: "video.poster",
        family: Family::Video,
        summary: "Takes one still picture out of a film.",
        pairs: &[(super::READS, &["jpeg", "png", "webp"])],
    };
    type Options = Options;

    fn takes_names(_options: &Options) -> bool {
        false
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        let still = Still::of(output.format.id()).ok_or_else(|| Failure::internal("no such picture format"))?;
        let mut source = open::open(ctx, input)?;
        let picture = source.picture().cloned().ok_or_else(|| no_picture(&source, input))?;
        if let Some(sheet) = options.sheet {
            return contact_sheet(ctx, &mut source, sheet, options, still, output);
        }
        let (turn, own_size) = shown(&picture);
        let size = Geometry::plan(own_size, options.width, options.height, Fit::Contain, false).size;
        let (at_us, exact) = match options.at {
            Place::At(time) => (time.us, true),
            Place::Percent(share) => ((source.duration_us.unwrap_or(0) as f64 * share / 100.0) as i64, false),
        };
        if options.animation.is_some() {
            return moving::make(ctx, &mut source, &picture, at_us, input, options, output);
        }
        let mut chain: Vec<String> = turn.filters().into_iter().map(str::to_owned).collect();
        let drawn = options.drawing().filters(ctx, 0, size)?;
        chain.push(if drawn.is_empty() { still.filters(picture.colour, size) } else { still.filters_with(picture.colour, size, &drawn, size) });
        let fork = Fork { trunk: String::new(), branches: vec![chain.join(",")] };
        let mut finder = Finder { ctx, source: &mut source, index: picture.index, fork };
        let frame = finder.find(at_us, exact)?.ok_or_else(|| Failure::corrupt("No picture of the film can be decoded.").stage("decode"))?;
        let bytes = still.encode(&frame, options.quality).map_err(|e| fault::encoding(ctx, e))?;
        std::fs::write(output.path(), bytes).map_err(|e| Failure::internal(e).stage("encode"))?;
        fault::flush_words(ctx);
        ctx.progress("encode", 1, 1, "frames");
        Ok(Produced::single(output, Expect { width: Some(size.0), height: Some(size.1), ..Expect::default() }))
    }
}

/// Each picture from the middle of its part of the film.
fn contact_sheet(ctx: &Ctx, source: &mut Source, sheet: Sheet, options: &Options, still: Still, output: &Output) -> Result<Produced, Failure> {
    let Sheet { columns, rows } = sheet;
    let length_us = source.duration_us.ok_or_else(|| Failure::corrupt("The file does not say how long the film is.").stage("open"))?;
    let interval_us = (length_us / i64::from(columns * rows)).max(1000);
    let (width, quality) = (options.width.or(Some(320)), options.quality);
    let layout = Layout { interval_us, first_us: interval_us / 2, width, columns, rows, still, quality, drawing: options.drawing() };
    let sheets = sheet::make(ctx, source, &layout)?;
    let bytes = sheets.files.first().ok_or_else(|| Failure::corrupt("No picture of the film can be decoded.").stage("decode"))?;
    std::fs::write(output.path(), bytes).map_err(|e| Failure::internal(e).stage("encode"))?;
    let expect = Expect { width: Some(sheets.tile.0 * columns), height: Some(sheets.tile.1 * rows), ..Expect::default() };
    Ok(Produced { warnings: sheets.warnings, ..Produced::single(output, expect) })
}

struct Finder<'a> {
    ctx: &'a Ctx<'a>,
    source: &'a mut Source,
    index: usize,
    fork: Fork,
}

impl Finder<'_> {
    /// The frame on show at `at_us`, or the last one before the end; unless `exact`, the first after it that is not black.
    fn find(&mut self, at_us: i64, exact: bool) -> Result<Option<frame::Video>, Failure> {
        if at_us > 0 && self.source.seek(at_us) {
            let found = self.look(at_us, exact)?;
            if found.is_some() {
                return Ok(found);
            }
            // The index led astray: from the start, then.
            self.source.seek(0);
        }
        self.look(at_us, exact)
    }

    fn look(&mut self, at_us: i64, exact: bool) -> Result<Option<frame::Video>, Failure> {
        let mut decoder = decode::video(self.ctx, self.source, self.index)?;
        let clock = self.source.streams[self.index].time_base;
        let (mut best, mut last, mut ended, mut failed) = (None, None, false, 0);
        while !ended {
            self.ctx.check()?;
            let mut packet = Packet::empty();
            match packet.read(&mut self.source.input) {
                Ok(()) if packet.stream() != self.index => continue,
                // What cannot be decoded gives no frame.
                Ok(()) => {
                    let _ = decoder.send_packet(&packet);
                }
                Err(e) if (fault::again(e) || e == Error::InvalidData) && failed < pump::FAILED_READS_MAX => {
                    failed += 1;
                    continue;
                }
                Err(_) => {
                    ended = true;
                    let _ = decoder.send_eof();
                }
            }
            let mut frame = frame::Video::empty();
            while decoder.receive_frame(&mut frame).is_ok() {
                let length = micros(frame.packet().duration, clock);
                let time = frame.timestamp().map_or(at_us, |t| micros(t, clock) - self.source.start_us);
                if time + length.max(1) <= at_us {
                    last = Some(std::mem::replace(&mut frame, frame::Video::empty()));
                    continue;
                }
                let drawn = self.draw(&frame, clock)?;
                if exact || !dark(&drawn) {
                    return Ok(Some(drawn));
                }
                best.get_or_insert(drawn);
                if time > at_us + DARK_US {
                    return Ok(best);
                }
            }
        }
        match (best, last) {
            (None, Some(frame)) => self.draw(&frame, clock).map(Some),
            (best, _) => Ok(best),
        }
    }

    fn draw(&self, frame: &frame::Video, clock: Rational) -> Result<frame::Video, Failure> {
        let wrong = |e| fault::encoding(self.ctx, e);
        let mut graph = graph::pictures(frame, clock, Rational::new(25, 1), &self.fork, self.ctx.threads).map_err(wrong)?;
        let mut drawn = frame::Video::empty();
        let (Some(mut source), Some(mut sink)) = (graph.get("in"), graph.get(&Fork::sink(0))) else { return Err(wrong(Error::FilterNotFound)) };
        source.source().add(frame).map_err(wrong)?;
        let _ = source.source().flush();
        sink.sink().frame(&mut drawn).map_err(wrong)?;
        Ok(drawn)
    }
}

/// Whether next to nothing is to be seen: hardly a pixel is brighter than dark grey.
fn dark(frame: &frame::Video) -> bool {
    if frame.planes() == 0 {
        return true;
    }
    let (stride, data) = (frame.stride(0), frame.data(0));
    let row_bytes = stride.min(data.len() / frame.height().max(1) as usize);
    let (mut bright, mut all) = (0u64, 0u64);
    for row in data.chunks(stride.max(1)).take(frame.height() as usize) {
        for value in row.iter().take(row_bytes.min(frame.width() as usize)).step_by(3) {
            bright += u64::from(*value > 40);
            all += 1;
        }
    }
    bright * 50 < all
}
