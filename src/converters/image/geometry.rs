//! From the size of a picture and the wish of a client to the sizes of the work.

use super::options::{Fit, Options, SIDE_MAX};

/// What to cut out of the middle of the picture, the size to scale that to, and the canvas to put it on. All as displayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    pub crop: (f64, f64),
    pub scaled: (u32, u32),
    pub canvas: (u32, u32),
}

impl Plan {
    /// The same work on a picture that is stored lying on its side.
    pub fn transposed(self) -> Plan {
        Plan { crop: (self.crop.1, self.crop.0), scaled: (self.scaled.1, self.scaled.0), canvas: (self.canvas.1, self.canvas.0) }
    }

    pub fn has_borders(&self) -> bool {
        self.canvas != self.scaled
    }
}

fn side(length: f64) -> u32 {
    (length.round() as u32).clamp(1, SIDE_MAX)
}

/// Plans for a picture of `width` by `height` as displayed.
pub fn plan(width: u32, height: u32, options: &Options, enlarge: bool) -> Plan {
    let (w, h) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let whole = (w, h);
    let at_most_one = |scale: f64| if enlarge { scale } else { scale.min(1.0) };
    let scaled = |scale: f64| {
        let size = if scale == 1.0 { (width, height) } else { (side(w * scale), side(h * scale)) };
        Plan { crop: whole, scaled: size, canvas: size }
    };
    let (bw, bh) = match (options.width, options.height) {
        (None, None) => return scaled(1.0),
        (Some(bw), None) => return scaled(at_most_one(f64::from(bw) / w)),
        (None, Some(bh)) => return scaled(at_most_one(f64::from(bh) / h)),
        (Some(bw), Some(bh)) => (bw, bh),
    };
    let (sx, sy) = (f64::from(bw) / w, f64::from(bh) / h);
    match options.fit {
        Fit::Inside => scaled(at_most_one(sx.min(sy))),
        Fit::Outside => scaled(at_most_one(sx.max(sy))),
        Fit::Contain => Plan { canvas: (bw, bh), ..scaled(at_most_one(sx.min(sy))) },
        Fit::Fill => {
            let size = (side(w * at_most_one(sx)), side(h * at_most_one(sy)));
            Plan { crop: whole, scaled: size, canvas: size }
        }
        Fit::Cover => {
            let size = if enlarge { (bw, bh) } else { (bw.min(width), bh.min(height)) };
            let scale = (f64::from(size.0) / w).max(f64::from(size.1) / h);
            let crop = ((f64::from(size.0) / scale).min(w), (f64::from(size.1) / scale).min(h));
            Plan { crop, scaled: size, canvas: size }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(fit: Fit, enlarge: bool, width: Option<u32>, height: Option<u32>) -> ((u32, u32), (u32, u32)) {
        let plan = plan(400, 200, &Options { fit, width, height, ..Options::default() }, enlarge);
        (plan.scaled, plan.canvas)
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
}
