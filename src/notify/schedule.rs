//! When a letter is tried again.

use crate::store::Delivery;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// Of each try, after the letter was written. The last one is a day later.
const TRIES_S: [i64; 10] = [0, 5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
/// A service that was down does not ask again at once what it has just asked.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(5);

/// The next try of a letter that has just been tried in vain; none after the last. A tenth of each step is jitter, told by the
/// letter's own id, so that those that failed together do not come back together.
pub fn next(delivery: &Delivery, now: Timestamp) -> Option<Timestamp> {
    let begun = delivery.replayed_at.unwrap_or(delivery.at);
    let tries = delivery.tries.iter().filter(|t| t.at >= begun).count();
    let (after, last) = (*TRIES_S.get(tries)?, TRIES_S.get(tries.checked_sub(1)?)?);
    let seed = Sha256::digest(format!("{}:{tries}", delivery.id));
    let jitter_ms = (after - last) * 100 * i64::from(seed[0]) / 255;
    let at = begun.saturating_add(SignedDuration::from_secs(after) + SignedDuration::from_millis(jitter_ms)).ok()?;
    Some(at.max(now.saturating_add(PAUSE_MIN).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobId, Occasion};
    use crate::store::{DeliveryState, Target, Try};

    fn letter(id: &str) -> Delivery {
        Delivery {
            id: id.into(),
            at: Timestamp::UNIX_EPOCH,
            event: Occasion::Failed,
            job: Some(JobId::new()),
            pipeline: None,
            queue: "image".into(),
            target: Target::Email { to: None },
            state: DeliveryState::Pending,
            taken: 1,
            next_try: None,
            replayed_at: None,
            tries: Vec::new(),
        }
    }

    /// The times of all tries in vain.
    fn tried(letter: &mut Delivery, first: Timestamp) -> Vec<i64> {
        let (mut at, mut times) = (first, Vec::new());
        loop {
            times.push(at.as_second());
            letter.tries.push(Try { at, duration_ms: 1, status: None, answer: None });
            match next(letter, at) {
                Some(next) => at = next,
                None => return times,
            }
        }
    }

    #[test]
    fn ten_tries_in_a_day_each_a_little_off() {
        let times = tried(&mut letter("msg_1"), Timestamp::UNIX_EPOCH);
        assert_eq!(times.len(), TRIES_S.len());
        for ((time, wanted), before) in times.iter().zip(TRIES_S).zip([0].into_iter().chain(TRIES_S)) {
            assert!((wanted..=wanted + (wanted - before) / 10 + 1).contains(time), "{times:?}");
        }
        assert_eq!(times, tried(&mut letter("msg_1"), Timestamp::UNIX_EPOCH), "told by the id");
        assert_ne!(times, tried(&mut letter("msg_2"), Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn a_replayed_letter_begins_anew() {
        let mut letter = letter("msg_1");
        tried(&mut letter, Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(1_000_000).unwrap();
        letter.replay(later);
        assert_eq!(tried(&mut letter, later).len(), TRIES_S.len());
    }

    #[test]
    fn what_is_late_is_not_asked_at_once() {
        let (mut letter, late) = (letter("msg_1"), Timestamp::from_second(4000).unwrap());
        letter.tries.push(Try { at: late, duration_ms: 1, status: None, answer: None });
        assert_eq!(next(&letter, late).map(|at| at.as_second()), Some(4005));
    }
}
