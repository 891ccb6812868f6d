//! Counters by outcome and reason.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Counter, Gauge};

use super::catalogue;
use crate::reason::Reason;

/// One number, kept for `stats()` and told to the `metrics` recorder that was installed when the pool was built.
struct Count {
    value: AtomicU64,
    metric: Counter,
}

impl Count {
    fn new(metric: Counter) -> Self {
        metric.increment(0);
        Self { value: AtomicU64::new(0), metric }
    }

    fn one(&self) {
        self.value.fetch_add(1, Relaxed);
        self.metric.increment(1);
    }

    fn get(&self) -> u64 {
        self.value.load(Relaxed)
    }
}

/// A count for each reason. A reason that never occurs is not published.
struct ByReason {
    counts: Vec<std::sync::OnceLock<Count>>,
    metric: fn(&'static str) -> Counter,
}

impl ByReason {
    fn new(metric: fn(&'static str) -> Counter) -> Self {
        Self { counts: Reason::ALL.iter().map(|_| Default::default()).collect(), metric }
    }

    fn one(&self, reason: Reason) {
        self.counts[reason.index()].get_or_init(|| Count::new((self.metric)(reason.label()))).one();
    }

    fn snapshot(&self) -> BTreeMap<Reason, u64> {
        let counted = Reason::ALL.iter().zip(&self.counts);
        counted.filter_map(|(reason, count)| Some((*reason, count.get()?.get()))).collect()
    }
}

/// What one pool did so far.
pub(crate) struct Counters {
    hits: Count,
    coalesced: Count,
    stale: Count,
    refreshes: Count,
    stored: Count,
    misses: ByReason,
    bypasses: ByReason,
    not_stored: ByReason,
    invalidations: ByReason,
    entries: Gauge,
    bytes: Gauge,
}

impl Counters {
    /// All at zero, and published so.
    pub fn new() -> Self {
        catalogue::describe();
        fn requests(outcome: &'static str, reason: &'static str, tier: &'static str) -> Counter {
            metrics::counter!(catalogue::REQUESTS, "outcome" => outcome, "reason" => reason, "tier" => tier)
        }
        Self {
            hits: Count::new(requests("hit", "", "memory")),
            coalesced: Count::new(requests("coalesced", "", "memory")),
            stale: Count::new(requests("stale", "", "memory")),
            refreshes: Count::new(metrics::counter!(catalogue::REFRESHES)),
            stored: Count::new(metrics::counter!(catalogue::STORES, "reason" => "")),
            misses: ByReason::new(|reason| requests("miss", reason, "")),
            bypasses: ByReason::new(|reason| requests("bypass", reason, "")),
            not_stored: ByReason::new(|reason| metrics::counter!(catalogue::STORES, "reason" => reason)),
            invalidations: ByReason::new(|reason| metrics::counter!(catalogue::INVALIDATIONS, "reason" => reason)),
            entries: metrics::gauge!(catalogue::ENTRIES, "tier" => "memory"),
            bytes: metrics::gauge!(catalogue::BYTES, "tier" => "memory"),
        }
    }

    pub fn hit(&self, statement: &str) {
        self.hits.one();
        tracing::trace!(target: "larder::read", outcome = "hit", statement);
    }

    pub fn coalesced(&self, statement: &str) {
        self.coalesced.one();
        tracing::trace!(target: "larder::read", outcome = "coalesced", statement);
    }

    pub fn stale(&self, statement: &str) {
        self.stale.one();
        tracing::warn!(target: "larder::read", outcome = "stale", statement);
    }

    pub fn refresh(&self, statement: &str) {
        self.refreshes.one();
        tracing::debug!(target: "larder::read", outcome = "refresh", statement);
    }

    pub fn miss(&self, reason: Reason, statement: &str) {
        self.misses.one(reason);
        tracing::debug!(target: "larder::read", outcome = "miss", reason = reason.label(), statement);
    }

    pub fn bypass(&self, reason: Reason, sentence: &str, statement: &str) {
        self.bypasses.one(reason);
        tracing::debug!(target: "larder::read", outcome = "bypass", reason = reason.label(), sentence, statement);
    }

    pub fn stored(&self, statement: &str, bytes: usize) {
        self.stored.one();
        tracing::debug!(target: "larder::tier", outcome = "stored", bytes, statement);
    }

    pub fn not_stored(&self, reason: Reason, sentence: &str, statement: &str) {
        self.not_stored.one(reason);
        tracing::debug!(target: "larder::tier", outcome = "not stored", reason = reason.label(), sentence, statement);
    }

    pub fn invalidation(&self, reason: Reason, what: &str) {
        self.invalidations.one(reason);
        tracing::debug!(target: "larder::write", outcome = "invalidation", reason = reason.label(), what);
    }

    pub fn snapshot(&self, (entries, bytes): (u64, u64)) -> Stats {
        self.entries.set(entries as f64);
        self.bytes.set(bytes as f64);
        let (misses_by_reason, bypasses_by_reason) = (self.misses.snapshot(), self.bypasses.snapshot());
        let invalidations_by_reason = self.invalidations.snapshot();
        Stats {
            hits: self.hits.get(),
            coalesced: self.coalesced.get(),
            stale: self.stale.get(),
            refreshes: self.refreshes.get(),
            misses: misses_by_reason.values().sum(),
            bypasses: bypasses_by_reason.values().sum(),
            stored: self.stored.get(),
            invalidations: invalidations_by_reason.values().sum(),
            misses_by_reason,
            bypasses_by_reason,
            not_stored_by_reason: self.not_stored.snapshot(),
            invalidations_by_reason,
            entries,
            bytes,
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").field("hits", &self.hits.get()).finish_non_exhaustive()
    }
}

/// What a pool did since it was built. Counts of requests, not of rows.
///
/// Every read is exactly one of hit, coalesced, miss or bypass; one that may write, for all that is known of the functions
/// it calls, counts as a write. Maps hold the reasons that occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Answered from the cache.
    pub hits: u64,
    /// Answered by the load of another request that was under way.
    pub coalesced: u64,
    /// Answered from the cache though the answer may be wrong by now, since the database was out of reach and the policy
    /// allows it; each was counted as a miss first, for its load that failed.
    pub stale: u64,
    /// Results replaced in the background before their time was over.
    pub refreshes: u64,
    /// Cacheable, but answered by the database.
    pub misses: u64,
    /// Not cacheable, and answered by the database; writes and other statements through the pool are not counted.
    pub bypasses: u64,
    /// Loaded results that were kept.
    pub stored: u64,
    /// Writes that voided cached results; each counts once, however many results rested on what it wrote.
    pub invalidations: u64,
    /// Misses by reason.
    pub misses_by_reason: BTreeMap<Reason, u64>,
    /// Bypasses by reason.
    pub bypasses_by_reason: BTreeMap<Reason, u64>,
    /// Loaded results that were not kept, by reason.
    pub not_stored_by_reason: BTreeMap<Reason, u64>,
    /// Invalidations by reason.
    pub invalidations_by_reason: BTreeMap<Reason, u64>,
    /// Entries in memory, about, those included that are no longer valid but have not been evicted yet.
    pub entries: u64,
    /// Bytes of memory that they take, about.
    pub bytes: u64,
}

impl Stats {
    /// Hits and coalesced requests as a share of all reads, between 0 and 1; `None` before the first read.
    pub fn hit_rate(&self) -> Option<f64> {
        let spared = self.hits + self.coalesced;
        let all = spared + self.misses + self.bypasses;
        (all > 0).then(|| spared as f64 / all as f64)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.hit_rate().map_or("n/a".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
        writeln!(
            f,
            "hit rate {rate}: {} hits, {} coalesced, {} misses, {} bypasses; {} entries, {} bytes",
            self.hits, self.coalesced, self.misses, self.bypasses, self.entries, self.bytes
        )?;
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
