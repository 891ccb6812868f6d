//! When something was last known to be so.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// When the last question was asked that was answered. Set by one, looked at by many.
#[derive(Debug)]
pub(crate) struct Recency {
    started: Instant,
    /// In nanoseconds from the start, and one more; 0: never.
    at: AtomicU64,
    /// What was asked no later than then tells nothing.
    forgotten: AtomicU64,
}

impl Recency {
    /// Never.
    pub fn new() -> Self {
        Self { started: Instant::now(), at: AtomicU64::new(0), forgotten: AtomicU64::new(0) }
    }

    /// How long ago that was.
    pub fn age(&self) -> Option<Duration> {
        let at = self.at.load(SeqCst);
        if at <= self.forgotten.load(SeqCst) {
            return None;
        }
        Some(self.started.elapsed().saturating_sub(Duration::from_nanos(at - 1)))
    }

    /// One that was asked then was answered. It is as before if a later one was.
    pub fn answered(&self, asked: Instant) {
        self.at.fetch_max(self.since_start(asked), SeqCst);
    }

    /// What was asked so far is worth nothing any more, answered or not.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "nothing is shared"))]
    pub fn forget(&self) {
        self.forgotten.fetch_max(self.since_start(Instant::now()), SeqCst);
    }

    fn since_start(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_before_all_was_forgotten_tells_nothing_whenever_it_is_answered() {
        let recency = Recency::new();
        assert_eq!(recency.age(), None);
        let asked = Instant::now();
        recency.answered(asked);
        assert!(recency.age().is_some());
        recency.forget();
        assert_eq!(recency.age(), None);
        recency.answered(asked);
        assert_eq!(recency.age(), None, "it was under way");
        std::thread::sleep(Duration::from_millis(1));
        recency.answered(Instant::now());
        assert!(recency.age().is_some());
    }
}
