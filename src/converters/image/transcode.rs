//! `image.transcode`: one picture in, one picture out.

use super::encode::{self, ICON_SIDE_MAX};
use super::geometry::{self, Plan};
use super::open::{self, Codec, Opened};
use super::options::{Frames, Options};
use super::picture::Picture;
use super::still::{Rendition, Still};
use super::{animation, limit};
use crate::convert::{Converter, Ctx, Expect, Input, Output, Produced, Spec};
use crate::failure::Failure;
use crate::format::{Family, Format};
use std::borrow::Cow;

pub struct Transcode;

impl Converter for Transcode {
    const SPEC: Spec = Spec {
        id: "image.transcode",
        family: Family::Image,
        summary: "Converts, scales, crops and turns pictures and animations.",
        pairs: &[(
            &["jpeg", "png", "webp", "gif", "avif", "heic", "tiff", "bmp", "svg", "ico", "qoi", "pnm", "tga"],
            &["jpeg", "png", "webp", "gif", "avif", "tiff", "bmp", "ico", "qoi", "pnm", "tga"],
        )],
    };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        encode::check_options(output.format, options)?;
        let opened = open::open(ctx, input, options.page.unwrap_or(1))?;
        ctx.check()?;
        let mut work = Work { ctx, input, options, output, opened, warnings: Vec::new() };
        let (bytes, expect) = work.run()?;
        ctx.check()?;
        std::fs::write(output.path(), bytes).map_err(|e| Failure::internal(e).stage("encode"))?;
        ctx.progress("encode", 1, 1, "frames");
        let mut produced = Produced::single(output, expect);
        produced.warnings = work.warnings;
        Ok(produced)
    }
}

struct Work<'a> {
    ctx: &'a Ctx<'a>,
    input: &'a Input,
    options: &'a Options,
    output: &'a Output,
    opened: Opened,
    warnings: Vec<String>,
}

impl Work<'_> {
    fn run(&mut self) -> Result<(Vec<u8>, Expect), Failure> {
        let (ctx, options, to) = (self.ctx, self.options, self.output.format);
        let (frames, pages) = (self.opened.facts.frames, self.opened.facts.pages);
        let still = Still::new(ctx, options, &self.opened.facts);
        let plan = self.fitted(to, still.shown())?;
        let mut rendition = still.rendition(to, plan);
        let whole = options.frames == Frames::All && options.page.is_none();
        let mut expect = Expect { width: Some(plan.canvas.0), height: Some(plan.canvas.1), frames: None, ..Expect::default() };
        if animation::moves(to) && frames > 1 && whole {
            expect.frames = Some(frames);
            // Encoders may join frames that do not differ.
            expect.frames_tolerance = frames - 1;
            return Ok((self.animation(&still, rendition)?, expect));
        }
        for (count, kind, verb) in [(frames, "frames", "does not move"), (pages, "pages", "has one page")] {
            if count > 1 && whole {
                self.warnings.push(format!("Only the first of {count} {kind} was taken: {} {verb}.", to.name()));
            }
        }
        if still.loses_metadata(to) {
            self.warnings.push(format!("The metadata was left out: {} has no place for it.", to.name()));
        }
        ctx.progress("decode", 0, 1, "frames");
        let decoded = self.opened.decode(self.input, still.wanted(&rendition), still.takes_planes(&rendition))?;
        self.opened.bytes = Vec::new();
        ctx.check()?;
        still.aim(&decoded, &mut rendition)?;
        ctx.progress("encode", 0, 1, "frames");
        Ok((still.file(Cow::Owned(decoded), &rendition)?, expect))
    }

    /// The plan for a picture as it is shown, within what the limits and the format allow.
    fn fitted(&mut self, to: Format, shown: (u32, u32)) -> Result<Plan, Failure> {
        let drawing = matches!(self.opened.codec, Codec::Svg(_));
        let mut plan = geometry::plan(shown.0, shown.1, self.options, self.options.enlarge || drawing)?;
        let longest = plan.canvas.0.max(plan.canvas.1);
        if to.id() == "ico" && longest > ICON_SIDE_MAX {
            self.warnings.push(format!("Scaled down to {ICON_SIDE_MAX} pixels, the most an icon has room for."));
            plan = plan.shrunk(ICON_SIDE_MAX, longest);
        }
        for size in [plan.cut.scaled, plan.canvas] {
            limit::check(self.ctx.limits, size.0.into(), size.1.into(), 1)?;
        }
        Ok(plan)
    }

    fn animation(&self, still: &Still, mut rendition: Rendition) -> Result<Vec<u8>, Failure> {
        let (frames, total, loops) = (self.opened.frames(self.input)?, self.opened.facts.frames, self.opened.facts.plays);
        let mut writer = animation::Writer::new(self.ctx, rendition.to, rendition.plan.canvas, loops, self.options)?;
        for (n, frame) in frames.enumerate() {
            self.ctx.check()?;
            self.ctx.progress("encode", n as u64, total, "frames");
            let cut = || open::damaged(self.input, format!("frame {}", n + 1)).stage("decode");
            let frame = frame.map_err(|e| Failure { message: format!("Frame {} is damaged or cut off.", n + 1), ..cut().detail(e) })?;
            let (numerator, denominator) = frame.delay().numer_denom_ms();
            let delay_ms = numerator / denominator.max(1);
            let picture = Picture::Pixels(frame.into_buffer().into());
            if n == 0 {
                // One place for all of them, or it would tremble.
                still.aim(&picture, &mut rendition)?;
            }
            if let Picture::Pixels(image) = still.shaped(Cow::Owned(picture), &rendition)? {
                writer.add(image, delay_ms)?;
            }
        }
        writer.finish()
    }
}
