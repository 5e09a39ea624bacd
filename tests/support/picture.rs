//! Pictures that were looked at: kept small and grey, held against what there is now with room for what fonts and processors do.

use image::{DynamicImage, GrayImage, imageops::FilterType};
use std::path::{Path, PathBuf};

/// A pixel that differs by more is another one.
const SHADES: u8 = 48;
/// So many of a thousand pixels may be others: a line that has moved is more.
const OTHERS_MAX: usize = 8;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/page").join(format!("{name}.png"))
}

/// Half as wide and high, in shades of grey.
fn small(png: &[u8]) -> GrayImage {
    let whole = image::load_from_memory(png).unwrap();
    let half: DynamicImage = whole.resize_exact(whole.width() / 2, whole.height() / 2, FilterType::Triangle);
    half.into_luma8()
}

/// How a screenshot differs from the picture of that name; none: it does not. Renewed with `MILLRACE_RENEW_GOLDEN=1`.
pub fn differs(name: &str, png: &[u8]) -> Option<String> {
    let (now, place) = (small(png), place(name));
    if std::env::var_os("MILLRACE_RENEW_GOLDEN").is_some() {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        now.save(&place).unwrap();
        return None;
    }
    let seen = image::open(&place).unwrap_or_else(|e| panic!("{}: {e}", place.display())).into_luma8();
    let others = others(&seen, &now);
    if others <= OTHERS_MAX {
        return None;
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
    now.save(&kept).unwrap();
    Some(format!("{name}: {others} of 1000 pixels differ from {}; it looks now as {}", place.display(), kept.display()))
}

/// Pixels of a thousand that are others.
fn others(one: &GrayImage, other: &GrayImage) -> usize {
    if one.dimensions() != other.dimensions() {
        return 1000;
    }
    let differing = one.pixels().zip(other.pixels()).filter(|(a, b)| a.0[0].abs_diff(b.0[0]) > SHADES).count();
    (differing * 1000).div_ceil(one.pixels().len().max(1))
}

#[test]
fn a_line_of_text_more_is_told_and_a_shade_is_not() {
    let page = GrayImage::from_fn(640, 450, |x, y| image::Luma([if y / 10 % 2 == 0 && x % 3 == 0 { 40 } else { 250 }]));
    let shaded = GrayImage::from_fn(640, 450, |x, y| image::Luma([page.get_pixel(x, y).0[0] - 30]));
    let moved = GrayImage::from_fn(640, 450, |x, y| *page.get_pixel(x, if y < 200 { y } else { y - 10 }));
    assert!(others(&page, &shaded) == 0 && others(&page, &moved) > OTHERS_MAX && others(&page, &GrayImage::new(640, 440)) == 1000);
}
