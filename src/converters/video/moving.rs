//! A part of a film as a webp that moves.

use super::poster::Options;
use crate::convert::{Ctx, Expect, Input, OutOfRange, Output, Produced};
use crate::converters::av::Facts;
use crate::converters::av::containers::container;
use crate::converters::av::film::{self, Order};
use crate::converters::av::open::Source;
use crate::converters::av::options::{AudioOptions, Copying, Metadata, Tags, Trim, VideoOptions};
use crate::converters::av::plan::Circumstances;
use crate::converters::av::shaping::Shaping;
use crate::converters::av::units::Time;
use crate::failure::{Code, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A webp that moves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Animation {
    /// How much of the film it shows, from `at` on, up to 60 seconds: seconds, or text as `3s`. Default: 3.
    pub duration: Time,
    /// Frames per second, 1 to 30. Default: 10.
    pub fps: f64,
    /// How often it plays, 0 to 65535; 0: for ever. Default: 0.
    pub plays: u16,
}

impl Default for Animation {
    fn default() -> Self {
        Animation { duration: Time { us: 3_000_000 }, fps: 10.0, plays: 0 }
    }
}

impl Animation {
    pub fn validate(&self) -> Result<(), OutOfRange> {
        OutOfRange::check("animation.duration", Some(self.duration.us as f64 / 1e6), 0.1..=60.0)?;
        OutOfRange::check("animation.fps", Some(self.fps), 1.0..=30.0)
    }
}

/// Webp's qualities on the scale of a film's.
fn crf(quality: u8) -> u8 {
    ((100 - u32::from(quality.min(100))) * 63 / 100) as u8
}

/// `at_us` is where it begins.
pub fn make(
    ctx: &Ctx,
    source: &mut Source,
    picture: &Facts,
    at_us: i64,
    input: &Input,
    options: &Options,
    output: &Output,
) -> Result<Produced, Failure> {
    let Some(animation) = options.animation else { return Err(Failure::internal("no animation was asked for")) };
    let container = container(output.format)
        .ok_or_else(|| Failure::new(Code::InvalidOption, format!("`animation`: {} does not move; webp does.", output.format.name())).stage("open"))?;
    let video = VideoOptions {
        width: options.width,
        height: options.height,
        fps: Some(animation.fps),
        crf: options.quality.map(crf),
        ..VideoOptions::default()
    };
    let at = Circumstances { source, container, copying: Copying::Never, from: input.format.id(), cut: at_us > 0, at_keyframe: false };
    let order = Order {
        container,
        streams: vec![at.video(picture, &video, None)?],
        rungs: vec![video],
        audio: &AudioOptions::default(),
        quality: None,
        shaping: &Shaping::default(),
        drawing: &options.drawing(),
        trim: Trim { start: Some(Time { us: at_us }), duration: Some(animation.duration), end: None },
        metadata: Metadata::Strip,
        tags: &Tags::default(),
        covers: Vec::new(),
        faststart: false,
        settings: container.plays(animation.plays),
        pass: None,
        stretch: None,
    };
    let made = film::make(ctx, source, &order, &output.path())?;
    let size = made.sizes.first();
    let expect = Expect { width: size.map(|s| s.0), height: size.map(|s| s.1), ..Expect::default() };
    Ok(Produced { warnings: made.warnings, ..Produced::single(output, expect) })
}
