//! The memory of the process, on moka.

use std::sync::Arc;
use std::time::Instant;

use moka::sync::Cache;

use crate::entry::Entry;
use crate::key::Key;
use crate::policy::Policy;
use crate::reason::Reason;

/// Entries in memory, weighed in bytes. Entries are shared, never copied.
pub(crate) struct Memory<S, C> {
    entries: Cache<Key, Arc<Entry<S, C>>, foldhash::fast::RandomState>,
}

/// What an entry takes besides: moka's slot, queue nodes and bookkeeping, and the empty shelf for copies.
const OVERHEAD: usize = 360;

impl<S: Send + Sync + 'static, C: Send + Sync + 'static> Memory<S, C> {
    /// Room for `policy.max_bytes`.
    pub fn new(policy: &Policy) -> Self {
        let mut builder = Cache::builder().name("larder").max_capacity(policy.max_bytes).weigher(
            |key: &Key, entry: &Arc<Entry<S, C>>| {
                u32::try_from(key.weight() + entry.weight() + OVERHEAD).unwrap_or(u32::MAX)
            },
        );
        if let Some(ttl) = policy.ttl {
            // Only to give memory back: `find` compares the exact time itself. A second later, so that an entry whose time is
            // over is still there to be the reason. moka refuses 1,000 years and more.
            let gone = ttl.saturating_add(std::time::Duration::from_secs(1));
            builder = builder.time_to_live(gone.min(std::time::Duration::from_secs(86_400 * 365)));
        }
        Self { entries: builder.build_with_hasher(foldhash::fast::RandomState::default()) }
    }

    /// The entry under `key` if it is good at `now`, else why not.
    pub fn find(&self, key: &Key, now: Instant) -> Result<Arc<Entry<S, C>>, Reason> {
        let entry = self.entries.get(key).ok_or(Reason::Absent)?;
        if !entry.stamp.holds() {
            Err(Reason::Invalidated)
        } else if entry.is_expired(now) {
            Err(Reason::Expired)
        } else {
            Ok(entry)
        }
    }

    pub fn insert(&self, key: Key, entry: Arc<Entry<S, C>>) {
        self.entries.insert(key, entry);
    }

    pub fn remove(&self, key: &Key) {
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
