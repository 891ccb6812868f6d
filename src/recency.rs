//! When something was last known to be so.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// When the last question was asked that was answered. Set by one, looked at by many.
#[derive(Debug)]
pub(crate) struct Recency {
    started: Instant,
    /// In nanoseconds from the start, and one more; 0: never.
    at: AtomicU64,
}

impl Recency {
    /// Never.
    pub fn new() -> Self {
        Self { started: Instant::now(), at: AtomicU64::new(0) }
    }

    /// How long ago that was.
    pub fn age(&self) -> Option<Duration> {
        let at = self.at.load(SeqCst).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_nanos(at)))
    }

    /// One that was asked then was answered. It is as before if a later one was.
    pub fn answered(&self, asked: Instant) {
        let since = asked.saturating_duration_since(self.started).as_nanos();
        self.at.fetch_max(u64::try_from(since).unwrap_or(u64::MAX - 1) + 1, SeqCst);
    }

    /// What was answered so far is worth nothing any more.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "nothing is shared"))]
    pub fn forget(&self) {
        self.at.store(0, SeqCst);
    }
}
