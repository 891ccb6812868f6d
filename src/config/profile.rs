//! Named sets of values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::error::most_like;
use crate::policy::Policy;

/// A set of values for a kind of service. What the configuration says itself goes before it.
///
/// | profile | for |
/// |---|---|
/// | `development` | a laptop: what was changed by hand is seen at the next reload |
/// | `production` | a service like most |
/// | `high_traffic` | many readers of the same: the database is asked as seldom as possible |
/// | `memory_constrained` | a small container |
/// | `low_latency` | nobody waits for the database if an answer that is a little older will do |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// For a laptop.
    Development,
    /// For a service like most.
    Production,
    /// For many readers of the same.
    HighTraffic,
    /// For a small container.
    MemoryConstrained,
    /// For readers who cannot wait.
    LowLatency,
}

/// What a profile says. `stale_if_error` is in none of them: it gives out what is known to be wrong, which is for a person to
/// decide.
struct Values {
    name: &'static str,
    /// Seconds that a writer elsewhere may go unseen.
    ttl: u64,
    /// Seconds; 0: none.
    soft_ttl: u64,
    negative_ttl: u64,
    early_refresh: f64,
    max_bytes: u64,
    max_entry_bytes: usize,
}

const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

impl Profile {
    /// Every profile.
    pub const ALL: &'static [Self] =
        &[Self::Development, Self::Production, Self::HighTraffic, Self::MemoryConstrained, Self::LowLatency];

    const fn values(self) -> Values {
        match self {
            // Shorter than it takes to switch windows; one person's results need little room; nothing in the background, so
            // that the log of the database shows what the program did.
            Self::Development => Values {
                name: "development",
                ttl: 2,
                soft_ttl: 0,
                negative_ttl: 1,
                early_refresh: 0.0,
                max_bytes: 32 * MIB,
                max_entry_bytes: 1024 * KIB,
            },
            // Half a minute is what most pages may lag behind another service; the last third of it hides the reload.
            Self::Production => Values {
                name: "production",
                ttl: 30,
                soft_ttl: 20,
                negative_ttl: 5,
                early_refresh: 1.0,
                max_bytes: 256 * MIB,
                max_entry_bytes: 1024 * KIB,
            },
            // Each result is asked for once a minute or less, and long before its end; large lists are worth their room.
            Self::HighTraffic => Values {
                name: "high_traffic",
                ttl: 120,
                soft_ttl: 60,
                negative_ttl: 10,
                early_refresh: 2.0,
                max_bytes: 1024 * MIB,
                max_entry_bytes: 4096 * KIB,
            },
            // Many small results serve more reads than a few large ones; what nobody asks for is not loaded again.
            Self::MemoryConstrained => Values {
                name: "memory_constrained",
                ttl: 30,
                soft_ttl: 0,
                negative_ttl: 5,
                early_refresh: 0.0,
                max_bytes: 16 * MIB,
                max_entry_bytes: 64 * KIB,
            },
            // Replaced in the background after ten seconds, but at hand for five minutes; large results gain nothing from memory.
            Self::LowLatency => Values {
                name: "low_latency",
                ttl: 300,
                soft_ttl: 10,
                negative_ttl: 5,
                early_refresh: 1.0,
                max_bytes: 512 * MIB,
                max_entry_bytes: 256 * KIB,
            },
        }
    }

    /// As it is written: `high_traffic`.
    pub const fn name(self) -> &'static str {
        self.values().name
    }

    pub(super) fn policy(self) -> Policy {
        let values = self.values();
        let policy = Policy::ttl(Duration::from_secs(values.ttl))
            .negative_ttl(Duration::from_secs(values.negative_ttl))
            .early_refresh(values.early_refresh)
            .max_entry_bytes(values.max_entry_bytes);
        match values.soft_ttl {
            0 => policy,
            soft => policy.soft_ttl(Duration::from_secs(soft)),
        }
    }

    pub(super) const fn max_bytes(self) -> u64 {
        self.values().max_bytes
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no profile of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no profile{}", .nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default())]
pub struct UnknownProfile {
    nearest: Option<String>,
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        let names = || Self::ALL.iter().map(|profile| profile.name());
        let found = Self::ALL.iter().find(|profile| profile.name() == text).copied();
        found.ok_or_else(|| UnknownProfile { nearest: most_like(text, names()) })
    }
}
