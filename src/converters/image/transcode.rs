//! `image.transcode`: one picture in; one out, or a set of them.

use super::encode::{self, ICON_SIDE_MAX};
use super::geometry::{self, Plan};
use super::open::{self, Codec, Opened};
use super::options::{Frames, Options};
use super::picture::Picture;
use super::salvage::{self, Rows};
use super::still::Still;
use super::{animation, limit, sequence, set};
use crate::convert::{Converter, Ctx, Expect, Input, Output, Produced, Spec};
use crate::failure::{Code, Failure};
use crate::format::{Family, Format};

pub struct Transcode;

impl Converter for Transcode {
    const SPEC: Spec = Spec {
        id: "image.transcode",
        family: Family::Image,
        summary: "Converts, scales, crops and turns pictures and animations.",
        pairs: &[(super::READS, &["jpeg", "png", "webp", "gif", "apng", "avif", "jxl", "tiff", "bmp", "ico", "qoi", "pnm", "tga", "pdf"])],
    };
    type Options = Options;

    fn takes_names(options: &Options) -> bool {
        options.is_set()
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Options, output: &Output) -> Result<Produced, Failure> {
        for to in set::formats(output.format, options) {
            encode::check_options(to, options)?;
        }
        let opened = open::open(ctx, input, options.page.unwrap_or(1))?;
        ctx.check()?;
        let mut work = Work { ctx, input, options, output, opened, warnings: Vec::new(), recovered: None };
        if options.is_set() {
            return set::make(&mut work);
        }
        let (bytes, expect) = work.run()?;
        let expect = Expect { recovered: work.recovered, ..expect };
        ctx.check()?;
        std::fs::write(output.path(), bytes).map_err(|e| Failure::internal(e).stage("encode"))?;
        ctx.progress("encode", 1, 1, "frames");
        let mut produced = Produced::single(output, expect);
        produced.warnings = work.warnings;
        Ok(produced)
    }
}

/// What a conversion has at hand.
pub struct Work<'a> {
    pub ctx: &'a Ctx<'a>,
    pub input: &'a Input,
    pub options: &'a Options,
    pub output: &'a Output,
    pub opened: Opened,
    pub warnings: Vec<String>,
    /// The share of a broken picture that is there.
    pub recovered: Option<f64>,
}

impl<'a> Work<'a> {
    fn run(&mut self) -> Result<(Vec<u8>, Expect), Failure> {
        let to = self.output.format;
        let facts = &self.opened.facts;
        if animation::moves(to) && facts.frames > 1 && self.takes_all() {
            return sequence::frames(self);
        }
        if sequence::has_pages(to) && facts.pages > 1 && self.takes_all() {
            return sequence::pages(self);
        }
        if to.id() == "ico" && !self.options.sizes.is_empty() {
            return sequence::icon(self);
        }
        let still = self.still();
        sequence::single(self, &still)
    }

    /// The picture, or as much as there is of it where that will do.
    pub fn decoded(&mut self, at_least: (u32, u32), planes: bool) -> Result<Picture, Failure> {
        let failure = match self.opened.decode(self.input, at_least, planes) {
            Err(failure) if failure.code == Code::CorruptInput => failure,
            decoded => return decoded,
        };
        if !self.options.salvage {
            return Err(failure.hint("Set `salvage` to take the rows of a jpeg or png that are there."));
        }
        let Rows { image, share } = salvage::decode(&self.opened, at_least).ok_or(failure)?;
        self.recovered = share;
        self.warnings.push(match share {
            Some(share) => format!("The file is cut off; {:.0} % of the picture are there.", share * 100.0),
            None => "The file is damaged; parts of the picture may be wrong.".into(),
        });
        Ok(Picture::Pixels(image))
    }

    pub fn still(&self) -> Still<'a> {
        Still::new(self.ctx, self.options, &self.opened.facts)
    }

    /// Whether every frame and page is wanted, as far as the result has room for them.
    pub fn takes_all(&self) -> bool {
        self.options.frames == Frames::All && self.options.page.is_none()
    }

    /// Whether there are frames or pages that were not chosen from.
    pub fn has_more(&self) -> bool {
        self.takes_all() && (self.opened.facts.frames > 1 || self.opened.facts.pages > 1)
    }

    /// The plan for a picture as it is shown, within what the limits and the format allow.
    pub fn fitted(&mut self, to: Format, shown: (u32, u32), options: &Options) -> Result<Plan, Failure> {
        let drawing = matches!(self.opened.codec, Codec::Svg(_));
        let mut plan = geometry::plan(shown.0, shown.1, options, options.enlarge || drawing)?;
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
}
