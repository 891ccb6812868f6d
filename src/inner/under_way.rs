//! The statements that the database is at.
//!
//! In: when one begins, and when it is over. Out: how many there are that run for so long.
//! It never knows what a statement is about.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// No more of them than there are connections.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// When each began.
    begun: Mutex<HashMap<u64, Instant>>,
    next: AtomicU64,
}

impl UnderWay {
    pub fn begins(self: &Arc<Self>) -> Statement {
        let number = self.next.fetch_add(1, Relaxed);
        self.begun().insert(number, Instant::now());
        Statement { under_way: self.clone(), number }
    }

    /// How many run for so long already.
    pub fn for_at_least(&self, time: Duration) -> usize {
        self.begun().values().filter(|begun| begun.elapsed() >= time).count()
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A statement that the database is at. It is over when this is dropped.
#[derive(Debug)]
#[must_use = "it is over when this is dropped"]
pub(crate) struct Statement {
    under_way: Arc<UnderWay>,
    number: u64,
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.under_way.begun().remove(&self.number);
    }
}
