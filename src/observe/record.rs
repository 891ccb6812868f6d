//! What is counted for one statement. A hit takes no lock, and writes to one cache line.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::query_stats::{Latency, NPlusOne, QueryStats};
use super::striped::Striped;
use super::unit::Sighting;
use super::{Tier, nanos};
use hdrhistogram::Histogram;
use hyperloglockless::HyperLogLog;

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
    cached: Striped<Cached>,
    rest: Rest,
    /// Apart, so that a record is a few cache lines.
    asked: Mutex<Box<Asked>>,
    /// When it was first seen, in milliseconds since the pool was built.
    first: u64,
    /// `None`: stands for all those that have no record of their own.
    fingerprint: Option<Fingerprint>,
    text: Box<str>,
}

/// What is counted of calls that go to the database, so that a lock costs nothing.
#[derive(Debug, Default)]
struct Asked {
    /// Misses, bypasses and results not stored, by reason.
    reasons: Vec<(Place, Reason, u64)>,
    times: Times,
    lately: Lately,
    parameters: Distinct,
    repeats: Option<Box<Repeats>>,
    /// How often a unit of work came so far as to look at its stack.
    stacks: u32,
}

/// How often it was asked again and again.
#[derive(Debug, Default)]
struct Repeats {
    /// By units whose calls were seen to come from one place.
    alike: Often,
    /// How many units were looked at and found so, and how many were found to ask in several places.
    found: [u64; 2],
    /// By units that nobody looked at.
    unseen: Often,
    site: Option<Box<str>>,
    /// Where it was seen, if nobody looked up yet where that is: a few, as each may take some kilobytes.
    sightings: Vec<Sighting>,
}

impl Repeats {
    const MOST_SIGHTINGS: usize = 4;

    /// Of units that nobody looked at, the same share counts as of those that were looked at.
    fn told(&self) -> Often {
        let [alike, apart] = self.found;
        let share = alike as f64 / (alike + apart).max(1) as f64;
        let part = |count: u64| (count as f64 * share).round() as u64;
        let most = if apart == 0 && alike > 0 { self.unseen.most } else { 0 };
        Often {
            units: self.alike.units + part(self.unseen.units),
            calls: self.alike.calls + part(self.unseen.calls),
            most: self.alike.most.max(most),
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Often {
    units: u64,
    calls: u64,
    /// By one unit.
    most: u64,
}

impl Often {
    const fn once(calls: u64) -> Self {
        Self { units: 1, calls, most: calls }
    }

    fn add(&mut self, other: Self) {
        self.units += other.units;
        self.calls += other.calls;
        self.most = self.most.max(other.most);
    }
}

/// How many different keys there were, about: 200 bytes for a statement that may be kept.
#[derive(Debug, Default)]
struct Distinct(Option<Box<Sketch>>);

/// With SipHash, since each bit has to be as good as any other: foldhash spreads what follows on each other too evenly.
type Sketch = HyperLogLog<BuildHasherDefault<DefaultHasher>>;

impl Distinct {
    /// 128 registers: the standard error is 1.04 / sqrt(128), or 9 %.
    const PRECISION: u8 = 7;

    fn add(&mut self, key: u64) {
        let new = || Box::new(HyperLogLog::with_hasher(Self::PRECISION, BuildHasherDefault::default()));
        self.0.get_or_insert_with(new).insert(&key);
    }

    fn absorb(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Some(mine), Some(theirs)) => drop(mine.union(&theirs)),
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
    }

    fn count(&self) -> u64 {
        // Not `count`, which cuts off.
        self.0.as_ref().map_or(0, |sketch| sketch.raw_count().round() as u64)
    }
}

/// How long the database took each time, to a tenth: some hundred bytes for a statement that it was asked.
#[derive(Debug, Default)]
struct Times(Option<Box<Histogram<u32>>>);

impl Times {
    fn mut_or_new(&mut self) -> Option<&mut Histogram<u32>> {
        if self.0.is_none() {
            let mut new = Histogram::new(1).ok()?;
            new.auto(true);
            self.0 = Some(Box::new(new));
        }
        self.0.as_deref_mut()
    }

    fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        if let Some(times) = self.mut_or_new() {
            // Longer than can be counted, it is the longest that can.
            let _ = times.record(micros.min(u64::from(u32::MAX)));
        }
    }

    fn absorb(&mut self, other: Self) {
        if let (Some(theirs), Some(mine)) = (other.0, self.mut_or_new()) {
            let _ = mine.add(*theirs);
        }
    }

    fn latency(&self) -> Latency {
        let Some(times) = &self.0 else { return Latency::default() };
        let at = |share: f64| Duration::from_micros(times.value_at_quantile(share));
        Latency { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: Duration::from_micros(times.max()) }
    }
}

/// Calls and what they took, in nanoseconds.
#[derive(Debug, Default, Clone, Copy)]
struct Calls {
    count: u64,
    nanos: u64,
}

impl Calls {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    fn mul(self, share: f64) -> Self {
        let part = |number: u64| (number as f64 * share).round() as u64;
        Self { count: part(self.count), nanos: part(self.nanos) }
    }
}

/// The calls of the last five minutes, about: those of the current five, and of the five before as large a part as still is in reach.
#[derive(Debug, Default)]
struct Lately {
    /// In fives of minutes since the pool was built.
    window: u64,
    current: Calls,
    before: Calls,
}

impl Lately {
    const WINDOW: u64 = QueryStats::RECENT.as_millis() as u64;

    /// At the time `now`, in milliseconds since the pool was built.
    fn reach(&mut self, now: u64) {
        let passed = (now / Self::WINDOW).saturating_sub(self.window);
        if passed > 0 {
            self.before = if passed == 1 { self.current } else { Calls::default() };
            self.current = Calls::default();
            self.window += passed;
        }
    }

    fn add(&mut self, time: Duration, now: u64) {
        self.reach(now);
        self.current.add(Calls { count: 1, nanos: nanos(time) });
    }

    fn absorb(&mut self, mut other: Self) {
        let window = self.window.max(other.window) * Self::WINDOW;
        self.reach(window);
        other.reach(window);
        self.current.add(other.current);
        self.before.add(other.before);
    }

    fn told(&mut self, now: u64) -> Calls {
        self.reach(now);
        let passed = (now % Self::WINDOW) as f64 / Self::WINDOW as f64;
        let mut told = self.before.mul(1.0 - passed);
        told.add(self.current);
        told
    }
}

/// What a hit touches.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cached {
    hits: [AtomicU64; Tier::ALL.len()],
    saved: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// When it was last seen, in milliseconds since the pool was built.
    last: AtomicU64,
}

/// What no hit touches.
#[derive(Debug, Default)]
struct Rest {
    coalesced: AtomicU64,
    stale: AtomicU64,
    time: AtomicU64,
    rows: AtomicU64,
    writes: AtomicU64,
    refreshes: AtomicU64,
    stored: AtomicU64,
    stored_bytes: AtomicU64,
}

impl Cached {
    fn numbers(&self) -> [&AtomicU64; 6] {
        let Self { hits: [memory, typed, redis], saved, rows, bytes, last: _ } = self;
        [memory, typed, redis, saved, rows, bytes]
    }
}

impl Rest {
    fn numbers(&self) -> [&AtomicU64; 8] {
        let Self { coalesced, stale, time, rows, writes, refreshes, stored, stored_bytes } = self;
        [coalesced, stale, time, rows, writes, refreshes, stored, stored_bytes]
    }
}

impl Record {
    /// Reads spared, from which on threads count apart: few statements come so far.
    const MANY: u64 = 10_000;
    /// Bytes of text after which it is cut off.
    pub const MAX_TEXT: usize = 2048;

    pub fn new(fingerprint: Option<Fingerprint>, mut text: String, now: u64) -> Self {
        if text.len() > Self::MAX_TEXT {
            text.truncate(text.floor_char_boundary(Self::MAX_TEXT - "…".len()));
            text.push('…');
        }
        let (cached, rest, asked): (Striped<Cached>, _, _) = Default::default();
        cached.mine().last.store(now, Relaxed);
        Self { cached, rest, asked, first: now, fingerprint, text: text.into_boxed_str() }
    }

    pub fn spared(&self, how: Spared, given: Given, now: u64) {
        let cached = self.cached.mine();
        let count = match how {
            Spared::Hit(tier) => &cached.hits[tier.index()],
            Spared::Coalesced => &self.rest.coalesced,
            Spared::Stale => &self.rest.stale,
        };
        if count.fetch_add(1, Relaxed) == Self::MANY {
            self.cached.spread();
        }
        cached.saved.fetch_add(nanos(given.saved), Relaxed);
        cached.rows.fetch_add(given.rows as u64, Relaxed);
        cached.bytes.fetch_add(given.bytes as u64, Relaxed);
        cached.last.store(now, Relaxed);
    }

    /// Counts a miss, a bypass or a result that was not stored.
    pub fn gave(&self, place: Place, reason: Reason, now: u64) {
        add(&mut self.asking().reasons, place, reason, 1);
        self.seen(now);
    }

    pub fn stored(&self, bytes: usize) {
        self.rest.stored.fetch_add(1, Relaxed);
        self.rest.stored_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub fn wrote(&self, now: u64) {
        self.rest.writes.fetch_add(1, Relaxed);
        self.seen(now);
    }

    /// A load is made under a key of this name.
    pub fn loads(&self, key: u64) {
        self.asking().parameters.add(key);
    }

    /// Whether it stands for all that have no record of their own.
    pub fn stands_for_others(&self) -> bool {
        self.fingerprint.is_none()
    }

    /// Whether a unit of work that may be about to ask again and again is to look at its stack: the first do, then fewer and fewer.
    pub fn wants_stack(&self) -> bool {
        let mut asked = self.asking();
        asked.stacks = asked.stacks.saturating_add(1);
        asked.stacks <= 16 || asked.stacks.is_power_of_two()
    }

    /// A unit of work asked it so often.
    pub fn repeated(&self, calls: u64, seen: Option<Sighting>) {
        let mut asked = self.asking();
        let repeats = asked.repeats.get_or_insert_default();
        match seen {
            Some(seen) if repeats.sightings.len() < Repeats::MOST_SIGHTINGS => repeats.sightings.push(seen),
            _ => repeats.unseen.add(Often::once(calls)),
        }
    }

    /// Whether a unit of work asked it again and again.
    pub fn is_repeated(&self) -> bool {
        self.asking().repeats.is_some()
    }

    /// Looks up where it was seen. That takes long the first time, and is done with no lock held.
    pub fn look_up(&self) {
        let seen = self.asking().repeats.as_mut().map(|repeats| std::mem::take(&mut repeats.sightings));
        for seen in seen.into_iter().flatten() {
            let site = seen.site();
            let mut asked = self.asking();
            let repeats = asked.repeats.get_or_insert_default();
            match site {
                Ok(site) => {
                    repeats.found[0] += 1;
                    repeats.alike.add(Often::once(seen.calls));
                    repeats.site = site.map(String::into_boxed_str).or(repeats.site.take());
                }
                Err(_) => repeats.found[1] += 1,
            }
        }
    }

    #[cfg(test)]
    pub fn sightings(&self) -> usize {
        self.asking().repeats.as_ref().map_or(0, |repeats| repeats.sightings.len())
    }

    pub fn refreshes(&self) {
        self.rest.refreshes.fetch_add(1, Relaxed);
    }

    pub fn asked(&self, time: Duration, rows: u64, now: u64) {
        self.rest.time.fetch_add(nanos(time), Relaxed);
        self.rest.rows.fetch_add(rows, Relaxed);
        let mut asked = self.asking();
        asked.times.record(time);
        asked.lately.add(time, now);
    }

    fn spared_so_far(&self) -> [u64; 6] {
        let mut all = [0; 6];
        for cached in self.cached.all() {
            all.iter_mut().zip(cached.numbers()).for_each(|(sum, number)| *sum += number.load(Relaxed));
        }
        all
    }

    /// Database time that was saved.
    pub fn saved(&self) -> Duration {
        Duration::from_nanos(self.cached.all().map(|cached| cached.saved.load(Relaxed)).sum())
    }

    /// When it was last seen.
    pub fn last(&self) -> u64 {
        self.cached.all().map(|cached| cached.last.load(Relaxed)).max().unwrap_or(0)
    }

    fn seen(&self, now: u64) {
        // Of two at the same time either may win: they differ by less than it matters.
        self.cached.mine().last.store(now, Relaxed);
    }

    fn asking(&self) -> std::sync::MutexGuard<'_, Box<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what another counted that nobody counts in any more.
    pub fn absorb(&self, other: Self) {
        let mine = self.cached.mine();
        let (spared, asked) = (other.spared_so_far(), other.rest.numbers().map(|number| number.load(Relaxed)));
        let numbers = mine.numbers().into_iter().chain(self.rest.numbers());
        for (number, theirs) in numbers.zip(spared.into_iter().chain(asked)) {
            number.fetch_add(theirs, Relaxed);
        }
        mine.last.fetch_max(other.last(), Relaxed);
        let theirs = *other.asked.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut mine = self.asking();
        mine.times.absorb(theirs.times);
        mine.lately.absorb(theirs.lately);
        mine.parameters.absorb(theirs.parameters);
        if let Some(theirs) = theirs.repeats {
            // Of many statements there is no one place. What nobody looked up is not known to be any.
            mine.repeats.get_or_insert_default().alike.add(theirs.told());
        }
        theirs.reasons.into_iter().for_each(|(place, reason, count)| add(&mut mine.reasons, place, reason, count));
    }

    /// What was counted so far. `built` is when the pool was built, by two clocks.
    pub fn snapshot(&self, built: (Instant, SystemTime)) -> QueryStats {
        let at = |milliseconds: u64| built.1 + Duration::from_millis(milliseconds);
        let [memory, typed, redis, saved, rows, bytes] = self.spared_so_far();
        let [coalesced, stale, time, loaded, writes, refreshes, stored, stored_bytes] =
            self.rest.numbers().map(|number| number.load(Relaxed));
        let mut asked = self.asking();
        let lately = asked.lately.told(u64::try_from(built.0.elapsed().as_millis()).unwrap_or(u64::MAX));
        let of = |place: Place| -> BTreeMap<Reason, u64> {
            asked.reasons.iter().filter(|(at, ..)| *at == place).map(|(_, reason, count)| (*reason, *count)).collect()
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
            n_plus_one: asked.repeats.as_ref().and_then(|repeats| {
                let Often { units, calls, most } = repeats.told();
                let call_site = repeats.site.clone().map(String::from);
                (units > 0).then_some(NPlusOne { units, calls, most, call_site })
            }),
            distinct_parameters: asked.parameters.count(),
            database_time: Duration::from_nanos(time),
            timed: asked.times.0.as_ref().map_or(0, |times| times.len()),
            recent_time: Duration::from_nanos(lately.nanos),
            recent_timed: lately.count,
            latency: asked.times.latency(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_once_each() {
        for many in [1, 10, 100, 1_000, 100_000_u64] {
            let (one, other) = (Record::new(None, "a".into(), 0), Record::new(None, "b".into(), 0));
            for n in 0..many {
                // Some are asked for here and there, all of them often.
                one.loads(n / 2 * 2);
                other.loads(n);
                other.loads(n);
            }
            one.absorb(other);
            let told = one.snapshot((Instant::now(), SystemTime::now())).distinct_parameters as f64;
            // Four times the standard error.
            assert!((told / many as f64 - 1.0).abs() <= 0.36, "{told} for {many}");
        }
        let none = Record::new(None, "c".into(), 0);
        assert_eq!(none.snapshot((Instant::now(), SystemTime::now())).distinct_parameters, 0);
    }

    #[test]
    fn what_is_past_is_left_out_of_what_was_lately() {
        const MINUTE: u64 = 60_000;
        let told = |lately: &mut Lately, minute: u64| {
            let told = lately.told(minute * MINUTE);
            (told.count, told.nanos)
        };
        let (mut one, mut other) = (Lately::default(), Lately::default());
        for minute in 0..5 {
            (0..60).for_each(|_| one.add(Duration::from_nanos(7), minute * MINUTE));
        }
        assert_eq!(told(&mut one, 4), (300, 2_100));
        // As if they had been spread evenly.
        assert_eq!(told(&mut one, 7), (180, 1_260));
        one.add(Duration::from_nanos(1_000), 7 * MINUTE);
        assert_eq!(told(&mut one, 9), (61, 1_420));
        other.add(Duration::from_nanos(3), 9 * MINUTE);
        one.absorb(other);
        assert_eq!(told(&mut one, 9), (62, 1_423));
        assert_eq!(told(&mut one, 10), (2, 1_003));
        assert_eq!(told(&mut one, 15), (0, 0));
        assert_eq!(told(&mut one, 1_000), (0, 0));
        // What was counted long ago goes to what is counted now.
        let mut old = Lately::default();
        old.add(Duration::from_nanos(3), 0);
        one.absorb(old);
        assert_eq!(told(&mut one, 1_000), (0, 0));
    }

    #[test]
    fn times_are_told_to_a_tenth() {
        let (one, other) = (Record::new(None, "a".into(), 0), Record::new(None, "b".into(), 0));
        for ms in 1..=100 {
            // Half of them here, half there.
            if ms % 2 == 0 { &one } else { &other }.asked(Duration::from_millis(ms), 1, 0);
        }
        one.absorb(other);
        let latency = one.snapshot((Instant::now(), SystemTime::now())).latency;
        for (told, ms) in [(latency.p50, 50.0), (latency.p95, 95.0), (latency.p99, 99.0), (latency.max, 100.0)] {
            let told = told.as_secs_f64() * 1e3;
            assert!((told / ms - 1.0).abs() <= 0.1, "{told} for {ms}: {latency:?}");
        }
        one.asked(Duration::from_secs(1 << 40), 1, 0);
        assert!(one.snapshot((Instant::now(), SystemTime::now())).latency.max >= Duration::from_secs(3600));
        assert_eq!(
            Record::new(None, "c".into(), 0).snapshot((Instant::now(), SystemTime::now())).latency,
            Latency::default()
        );
    }
}
