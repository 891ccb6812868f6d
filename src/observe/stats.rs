//! What a pool did, as plain numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Tier, Waits};
use crate::json::{known, seconds};
use crate::reason::Reason;

/// What a pool did since it was built. Counts of requests, not of rows.
///
/// Every read is exactly one of hit, coalesced, stale, miss or bypass; one that may write, for all that is known of the
/// functions it calls, counts as a write. Maps hold what occurred. As JSON, times are in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Answered from the cache.
    pub hits: u64,
    /// Answered by the load of another request that was under way.
    pub coalesced: u64,
    /// Answered from the cache though the answer may be wrong by now, since the database was out of reach and the policy
    /// allows it.
    pub stale: u64,
    /// Cacheable, but answered by the database.
    pub misses: u64,
    /// Not cacheable, and answered by the database; writes and other statements through the pool are not counted.
    pub bypasses: u64,
    /// Statements that wrote, or may have.
    pub writes: u64,
    /// [Units of work](crate::unit_of_work) of this process that have ended, whichever pools they asked.
    pub units_of_work: u64,
    /// Loaded results that were kept.
    pub stored: u64,
    /// Results replaced in the background before their time was over.
    pub refreshes: u64,
    /// Writes that voided cached results; each counts once, however many results rested on what it wrote.
    pub invalidations: u64,
    /// Hits by the tier that answered.
    #[serde(deserialize_with = "known")]
    pub hits_by_tier: BTreeMap<Tier, u64>,
    /// Misses by reason.
    #[serde(deserialize_with = "known")]
    pub misses_by_reason: BTreeMap<Reason, u64>,
    /// Bypasses by reason.
    #[serde(deserialize_with = "known")]
    pub bypasses_by_reason: BTreeMap<Reason, u64>,
    /// Loaded results that were not kept, by reason.
    #[serde(deserialize_with = "known")]
    pub not_stored_by_reason: BTreeMap<Reason, u64>,
    /// Invalidations by reason.
    #[serde(deserialize_with = "known")]
    pub invalidations_by_reason: BTreeMap<Reason, u64>,
    /// Invalidations by the full name of the table: a write to two tables counts for both. `*` stands for all tables at
    /// once, `other` for those beyond the first 200.
    pub invalidations_by_table: BTreeMap<String, u64>,
    /// Answers from the cache that were compared with the database's, where that could be decided: see
    /// [`Builder::audit`](crate::Builder::audit).
    pub audited: u64,
    /// The same by the full name of the table: one that rests on two tables counts for both. `other` stands for those beyond the first 200.
    pub audited_by_table: BTreeMap<String, u64>,
    /// Those of them that were stale.
    pub audited_stale: u64,
    /// The same by table.
    pub audited_stale_by_table: BTreeMap<String, u64>,
    /// Time that reads and writes waited for the database, without the wait for a connection. Zero without
    /// [statistics](crate::Builder::statistics).
    #[serde(rename = "database_seconds", with = "seconds")]
    pub database_time: Duration,
    /// Database time saved: for each hit and each coalesced request, what the load of its result took. Zero without
    /// [statistics](crate::Builder::statistics).
    #[serde(rename = "saved_seconds", with = "seconds")]
    pub saved_time: Duration,
    /// What calls waited for.
    pub waits: Waits,
    /// Entries that left the memory, by cause: `expired`, `explicit`, `replaced` by a newer result, or `size`: there was no room, or
    /// none for a result that is hardly asked for.
    pub removals_by_cause: BTreeMap<String, u64>,
    /// Entries in memory, about, those included that are no longer valid but have not been evicted yet.
    pub entries: u64,
    /// Bytes of memory that they take, about.
    pub bytes: u64,
}

impl Stats {
    /// Hits and coalesced requests as a share of all reads, between 0 and 1; `None` before the first read.
    pub fn hit_rate(&self) -> Option<f64> {
        let spared = self.hits + self.coalesced;
        let all = spared + self.stale + self.misses + self.bypasses;
        (all > 0).then(|| spared as f64 / all as f64)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.hit_rate().map_or("n/a".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
        writeln!(
            f,
            "hit rate {rate}: {} hits, {} coalesced, {} stale, {} misses, {} bypasses; {} entries, {} bytes",
            self.hits, self.coalesced, self.stale, self.misses, self.bypasses, self.entries, self.bytes
        )?;
        if !self.database_time.is_zero() {
            writeln!(f, "  database {:.1?}, saved {:.1?}", self.database_time, self.saved_time)?;
        }
        if self.audited > 0 {
            writeln!(f, "  audited {}, of which {} were stale", self.audited, self.audited_stale)?;
        }
        let lists = [
            ("miss", &self.misses_by_reason),
            ("bypass", &self.bypasses_by_reason),
            ("not stored", &self.not_stored_by_reason),
            ("invalidation", &self.invalidations_by_reason),
        ];
        for (what, reasons) in lists {
            for (reason, count) in reasons {
                writeln!(f, "  {what}: {reason} {count}")?;
            }
        }
        Ok(())
    }
}
