//! How many slots a pool opens: up fast while jobs wait and the host has something to spare, down slowly.

use super::load::Load;
use crate::queue::Autoscale;
use jiff::{SignedDuration, Timestamp};

/// After a step up: the new slots' load must show before the next one.
const UP_EVERY: SignedDuration = SignedDuration::from_secs(2);
/// Slots that nobody needed for this long are closed, one each time.
const DOWN_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// An overloaded host closes one slot each time.
const RELIEVE_EVERY: SignedDuration = SignedDuration::from_secs(5);

// Between having room and being overloaded lies a wide band in which nothing changes.
const ROOM_CPU_IDLE: f64 = 0.15;
const ROOM_MEMORY: f64 = 0.20;
const OVERLOAD_PRESSURE: f64 = 0.60;
const OVERLOAD_MEMORY: f64 = 0.08;

/// What a pool is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// Slots in use.
    pub busy: u32,
    /// A job is due and has no slot.
    pub waiting: bool,
}

#[derive(Debug, Default)]
pub struct Autoscaler {
    slots: u32,
    /// When the number was last changed.
    changed_at: Option<Timestamp>,
    /// Since when slots are free and nobody waits.
    spare_since: Option<Timestamp>,
}

impl Autoscaler {
    /// The slots to open, within the range.
    pub fn slots(&self, range: Autoscale) -> u32 {
        self.slots.clamp(range.min, range.max)
    }

    /// Looks at demand and load, about once a second, and moves by one step at most.
    pub fn decide(&mut self, range: Autoscale, demand: Demand, load: Load, now: Timestamp) {
        let slots = self.slots(range);
        let spare = !demand.waiting && demand.busy < slots;
        self.spare_since = if spare { self.spare_since.or(Some(now)) } else { None };
        let since = |at: Option<Timestamp>| at.map_or(SignedDuration::MAX, |at| now.duration_since(at));
        let changed = since(self.changed_at);
        let room = load.cpu_idle >= ROOM_CPU_IDLE && load.memory_available >= ROOM_MEMORY && load.cpu_pressure < OVERLOAD_PRESSURE;
        let overloaded = load.cpu_pressure >= OVERLOAD_PRESSURE || load.memory_available < OVERLOAD_MEMORY;
        let wanted = demand.waiting && demand.busy >= slots;
        let next = match () {
            // One slot there is, whatever the load: a job that waits is not starved.
            () if wanted && slots == 0 => 1,
            () if wanted && room && changed >= UP_EVERY => slots + (slots / 2).max(1),
            () if overloaded && slots > 1 && changed >= RELIEVE_EVERY => slots - 1,
            () if spare && since(self.spare_since).min(changed) >= DOWN_AFTER => slots.saturating_sub(1),
            () => slots,
        };
        self.slots = next.clamp(range.min, range.max);
        if self.slots != slots {
            self.changed_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Autoscale = Autoscale { min: 1, max: 8 };
    const IDLE: Load = Load { cpu_idle: 0.9, cpu_pressure: 0.0, memory_available: 0.7 };
    const FULL: Load = Load { cpu_idle: 0.02, cpu_pressure: 0.3, memory_available: 0.7 };

    /// Decides once a second for this long; the number of slots after each second.
    fn run(scaler: &mut Autoscaler, from_s: i64, seconds: i64, demand: impl Fn(u32) -> Demand, load: Load) -> Vec<u32> {
        let second = |s: i64| {
            let demand = demand(scaler.slots(RANGE));
            scaler.decide(RANGE, demand, load, Timestamp::from_second(from_s + s).unwrap());
            scaler.slots(RANGE)
        };
        (0..seconds).map(second).collect()
    }

    fn crowd(slots: u32) -> Demand {
        Demand { busy: slots, waiting: true }
    }

    fn nobody(_: u32) -> Demand {
        Demand { busy: 0, waiting: false }
    }

    #[test]
    fn a_crowd_opens_slots_fast_and_their_absence_closes_them_slowly() {
        let mut scaler = Autoscaler::default();
        assert_eq!(run(&mut scaler, 0, 12, crowd, IDLE), [2, 2, 3, 3, 4, 4, 6, 6, 8, 8, 8, 8]);
        let down = run(&mut scaler, 12, 240, nobody, IDLE);
        assert_eq!((down[29], down[30], down[59], down[60], down[239]), (8, 7, 7, 6, 1));
    }

    #[test]
    fn a_busy_host_opens_none_and_an_overloaded_one_closes_some() {
        let mut scaler = Autoscaler::default();
        run(&mut scaler, 0, 4, crowd, IDLE);
        assert_eq!(run(&mut scaler, 4, 60, crowd, FULL), [3; 60]);
        let pressed = Load { cpu_pressure: 0.8, ..FULL };
        let relieved = run(&mut scaler, 65, 12, crowd, pressed);
        assert_eq!((relieved[0], relieved[4], relieved[5], relieved[11]), (2, 2, 1, 1));
        let tight = Load { memory_available: 0.1, ..IDLE };
        assert_eq!(run(&mut scaler, 80, 60, crowd, tight), [1; 60], "neither up nor down between the marks");
    }

    #[test]
    fn a_wavering_demand_does_not_flap() {
        let mut scaler = Autoscaler::default();
        run(&mut scaler, 0, 9, crowd, IDLE);
        let slots = scaler.slots(RANGE);
        // Every 20 s a job leaves and the next one comes.
        for round in 0..20 {
            let gap = run(&mut scaler, 10 + round * 20, 19, |slots| Demand { busy: slots - 1, waiting: false }, FULL);
            let full = run(&mut scaler, 29 + round * 20, 1, |slots| Demand { busy: slots, waiting: false }, FULL);
            assert!(gap.iter().chain(&full).all(|n| *n == slots));
        }
    }

    #[test]
    fn the_range_is_kept_and_nobody_starves() {
        let mut scaler = Autoscaler::default();
        let from_none = Autoscale { min: 0, max: 4 };
        assert_eq!(scaler.slots(from_none), 0);
        scaler.decide(from_none, crowd(0), FULL, Timestamp::UNIX_EPOCH);
        assert_eq!(scaler.slots(from_none), 1);
        assert_eq!((scaler.slots(Autoscale { min: 3, max: 5 }), scaler.slots(Autoscale { min: 0, max: 1 })), (3, 1));
    }
}
