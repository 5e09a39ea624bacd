//! How often a queue's jobs may start.

use super::TextOrNumber;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// At most so many starts a second, minute or hour: `5/s`, `100/m`, `1000/h` (Celery's notation; a bare number counts per second).
///
/// Starts are steady: one every `period / count`. After a pause at most one second's worth, and at least one, start at once.
/// The memory of it is a single time to the microsecond, the *last start*: the real one, or later when several started at once
/// (this is the generic cell rate algorithm of ITU-T I.371, told from the last cell instead of the next).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// 1 to 1,000,000.
    count: u32,
    unit: char,
}

const COUNT_MAX: u32 = 1_000_000;
const UNITS: [(char, i64); 3] = [('s', 1), ('m', 60), ('h', 3600)];

impl Rate {
    pub fn parse(text: &str) -> Result<Rate, String> {
        let wrong = || format!("`{text}` is not a rate; write it as 5/s, 100/m or 1000/h, with 1 to {COUNT_MAX} starts");
        let (count, unit) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
        let count = count.parse().ok().filter(|n| (1..=COUNT_MAX).contains(n)).ok_or_else(wrong)?;
        let unit = UNITS.iter().map(|(name, _)| *name).find(|name| unit.chars().eq([*name])).ok_or_else(wrong)?;
        Ok(Rate { count, unit })
    }

    fn period_s(self) -> i64 {
        UNITS.iter().find(|(name, _)| *name == self.unit).map_or(1, |(_, seconds)| *seconds)
    }

    /// Of so many in its period.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Between two of them, when they are spread out.
    pub fn interval(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.interval_us().unsigned_abs().max(1))
    }

    /// How many may start at once after a pause.
    pub fn burst(self) -> i64 {
        (i64::from(self.count) / self.period_s()).max(1)
    }

    /// How many of `wanted` jobs may start at `now`, when the last start was at `last`.
    pub fn allows(self, last: Timestamp, now: Timestamp, wanted: usize) -> usize {
        let early = micros(now) - micros(self.opens(last));
        if early < 0 {
            return 0;
        }
        // Beyond its burst a pause earns nothing.
        let free = (early / self.interval_us() + 1).min(self.burst());
        wanted.min(usize::try_from(free).unwrap_or(0))
    }

    /// When the next job may start.
    pub fn opens(self, last: Timestamp) -> Timestamp {
        time(micros(last).saturating_add(self.interval_us() * (2 - self.burst())))
    }

    /// The last start, once `started` more (at least one) have started at `now`.
    pub fn last(self, last: Timestamp, now: Timestamp, started: usize) -> Timestamp {
        let first = micros(last).saturating_add(self.interval_us()).max(micros(now));
        time(first.saturating_add(self.interval_us() * (i64::try_from(started).unwrap_or(i64::MAX) - 1)))
    }

    /// Between two starts.
    fn interval_us(self) -> i64 {
        self.period_s() * 1_000_000 / i64::from(self.count)
    }
}

fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn time(micros: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
    Timestamp::from_microsecond(micros.clamp(first, last)).unwrap_or(Timestamp::MAX)
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

text_form!(Rate, |n: u64| Rate::parse(&n.to_string()), "a rate: 5/s, 100/m, 1000/h");

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + ms).unwrap()
    }

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    #[test]
    fn rates_read_back_as_written() {
        for text in ["5/s", "100/m", "1000/h", "1000000/s"] {
            assert_eq!(rate(text).to_string(), text);
        }
        assert_eq!(rate("7"), rate("7/s"));
        for text in ["", "/", "0/s", "-1/s", "5/d", "5/", "5/ss", "1.5/s", "5/s/s", "1000001/s", "fast"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn starts_are_steady_and_a_pause_earns_one_seconds_worth() {
        let mut last = Timestamp::MIN;
        let mut starts = Vec::new();
        for ms in (0..3000).step_by(50) {
            let n = rate("5/s").allows(last, at(ms), 100);
            if n > 0 {
                last = rate("5/s").last(last, at(ms), n);
                starts.push((ms, n));
            }
        }
        assert_eq!(starts[..3], [(0, 5), (200, 1), (400, 1)]);
        assert_eq!(starts.iter().map(|(_, n)| n).sum::<usize>(), 5 + 14);
    }

    #[test]
    fn slow_rates_have_no_bursts_and_say_when_they_open() {
        let slow = rate("6/m");
        let last = slow.last(Timestamp::MIN, at(0), 1);
        assert_eq!(slow.opens(last), at(10_000));
        assert_eq!((slow.allows(last, at(9_999), 5), slow.allows(last, at(10_000), 5)), (0, 1));
        assert_eq!(slow.allows(last, at(3_600_000), 5), 1, "an hour's pause earns one");
    }

    #[test]
    fn a_faster_rate_holds_at_once() {
        let last = rate("1/h").last(Timestamp::MIN, at(0), 1);
        assert_eq!(rate("60/m").opens(last), at(1000));
    }
}
