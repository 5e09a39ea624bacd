//! `image.transcode`: one picture in, one picture out.

use super::encode::{self, ICON_SIDE_MAX};
use super::geometry::{self, Plan};
use super::open::{self, Codec, Opened};
use super::options::{Frames, Options, Profile};
use super::picture::{self, Turns};
use super::{colour, exif, heif, jpeg, limit, webp};
use crate::convert::{Converter, Ctx, Expect, Input, Output, Produced, Spec};
use crate::failure::Failure;
use crate::format::Family;
use image::DynamicImage;

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
        let facts = &self.opened.facts;
        let turns = Turns::new(facts.orientation, self.options);
        let (stored, frames) = ((facts.width, facts.height), facts.frames);
        let shown = if turns.transpose() { (stored.1, stored.0) } else { stored };
        let drawing = matches!(self.opened.codec, Codec::Svg(_));
        let plan = self.fitted(shown, drawing);
        for size in [plan.scaled, plan.canvas] {
            limit::check(self.ctx.limits, size.0.into(), size.1.into(), 1)?;
        }
        let lying = if turns.transpose() { plan.transposed() } else { plan };
        let moves = matches!(self.output.format.id(), "gif" | "webp") && frames > 1 && self.options.frames == Frames::All;
        let mut expect = Expect { width: Some(plan.canvas.0), height: Some(plan.canvas.1), frames: None, ..Expect::default() };
        if moves {
            expect.frames = Some(frames);
            // Encoders may join frames that do not differ.
            expect.frames_tolerance = frames - 1;
            return Ok((self.animation(lying, plan, &turns)?, expect));
        }
        if frames > 1 && self.options.frames == Frames::All {
            self.warnings.push(format!("Only the first of {} frames was taken: {} does not move.", frames, self.output.format.name()));
        }
        Ok((self.still(stored, lying, plan, &turns)?, expect))
    }

    fn fitted(&mut self, shown: (u32, u32), drawing: bool) -> Plan {
        let plan = geometry::plan(shown.0, shown.1, self.options, self.options.enlarge || drawing);
        let longest = plan.canvas.0.max(plan.canvas.1);
        if self.output.format.id() != "ico" || longest <= ICON_SIDE_MAX {
            return plan;
        }
        self.warnings.push(format!("Scaled down to {ICON_SIDE_MAX} pixels, the most an icon has room for."));
        let smaller = |length: u32| (u64::from(length) * u64::from(ICON_SIDE_MAX) / u64::from(longest)).max(1) as u32;
        let shrink = |size: (u32, u32)| (smaller(size.0), smaller(size.1));
        Plan { crop: plan.crop, scaled: shrink(plan.scaled), canvas: shrink(plan.canvas) }
    }

    /// The size a decoder must give at least so that the middle can still be scaled down to the plan.
    fn wanted(stored: (u32, u32), lying: Plan) -> (u32, u32) {
        let side = |stored: u32, crop: f64, scaled: u32| (f64::from(stored) / crop * f64::from(scaled)).ceil() as u32;
        (side(stored.0, lying.crop.0, lying.scaled.0), side(stored.1, lying.crop.1, lying.scaled.1))
    }

    fn still(&mut self, stored: (u32, u32), lying: Plan, plan: Plan, turns: &Turns) -> Result<Vec<u8>, Failure> {
        let to = self.output.format;
        let exif = self.opened.facts.exif.as_deref().and_then(|raw| exif::travelling(raw, self.options.strip));
        let profile = colour::foreign(self.opened.facts.icc.as_deref());
        let keep_profile = self.options.profile == Profile::Keep && matches!(to.id(), "jpeg" | "png" | "webp");
        let icc = self.opened.facts.icc.clone().filter(|_| keep_profile && profile.is_some());
        let planar = !plan.has_borders() && (profile.is_none() || keep_profile);
        let planes = planar && (to.id() == "jpeg" || to.id() == "avif" || (to.id() == "webp" && !self.options.lossless));

        self.ctx.progress("decode", 0, 1, "frames");
        let decoded = self.opened.decode(self.input, Self::wanted(stored, lying), planes)?;
        self.opened.bytes = Vec::new();
        self.ctx.check()?;
        let file = match decoded {
            jpeg::Decoded::Planes(planes) => {
                let settings = encode::jpeg_settings(self.options);
                let shaped = planes.shaped(stored, lying, turns, to.id() == "jpeg" && settings.full_chroma)?;
                self.ctx.check()?;
                self.ctx.progress("encode", 0, 1, "frames");
                match to.id() {
                    "jpeg" => jpeg::encode_planes(shaped, &settings)?,
                    "webp" => webp::encode_planes(shaped, &encode::webp_settings(self.ctx, self.options))?,
                    _ => {
                        let settings = encode::avif_settings(self.ctx, self.options);
                        return heif::encode(heif::Source::Planes(shaped), &settings, exif.as_deref());
                    }
                }
            }
            jpeg::Decoded::Pixels(image) => {
                let share = (lying.crop.0 / f64::from(stored.0), lying.crop.1 / f64::from(stored.1));
                let crop = (share.0 * f64::from(image.width()), share.1 * f64::from(image.height()));
                let mut image = picture::resize(image, crop, lying.scaled)?;
                if let Some(profile) = profile.as_ref().filter(|_| !keep_profile) {
                    image = colour::to_srgb(image, profile)?;
                }
                turns.apply(&mut image);
                let image = self.finished(image, plan)?;
                self.ctx.check()?;
                self.ctx.progress("encode", 0, 1, "frames");
                if to.id() == "avif" {
                    let settings = encode::avif_settings(self.ctx, self.options);
                    return heif::encode(heif::Source::Pixels(image), &settings, exif.as_deref());
                }
                encode::still(self.ctx, image, to, self.options)?
            }
        };
        let wanted_metadata = exif.is_some();
        let (file, attached) = encode::attach(file, to, exif, icc)?;
        if wanted_metadata && !attached {
            self.warnings.push(format!("The metadata was left out: {} has no place for it.", to.name()));
        }
        Ok(file)
    }

    /// Borders and background.
    fn finished(&self, image: DynamicImage, plan: Plan) -> Result<DynamicImage, Failure> {
        let keeps_alpha = encode::keeps_alpha(self.output.format);
        let background = self.options.background.map(|colour| colour.0);
        let fill = background.unwrap_or(if keeps_alpha { [255, 255, 255, 0] } else { [255; 4] });
        let mut image = if plan.has_borders() { picture::pad(image, plan.canvas, fill)? } else { image };
        if background.is_some() || !keeps_alpha {
            let fill = if keeps_alpha || fill[3] == 255 { fill } else { [255; 4] };
            image = picture::flatten(image, fill);
        }
        Ok(image)
    }

    fn animation(&self, lying: Plan, plan: Plan, turns: &Turns) -> Result<Vec<u8>, Failure> {
        let (frames, total, loops) = (self.opened.frames(self.input)?, self.opened.facts.frames, self.opened.facts.plays);
        let mut writer = super::animation::Writer::new(self.ctx, self.output.format, plan.canvas, loops, self.options)?;
        for (n, frame) in frames.enumerate() {
            self.ctx.check()?;
            self.ctx.progress("encode", n as u64, total, "frames");
            let cut = || open::damaged(self.input, format!("frame {}", n + 1)).stage("decode");
            let frame = frame.map_err(|e| Failure { message: format!("Frame {} is damaged or cut off.", n + 1), ..cut().detail(e) })?;
            let (numerator, denominator) = frame.delay().numer_denom_ms();
            let delay_ms = numerator / denominator.max(1);
            let mut image = picture::resize(DynamicImage::from(frame.into_buffer()), lying.crop, lying.scaled)?;
            turns.apply(&mut image);
            writer.add(self.finished(image, plan)?, delay_ms)?;
        }
        writer.finish()
    }
}
