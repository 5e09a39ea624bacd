//! From one decoded picture to a file: cut, scaled, turned, made up, written. A set of files goes this way once for each.

use super::geometry::{Cut, Plan};
use super::metadata::Metadata;
use super::open::Facts;
use super::options::{Fit, Gravity, Options, Profile};
use super::picture::{self, Picture, Planes};
use super::turns::Turns;
use super::{colour, effects, encode, smart, webp};
use crate::convert::Ctx;
use crate::converters::watermark::Stamp;
use crate::failure::Failure;
use crate::format::Format;
use image::{ColorType, DynamicImage, imageops};
use moxcms::ColorProfile;
use std::borrow::Cow;

/// What all files of one picture have in common.
pub struct Still<'a> {
    ctx: &'a Ctx<'a>,
    options: &'a Options,
    /// The size of the picture as it is stored, whatever size it was decoded to.
    stored: (u32, u32),
    turns: Turns,
    metadata: Metadata,
    icc: Option<Vec<u8>>,
    profile: Option<ColorProfile>,
}

/// One file to make.
pub struct Rendition {
    pub to: Format,
    pub plan: Plan,
    /// The plan's cut in the picture as it is stored.
    lying: Cut,
    stamp: Option<Stamp>,
}

impl<'a> Still<'a> {
    pub fn new(ctx: &'a Ctx<'a>, options: &'a Options, facts: &Facts) -> Still<'a> {
        Still {
            ctx,
            options,
            stored: (facts.width, facts.height),
            turns: Turns::new(facts.orientation, options),
            metadata: Metadata::travelling(facts.exif.as_deref(), facts.xmp.as_deref(), options.strip),
            icc: facts.icc.clone(),
            profile: colour::foreign(facts.icc.as_deref()),
        }
    }

    /// The size of the picture as it is shown.
    pub fn shown(&self) -> (u32, u32) {
        self.turns.size(self.stored)
    }

    pub fn rendition(&self, to: Format, plan: Plan) -> Result<Rendition, Failure> {
        let stamp = self.options.watermark.as_ref().map(|mark| mark.stamp(plan.canvas)).transpose()?;
        Ok(Rendition { to, plan, lying: self.turns.lying(plan.cut, self.shown()), stamp })
    }

    /// The size a decoder must give at least so that the cut can still be scaled down.
    pub fn wanted(&self, rendition: &Rendition) -> (u32, u32) {
        let cut = &rendition.lying;
        let side = |stored: u32, crop: f64, scaled: u32| (f64::from(stored) / crop * f64::from(scaled)).ceil() as u32;
        (side(self.stored.0, cut.crop.width, cut.scaled.0), side(self.stored.1, cut.crop.height, cut.scaled.1))
    }

    fn keeps_profile(&self, to: Format) -> bool {
        self.options.profile == Profile::Keep && encode::keeps_profile(to)
    }

    /// Whether planes are of use: nothing has to be done to colours, and there are no borders.
    pub fn takes_planes(&self, rendition: &Rendition) -> bool {
        let foreign = self.profile.is_some();
        let converted = foreign && !self.keeps_profile(rendition.to);
        !rendition.plan.has_borders() && rendition.stamp.is_none() && !converted && encode::takes_planes(rendition.to, self.options, foreign)
    }

    /// What metadata goes into a file of this format.
    pub fn metadata(&self, to: Format) -> Metadata {
        let icc = self.icc.clone().filter(|_| self.profile.is_some() && self.keeps_profile(to));
        Metadata { icc, ..self.metadata.clone() }
    }

    pub fn loses_metadata(&self, to: Format) -> bool {
        !self.metadata.is_empty() && !Metadata::has_room(to)
    }

    /// Moves a smart crop to where most is to be seen.
    pub fn aim(&self, picture: &Picture, rendition: &mut Rendition) -> Result<(), Failure> {
        let cut = &mut rendition.lying;
        if self.options.gravity == Gravity::Smart && self.options.fit == Fit::Cover && cut.crop != cut.region {
            cut.crop = smart::place(picture, self.stored, *cut)?;
        }
        Ok(())
    }

    /// The picture as it will be encoded.
    pub fn shaped(&self, source: Cow<Picture>, rendition: &Rendition) -> Result<Picture, Failure> {
        let (cut, to) = (rendition.lying, rendition.to);
        let picture = match source {
            Cow::Owned(Picture::Planes(planes)) => self.planes(Cow::Owned(planes), rendition)?,
            Cow::Borrowed(Picture::Planes(planes)) => self.planes(Cow::Borrowed(planes), rendition)?,
            Cow::Owned(Picture::Pixels(image)) => self.pixels(Cow::Owned(image), cut, to)?,
            Cow::Borrowed(Picture::Pixels(image)) => self.pixels(Cow::Borrowed(image), cut, to)?,
        };
        Ok(match effects::apply(picture, self.options)? {
            Picture::Planes(planes) if to.id() == "webp" => Picture::Planes(webp::narrowed(planes)),
            Picture::Planes(planes) if to.id() == "avif" => Picture::Planes(planes.coloured()),
            Picture::Planes(planes) => Picture::Planes(planes),
            Picture::Pixels(image) => Picture::Pixels(encode::deepened(self.finished(image, rendition)?, to, self.options)),
        })
    }

    fn planes(&self, planes: Cow<Planes>, rendition: &Rendition) -> Result<Picture, Failure> {
        let of_chroma = |size| encode::chroma_size(rendition.to, self.options, size);
        Planes::shaped(planes, self.stored, rendition.lying, &self.turns, of_chroma).map(Picture::Planes)
    }

    fn pixels(&self, image: Cow<DynamicImage>, cut: Cut, to: Format) -> Result<Picture, Failure> {
        let crop = cut.crop.scaled(self.stored, (image.width(), image.height()));
        let mut image = picture::resize(image, crop, cut.scaled)?;
        if let Some(profile) = self.profile.as_ref().filter(|_| !self.keeps_profile(to)) {
            image = colour::to_srgb(image, profile)?;
        }
        self.turns.apply(&mut image);
        Ok(Picture::Pixels(image))
    }

    /// Borders, background and watermark.
    fn finished(&self, image: DynamicImage, rendition: &Rendition) -> Result<DynamicImage, Failure> {
        let keeps_alpha = encode::keeps_alpha(rendition.to);
        let background = self.options.background.map(|colour| colour.0);
        let fill = background.unwrap_or(if keeps_alpha { [255, 255, 255, 0] } else { [255; 4] });
        let plan = &rendition.plan;
        let mut image = if plan.has_borders() { picture::pad(image, plan.canvas, plan.place, fill)? } else { image };
        if background.is_some() || !keeps_alpha {
            let fill = if keeps_alpha || fill[3] == 255 { fill } else { [255; 4] };
            image = picture::flatten(image, fill);
        }
        Ok(match &rendition.stamp {
            Some(stamp) => stamped(image, stamp),
            None => image,
        })
    }

    /// The finished file.
    pub fn file(&self, source: Cow<Picture>, rendition: &Rendition) -> Result<Vec<u8>, Failure> {
        let picture = self.shaped(source, rendition)?;
        self.ctx.check()?;
        encode::file(self.ctx, &picture, rendition.to, self.options, &self.metadata(rendition.to))
    }
}

/// Grey pictures get colours, for the mark's sake.
fn stamped(image: DynamicImage, stamp: &Stamp) -> DynamicImage {
    let mut image = match image.color() {
        ColorType::L8 => DynamicImage::ImageRgb8(image.into_rgb8()),
        ColorType::La8 => DynamicImage::ImageRgba8(image.into_rgba8()),
        ColorType::L16 => DynamicImage::ImageRgb16(image.into_rgb16()),
        ColorType::La16 => DynamicImage::ImageRgba16(image.into_rgba16()),
        _ => image,
    };
    imageops::overlay(&mut image, &stamp.image, stamp.left.into(), stamp.top.into());
    image
}
