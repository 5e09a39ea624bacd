//! Which fault comes when: told by the seed alone.

use super::faults::Fault;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Jobs that are taken between two faults, at most: often fewer than it takes to heal.
const BETWEEN_MAX: usize = 12;

pub struct Plan {
    random: StdRng,
}

pub struct Step {
    /// Comes after so many more jobs.
    pub after: usize,
    pub fault: Fault,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        Plan { random: StdRng::seed_from_u64(seed) }
    }

    /// Every fault once, in an order of its own.
    pub fn round(&mut self) -> Vec<Step> {
        let mut faults = Fault::ALL;
        faults.shuffle(&mut self.random);
        faults.map(|fault| Step { after: self.random.random_range(0..=BETWEEN_MAX), fault }).into()
    }

    /// For what a fault leaves open: whom it hits, how long it takes.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }
}
