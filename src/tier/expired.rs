//! Which results left memory because their time was over: for the reason of a miss alone.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hashes of keys, of the last ones that expired. Two keys with the same hash cost a wrong reason, and nothing else.
#[derive(Default)]
pub(super) struct Expired {
    generations: Mutex<[Generation; 2]>,
}

type Generation = HashSet<u64, foldhash::fast::RandomState>;

/// Most hashes in a generation: some 300 kB for both, once that many expired and were not loaded again.
const GENERATION: usize = 16_384;

impl Expired {
    fn lock(&self) -> MutexGuard<'_, [Generation; 2]> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once the younger generation is full, the elder is forgotten and the younger takes its place.
    pub fn add(&self, hash: u64) {
        let mut generations = self.lock();
        if generations[0].len() >= GENERATION {
            generations.swap(0, 1);
            generations[0].clear();
        }
        generations[0].insert(hash);
    }

    pub fn remove(&self, hash: u64) {
        // It may be in both.
        for generation in &mut *self.lock() {
            generation.remove(&hash);
        }
    }

    pub fn has(&self, hash: u64) -> bool {
        self.lock().iter().any(|generation| generation.contains(&hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eldest_are_forgotten() {
        let expired = Expired::default();
        let last = 10 * GENERATION as u64;
        (0..=last).for_each(|hash| expired.add(hash));
        assert!(expired.lock().iter().all(|generation| generation.len() <= GENERATION));
        assert!(expired.has(last - GENERATION as u64 + 1), "half of what there is room for is not forgotten");
        assert!(expired.has(last) && !expired.has(0));
        expired.remove(last);
        assert!(!expired.has(last));
    }
}
