//! The statistics of each statement of one pool, in bounded memory.
//!
//! A plan holds the record of its statement, so that to count takes no lookup. There are [`MAX_RECORDS`] of them. When that
//! is not enough, those that no plan holds and that were not seen for longest are added to a last one, which stands for all
//! others; while every record is held, new statements count there at once. So the records together always say what the
//! pool did: nothing is lost but the names.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use metrics::Gauge;

use super::catalogue;
use super::query_stats::QueryStats;
use super::record::Record;
use crate::analysis::Fingerprint;
use crate::json::to_the_millisecond;

/// Most statements that have a record of their own. A record takes about 800 bytes with a text of 100, 200 more where results are kept, 450 more
/// where many were given out, and 6,500 at most: together 4 to 7 MB, and 32 MB at the very most.
const MAX_RECORDS: usize = 5_000;

/// The text of the last record.
const OTHER: &str = "(other statements)";

/// The records of one pool.
#[derive(Debug)]
pub(crate) struct Queries {
    records: Mutex<Records>,
    /// For statements that have no record of their own.
    other: Arc<Record>,
    capacity: usize,
    /// By two clocks.
    built: (Instant, SystemTime),
    lately: AtomicU64,
    in_use: Gauge,
}

#[derive(Debug, Default)]
struct Records {
    by_fingerprint: HashMap<Fingerprint, Arc<Record>, foldhash::fast::RandomState>,
    /// Statements to turn away before it is looked again whether a record can be given up.
    all_held: usize,
}

impl Queries {
    /// Without a record so far.
    pub fn new() -> Self {
        Self::with_room_for(MAX_RECORDS)
    }

    fn with_room_for(capacity: usize) -> Self {
        Self {
            records: Mutex::default(),
            other: Arc::new(Record::new(None, OTHER.to_owned(), 0)),
            capacity,
            built: (Instant::now(), to_the_millisecond(SystemTime::now())),
            lately: AtomicU64::new(0),
            in_use: catalogue::QUERIES.gauge(&[]),
        }
    }

    /// The time, in milliseconds since the pool was built.
    pub fn now(&self) -> u64 {
        let now = u64::try_from(self.built.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.lately.store(now, Relaxed);
        now
    }

    /// The time when it was last asked for.
    pub fn lately(&self) -> u64 {
        self.lately.load(Relaxed)
    }

    /// The record of a statement. `text` is asked for when there is none yet; it must not hold a literal.
    fn record(&self, fingerprint: Fingerprint, text: impl FnOnce() -> String) -> Arc<Record> {
        let mut records = self.lock();
        if let Some(record) = records.by_fingerprint.get(&fingerprint) {
            return record.clone();
        }
        if records.by_fingerprint.len() >= self.capacity && !self.make_room(&mut records) {
            return self.other.clone();
        }
        let record = Arc::new(Record::new(Some(fingerprint), text(), self.now()));
        records.by_fingerprint.insert(fingerprint, record.clone());
        self.in_use.increment(1.0);
        record
    }

    /// Gives up a sixteenth of all records, so that to look at all of them is worth it. `false`: all are held.
    fn make_room(&self, records: &mut Records) -> bool {
        let batch = self.capacity.div_ceil(16);
        if records.all_held > 0 {
            records.all_held -= 1;
            return false;
        }
        // Records are handed out under the lock alone: nobody can get hold of one that is held here only.
        let held_here = records.by_fingerprint.iter().filter(|(_, record)| Arc::strong_count(record) == 1);
        let mut free: Vec<(u64, Fingerprint)> = held_here.map(|(name, record)| (record.last(), *name)).collect();
        if free.len() > batch {
            free.select_nth_unstable(batch);
            free.truncate(batch);
        }
        for (_, name) in &free {
            if let Some(record) = records.by_fingerprint.remove(name).and_then(Arc::into_inner) {
                self.other.absorb(record);
            }
        }
        self.in_use.decrement(free.len() as f64);
        if free.is_empty() {
            records.all_held = batch;
        }
        !free.is_empty()
    }

    /// Database time that all hits and coalesced reads saved.
    pub fn saved(&self) -> Duration {
        let records = self.lock();
        records.by_fingerprint.values().chain([&self.other]).map(|record| record.saved()).sum()
    }

    /// What was counted so far, the most database time first.
    pub fn snapshot(&self) -> Vec<QueryStats> {
        let records: Vec<_> =
            self.lock().by_fingerprint.values().filter(|record| record.is_repeated()).cloned().collect();
        records.iter().for_each(|record| record.look_up());
        drop(records);
        // Locked all the while, so that nothing is given up between one record and the other, and missed or told twice.
        let records = self.lock();
        let all = records.by_fingerprint.values().chain([&self.other]);
        let mut rows: Vec<QueryStats> =
            all.map(|record| record.snapshot(self.built)).filter(|row| !row.is_empty()).collect();
        drop(records);
        rows.sort_by(|a, b| b.database_time.cmp(&a.database_time).then(b.calls.cmp(&a.calls)));
        rows
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        let records = self.records.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.in_use.decrement(records.by_fingerprint.len() as f64);
    }
}

/// The statement that something happens to: its text, for the log and for keys, and its record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// In normal form.
    pub text: Arc<str>,
    /// `None`: without statistics.
    pub(super) record: Option<Arc<Record>>,
}

impl Subject {
    /// With the record that `queries` keeps of it. `readable` is the text without literals.
    pub fn new(
        text: Arc<str>,
        fingerprint: Fingerprint,
        queries: Option<&Queries>,
        readable: impl FnOnce() -> String,
    ) -> Self {
        Self { text, record: queries.map(|queries| queries.record(fingerprint, readable)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tier;
    use super::super::record::{Given, Spared};
    use super::*;
    use crate::reason::{Place, Reason};

    const GIVEN: Given = Given { saved: Duration::from_nanos(700), rows: 3, bytes: 40 };

    fn subject(queries: &Queries, n: u64) -> Arc<Record> {
        queries.record(Fingerprint(n), || format!("select {n}"))
    }

    /// Everything that happens to one statement, once.
    fn use_once(queries: &Queries, record: &Record) {
        let now = queries.now();
        record.spared(Spared::Hit(Tier::Memory), GIVEN, now);
        record.spared(Spared::Hit(Tier::Typed), GIVEN, now);
        record.spared(Spared::Coalesced, GIVEN, now);
        record.spared(Spared::Stale, GIVEN, now);
        record.gave(Place::Miss, Reason::Absent, now);
        record.gave(Place::Miss, Reason::Invalidated, now);
        record.gave(Place::Bypass, Reason::Transaction, now);
        record.gave(Place::NotStored, Reason::TooLarge, now);
        record.stored(100);
        record.wrote(now);
        record.refreshes();
        record.asked(Duration::from_micros(50), 7, 0);
    }

    #[track_caller]
    fn assert_sums(rows: &[QueryStats], times: u64) {
        let sum = |number: fn(&QueryStats) -> u64| rows.iter().map(number).sum::<u64>();
        assert_eq!(sum(|row| row.calls), 8 * times);
        assert_eq!(sum(|row| row.hits), 2 * times);
        assert_eq!(sum(|row| row.hits_by_tier.get(&Tier::Typed).copied().unwrap_or(0)), times);
        assert_eq!((sum(|row| row.coalesced), sum(|row| row.stale)), (times, times));
        assert_eq!((sum(|row| row.misses), sum(|row| row.bypasses)), (2 * times, times));
        assert_eq!(sum(|row| row.misses_by_reason.get(&Reason::Invalidated).copied().unwrap_or(0)), times);
        assert_eq!(sum(|row| row.not_stored_by_reason.get(&Reason::TooLarge).copied().unwrap_or(0)), times);
        assert_eq!((sum(|row| row.writes), sum(|row| row.refreshes)), (times, times));
        assert_eq!((sum(|row| row.stored), sum(|row| row.stored_bytes)), (times, 100 * times));
        assert_eq!((sum(|row| row.rows_from_cache), sum(|row| row.bytes_from_cache)), (12 * times, 160 * times));
        assert_eq!(sum(|row| row.rows_from_database), 7 * times);
        assert_eq!(rows.iter().map(|row| row.database_time).sum::<Duration>(), Duration::from_micros(50 * times));
        assert_eq!(rows.iter().map(|row| row.saved_time).sum::<Duration>(), Duration::from_nanos(4 * 700 * times));
    }

    #[test]
    fn one_fingerprint_has_one_record() {
        let queries = Queries::with_room_for(16);
        assert!(Arc::ptr_eq(&subject(&queries, 1), &subject(&queries, 1)));
        use_once(&queries, &subject(&queries, 1));
        use_once(&queries, &subject(&queries, 1));
        use_once(&queries, &subject(&queries, 2));
        let rows = queries.snapshot();
        assert_sums(&rows, 3);
        let names: Vec<_> = rows.iter().map(|row| (row.fingerprint, row.text.as_str(), row.calls)).collect();
        assert_eq!(names, [(Some(Fingerprint(1)), "select 1", 16), (Some(Fingerprint(2)), "select 2", 8)]);
    }

    #[test]
    fn nothing_is_lost_when_statements_are_many() {
        let queries = Queries::with_room_for(500);
        let most = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (queries, most) = (&queries, &most);
                scope.spawn(move || {
                    let mut held = std::collections::VecDeque::new();
                    for n in 0..20_000 {
                        // Each thread meets the same statements in another order, and holds some as plans do.
                        let record = subject(queries, (n * 7_919 + thread * 5_000) % 20_000);
                        use_once(queries, &record);
                        held.push_back(record);
                        if held.len() > 100 {
                            use_once(queries, &held.pop_front().unwrap());
                        }
                        if n % 1_000 == 0 {
                            most.fetch_max(queries.snapshot().len(), std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let rows = queries.snapshot();
        assert_sums(&rows, 4 * (20_000 + 19_900));
        assert_eq!(rows.iter().filter(|row| row.fingerprint.is_none()).count(), 1);
        assert!(rows.len() <= 501 && most.into_inner() <= 501);
        assert!(rows.len() > 400, "they are given up a few at a time: {}", rows.len());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let queries = Queries::with_room_for(32);
        for n in 0..32 {
            subject(&queries, n).wrote(if n == 5 { 1_000 } else { n });
        }
        let held = subject(&queries, 0);
        subject(&queries, 100).wrote(2_000);
        let left: Vec<_> = queries.snapshot().iter().filter_map(|row| Some(row.fingerprint?.0)).collect();
        assert_eq!(left.len(), 31, "a sixteenth made room for one");
        for n in [0, 3, 4, 5, 31, 100] {
            assert!(left.contains(&n), "{n} of {left:?}");
        }
        held.wrote(2_001);
        assert_eq!(queries.snapshot().iter().map(|row| row.writes).sum::<u64>(), 34);
    }

    #[test]
    fn while_all_are_held_new_ones_count_together() {
        let queries = Queries::with_room_for(16);
        let mut held: Vec<_> = (0..16).map(|n| subject(&queries, n)).collect();
        use_once(&queries, &subject(&queries, 16));
        use_once(&queries, &subject(&queries, 17));
        let other = queries.snapshot().remove(0);
        assert_eq!((other.fingerprint, other.calls, other.text.as_str()), (None, 16, OTHER));
        assert!(other.to_string().starts_with("other            16 calls: 4 hits"), "{other}");
        held.truncate(8);
        use_once(&queries, &subject(&queries, 18));
        assert_sums(&queries.snapshot(), 3);
        assert!(queries.snapshot().iter().any(|row| row.fingerprint == Some(Fingerprint(18))));
    }

    #[test]
    fn a_record_is_small() {
        let long = Record::new(None, "é".repeat(5_000), 0);
        use_once(&Queries::new(), &long);
        let row = long.snapshot((Instant::now(), SystemTime::now()));
        assert!(row.text.len() <= Record::MAX_TEXT && row.text.ends_with("é…"), "{}", row.text.len());
        assert!(size_of::<Record>() <= 256, "{}", size_of::<Record>());
    }
}
