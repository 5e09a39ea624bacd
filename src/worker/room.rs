//! Room on this machine: an attempt that is expected to take more memory or scratch space than is left waits, within its lease,
//! until others have ended. One that is alone is always let in.

use super::gauge::Machine;
use super::{Engine, TICK};
use crate::blobs::Staging;
use crate::job::{Job, Lease};
use crate::limits::{Limits, Size};
use crate::sandbox::Usage;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Others may go ahead of the one that waits longest, where there is room for them; after this time they wait behind it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Memory and scratch space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub memory_bytes: u64,
    pub scratch_bytes: u64,
}

/// Tells what is left for attempts.
pub trait Gauge: Send + Sync {
    fn free(&self) -> Amount;
}

pub struct Room {
    gauge: Box<dyn Gauge>,
    book: Mutex<Book>,
    freed: Notify,
}

impl Amount {
    /// What this attempt is expected to take; nothing where that is not known.
    pub async fn expected(engine: &Engine, job: &Job, limits: &Limits) -> Amount {
        let Some(told) = engine.experience.expects(&*engine.store, job).await else { return Amount::default() };
        // Beyond its limits it is ended.
        let scratch_max = limits.output_max.0.saturating_mul(2);
        Amount { memory_bytes: told.memory_bytes.min(limits.memory_max.0), scratch_bytes: told.scratch_bytes.min(scratch_max) }
    }

    fn has_room_for(self, need: Amount) -> bool {
        self.memory_bytes >= need.memory_bytes && self.scratch_bytes >= need.scratch_bytes
    }

    fn without(self, other: Amount) -> Amount {
        Amount {
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            scratch_bytes: self.scratch_bytes.saturating_sub(other.scratch_bytes),
        }
    }

    fn with(self, other: Amount) -> Amount {
        Amount {
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            scratch_bytes: self.scratch_bytes.saturating_add(other.scratch_bytes),
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of memory and {} of scratch space", Size(self.memory_bytes), Size(self.scratch_bytes))
    }
}

impl Room {
    /// On this machine, beside these staging folders.
    pub fn on(staging: &Staging) -> Arc<Room> {
        Room::new(Machine::new(staging))
    }

    pub fn new(gauge: impl Gauge + 'static) -> Arc<Room> {
        Arc::new(Room { gauge: Box::new(gauge), book: Mutex::default(), freed: Notify::new() })
    }

    /// Returns once there is room; `tell` hears what is left when there is none.
    pub async fn enter(self: &Arc<Self>, lease: Lease, need: Amount, tell: impl FnOnce(Amount)) -> Place {
        let (mut waiting, mut tell) = (None, Some(tell));
        loop {
            // Armed before the look.
            let freed = self.freed.notified();
            match self.try_enter(lease, need) {
                Ok(place) => return place,
                Err(left) => {
                    waiting.get_or_insert_with(|| self.line_up(lease));
                    tell.take().into_iter().for_each(|tell| tell(left));
                }
            }
            // Memory is freed by others too, who tell nobody.
            let _ = tokio::time::timeout(TICK, freed).await;
        }
    }

    fn try_enter(self: &Arc<Self>, lease: Lease, need: Amount) -> Result<Place, Amount> {
        let free = if need == Amount::default() { need } else { self.gauge.free() };
        let mut book = self.lock();
        if !book.lets_in(lease, need, free, Instant::now()) {
            return Err(free.without(book.promised()));
        }
        book.taken.insert(lease, Held { expected: need, used: Amount::default() });
        Ok(Place { room: self.clone(), lease })
    }

    fn line_up(self: &Arc<Self>, lease: Lease) -> Waiting {
        self.lock().waiting.push_back((lease, Instant::now()));
        Waiting { room: self.clone(), lease }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is in, and who waits.
#[derive(Default)]
struct Book {
    taken: HashMap<Lease, Held>,
    /// The longest first.
    waiting: VecDeque<(Lease, Instant)>,
}

struct Held {
    expected: Amount,
    /// What is free does not count this any more.
    used: Amount,
}

impl Book {
    fn lets_in(&self, lease: Lease, need: Amount, free: Amount, now: Instant) -> bool {
        let is_others_turn = self.waiting.front().is_some_and(|(first, since)| *first != lease && now.duration_since(*since) >= PATIENCE);
        need == Amount::default() || (!is_others_turn && (self.taken.is_empty() || free.has_room_for(self.promised().with(need))))
    }

    /// What those who are in are expected to take yet.
    fn promised(&self) -> Amount {
        self.taken.values().map(|held| held.expected.without(held.used)).fold(Amount::default(), Amount::with)
    }
}

/// An attempt's room, until this is gone.
pub struct Place {
    room: Arc<Room>,
    lease: Lease,
}

impl Place {
    /// What it takes by now.
    pub fn uses(&self, usage: Usage) {
        if let Some(held) = self.room.lock().taken.get_mut(&self.lease) {
            held.used = Amount { memory_bytes: usage.memory_bytes, scratch_bytes: usage.scratch_bytes };
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.lock().taken.remove(&self.lease);
        self.room.freed.notify_waiters();
    }
}

/// A place in the line, until this is gone.
struct Waiting {
    room: Arc<Room>,
    lease: Lease,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.room.lock().waiting.retain(|(lease, _)| *lease != self.lease);
        self.room.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;

    fn lease() -> Lease {
        Lease { job: JobId::new(), attempt: 1 }
    }

    fn memory(memory_bytes: u64) -> Amount {
        Amount { memory_bytes, scratch_bytes: 0 }
    }

    fn held(expected: u64, used: u64) -> Held {
        Held { expected: memory(expected), used: memory(used) }
    }

    #[test]
    fn one_that_is_alone_is_let_in_whatever_it_takes() {
        let (mut book, now) = (Book::default(), Instant::now());
        assert!(book.lets_in(lease(), memory(1000), memory(10), now));
        book.taken.insert(lease(), held(0, 0));
        assert!(!book.lets_in(lease(), memory(1000), memory(10), now), "not beside one of which nothing is known");
        assert!(book.lets_in(lease(), memory(0), memory(0), now), "of which nothing is known either");
    }

    #[test]
    fn what_others_will_take_yet_is_not_free() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.taken.insert(lease(), held(600, 100));
        assert!(book.lets_in(lease(), memory(500), memory(1000), now));
        assert!(!book.lets_in(lease(), memory(501), memory(1000), now));
        book.taken.insert(lease(), held(300, 400));
        assert!(book.lets_in(lease(), memory(500), memory(1000), now), "one that took more than expected will take no more");
        let scratch = Amount { memory_bytes: 0, scratch_bytes: 8 };
        assert!(!book.lets_in(lease(), scratch, Amount { memory_bytes: 1000, scratch_bytes: 7 }, now));
    }

    #[test]
    fn small_ones_go_ahead_for_a_while() {
        let (mut book, now, large) = (Book::default(), Instant::now(), lease());
        book.taken.insert(lease(), held(100, 100));
        book.waiting.push_back((large, now));
        assert!(book.lets_in(lease(), memory(5), memory(10), now));
        let later = now + PATIENCE;
        assert!(!book.lets_in(lease(), memory(5), memory(10), later));
        assert!(book.lets_in(large, memory(5), memory(10), later) && !book.lets_in(large, memory(50), memory(10), later));
        book.taken.clear();
        assert!(book.lets_in(large, memory(50), memory(10), later), "in the end it is alone");
    }

    struct Fixed(Amount);

    impl Gauge for Fixed {
        fn free(&self) -> Amount {
            self.0
        }
    }

    #[tokio::test]
    async fn who_leaves_lets_the_next_one_in() {
        let room = Room::new(Fixed(memory(10)));
        let first = room.enter(lease(), memory(8), |_| panic!("there is room")).await;
        let told = Mutex::new(None);
        let second = room.enter(lease(), memory(8), |left| *told.lock().unwrap() = Some(left));
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(*told.lock().unwrap(), Some(memory(2)));
        first.uses(Usage { cpu_ms: 0, memory_bytes: 7, scratch_bytes: 0 });
        drop(first);
        let place = second.await;
        let here = |room: &Room| {
            let book = room.lock();
            (book.taken.len(), book.waiting.len())
        };
        assert_eq!(here(&room), (1, 0));
        // One that is called off leaves the line.
        {
            let third = room.enter(lease(), memory(8), |_| {});
            tokio::pin!(third);
            assert!(futures::poll!(&mut third).is_pending());
            assert_eq!(here(&room), (1, 1));
        }
        assert_eq!(here(&room), (1, 0));
        drop(place);
        assert_eq!(here(&room), (0, 0));
    }
}
