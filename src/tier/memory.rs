//! The memory of the process, on moka.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::{Duration, Instant};

use equivalent::Equivalent;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::expired::Expired;
use crate::entry::Entry;
use crate::key::Key;
use crate::policy::{Age, Terms};
use crate::reason::Reason;

/// Entries in memory, weighed in bytes. Entries are shared, never copied.
pub(crate) struct Memory<S, C> {
    entries: Cache<Key, Arc<Entry<S, C>>, foldhash::fast::RandomState>,
    moved: Arc<Moved>,
    hasher: foldhash::fast::RandomState,
    expired: Arc<Expired>,
}

/// Hears of each entry that comes, or leaves for a cause, with the bytes it takes.
pub(crate) type Moved = dyn Fn(Option<RemovalCause>, usize) + Send + Sync;

/// What was found.
pub(crate) enum Found<E> {
    Good(Arc<E>),
    /// Good, but due to be replaced.
    Due(Arc<E>),
    /// Nothing good, and why; an entry that is good no more.
    Nothing(Reason, Option<Arc<E>>),
}

/// What an entry takes besides: moka's slot, queue nodes and bookkeeping, and what an allocator adds. `cargo bench --bench
/// memory` counts it.
const OVERHEAD: usize = 320;

/// Bytes that an entry takes.
fn weigh<S, C>(key: &Key, entry: &Entry<S, C>) -> usize {
    key.weight() + entry.weight() + OVERHEAD
}

impl<S: Send + Sync + 'static, C: Send + Sync + 'static> Memory<S, C> {
    /// Room for that many bytes.
    pub fn new(max_bytes: u64, moved: Arc<Moved>) -> Self {
        let hasher = foldhash::fast::RandomState::default();
        let expired = Arc::<Expired>::default();
        let (leaving, told, hashing) = (moved.clone(), expired.clone(), hasher.clone());
        let builder = Cache::builder()
            .name("larder")
            .max_capacity(max_bytes)
            .weigher(|key: &Key, entry: &Arc<Entry<S, C>>| u32::try_from(weigh(key, entry)).unwrap_or(u32::MAX))
            .eviction_listener(move |key, entry: Arc<Entry<S, C>>, cause| {
                let hash = hashing.hash_one(&*key);
                // What a write had voided would have been of no use for longer.
                if cause == RemovalCause::Expired && entry.life.stamp.holds() {
                    told.add(hash);
                } else {
                    told.remove(hash);
                }
                leaving(Some(cause), weigh(&key, &entry));
            })
            .expire_after(WhenOfNoUse);
        Self { entries: builder.build_with_hasher(hasher.clone()), moved, hasher, expired }
    }

    /// The entry under `key`, judged by the terms of who asks. `dice`: see [`Terms::age`].
    pub fn find<K>(&self, key: &K, terms: &Terms, dice: impl FnOnce() -> f64) -> Found<Entry<S, C>>
    where
        K: Hash + Equivalent<Key>,
    {
        let Some(entry) = self.entries.get(key) else { return Found::Nothing(self.why_none(key), None) };
        if !entry.life.stamp.holds() {
            return Found::Nothing(Reason::Invalidated, Some(entry));
        }
        match terms.age(&entry.life, Instant::now, dice) {
            Age::Good => Found::Good(entry),
            Age::Due => Found::Due(entry),
            Age::Over => Found::Nothing(Reason::Expired, Some(entry)),
        }
    }

    /// Why there is no entry.
    fn why_none<K: Hash>(&self, key: &K) -> Reason {
        match self.expired.has(self.hasher.hash_one(key)) {
            true => Reason::Expired,
            false => Reason::Absent,
        }
    }

    /// The entry under `key`, good or not.
    pub fn any<K>(&self, key: &K) -> Option<Arc<Entry<S, C>>>
    where
        K: Hash + Equivalent<Key>,
    {
        self.entries.get(key)
    }

    /// Whether `entry` is still the one under `key`.
    pub fn holds(&self, key: &Key, entry: &Arc<Entry<S, C>>) -> bool {
        self.entries.get(key).is_some_and(|now| Arc::ptr_eq(&now, entry))
    }

    /// Puts `entry` under `key`, unless what is there is newer.
    pub fn insert(&self, key: Key, entry: Arc<Entry<S, C>>) {
        if self.entries.contains_key(&key) {
            let begun = entry.life.begun;
            return self.put_if(key, entry, |now| now.is_none_or(|now| now.life.begun <= begun));
        }
        (self.moved)(None, weigh(&key, &entry));
        self.expired.remove(self.hasher.hash_one(&key));
        self.entries.insert(key, entry);
    }

    /// Puts `entry` in the place of `old`, if that is still there.
    pub fn exchange(&self, key: Key, old: &Arc<Entry<S, C>>, entry: Arc<Entry<S, C>>) {
        self.put_if(key, entry, |now| now.is_some_and(|now| Arc::ptr_eq(now, old)));
    }

    fn put_if(&self, key: Key, entry: Arc<Entry<S, C>>, may: impl FnOnce(Option<&Arc<Entry<S, C>>>) -> bool) {
        let bytes = weigh(&key, &entry);
        let put = self.entries.entry(key).and_compute_with(|now| {
            if !may(now.as_ref().map(|now| now.value())) {
                return Op::Nop;
            }
            (self.moved)(None, bytes);
            Op::Put(entry)
        });
        drop(put);
    }

    pub fn remove<K: Hash + Equivalent<Key>>(&self, key: &K) {
        self.entries.invalidate(key);
    }

    /// Gives all memory back.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// Number of entries, good or not, and the bytes they take, about.
    pub fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    /// Brings [`Memory::size`] up to date.
    pub fn settle(&self) {
        self.entries.run_pending_tasks();
    }
}

/// Only to give memory back: [`Memory::find`] judges by the exact time itself.
struct WhenOfNoUse;

/// An entry whose time is over stays a moment longer, to be the reason why it was not given out; then [`Expired`] has its key. moka tells of
/// it up to a second late, since it sorts by the second what is to expire: who asks just then is told of no entry.
const LINGERS: Duration = Duration::from_secs(1);

/// moka counts in nanoseconds, and not further than some centuries.
const LONGEST: Duration = Duration::from_secs(86_400 * 365);

impl<S, C> Expiry<Key, Arc<Entry<S, C>>> for WhenOfNoUse {
    fn expire_after_create(&self, _key: &Key, entry: &Arc<Entry<S, C>>, _now: Instant) -> Option<Duration> {
        entry.of_use.map(|of_use| of_use.saturating_add(LINGERS).min(LONGEST))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        entry: &Arc<Entry<S, C>>,
        now: Instant,
        _before: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, entry, now)
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use super::*;
    use crate::entry::{Life, Stored, Value};
    use crate::key::{Bound, Lookup, Stem};
    use crate::policy::Policy;
    use crate::stamp::{Cell, Stamp};

    type Kept = Arc<Entry<(), ()>>;

    fn entry(begun: Instant) -> Kept {
        let stored = Stored { shape: Arc::new(()), bytes: (*b"row").into(), rows: 1 };
        let stamp = Stamp::take(&Vec::new().into()).unwrap();
        let life = Life { stamp, begun, cost: Duration::ZERO, dice: 0.0, empty: false };
        Entry::new(stored, (), life, None).into()
    }

    /// A memory, a key, and the bytes that it told of.
    fn memory() -> (Memory<(), ()>, Key, Arc<AtomicI64>) {
        let hasher = Default::default();
        let bound = Bound::new(false, true, None, []).unwrap();
        let key = Lookup::new(&hasher, &Stem::new(&hasher, &"".into(), &"".into()).into(), &bound).to_key();
        let told = Arc::new(AtomicI64::new(0));
        let tell = told.clone();
        let moved = move |left: Option<_>, bytes| {
            let bytes = i64::try_from(bytes).unwrap();
            tell.fetch_add(if left.is_some() { -bytes } else { bytes }, Relaxed);
        };
        (Memory::new(1 << 20, Arc::new(moved)), key, told)
    }

    #[test]
    fn an_older_result_does_not_replace_a_newer_one() {
        let (memory, key, _) = memory();
        let early = Instant::now();
        let (older, newer) = (entry(early), entry(early + Duration::from_millis(1)));
        memory.insert(key.clone(), newer.clone());
        memory.insert(key.clone(), older.clone());
        assert!(memory.holds(&key, &newer));
        memory.remove(&key);
        memory.insert(key.clone(), older.clone());
        memory.insert(key.clone(), newer.clone());
        assert!(memory.holds(&key, &newer));
        memory.exchange(key.clone(), &older, entry(early));
        assert!(memory.holds(&key, &newer), "it was made of what is gone");
    }

    #[test]
    fn what_expired_is_told_as_expired_when_it_is_long_gone() {
        let (expiring, key, _) = memory();
        let (voided, removed) = (memory().0, memory().0);
        let cells: Arc<[_]> = [Arc::new(Cell::default())].into();
        let brief = |cells| {
            let life = Life {
                stamp: Stamp::take(cells).unwrap(),
                begun: Instant::now(),
                cost: Duration::ZERO,
                dice: 0.0,
                empty: false,
            };
            let stored = Stored { shape: Arc::new(()), bytes: (*b"row").into(), rows: 1 };
            Arc::new(Entry::new(stored, (), life, Some(Duration::from_millis(1))))
        };
        let none: Arc<[_]> = Arc::default();
        for (memory, cells) in [(&expiring, &none), (&voided, &cells), (&removed, &none)] {
            memory.insert(key.clone(), brief(cells));
        }
        cells[0].arm();
        removed.remove(&key);
        let (begun, all) = (Instant::now(), [&expiring, &voided, &removed]);
        let is_gone = |memory: &&Memory<_, _>| {
            memory.settle();
            memory.size().0 == 0
        };
        while !all.iter().all(is_gone) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never leaves");
            std::thread::sleep(Duration::from_millis(20));
        }
        let terms = Terms::of(&Policy::ttl(Duration::from_millis(1)));
        let why = |memory: &Memory<(), ()>| match memory.find(&key, &terms, || 1.0) {
            Found::Nothing(reason, None) => reason,
            _ => panic!("there is something"),
        };
        assert_eq!(all.map(why), [Reason::Expired, Reason::Absent, Reason::Absent]);
        assert_eq!(why(&expiring), Reason::Expired, "one read may look twice");
        expiring.insert(key.clone(), entry(Instant::now()));
        expiring.remove(&key);
        assert_eq!(why(&expiring), Reason::Absent, "what was removed is not what had expired");
    }

    #[test]
    fn values_weigh_and_are_told_of() {
        let (memory, key, told) = memory();
        let rows = entry(Instant::now());
        memory.insert(key.clone(), rows.clone());
        memory.settle();
        let before = memory.size();
        assert_eq!(told.load(Relaxed), i64::try_from(before.1).unwrap());
        let mapper = TypeId::of::<u8>();
        let value = Value { mapper, value: Arc::new(7_u8), bytes: 1_000 };
        let with = Arc::new(rows.with(value));
        assert_eq!(with.value(mapper).and_then(|value| value.downcast_ref::<u8>()), Some(&7));
        assert!(with.value(TypeId::of::<i8>()).is_none() && rows.value(mapper).is_none());
        memory.exchange(key.clone(), &rows, with);
        memory.settle();
        assert_eq!(memory.size().0, 1);
        assert!(memory.size().1 >= before.1 + 1_000);
        assert_eq!(told.load(Relaxed), i64::try_from(memory.size().1).unwrap());
        memory.remove(&key);
        memory.settle();
        assert_eq!(told.load(Relaxed), 0);
    }
}
