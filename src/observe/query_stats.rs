//! What a pool did for one statement, as plain numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Tier;
use crate::analysis::Fingerprint;
use crate::json::{known, seconds, since_1970};
use crate::reason::Reason;

/// What a pool did for the statements of one fingerprint: those that differ in literals only.
///
/// Memory is bounded, so that rare statements may lose their names: they are counted together in one row without a
/// fingerprint. All rows together always say what the pool did. Maps hold what occurred. As JSON, times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryStats {
    /// Names the statement; `None`: the row stands for all statements that have none of their own.
    pub fingerprint: Option<Fingerprint>,
    /// The statement in lower case with `?` for every literal, cut off after 2,048 bytes. It never holds a value.
    pub text: String,
    /// Reads and writes.
    pub calls: u64,
    /// Reads answered from the cache.
    pub hits: u64,
    /// Hits by the tier that answered.
    #[serde(deserialize_with = "known")]
    pub hits_by_tier: BTreeMap<Tier, u64>,
    /// Reads answered by the load of another that was under way.
    pub coalesced: u64,
    /// Reads answered from the cache though the answer may be wrong by now, since the database was out of reach.
    pub stale: u64,
    /// Reads that were cacheable, but answered by the database.
    pub misses: u64,
    /// Misses by reason.
    #[serde(deserialize_with = "known")]
    pub misses_by_reason: BTreeMap<Reason, u64>,
    /// Reads that were not cacheable, and answered by the database.
    pub bypasses: u64,
    /// Bypasses by reason.
    #[serde(deserialize_with = "known")]
    pub bypasses_by_reason: BTreeMap<Reason, u64>,
    /// Times that it ran as a write.
    pub writes: u64,
    /// Loaded results that were kept.
    pub stored: u64,
    /// Bytes of memory that those took together, also those that are gone by now.
    pub stored_bytes: u64,
    /// Loaded results that were not kept, by reason.
    #[serde(deserialize_with = "known")]
    pub not_stored_by_reason: BTreeMap<Reason, u64>,
    /// Results replaced in the background before their time was over.
    pub refreshes: u64,
    /// With how many different arguments, scopes and tags results were loaded: estimated, with a standard error of 9 %. Of reads that
    /// may be kept; zero before the first load.
    #[serde(default)]
    pub distinct_parameters: u64,
    /// Where it was asked again and again, if it was: see [`unit_of_work`](crate::unit_of_work).
    #[serde(default)]
    pub n_plus_one: Option<NPlusOne>,
    /// Time that it waited for the database, without the wait for a connection.
    #[serde(rename = "database_seconds", with = "seconds")]
    pub database_time: Duration,
    /// How many times the database's time was taken: rejected calls, and those that had no connection, are not among them.
    #[serde(default)]
    pub timed: u64,
    /// Of [`QueryStats::database_time`], what was within the last five minutes ([`QueryStats::RECENT`]), about: as if older calls had
    /// been spread evenly.
    #[serde(default, rename = "recent_seconds", with = "seconds")]
    pub recent_time: Duration,
    /// How many times that was taken.
    #[serde(default)]
    pub recent_timed: u64,
    /// How long the database took for one call.
    pub latency: Latency,
    /// Database time saved: for each hit and each coalesced read, what the load of its result took.
    #[serde(rename = "saved_seconds", with = "seconds")]
    pub saved_time: Duration,
    /// Rows given out by hits, coalesced and stale reads.
    pub rows_from_cache: u64,
    /// Bytes of the values in those rows, or of what was decoded from them, as they are kept.
    pub bytes_from_cache: u64,
    /// Rows that the database sent: for loads, bypasses and writes.
    pub rows_from_database: u64,
    /// When it was first seen; for the row without a fingerprint, when the pool was built.
    #[serde(with = "since_1970")]
    pub first_seen: SystemTime,
    /// When it was last called, to within a second while the runtime lives that the pool was built on.
    #[serde(with = "since_1970")]
    pub last_seen: SystemTime,
}

/// A statement that was asked ten times or more, from the same place in the code, within single units of work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NPlusOne {
    /// Units of work that did so, and are over. Once there were many, only some are looked at; of the others the same share is counted.
    pub units: u64,
    /// Calls in those units.
    pub calls: u64,
    /// Most calls in one unit.
    pub most: u64,
    /// Where it is asked: file and line, with the function where that is known by its path; the function alone in a program without
    /// debug information. `None`: it could not be told.
    pub call_site: Option<String>,
}

/// How long the database took for one call of a statement, without the wait for a connection: to a tenth of it. As JSON, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Latency {
    /// Half of the calls took no longer.
    #[serde(with = "seconds")]
    pub p50: Duration,
    /// Of twenty calls, nineteen took no longer.
    #[serde(with = "seconds")]
    pub p95: Duration,
    /// Of a hundred calls, 99 took no longer.
    #[serde(with = "seconds")]
    pub p99: Duration,
    /// The longest call.
    #[serde(with = "seconds")]
    pub max: Duration,
}

impl QueryStats {
    /// How far [`QueryStats::recent_time`] goes back.
    pub const RECENT: Duration = Duration::from_secs(300);

    /// Hits and coalesced reads as a share of all reads, between 0 and 1; `None` before the first read.
    pub fn hit_rate(&self) -> Option<f64> {
        share(self.hits + self.coalesced, self.calls - self.writes)
    }

    /// Kept results that were found invalidated by a write when they were asked for again, as a share of all that were
    /// kept, between 0 and 1; `None` where nothing was kept.
    ///
    /// Near 1, with few hits, the tables are written so often that to keep results of this statement hardly pays.
    pub fn churn(&self) -> Option<f64> {
        // A refusal to store leaves the invalidated entry in place, to be found again.
        let invalidated = self.misses_by_reason.get(&Reason::Invalidated).copied().unwrap_or(0);
        share(invalidated.min(self.stored), self.stored)
    }

    /// Hits for each result that was kept; `None` where nothing was kept. Below 1, most results were never used.
    pub fn hits_per_store(&self) -> Option<f64> {
        share(self.hits, self.stored)
    }

    /// Whether nothing happened that could be told.
    pub(super) fn is_empty(&self) -> bool {
        self.calls == 0 && self.refreshes == 0 && self.database_time.is_zero()
    }
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// One line: `9f86d081884c7d65 120 calls: 117 hits, 3 misses (invalidated 2, absent 1); database 1.2ms (p50 0.4ms, p99 0.5ms), saved 46.8ms; select name from users where id = ?`.
impl fmt::Display for QueryStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fingerprint {
            Some(fingerprint) => write!(f, "{fingerprint} ")?,
            None => write!(f, "{:16} ", "other")?,
        }
        write!(f, "{} calls", self.calls)?;
        let counts = [
            ("hits", self.hits, None),
            ("coalesced", self.coalesced, None),
            ("stale", self.stale, None),
            ("misses", self.misses, Some(&self.misses_by_reason)),
            ("bypasses", self.bypasses, Some(&self.bypasses_by_reason)),
            ("writes", self.writes, None),
        ];
        let mut before = ": ";
        for (what, count, reasons) in counts.into_iter().filter(|(_, count, _)| *count > 0) {
            write!(f, "{before}{count} {what}")?;
            before = ", ";
            let mut reasons: Vec<_> = reasons.into_iter().flatten().collect();
            reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            for (at, (reason, count)) in reasons.iter().enumerate() {
                write!(f, "{}{reason} {count}", if at == 0 { " (" } else { ", " })?;
            }
            if !reasons.is_empty() {
                write!(f, ")")?;
            }
        }
        write!(
            f,
            "; database {:.1?} (p50 {:.1?}, p99 {:.1?}), saved {:.1?}; {}",
            self.database_time, self.latency.p50, self.latency.p99, self.saved_time, self.text
        )
    }
}
