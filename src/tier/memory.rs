//! The memory of the process, on moka.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use equivalent::Equivalent;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use crate::entry::Entry;
use crate::key::Key;
use crate::policy::{Age, Terms};
use crate::reason::Reason;

/// Entries in memory, weighed in bytes. Entries are shared, never copied.
pub(crate) struct Memory<S, C> {
    entries: Cache<Key, Arc<Entry<S, C>>, foldhash::fast::RandomState>,
    moved: Arc<Moved>,
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
        let leaving = moved.clone();
        let builder = Cache::builder()
            .name("larder")
            .max_capacity(max_bytes)
            .weigher(|key: &Key, entry: &Arc<Entry<S, C>>| u32::try_from(weigh(key, entry)).unwrap_or(u32::MAX))
            .eviction_listener(move |key, entry, cause| leaving(Some(cause), weigh(&key, &entry)))
            .expire_after(WhenOfNoUse);
        Self { entries: builder.build_with_hasher(foldhash::fast::RandomState::default()), moved }
    }

    /// The entry under `key`, judged by the terms of who asks. `dice`: see [`Terms::age`].
    pub fn find<K>(&self, key: &K, terms: &Terms, dice: impl FnOnce() -> f64) -> Found<Entry<S, C>>
    where
        K: Hash + Equivalent<Key>,
    {
        let Some(entry) = self.entries.get(key) else { return Found::Nothing(Reason::Absent, None) };
        if !entry.life.stamp.holds() {
            return Found::Nothing(Reason::Invalidated, Some(entry));
        }
        match terms.age(&entry.life, Instant::now, dice) {
            Age::Good => Found::Good(entry),
            Age::Due => Found::Due(entry),
            Age::Over => Found::Nothing(Reason::Expired, Some(entry)),
        }
    }

    /// Whether `entry` is still the one under `key`.
    pub fn holds(&self, key: &Key, entry: &Arc<Entry<S, C>>) -> bool {
        self.entries.get(key).is_some_and(|now| Arc::ptr_eq(&now, entry))
    }

    pub fn insert(&self, key: Key, entry: Arc<Entry<S, C>>) {
        (self.moved)(None, weigh(&key, &entry));
        self.entries.insert(key, entry);
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

/// An entry whose time is over stays a moment longer, to be the reason why it was not given out.
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
