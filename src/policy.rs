//! How results are kept: the settings of a pool.

use std::time::{Duration, Instant};

/// How results are kept.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Time to live of an entry, counted from the moment its query was begun. `None`: until it is invalidated.
    pub ttl: Option<Duration>,
    /// Most bytes that all entries together may take.
    pub max_bytes: u64,
    /// Most bytes of one result; a larger one is streamed through and not kept.
    pub max_entry_bytes: usize,
}

impl Policy {
    /// Long enough to take the load of a busy page off the database, short enough that a person who changed a row by
    /// hand sees it at the next glance.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(10);
    /// Part of the time to live by which entries differ, so that those loaded together do not expire together.
    const JITTER: f64 = 0.1;

    /// When an entry whose query was begun at `begun` expires. `dice` is between 0 and 1; jitter only ever shortens.
    pub fn expires(&self, begun: Instant, dice: f64) -> Option<Instant> {
        let ttl = self.ttl?;
        // A time to live beyond what the clock can count never ends.
        begun.checked_add(ttl.mul_f64(1.0 - Self::JITTER * dice.clamp(0.0, 1.0)))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { ttl: Some(Self::DEFAULT_TTL), max_bytes: 64 << 20, max_entry_bytes: 1 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_never_lengthens_a_life() {
        let policy = Policy { ttl: Some(Duration::from_secs(100)), ..Policy::default() };
        let begun = Instant::now();
        assert_eq!(policy.expires(begun, 0.0), Some(begun + Duration::from_secs(100)));
        assert_eq!(policy.expires(begun, 1.0), Some(begun + Duration::from_secs(90)));
        assert_eq!(Policy { ttl: None, ..policy }.expires(begun, 0.5), None);
    }
}
