//! Pictures one after the other: the frames of an animation, the pages of a document, the sizes of an icon.

use super::animation::Writer;
use super::options::{Fit, Options};
use super::picture::Picture;
use super::still::Still;
use super::transcode::Work;
use super::{encode, open};
use crate::convert::Expect;
use crate::failure::{Code, Failure};
use crate::format::Format;
use image::DynamicImage;
use std::borrow::Cow;

type Made = (Vec<u8>, Expect);

/// An animation as an animation.
pub fn frames(work: &mut Work) -> Result<Made, Failure> {
    refuse_target(work.options)?;
    let still = work.still();
    if !still.metadata(work.output.format).is_empty() {
        work.warnings.push("The metadata was left out: an animation is written without.".into());
    }
    let plan = work.fitted(work.output.format, still.shown(), work.options)?;
    let mut rendition = still.rendition(work.output.format, plan)?;
    let (total, plays) = (work.opened.facts.frames, work.opened.facts.plays);
    let mut writer = Writer::new(work.ctx, rendition.to, plan.canvas, total, plays, work.options)?;
    for (n, frame) in work.opened.frames(work.input)?.enumerate() {
        work.ctx.check()?;
        work.ctx.progress("encode", n as u64, total, "frames");
        let cut = || open::damaged(work.input, format!("frame {}", n + 1)).stage("decode");
        let frame = frame.map_err(|e| Failure { message: format!("Frame {} is damaged or cut off.", n + 1), ..cut().detail(e) })?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let picture = Picture::Pixels(frame.into_buffer().into());
        if n == 0 {
            // One place for all of them, or it would tremble.
            still.aim(&picture, &mut rendition)?;
        }
        if let Picture::Pixels(image) = still.shaped(Cow::Owned(picture), &rendition)? {
            writer.add(image, numerator / denominator.max(1))?;
        }
    }
    // Encoders may join frames that do not differ.
    let expect = Expect { frames: Some(total), frames_tolerance: total - 1, ..expect(plan.canvas) };
    Ok((writer.finish()?, expect))
}

fn expect(size: (u32, u32)) -> Expect {
    Expect { width: Some(size.0), height: Some(size.1), ..Expect::default() }
}

/// What a file of one picture must measure.
pub fn expect_one(to: Format, size: (u32, u32)) -> Expect {
    if to.id() == "pdf" { Expect { pages: Some(1), ..Expect::default() } } else { expect(size) }
}

/// A search would have to encode all of it again for every step.
fn refuse_target(options: &Options) -> Result<(), Failure> {
    if options.target_bytes.is_none() {
        return Ok(());
    }
    let message = "The option `target_bytes` applies to single pictures only, not to animations or several pages.";
    Err(Failure::new(Code::InvalidOption, message).hint("Choose one by `page`, or the first by `frames`.").stage("open"))
}

/// All pages, each with a size of its own.
pub fn pages(work: &mut Work) -> Result<Made, Failure> {
    refuse_target(work.options)?;
    let (to, count) = (work.output.format, work.opened.facts.pages);
    work.opened.check_pages(work.ctx, work.input)?;
    let metadata = work.still().metadata(to);
    let (ctx, options) = (work.ctx, work.options);
    let mut first = None;
    let pages = (1..=count).map(|n| {
        ctx.check()?;
        ctx.progress("encode", n - 1, count, "pages");
        work.opened.turn_to(work.input, n)?;
        let still = work.still();
        let plan = work.fitted(to, still.shown(), options)?;
        let mut rendition = still.rendition(to, plan)?;
        let decoded = work.decoded(still.wanted(&rendition), still.takes_planes(&rendition))?;
        still.aim(&decoded, &mut rendition)?;
        first.get_or_insert(plan.canvas);
        still.shaped(Cow::Owned(decoded), &rendition)
    });
    let file = encode::pages(to, options, &metadata, pages)?;
    let size = first.filter(|_| to.id() == "tiff").map_or(Expect::default(), expect);
    Ok((file, Expect { pages: Some(count), ..size }))
}

/// An icon with a picture of each size; squares, as every system wants them.
pub fn icon(work: &mut Work) -> Result<Made, Failure> {
    let still = work.still();
    let mut sizes = work.options.sizes.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let fit = if work.options.fit == Fit::Cover { Fit::Cover } else { Fit::Contain };
    let mut renditions = Vec::new();
    for size in &sizes {
        let square = Options { width: Some(*size), height: Some(*size), dpr: 1.0, fit, enlarge: true, ..work.options.clone() };
        renditions.push(still.rendition(work.output.format, work.fitted(work.output.format, still.shown(), &square)?)?);
    }
    let wanted = renditions.iter().map(|r| still.wanted(r)).fold((1, 1), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let decoded = work.decoded(wanted, false)?;
    let mut pictures: Vec<DynamicImage> = Vec::new();
    for rendition in &mut renditions {
        work.ctx.check()?;
        still.aim(&decoded, rendition)?;
        if let Picture::Pixels(image) = still.shaped(Cow::Borrowed(&decoded), rendition)? {
            pictures.push(image);
        }
    }
    let largest = sizes.last().copied().unwrap_or(1);
    Ok((encode::icon(&pictures)?, expect((largest, largest))))
}

/// Whether a still of this format may have many pages.
pub fn has_pages(to: Format) -> bool {
    matches!(to.id(), "tiff" | "pdf")
}

/// One picture in one file.
pub fn single(work: &mut Work, still: &Still) -> Result<Made, Failure> {
    let to = work.output.format;
    let plan = work.fitted(to, still.shown(), work.options)?;
    let mut rendition = still.rendition(to, plan)?;
    let (count, kind, verb) = match work.opened.facts.frames {
        1 => (work.opened.facts.pages, "pages", "has one page"),
        frames => (frames, "frames", "does not move"),
    };
    if count > 1 && work.takes_all() {
        work.warnings.push(format!("Only the first of {count} {kind} was taken: {} {verb}.", to.name()));
    }
    if still.loses_metadata(to) {
        work.warnings.push(format!("The metadata was left out: {} has no place for it.", to.name()));
    }
    work.ctx.progress("decode", 0, 1, "frames");
    let decoded = work.decoded(still.wanted(&rendition), still.takes_planes(&rendition))?;
    work.opened.bytes = Vec::new();
    work.ctx.check()?;
    still.aim(&decoded, &mut rendition)?;
    work.ctx.progress("encode", 0, 1, "frames");
    let file = still.file(Cow::Owned(decoded), &rendition)?;
    Ok((file, expect_one(to, plan.canvas)))
}
