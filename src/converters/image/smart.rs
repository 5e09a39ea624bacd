//! The place of a crop that holds most of what people look at.
//!
//! Every cell of a small copy gets points: the steepness of brightness there (edges), half of how strong its colour is, and a bonus
//! where the colour lies in the range that skin has in YCbCr (Cb 77 to 127, Cr 133 to 173) and is neither dark nor glaring. The
//! window with the most points wins; among equals the one nearest to the middle.

use super::geometry::{Cut, Rect};
use super::picture::{Picture, Planes, plane, resize};
use crate::failure::Failure;
use image::{DynamicImage, GrayImage};
use std::borrow::Cow;

/// The longer side of the small copy.
const CELLS: u32 = 160;
const SKIN: i64 = 60;

/// Where to take a part of the size of `cut.crop` within `cut.region`; all in pixels of the picture of size `stored`.
pub fn place(picture: &Picture, stored: (u32, u32), cut: Cut) -> Result<Rect, Failure> {
    let points = points(picture)?;
    let size = (points.width, points.height);
    let (region, crop) = (cut.region.scaled(stored, size), cut.crop.scaled(stored, size));
    let (free_x, free_y) = ((region.width - crop.width).max(0.0), (region.height - crop.height).max(0.0));
    let steps = |free: f64| free.floor() as u32;
    let mut best = (i64::MIN, f64::MAX, cut.crop);
    for (j, i) in (0..=steps(free_y)).flat_map(|j| (0..=steps(free_x)).map(move |i| (j, i))) {
        let window = Rect { x: region.x + f64::from(i), y: region.y + f64::from(j), ..crop };
        let off = (f64::from(i) - free_x / 2.0).abs() + (f64::from(j) - free_y / 2.0).abs();
        let sum = points.within(window);
        if sum > best.0 || (sum == best.0 && off < best.1) {
            best = (sum, off, window.scaled(size, stored));
        }
    }
    Ok(best.2)
}

/// Points of every cell, summed up from the top left.
struct Points {
    width: u32,
    height: u32,
    sums: Vec<i64>,
}

impl Points {
    fn within(&self, window: Rect) -> i64 {
        let column = |x: f64| (x.round() as usize).min(self.width as usize);
        let row = |y: f64| (y.round() as usize).min(self.height as usize);
        let at = |x: usize, y: usize| self.sums.get(y * (self.width as usize + 1) + x).copied().unwrap_or(0);
        let (left, right) = (column(window.x), column(window.x + window.width));
        let (top, bottom) = (row(window.y), row(window.y + window.height));
        at(right, bottom) - at(left, bottom) - at(right, top) + at(left, top)
    }
}

fn points(picture: &Picture) -> Result<Points, Failure> {
    let (w, h) = picture.size();
    let scale = f64::from(CELLS) / f64::from(w.max(h));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).clamp(1, CELLS);
    let size = (side(w), side(h));
    let small = |image: &DynamicImage| resize(Cow::Borrowed(image), Rect::whole(image.width(), image.height()), size);
    let planes = match picture {
        Picture::Planes(planes) => {
            let chroma = planes.chroma.as_ref().map(|(cb, cr)| Ok::<_, Failure>((small(cb)?, small(cr)?))).transpose()?;
            Planes { luma: small(&planes.luma)?, chroma }
        }
        Picture::Pixels(image) => of_pixels(&small(image)?),
    };
    let luma = plane(&planes.luma)?;
    let chroma = planes.chroma.as_ref().map(|(cb, cr)| Ok::<_, Failure>((plane(cb)?, plane(cr)?))).transpose()?;
    let mut sums = vec![0; (size.0 as usize + 1) * (size.1 as usize + 1)];
    let stride = size.0 as usize + 1;
    for y in 0..size.1 {
        let mut row = 0;
        for x in 0..size.0 {
            row +=
                edge(luma, x, y) + chroma.map_or(0, |(cb, cr)| colour(luma.get_pixel(x, y).0[0], cb.get_pixel(x, y).0[0], cr.get_pixel(x, y).0[0]));
            let at = (y as usize + 1) * stride + x as usize + 1;
            sums[at] = sums[at - stride] + row;
        }
    }
    Ok(Points { width: size.0, height: size.1, sums })
}

fn edge(luma: &GrayImage, x: u32, y: u32) -> i64 {
    let at = |x: u32, y: u32| i64::from(luma.get_pixel(x.min(luma.width() - 1), y.min(luma.height() - 1)).0[0]);
    (at(x + 1, y) - at(x, y)).abs() + (at(x, y + 1) - at(x, y)).abs()
}

fn colour(y: u8, cb: u8, cr: u8) -> i64 {
    let strength = (i64::from(cb) - 128).abs() + (i64::from(cr) - 128).abs();
    let skin = (40..=240).contains(&y) && (77..=127).contains(&cb) && (133..=173).contains(&cr);
    strength / 2 + if skin { SKIN } else { 0 }
}

/// Full-range BT.601; what is transparent counts as its background would, as grey.
fn of_pixels(image: &DynamicImage) -> Planes {
    let rgba = image.to_rgba8();
    let mut planes = [(); 3].map(|()| GrayImage::new(rgba.width(), rgba.height()));
    for (x, y, pixel) in rgba.enumerate_pixels() {
        let opacity = f32::from(pixel.0[3]) / 255.0;
        let [r, g, b] = [0, 1, 2].map(|i| f32::from(pixel.0[i]) * opacity + 128.0 * (1.0 - opacity));
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        let values = [luma, 128.0 + (b - luma) * 0.564, 128.0 + (r - luma) * 0.713];
        for (plane, value) in planes.iter_mut().zip(values) {
            plane.put_pixel(x, y, image::Luma([value.round() as u8]));
        }
    }
    let [luma, cb, cr] = planes.map(DynamicImage::from);
    Planes { luma, chroma: Some((cb, cr)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    #[test]
    fn the_crop_goes_where_something_is() {
        for at in [40, 300, 700] {
            let face = |x: u32, y: u32| (at..at + 60).contains(&x) && (60..140).contains(&y);
            let image = RgbImage::from_fn(800, 200, |x, y| if face(x, y) { Rgb([224, 172, 140]) } else { Rgb([90, 92, 94]) });
            let crop = Rect { x: 300.0, y: 0.0, width: 200.0, height: 200.0 };
            let cut = Cut { region: Rect::whole(800, 200), crop, scaled: (100, 100) };
            let found = place(&Picture::Pixels(image.into()), (800, 200), cut).unwrap();
            let (left, right) = (f64::from(at), f64::from(at + 60));
            assert!(found.x <= left && found.x + found.width >= right, "{at}: {found:?}");
        }
    }

    #[test]
    fn nothing_to_see_leaves_the_middle() {
        let flat = Picture::Pixels(RgbImage::from_pixel(400, 200, Rgb([128; 3])).into());
        let cut = Cut { region: Rect::whole(400, 200), crop: Rect { x: 100.0, y: 0.0, width: 200.0, height: 200.0 }, scaled: (10, 10) };
        let found = place(&flat, (400, 200), cut).unwrap();
        assert!((found.x - 100.0).abs() < 3.0, "{found:?}");
    }
}
