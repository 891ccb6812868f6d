//! Rules of the protocol that are broken on purpose, to show that `larder soak` finds out.
//!
//! Nothing but that command ever sets them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A rule of docs/decisions/0016-versions-in-redis.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Rule {
    /// Other nodes are told of each write.
    Announce = 1,
    /// Without word from Redis within the bound, nothing is given out from memory.
    Bound = 2,
    /// What others could not be told of stays in flight on the node that wrote it.
    Pending = 3,
    /// Nothing of one epoch is believed in another.
    Epoch = 4,
}

static BROKEN: AtomicU32 = AtomicU32::new(0);
static DIES: AtomicU32 = AtomicU32::new(0);

/// Breaks a rule in this process from now on.
pub fn break_rule(rule: Rule) {
    BROKEN.store(rule as u32, Relaxed);
}

/// From now on, of a million writes so many end this process after their COMMIT and before others are told.
pub fn die_before_finish(of_a_million: u32) {
    DIES.store(of_a_million, Relaxed);
}

pub(crate) fn is_broken(rule: Rule) -> bool {
    BROKEN.load(Relaxed) == rule as u32
}

pub(crate) fn perhaps_die() {
    let dies = DIES.load(Relaxed);
    if dies > 0 {
        let mut bytes = [0; 4];
        let _ = getrandom::fill(&mut bytes);
        if u32::from_le_bytes(bytes) % 1_000_000 < dies {
            std::process::abort();
        }
    }
}
