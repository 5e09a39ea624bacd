//! How one quantity grows with another, told from few and noisy points (Theil and Sen: the middle of all slopes between two points, so
//! that no single odd job bends the line).

/// What is told in bytes stays far below what a number of bytes holds.
const MOST: f64 = 1e18;
/// Points nearer to each other than this factor tell more of chance than of growth.
const APART: f64 = 2.0;

/// What is taken for granted beyond the points that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// Twice of the one is twice of the other.
    Proportional,
    /// The same, but less of the one is not less of the other.
    Upwards,
    /// It stays as it is.
    None,
}

/// What is to be expected at `at`, so that this `share` of the points lies below it; none without points. All numbers are above or
/// equal to 0; the answer is finite, never falls with `at`, and does not depend on the order of the points.
pub fn estimate(points: &[(f64, f64)], at: f64, share: f64, growth: Growth) -> Option<f64> {
    let rates = || points.iter().map(|(x, y)| y / x);
    let values = || points.iter().map(|(_, y)| *y);
    let expected = match quantile(slopes(points), 0.5) {
        Some(slope) => {
            let slope = slope.max(0.0);
            let line = quantile(points.iter().map(|(x, y)| y - slope * x).collect(), share)? + slope * at;
            // A line may begin below nothing; and where all known points are small, what they have in common hides the growth.
            let least = match growth {
                Growth::Proportional => quantile(rates().collect(), 0.0)? * at,
                Growth::Upwards | Growth::None => quantile(values().collect(), 0.0)?,
            };
            line.max(least)
        }
        None => match growth {
            Growth::Proportional => quantile(rates().collect(), share)? * at,
            Growth::Upwards => quantile(values().collect(), share)? * (at / quantile(points.iter().map(|(x, _)| *x).collect(), 0.5)?).max(1.0),
            Growth::None => quantile(values().collect(), share)?,
        },
    };
    Some(expected.clamp(0.0, MOST))
}

/// Between every two points that lie far enough apart.
fn slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let pairs = points.iter().enumerate().flat_map(|(n, one)| points.iter().skip(n + 1).map(move |other| (one, other)));
    let apart = pairs.filter(|(one, other)| one.0.max(other.0) >= APART * one.0.min(other.0));
    apart.map(|(one, other)| (other.1 - one.1) / (other.0 - one.0)).collect()
}

/// The value that this share of all lies at or below; none of no values.
fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_found_in_spite_of_an_odd_point() {
        let mut points: Vec<(f64, f64)> = (1..=9).map(|n| (f64::from(n) * 10.0, 5.0 + 2.0 * f64::from(n) * 10.0)).collect();
        points.push((50.0, 9000.0));
        let told = estimate(&points, 200.0, 0.5, Growth::Proportional).unwrap();
        // The line says 405; no point took less than 2.06 each.
        assert!((405.0..412.0).contains(&told), "{told}");
        // What holds for nine of ten is above what holds for half.
        let noisy: Vec<(f64, f64)> = (1..=20).map(|n| (f64::from(n), 100.0 + f64::from(n * 7 % 10))).collect();
        let (half, most) = (estimate(&noisy, 10.0, 0.5, Growth::None).unwrap(), estimate(&noisy, 10.0, 0.9, Growth::None).unwrap());
        assert!(most > half && (100.0..115.0).contains(&half), "{half} {most}");
    }

    #[test]
    fn points_of_one_size_tell_what_is_taken_for_granted() {
        let points = [(100.0, 30.0), (110.0, 33.0), (90.0, 27.0)];
        let told = |at, growth| estimate(&points, at, 0.5, growth).unwrap().round();
        assert_eq!((told(1000.0, Growth::Proportional), told(10.0, Growth::Proportional)), (300.0, 3.0));
        assert_eq!((told(1000.0, Growth::Upwards), told(10.0, Growth::Upwards)), (300.0, 30.0));
        assert_eq!((told(1000.0, Growth::None), told(10.0, Growth::None)), (30.0, 30.0));
        assert_eq!(estimate(&[], 1.0, 0.5, Growth::None), None);
    }

    #[test]
    fn small_jobs_that_all_take_as_long_say_little_of_a_large_one() {
        let points = [(1.0, 0.02), (2.0, 0.02), (4.0, 0.02), (8.0, 0.02)];
        let told = |at| estimate(&points, at, 0.5, Growth::Proportional).unwrap();
        assert_eq!(told(3.0), 0.02);
        assert_eq!(told(8000.0), 20.0);
    }

    fn growths() -> impl Strategy<Value = Growth> {
        prop_oneof![Just(Growth::Proportional), Just(Growth::Upwards), Just(Growth::None)]
    }

    proptest! {
        #[test]
        fn more_is_never_told_to_take_less_and_the_order_says_nothing(
            points in prop::collection::vec((0.001..1e15f64, 0.0..1e15f64), 1..40),
            (one, other) in (0.001..1e15f64, 0.001..1e15f64),
            share in 0.0..=1.0f64,
            growth in growths(),
        ) {
            let tell = |points: &[(f64, f64)], at| estimate(points, at, share, growth).unwrap();
            let (less, more) = (tell(&points, one.min(other)), tell(&points, one.max(other)));
            prop_assert!(less.is_finite() && less >= 0.0 && more.is_finite() && less <= more, "{} {}", less, more);
            let reversed: Vec<_> = points.iter().rev().copied().collect();
            prop_assert_eq!(tell(&reversed, one).to_bits(), tell(&points, one).to_bits());
        }
    }
}
