//! Small pictures of a film at equal distances, laid out in sheets.

use crate::convert::Ctx;
use crate::converters::av::drawing::Drawing;
use crate::converters::av::eye::Eye;
use crate::converters::av::fault;
use crate::converters::av::film::judge;
use crate::converters::av::geometry::Geometry;
use crate::converters::av::graph::Fork;
use crate::converters::av::lane::Window;
use crate::converters::av::open::Source;
use crate::converters::av::options::{Fit, SIDE_MAX};
use crate::converters::av::pump::Pump;
use crate::converters::av::still::{Still, shown};
use crate::failure::Failure;
use ffmpeg_next::Rational;

/// How the pictures are taken and laid out.
pub struct Layout {
    /// From one picture to the next.
    pub interval_us: i64,
    /// When the first one is taken.
    pub first_us: i64,
    /// Of each picture, which is never enlarged; none: the film's own.
    pub width: Option<u32>,
    pub columns: u32,
    pub rows: u32,
    pub still: Still,
    pub quality: Option<u8>,
    /// Over each sheet.
    pub drawing: Drawing,
}

/// What was laid out.
pub struct Sheets {
    /// The size of each picture.
    pub tile: (u32, u32),
    /// How long the film turned out to be.
    pub length_us: i64,
    /// Each sheet as the bytes of its file.
    pub files: Vec<Vec<u8>>,
    pub warnings: Vec<String>,
}

/// With pictures this far apart those that stand for themselves are near enough.
const SPARSE_US: i64 = 10_000_000;

pub fn make(ctx: &Ctx, source: &mut Source, layout: &Layout) -> Result<Sheets, Failure> {
    let picture = source.picture().cloned().ok_or_else(|| Failure::internal("sheets of no picture"))?;
    let (turn, own_size) = shown(&picture);
    let tile = Geometry::plan(own_size, layout.width, None, Fit::Contain, true).size;
    let Layout { still, columns, rows, .. } = layout;
    let sheet = (u64::from(tile.0) * u64::from(*columns), u64::from(tile.1) * u64::from(*rows));
    if sheet.0.max(sheet.1) > u64::from(SIDE_MAX) || sheet.0 * sheet.1 > ctx.limits.frame_pixels_max {
        let message = format!("A sheet would be {} x {} pixels, more than a picture may be.", sheet.0, sheet.1);
        return Err(Failure::limit(message).hint("Ask for fewer or smaller pictures.").stage("open"));
    }
    let mut trunk: Vec<String> = turn.filters().into_iter().map(str::to_owned).collect();
    // The picture on show at each moment, and not the one nearest to it.
    let first = format!("{}.{:06}", layout.first_us / 1_000_000, layout.first_us % 1_000_000);
    trunk.push(format!("fps=fps=1000000/{}:start_time={first}:round=up", layout.interval_us));
    let (whole, tiled) = ((tile.0 * columns, tile.1 * rows), format!("tile=layout={columns}x{rows}"));
    let drawn = layout.drawing.filters(ctx, 0, whole)?;
    if drawn.is_empty() {
        trunk.extend([still.filters(picture.colour, tile), tiled]);
    } else {
        let further: Vec<String> = std::iter::once(tiled).chain(drawn).collect();
        trunk.push(still.filters_with(picture.colour, tile, &further, whole));
    }
    let fork = Fork { trunk: String::new(), branches: vec![trunk.join(",")] };
    let longest = ctx.limits.media_duration_max.as_millis() as i64 * 1000;
    let window = Window { shift_us: source.start_us, cut: false, length_us: None, latest_us: longest };
    let rate = picture.frame_rate.or(picture.average_rate).unwrap_or(Rational::new(25, 1));
    let mut eye = Eye::new(ctx, source, &picture, window, rate, 1, Box::new(move |_, _| fork.clone()))?;
    if layout.interval_us >= SPARSE_US {
        eye.only_keyframes();
    }
    let claimed = source.claimed_us(&[picture.index]);
    let mut files = Vec::new();
    let mut take = |frame| {
        files.push(still.encode(&frame, layout.quality).map_err(|e| fault::encoding(ctx, e))?);
        Ok(())
    };
    let mut pump = Pump::new(ctx, source, "decode", claimed);
    while let Some(packet) = pump.next(&[picture.index])? {
        eye.feed(ctx, &packet, &mut |_, seen| take(seen.frame))?;
        pump.reached(eye.tally.read_us)?;
    }
    eye.finish(ctx, &mut |_, seen| take(seen.frame))?;
    fault::flush_words(ctx);
    // Of keyframes alone the last one says little of the end.
    let length_us = if layout.interval_us >= SPARSE_US { claimed.unwrap_or(eye.tally.end_us).max(eye.tally.end_us) } else { eye.tally.end_us };
    eye.tally.read_us = length_us;
    let warnings = judge(ctx, source, &[&eye.tally], claimed)?.warnings;
    Ok(Sheets { tile, length_us, files, warnings })
}
