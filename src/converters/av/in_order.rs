//! When the pictures of several parts are decoded.

use std::collections::BTreeSet;

/// Gives stored pictures the times at which they are decoded, over all parts as one encoder would have: each when the picture
/// shown `delay` pictures earlier is, and the first ones as much before.
#[derive(Default)]
pub struct InOrder {
    delay: usize,
    /// Pictures so far.
    pub read: usize,
    waiting: BTreeSet<i64>,
    last: Option<i64>,
    /// The latest time of any, and of those in the parts before.
    latest: Option<i64>,
    before: Option<i64>,
    /// Between the first ones, which are decoded before any is shown.
    step: i64,
}

impl InOrder {
    pub fn new(delay: usize) -> InOrder {
        InOrder { delay, ..InOrder::default() }
    }

    /// When the picture shown at `pts` is decoded, by its own part's word at `dts`; or what is wrong with the part, in words.
    pub fn settle(&mut self, pts: Option<i64>, dts: Option<i64>) -> Result<i64, &'static str> {
        let pts = pts.ok_or("has a picture without a time")?;
        if self.before.is_some_and(|before| pts <= before) || !self.waiting.insert(pts) {
            return Err("has pictures of a time that another part has");
        }
        let lead = dts.map_or(0, |dts| pts - dts).max(self.delay as i64);
        let dts = match (self.read < self.delay, self.last) {
            (true, None) => {
                self.step = (lead / self.delay.max(1) as i64).max(1);
                Some(pts - lead)
            }
            (true, Some(last)) => Some(last + self.step),
            (false, _) => self.waiting.pop_first(),
        };
        let dts = dts.filter(|dts| *dts <= pts && self.last.is_none_or(|last| *dts > last));
        let dts = dts.ok_or("has its pictures in an order that cannot be joined")?;
        self.last = Some(dts);
        self.latest = self.latest.max(Some(pts));
        self.read += 1;
        Ok(dts)
    }

    /// The next part begins.
    pub fn close(&mut self) {
        self.before = self.latest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When pictures shown at these times are decoded, part by part; the first one `lead` before it is shown.
    fn decoded(delay: usize, lead: i64, parts: &[&[i64]]) -> Result<Vec<i64>, &'static str> {
        let (mut order, mut times) = (InOrder::new(delay), Vec::new());
        for part in parts {
            for pts in *part {
                times.push(order.settle(Some(*pts), Some(pts - lead))?);
            }
            order.close();
        }
        Ok(times)
    }

    #[test]
    fn parts_are_decoded_as_one_film_would_be() {
        assert_eq!(decoded(0, 0, &[&[0, 1], &[2, 5]]), Ok(vec![0, 1, 2, 5]));
        assert_eq!(decoded(1, 10, &[&[0, 20, 10], &[30, 60, 45]]), Ok(vec![-10, 0, 10, 20, 30, 45]));
        // One picture is a part too, and irregular ones are.
        assert_eq!(decoded(2, 20, &[&[0], &[10], &[20, 70, 31, 30]]), Ok(vec![-20, -10, 0, 10, 20, 30]));
    }

    #[test]
    fn parts_that_overlap_or_lie_are_told() {
        for (delay, parts) in [(0, [&[0, 5][..], &[5, 6]]), (0, [&[0, 2, 1][..], &[3]]), (1, [&[10, 20, 15][..], &[5]])] {
            assert!(decoded(delay, 10, &parts).is_err(), "{parts:?}");
        }
    }
}
