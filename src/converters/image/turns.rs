//! Which way is up: turns and mirrors, and where a part of the upright picture lies in the stored one.

use super::geometry::{Cut, Rect};
use super::options::{Flip, Options};
use image::DynamicImage;
use image::metadata::Orientation;

/// Turns and mirrors, one after the other.
pub struct Turns(Vec<Orientation>);

impl Turns {
    pub fn new(stored: Orientation, options: &Options) -> Turns {
        let upright = if options.auto_orient { stored } else { Orientation::NoTransforms };
        let turn = match options.rotate {
            90 => Orientation::Rotate90,
            180 => Orientation::Rotate180,
            270 => Orientation::Rotate270,
            _ => Orientation::NoTransforms,
        };
        let mirror = match options.flip {
            Flip::None => Orientation::NoTransforms,
            Flip::Horizontal => Orientation::FlipHorizontal,
            Flip::Vertical => Orientation::FlipVertical,
            Flip::Both => Orientation::Rotate180,
        };
        Turns([upright, turn, mirror].into_iter().filter(|o| *o != Orientation::NoTransforms).collect())
    }

    /// Whether width and height change places.
    pub fn transpose(&self) -> bool {
        self.0.iter().filter(|o| swaps_sides(**o)).count() % 2 == 1
    }

    pub fn apply(&self, image: &mut DynamicImage) {
        for turn in &self.0 {
            image.apply_orientation(*turn);
        }
    }

    /// A size after these turns, or before them.
    pub fn size(&self, size: (u32, u32)) -> (u32, u32) {
        if self.transpose() { (size.1, size.0) } else { size }
    }

    /// The cut of a picture `shown` upright, as one of the picture as it is stored.
    pub fn lying(&self, cut: Cut, shown: (u32, u32)) -> Cut {
        let back = |rect: Rect| {
            let begin = (rect, (f64::from(shown.0), f64::from(shown.1)));
            self.0.iter().rev().fold(begin, |(rect, size), turn| turned(rect, size, inverse(*turn))).0
        };
        Cut { region: back(cut.region), crop: back(cut.crop), scaled: self.size(cut.scaled) }
    }
}

pub fn swaps_sides(orientation: Orientation) -> bool {
    matches!(orientation, Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH)
}

/// All others undo themselves.
fn inverse(turn: Orientation) -> Orientation {
    match turn {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        other => other,
    }
}

/// Where a part of a picture of `size` comes to lie, and the size of the turned picture.
fn turned(rect: Rect, size: (f64, f64), turn: Orientation) -> (Rect, (f64, f64)) {
    let Rect { x, y, width, height } = rect;
    let (right, below) = (size.0 - x - width, size.1 - y - height);
    let (x, y) = match turn {
        Orientation::NoTransforms => (x, y),
        Orientation::FlipHorizontal => (right, y),
        Orientation::FlipVertical => (x, below),
        Orientation::Rotate180 => (right, below),
        Orientation::Rotate90 => (below, x),
        Orientation::Rotate270 => (y, right),
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate270FlipH => (below, right),
    };
    let swaps = swaps_sides(turn);
    let rect = if swaps { Rect { x, y, width: height, height: width } } else { Rect { x, y, width, height } };
    (rect, if swaps { (size.1, size.0) } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma};

    #[test]
    fn a_part_is_found_where_its_pixels_went() {
        for n in 1..=8 {
            let turn = Orientation::from_exif(n).unwrap();
            for flip in [Flip::None, Flip::Vertical, Flip::Both] {
                for rotate in [0, 90, 270] {
                    let turns = Turns::new(turn, &Options { flip, rotate, ..Options::default() });
                    let mut upright = DynamicImage::from(GrayImage::from_fn(7, 5, |x, y| Luma([(y * 7 + x) as u8])));
                    let stored = upright.clone().into_luma8();
                    turns.apply(&mut upright);
                    let shown = (upright.width(), upright.height());
                    let crop = Rect { x: 2.0, y: 1.0, width: 1.0, height: 1.0 };
                    let cut = turns.lying(Cut { region: crop, crop, scaled: (1, 1) }, shown);
                    let pixel = stored.get_pixel(cut.crop.x as u32, cut.crop.y as u32);
                    assert_eq!(pixel, upright.as_luma8().unwrap().get_pixel(2, 1), "{n} {flip:?} {rotate}");
                }
            }
        }
    }
}
