//! What the cost of a job is measured by.

use super::likeness::is_boxed;
use super::trend::Growth;
use super::{Part, Wanted};
use crate::format::{Family, Format};
use crate::job::Input;

/// What an input is, as far as it makes work.
#[derive(Debug, Clone)]
pub struct Subject {
    pub from: Format,
    pub size_bytes: u64,
    /// Of its pictures and sounds, in the file's order.
    pub codecs: Vec<String>,
    seconds: Option<f64>,
    /// Of one picture.
    area: Option<f64>,
    /// Pictures, where it is made of some.
    frames: f64,
    pages: Option<f64>,
    unpacked_bytes: Option<f64>,
}

impl Subject {
    pub fn of(input: &Input) -> Subject {
        let media = &input.media;
        let seen_or_heard = media.streams.iter().filter(|s| s.kind == "video" || s.kind == "audio");
        Subject {
            from: input.format,
            size_bytes: input.size_bytes,
            codecs: seen_or_heard.map(|s| s.codec.clone()).collect(),
            seconds: media.duration_ms.map(|ms| ms as f64 / 1000.0),
            area: media.width.zip(media.height).map(|(width, height)| f64::from(width) * f64::from(height)),
            frames: media.frames.or(media.pages).unwrap_or(1) as f64,
            pages: media.pages.map(|n| n as f64),
            unpacked_bytes: media.unpacked_bytes.map(|n| n as f64),
        }
    }
}

/// What grows with the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Nothing,
    Bytes,
    UnpackedBytes,
    Seconds,
    /// Of one picture.
    Area,
    /// Of all pictures.
    Pixels,
    /// How many pixels there are for how long.
    AreaSeconds,
    Pages,
}

impl Measure {
    /// Above 0; none where it is not known.
    pub fn of(self, subject: &Subject) -> Option<f64> {
        let amount = match self {
            Measure::Nothing => 1.0,
            Measure::Bytes => subject.size_bytes as f64,
            Measure::UnpackedBytes => subject.unpacked_bytes?,
            Measure::Seconds => subject.seconds?,
            Measure::Area => subject.area?,
            Measure::Pixels => subject.area? * subject.frames,
            Measure::AreaSeconds => subject.area? * subject.seconds?,
            Measure::Pages => subject.pages?,
        };
        Some(amount.max(0.001))
    }

    /// Pictures are held in memory as a whole; of the rest, a part at a time.
    pub fn growth_of_memory(self) -> Growth {
        if matches!(self, Measure::Area | Measure::Pixels) { Growth::Upwards } else { Growth::None }
    }
}

impl Wanted {
    /// What its time grows with.
    pub fn effort(&self) -> Measure {
        let Subject { from, seconds, area, pages, unpacked_bytes, .. } = &self.subject;
        if self.copied {
            return Measure::Bytes;
        }
        match from.family() {
            Family::Video | Family::Audio if self.all(is_a_glance) && area.is_some() => Measure::Area,
            _ if seconds.is_some() && area.is_some() && !self.all(is_sound) => Measure::AreaSeconds,
            _ if seconds.is_some() => Measure::Seconds,
            Family::Document if pages.is_some() => Measure::Pages,
            Family::Archive if unpacked_bytes.is_some() => Measure::UnpackedBytes,
            Family::Image if area.is_some() => Measure::Pixels,
            _ => Measure::Bytes,
        }
    }

    /// What its bytes grow with.
    pub fn yielded(&self) -> Measure {
        match self.effort() {
            Measure::AreaSeconds if self.all(|part| is_boxed(&part.options)) => Measure::Seconds,
            Measure::Area | Measure::Pixels if self.all(|part| is_boxed(&part.options)) => Measure::Nothing,
            effort => effort,
        }
    }

    /// What its memory grows with.
    pub fn breadth(&self) -> Measure {
        match self.effort() {
            Measure::AreaSeconds => Measure::Area,
            Measure::Bytes | Measure::Seconds if self.subject.area.is_some() && self.subject.from.family() == Family::Video => Measure::Area,
            Measure::Seconds => Measure::Nothing,
            effort => effort,
        }
    }

    fn all(&self, is_so: impl Fn(&Part) -> bool) -> bool {
        self.parts.iter().all(is_so)
    }
}

fn is_sound(part: &Part) -> bool {
    part.converter.starts_with("audio.")
}

/// One picture of it is looked at, however long it is.
fn is_a_glance(part: &Part) -> bool {
    part.converter.ends_with(".poster") || part.converter.ends_with(".preview")
}
