//! Records of the attempts that run in this process, so that their end needs no reading first. A mere cache: every commit compares
//! the version, and what is missing or outdated here is read again.

use super::stored::Stored;
use crate::job::{JobId, Record};
use crate::store::{Renewal, transition};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Far more than a process has slots; beyond it everything is forgotten.
const HELD_MAX: usize = 4096;

#[derive(Default)]
pub struct Held(Mutex<HashMap<JobId, Stored>>);

impl Held {
    pub fn put(&self, stored: Stored) {
        let mut held = self.lock();
        if held.len() >= HELD_MAX {
            held.clear();
        }
        match held.get(&stored.id()) {
            Some(newer) if newer.version > stored.version => {}
            _ => drop(held.insert(stored.id(), stored)),
        }
    }

    pub fn take(&self, id: JobId) -> Option<Stored> {
        self.lock().remove(&id)
    }

    /// The version known here; 0 when none is.
    pub fn version(&self, id: JobId) -> u64 {
        self.lock().get(&id).map_or(0, |stored| stored.version)
    }

    /// Reads what is known here of a record in which somebody may be interested.
    pub fn look<T>(&self, id: JobId, read: impl FnOnce(&Record) -> T) -> Option<T> {
        self.lock().get(&id).map(|stored| read(&stored.record))
    }

    /// Follows a renewal that made `version` of the one before.
    pub fn renew<T>(&self, renewal: &Renewal, version: u64, read: impl FnOnce(&Stored) -> T) -> Option<T> {
        let mut held = self.lock();
        let stored = held.get_mut(&renewal.lease.job).filter(|stored| stored.version + 1 == version)?;
        transition::renew(&mut stored.record, renewal);
        stored.version = version;
        Some(read(stored))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Stored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
