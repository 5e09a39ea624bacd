//! Pictures of light as it is, brought to what a screen shows.

use image::{DynamicImage, Rgba32FImage};

/// Up to here light is shown as it is; what is brighter is pressed into the rest.
const SHOULDER: f32 = 0.8;

/// Linear light to sRGB, in 16 bits; the colour of what is too bright stays.
pub fn mapped(image: DynamicImage) -> DynamicImage {
    let alpha = image.color().has_alpha();
    let light: Rgba32FImage = image.into_rgba32f();
    let mut shown = image::ImageBuffer::<image::Rgba<u16>, Vec<u16>>::new(light.width(), light.height());
    for (to, from) in shown.pixels_mut().zip(light.pixels()) {
        let [r, g, b, a] = from.0.map(|v| if v.is_finite() { v.max(0.0) } else { 0.0 });
        let most = r.max(g).max(b);
        let scale = if most > SHOULDER { pressed(most) / most } else { 1.0 };
        let sixteen = |v: f32| (v.clamp(0.0, 1.0) * 65_535.0).round() as u16;
        to.0 = [sixteen(encoded(r * scale)), sixteen(encoded(g * scale)), sixteen(encoded(b * scale)), sixteen(a)];
    }
    let shown = DynamicImage::ImageRgba16(shown);
    if alpha { shown } else { shown.into_rgb16().into() }
}

fn pressed(light: f32) -> f32 {
    let room = 1.0 - SHOULDER;
    SHOULDER + room * (1.0 - (-(light - SHOULDER) / room).exp())
}

/// The curve of IEC 61966-2-1.
fn encoded(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_keeps_its_order_and_its_colour() {
        let light = image::Rgb32FImage::from_fn(4, 1, |x, _| image::Rgb([[0.0; 3], [0.214; 3], [1.0, 0.5, 0.0], [50.0, 25.0, 0.0]][x as usize]));
        let shown = mapped(light.into()).into_rgb16();
        let at = |x: u32| shown.get_pixel(x, 0).0;
        assert_eq!(at(0), [0; 3]);
        assert!((i32::from(at(1)[0]) - 32_768).abs() < 200, "{:?}", at(1));
        assert!(at(2)[0] < at(3)[0] && at(3)[0] >= 65_000 && at(3)[2] == 0, "{:?} {:?}", at(2), at(3));
        let share = |p: [u16; 3]| f32::from(p[1]) / f32::from(p[0]);
        assert!((share(at(2)) - share(at(3))).abs() < 0.02);
    }
}
