//! What is counted for one statement. A hit takes no lock, and writes to one cache line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::query_stats::QueryStats;
use super::{Tier, nanos};
use crate::analysis::Fingerprint;
use crate::reason::{Place, Reason};

/// What an answer from the cache gave.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Given {
    /// Time that the load of it took.
    pub saved: Duration,
    pub rows: usize,
    pub bytes: usize,
}

/// How a read was answered without a query of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spared {
    Hit(Tier),
    Coalesced,
    Stale,
}

/// What is counted for the statements of one fingerprint.
#[derive(Debug)]
pub(crate) struct Record {
    cached: Cached,
    database: Database,
    /// Misses, bypasses and results not stored, by reason. Each of them goes to the database, so that a lock costs nothing.
    reasons: Mutex<Vec<(Place, Reason, u64)>>,
    /// When it was first seen, in milliseconds since the pool was built.
    first: u64,
    /// `None`: stands for all those that have no record of their own.
    fingerprint: Option<Fingerprint>,
    text: Box<str>,
}

/// What a hit touches.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cached {
    hits: [AtomicU64; Tier::ALL.len()],
    coalesced: AtomicU64,
    stale: AtomicU64,
    saved: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// When it was last seen, in milliseconds since the pool was built.
    last: AtomicU64,
}

#[derive(Debug, Default)]
struct Database {
    time: AtomicU64,
    rows: AtomicU64,
    writes: AtomicU64,
    refreshes: AtomicU64,
    stored: AtomicU64,
    stored_bytes: AtomicU64,
}

impl Record {
    /// Bytes of text after which it is cut off.
    pub const MAX_TEXT: usize = 2048;

    pub fn new(fingerprint: Option<Fingerprint>, mut text: String, now: u64) -> Self {
        if text.len() > Self::MAX_TEXT {
            text.truncate(text.floor_char_boundary(Self::MAX_TEXT - "…".len()));
            text.push('…');
        }
        let cached = Cached { last: now.into(), ..Cached::default() };
        let (database, reasons) = Default::default();
        Self { cached, database, reasons, first: now, fingerprint, text: text.into_boxed_str() }
    }

    pub fn spared(&self, how: Spared, given: Given, now: u64) {
        let cached = &self.cached;
        let count = match how {
            Spared::Hit(tier) => &cached.hits[tier.index()],
            Spared::Coalesced => &cached.coalesced,
            Spared::Stale => &cached.stale,
        };
        count.fetch_add(1, Relaxed);
        cached.saved.fetch_add(nanos(given.saved), Relaxed);
        cached.rows.fetch_add(given.rows as u64, Relaxed);
        cached.bytes.fetch_add(given.bytes as u64, Relaxed);
        self.seen(now);
    }

    /// Counts a miss, a bypass or a result that was not stored.
    pub fn gave(&self, place: Place, reason: Reason, now: u64) {
        add(&mut self.reasons(), place, reason, 1);
        self.seen(now);
    }

    pub fn stored(&self, bytes: usize) {
        self.database.stored.fetch_add(1, Relaxed);
        self.database.stored_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub fn wrote(&self, now: u64) {
        self.database.writes.fetch_add(1, Relaxed);
        self.seen(now);
    }

    pub fn refreshes(&self) {
        self.database.refreshes.fetch_add(1, Relaxed);
    }

    pub fn asked(&self, time: Duration, rows: u64) {
        self.database.time.fetch_add(nanos(time), Relaxed);
        self.database.rows.fetch_add(rows, Relaxed);
    }

    /// When it was last seen.
    pub fn last(&self) -> u64 {
        self.cached.last.load(Relaxed)
    }

    fn seen(&self, now: u64) {
        // Of two at the same time either may win: they differ by less than it matters.
        self.cached.last.store(now, Relaxed);
    }

    fn reasons(&self) -> std::sync::MutexGuard<'_, Vec<(Place, Reason, u64)>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn numbers(&self) -> [&AtomicU64; 14] {
        let Cached { hits: [memory, typed, redis], coalesced, stale, saved, rows, bytes, last: _ } = &self.cached;
        let Database { time, rows: loaded, writes, refreshes, stored, stored_bytes } = &self.database;
        [
            memory,
            typed,
            redis,
            coalesced,
            stale,
            saved,
            rows,
            bytes,
            time,
            loaded,
            writes,
            refreshes,
            stored,
            stored_bytes,
        ]
    }

    /// Takes over what another counted that nobody counts in any more.
    pub fn absorb(&self, other: Self) {
        for (mine, theirs) in self.numbers().into_iter().zip(other.numbers()) {
            mine.fetch_add(theirs.load(Relaxed), Relaxed);
        }
        self.cached.last.fetch_max(other.last(), Relaxed);
        let theirs = other.reasons.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut mine = self.reasons();
        theirs.into_iter().for_each(|(place, reason, count)| add(&mut mine, place, reason, count));
    }

    /// What was counted so far. `built` is when the pool was built, by two clocks.
    pub fn snapshot(&self, built: (Instant, SystemTime)) -> QueryStats {
        let at = |milliseconds: u64| built.1 + Duration::from_millis(milliseconds);
        let [
            memory,
            typed,
            redis,
            coalesced,
            stale,
            saved,
            rows,
            bytes,
            time,
            loaded,
            writes,
            refreshes,
            stored,
            stored_bytes,
        ] = self.numbers().map(|number| number.load(Relaxed));
        let reasons = self.reasons();
        let of = |place: Place| -> BTreeMap<Reason, u64> {
            reasons.iter().filter(|(at, ..)| *at == place).map(|(_, reason, count)| (*reason, *count)).collect()
        };
        let tiers = [(Tier::Memory, memory), (Tier::Typed, typed), (Tier::Redis, redis)];
        let (misses_by_reason, bypasses_by_reason) = (of(Place::Miss), of(Place::Bypass));
        let (misses, bypasses) = (misses_by_reason.values().sum::<u64>(), bypasses_by_reason.values().sum::<u64>());
        QueryStats {
            fingerprint: self.fingerprint,
            text: self.text.clone().into(),
            calls: memory + typed + redis + coalesced + stale + misses + bypasses + writes,
            hits: memory + typed + redis,
            hits_by_tier: tiers.into_iter().filter(|(_, hits)| *hits > 0).collect(),
            coalesced,
            stale,
            misses,
            misses_by_reason,
            bypasses,
            bypasses_by_reason,
            writes,
            stored,
            stored_bytes,
            not_stored_by_reason: of(Place::NotStored),
            refreshes,
            database_time: Duration::from_nanos(time),
            saved_time: Duration::from_nanos(saved),
            rows_from_cache: rows,
            bytes_from_cache: bytes,
            rows_from_database: loaded,
            first_seen: at(self.first),
            last_seen: at(self.last()),
        }
    }
}

fn add(counts: &mut Vec<(Place, Reason, u64)>, place: Place, reason: Reason, count: u64) {
    match counts.iter_mut().find(|(at, why, _)| (*at, *why) == (place, reason)) {
        Some((.., known)) => *known += count,
        None => {
            // One by one: most statements know one reason or two.
            counts.reserve_exact(1);
            counts.push((place, reason, count));
        }
    }
}
