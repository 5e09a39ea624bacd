//! From the size of a picture and the wish of a client to the sizes of the work.

use super::options::{Crop, Fit, Gravity, Options, SIDE_MAX};
use crate::failure::{Code, Failure};

/// A part of a picture, in pixels that may be cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub fn whole(width: u32, height: u32) -> Rect {
        Rect { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    /// The same part of the same picture at another size.
    pub fn scaled(self, from: (u32, u32), to: (u32, u32)) -> Rect {
        let (sx, sy) = (f64::from(to.0) / f64::from(from.0.max(1)), f64::from(to.1) / f64::from(from.1.max(1)));
        Rect { x: self.x * sx, y: self.y * sy, width: self.width * sx, height: self.height * sy }
    }

    /// A part of this size, where gravity pulls it within this one.
    fn part(self, width: f64, height: f64, gravity: Gravity) -> Rect {
        let (width, height, share) = (width.min(self.width), height.min(self.height), gravity.share());
        Rect { x: self.x + (self.width - width) * share.0, y: self.y + (self.height - height) * share.1, width, height }
    }
}

/// What is taken out of a picture, and the size that becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// What may be seen at all; a smart crop looks for its place within.
    pub region: Rect,
    pub crop: Rect,
    pub scaled: (u32, u32),
}

/// The cut, and the canvas to put it on. All as displayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    pub cut: Cut,
    pub canvas: (u32, u32),
    /// Where on the canvas it stands.
    pub place: (u32, u32),
}

impl Plan {
    pub fn has_borders(&self) -> bool {
        self.canvas != self.cut.scaled
    }

    /// The same work, smaller by `to` in `from`.
    pub fn shrunk(self, to: u32, from: u32) -> Plan {
        let length = |length: u32| (u64::from(length) * u64::from(to) / u64::from(from.max(1))) as u32;
        let size = |size: (u32, u32)| (length(size.0).max(1), length(size.1).max(1));
        let cut = Cut { scaled: size(self.cut.scaled), ..self.cut };
        Plan { cut, canvas: size(self.canvas), place: (length(self.place.0), length(self.place.1)) }
    }
}

fn side(length: f64) -> u32 {
    (length.round() as u32).clamp(1, SIDE_MAX)
}

/// Plans for a picture of `width` by `height` as displayed.
pub fn plan(width: u32, height: u32, options: &Options, enlarge: bool) -> Result<Plan, Failure> {
    let region = match options.crop {
        Some(crop) => part(width, height, crop)?,
        None => Rect::whole(width.max(1), height.max(1)),
    };
    let (w, h) = (region.width, region.height);
    let at_most_one = |scale: f64| if enlarge { scale } else { scale.min(1.0) };
    let sized = |crop: Rect, scaled: (u32, u32)| Plan { cut: Cut { region, crop, scaled }, canvas: scaled, place: (0, 0) };
    let scaled = |scale: f64| sized(region, if scale == 1.0 { (w as u32, h as u32) } else { (side(w * scale), side(h * scale)) });
    let (bw, bh) = match options.bounds() {
        (None, None) => return Ok(scaled(1.0)),
        (Some(bw), None) => return Ok(scaled(at_most_one(f64::from(bw) / w))),
        (None, Some(bh)) => return Ok(scaled(at_most_one(f64::from(bh) / h))),
        (Some(bw), Some(bh)) => (bw, bh),
    };
    let (sx, sy) = (f64::from(bw) / w, f64::from(bh) / h);
    Ok(match options.fit {
        Fit::Inside => scaled(at_most_one(sx.min(sy))),
        Fit::Outside => scaled(at_most_one(sx.max(sy))),
        Fit::Contain => {
            let inside = scaled(at_most_one(sx.min(sy)));
            let share = options.gravity.share();
            let left = |canvas: u32, scaled: u32, share: f64| (f64::from(canvas.saturating_sub(scaled)) * share) as u32;
            let place = (left(bw, inside.canvas.0, share.0), left(bh, inside.canvas.1, share.1));
            Plan { canvas: (bw, bh), place, ..inside }
        }
        Fit::Fill => sized(region, (side(w * at_most_one(sx)), side(h * at_most_one(sy)))),
        Fit::Cover => {
            let size = if enlarge { (bw, bh) } else { (bw.min(w as u32), bh.min(h as u32)) };
            let scale = (f64::from(size.0) / w).max(f64::from(size.1) / h);
            sized(region.part(f64::from(size.0) / scale, f64::from(size.1) / scale, options.gravity), size)
        }
    })
}

fn part(width: u32, height: u32, crop: Crop) -> Result<Rect, Failure> {
    let (w, h) = (width.saturating_sub(crop.x).min(crop.width), height.saturating_sub(crop.y).min(crop.height));
    if w == 0 || h == 0 {
        let message = format!("The crop begins at {}, {}; the picture has {width} x {height} pixels.", crop.x, crop.y);
        return Err(Failure::new(Code::InvalidOption, message).stage("open"));
    }
    Ok(Rect { x: f64::from(crop.x), y: f64::from(crop.y), width: f64::from(w), height: f64::from(h) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(options: Options) -> Plan {
        plan(400, 200, &options, options.enlarge).unwrap()
    }

    fn sizes(fit: Fit, enlarge: bool, width: Option<u32>, height: Option<u32>) -> ((u32, u32), (u32, u32)) {
        let plan = planned(Options { fit, width, height, enlarge, ..Options::default() });
        (plan.cut.scaled, plan.canvas)
    }

    #[test]
    fn each_fit_gives_its_size() {
        let hundred = (Some(100), Some(100));
        assert_eq!(sizes(Fit::Inside, false, hundred.0, hundred.1), ((100, 50), (100, 50)));
        assert_eq!(sizes(Fit::Outside, false, hundred.0, hundred.1), ((200, 100), (200, 100)));
        assert_eq!(sizes(Fit::Cover, false, hundred.0, hundred.1), ((100, 100), (100, 100)));
        assert_eq!(sizes(Fit::Contain, false, hundred.0, hundred.1), ((100, 50), (100, 100)));
        assert_eq!(sizes(Fit::Fill, false, hundred.0, hundred.1), ((100, 100), (100, 100)));
        assert_eq!(sizes(Fit::Inside, false, Some(800), None), ((400, 200), (400, 200)));
        assert_eq!(sizes(Fit::Inside, true, Some(800), None), ((800, 400), (800, 400)));
        assert_eq!(sizes(Fit::Cover, false, Some(300), Some(300)), ((300, 200), (300, 200)));
    }

    #[test]
    fn gravity_chooses_the_part_and_the_place() {
        let square = Options { width: Some(100), height: Some(100), ..Options::default() };
        for (gravity, x, place) in [(Gravity::West, 0.0, 25), (Gravity::Center, 100.0, 25), (Gravity::SouthEast, 200.0, 50)] {
            let cover = planned(Options { fit: Fit::Cover, gravity, ..square.clone() });
            assert_eq!(cover.cut.crop, Rect { x, y: 0.0, width: 200.0, height: 200.0 }, "{gravity:?}");
            let contain = planned(Options { fit: Fit::Contain, gravity, ..square.clone() });
            assert_eq!(contain.place, (0, place), "{gravity:?}");
        }
    }

    #[test]
    fn a_crop_comes_first_and_device_pixels_last() {
        let crop = Some(Crop { x: 300, y: 50, width: 500, height: 100 });
        let plan = planned(Options { crop, width: Some(20), dpr: 2.0, ..Options::default() });
        assert_eq!(plan.cut.crop, Rect { x: 300.0, y: 50.0, width: 100.0, height: 100.0 });
        assert_eq!(plan.canvas, (40, 40));
        let outside = Options { crop: Some(Crop { x: 400, y: 0, width: 1, height: 1 }), ..Options::default() };
        assert_eq!(super::plan(400, 200, &outside, false).unwrap_err().code, Code::InvalidOption);
    }
}
