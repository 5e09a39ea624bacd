//! Sizes of pictures: how a film meets its box, and which way is up.

use super::options::{Fit, SIDE_MAX};

/// From the upright source picture to the result: scaled to `scaled`, then cut to `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub scaled: (u32, u32),
    pub size: (u32, u32),
}

fn even(side: f64) -> u32 {
    ((side / 2.0).round() as u32 * 2).max(2)
}

impl Geometry {
    /// `square` is set when the picture is to have even sides, as half-size colour planes need.
    pub fn plan(source: (u32, u32), width: Option<u32>, height: Option<u32>, fit: Fit, square: bool) -> Geometry {
        let side = |s: f64| if square { even(s) } else { (s.round() as u32).max(1) };
        let (w, h) = (f64::from(source.0), f64::from(source.1));
        let limit = |asked: Option<u32>, own: u32| f64::from(asked.unwrap_or(own).min(own));
        let (box_w, box_h) = (limit(width, source.0), limit(height, source.1));
        let by = |scale: f64| (side(w * scale), side(h * scale));
        let (mut scaled, size) = match fit {
            Fit::Contain => {
                let scaled = by((box_w / w).min(box_h / h));
                (scaled, scaled)
            }
            Fit::Cover => {
                let (scaled, size) = (by((box_w / w).max(box_h / h)), (side(box_w), side(box_h)));
                ((scaled.0.max(size.0), scaled.1.max(size.1)), size)
            }
            Fit::Fill => ((side(box_w), side(box_h)), (side(box_w), side(box_h))),
        };
        let mut size = size;
        if square && (box_w, box_h) == (w, h) {
            // Nothing was asked for but even sides: a row and a column are cut, nothing is blurred.
            scaled = source;
            size = ((source.0 & !1).max(2), (source.1 & !1).max(2));
            if source.0 < 2 || source.1 < 2 {
                scaled = size;
            }
        }
        Geometry { scaled, size }
    }
}

/// The size of a picture in square pixels, whose own are as wide to high as `aspect` says.
pub fn squared((width, height): (u32, u32), aspect: (i32, i32)) -> (u32, u32) {
    let width = i64::from(width) * i64::from(aspect.0) / i64::from(aspect.1.max(1));
    (width.clamp(1, i64::from(SIDE_MAX)) as u32, height)
}

/// How a picture is turned upright, clockwise, after an optional mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    pub mirrored: bool,
    /// 0, 90, 180 or 270 degrees clockwise.
    pub degrees: u16,
}

impl Turn {
    /// Of a display matrix (ISO/IEC 14496-12, 8.3.2); other angles than quarters are taken as the nearest.
    pub fn of(matrix: Option<[i32; 9]>) -> Turn {
        let Some(m) = matrix else { return Turn::default() };
        let (a, b, c, d) = (f64::from(m[0]), f64::from(m[1]), f64::from(m[3]), f64::from(m[4]));
        let mirrored = a * d - b * c < 0.0;
        // The mirror comes first and turns the first row's signs.
        let (a, b) = if mirrored { (-a, -b) } else { (a, b) };
        // Both rows tell the same angle; the sum forgives rounding.
        let angle = (b - c).atan2(a + d).to_degrees();
        let quarter = (angle / 90.0).round() as i64;
        Turn { mirrored, degrees: (quarter.rem_euclid(4) * 90) as u16 }
    }

    /// This turn, and then so many degrees more.
    pub fn and(self, degrees: u16) -> Turn {
        Turn { degrees: (self.degrees + degrees) % 360, ..self }
    }

    /// What belongs to width and height, after the turn.
    pub fn turned<T>(self, (across, down): (T, T)) -> (T, T) {
        if self.degrees % 180 == 90 { (down, across) } else { (across, down) }
    }

    pub fn is_none(self) -> bool {
        self == Turn::default()
    }

    /// The filters that turn the picture.
    pub fn filters(self) -> Vec<&'static str> {
        let mut filters = if self.mirrored { vec!["hflip"] } else { vec![] };
        match self.degrees {
            90 => filters.push("transpose=clock"),
            180 => filters.extend(["hflip", "vflip"]),
            270 => filters.push("transpose=cclock"),
            _ => {}
        }
        filters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_met_and_never_outgrown() {
        let plan = |w, h, fit| Geometry::plan((320, 240), w, h, fit, true).size;
        assert_eq!(plan(Some(160), None, Fit::Contain), (160, 120));
        assert_eq!(plan(None, Some(100), Fit::Contain), (134, 100));
        assert_eq!(plan(Some(640), Some(480), Fit::Contain), (320, 240));
        assert_eq!(plan(Some(100), Some(100), Fit::Cover), (100, 100));
        assert_eq!(plan(Some(100), Some(100), Fit::Fill), (100, 100));
        let odd = Geometry::plan((161, 121), None, None, Fit::Contain, true);
        assert_eq!((odd.scaled, odd.size), ((161, 121), (160, 120)));
    }

    #[test]
    fn matrices_tell_the_turn() {
        let one = 1 << 16;
        let turn = |a, b, c, d| Turn::of(Some([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]));
        assert_eq!(turn(1, 0, 0, 1), Turn::default());
        assert_eq!(turn(0, 1, -1, 0).degrees, 90);
        assert_eq!(turn(-1, 0, 0, -1).degrees, 180);
        assert_eq!(turn(0, -1, 1, 0).degrees, 270);
        assert_eq!(turn(-1, 0, 0, 1), Turn { mirrored: true, degrees: 0 });
        assert_eq!(turn(1, 0, 0, -1), Turn { mirrored: true, degrees: 180 });
        assert_eq!(turn(0, 1, 1, 0), Turn { mirrored: true, degrees: 270 });
    }
}
