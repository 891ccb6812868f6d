//! Copies of hot small results, made ahead: one replay mints many, and each is handed out once.
//!
//! In: hits on a kept result. Out: rows that nobody else has.
//! It never hands a copy out twice, never keeps one longer than its entry, and never waits for another caller's replay.
//!
//! Most of what a small replay costs is the trip to the connection that makes rows (system calls, or a change of threads),
//! whatever it brings back; a row itself costs a tenth of that. So a hit that finds nothing ready replays the result
//! several times over in one trip, takes one copy and leaves the others to the hits after it. Rows cannot be shared
//! instead: sqlx yields them by value, has no way to clone one, and a row of SQLite notes how its values were decoded.
//!
//! Whoever asks here has just found the entry good, and a copy lies in the entry it was made of. To take one is therefore
//! as right as to replay the entry at that moment.
//!
//! What it may cost is bounded. The number of copies minted at once begins at one and doubles each time they ran out within
//! [`SOON`]; a result asked for less often is replayed one at a time, as if nothing of this were here. For one entry at
//! most [`COPIES`] copies, [`ROWS`] rows and [`BYTES`] stored bytes are minted at once. The copies of all entries together
//! have the [`Room`] of their pool; where it gets short, the shelf that was filled longest ago is emptied, so that what was
//! hot yesterday does not take the room of what is hot now.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::Database;

use super::{Replay, Replayed, Unfaithful};
use crate::entry::Stored;

#[cfg(all(test, feature = "sqlite"))]
mod tests;

/// Copies minted at once, at most.
const COPIES: usize = 64;

/// Rows minted at once, at most: the caller who mints should not be held up longer than by the database. Measured, the
/// trip costs as much as ten to twenty rows, so that more would hardly make a copy cheaper; and a result of more than half
/// as many costs so much for its rows that it is not minted at all.
const ROWS: usize = 128;

/// Stored bytes replayed at once, at most.
const BYTES: usize = 64 << 10;

/// Copies that are used up within this time were worth making.
const SOON: Duration = Duration::from_secs(1);

/// The copies of all results of a pool may take this part of the memory that results may take.
const PART: u64 = 8;

/// Bytes that all copies of a pool may take, at most.
const MOST_ROOM: usize = 16 << 20;

/// The copies of one kept result that are ready. Nothing is allocated before the first hit.
pub(crate) struct Spares<DB: Database>(OnceLock<Arc<Shelf<DB>>>);

struct Shelf<DB: Database>(Mutex<State<DB>>);

struct State<DB: Database> {
    ready: Vec<Replayed<DB>>,
    /// What `ready` takes of the room.
    share: Option<Share<DB>>,
    /// How many copies the last replay made, and when it was begun.
    last: Option<(usize, Instant)>,
    /// Whether somebody mints just now.
    minting: bool,
    /// Whether the room knows this shelf.
    listed: bool,
}

/// Both hand out the same copies.
impl<DB: Database> Clone for Spares<DB> {
    fn clone(&self) -> Self {
        let spares = Self::none();
        if let Some(shelf) = self.0.get() {
            let _ = spares.0.set(shelf.clone());
        }
        spares
    }
}

impl<DB: Database> Spares<DB> {
    pub const fn none() -> Self {
        Self(OnceLock::new())
    }

    /// A copy of `stored`, which must be the one result that these spares are asked for, and good at this moment.
    ///
    /// It may be dropped at any await: what was being minted is lost then, and the next caller mints.
    pub async fn take<R: Replay<DB>>(
        &self,
        replay: &R,
        stored: &Stored<R::Shape>,
        room: &Arc<Room<DB>>,
    ) -> Result<Replayed<DB>, Unfaithful> {
        if let Some(copy) = self.0.get().and_then(|shelf| shelf.take()) {
            return Ok(copy);
        }
        let turn = self.turn(most_copies(stored).min(room.size / R::copy_bytes(stored).max(1)));
        let mut minted = replay.mint(stored, turn.as_ref().map_or(1, |turn| turn.copies)).await?;
        let copy = minted.pop().ok_or_else(|| Unfaithful::because("a replay gave nothing"))?;
        if let Some(turn) = turn {
            turn.end(minted, R::copy_bytes(stored), room);
        }
        Ok(copy)
    }

    /// The right to mint, if it is worth it and nobody else is at it.
    fn turn(&self, most: usize) -> Option<Turn<'_, DB>> {
        if most < 2 {
            return None;
        }
        let shelf = self.0.get_or_init(|| Arc::new(Shelf::empty()));
        let now = Instant::now();
        let mut state = shelf.state();
        // Others may have filled it just now.
        if state.minting || !state.ready.is_empty() {
            return None;
        }
        let copies = match state.last {
            Some((copies, at)) if now.duration_since(at) <= SOON => (2 * copies).min(most),
            _ => 1,
        };
        state.last = Some((copies, now));
        if copies == 1 {
            return None;
        }
        state.minting = true;
        Some(Turn { shelf, copies })
    }

    #[cfg(test)]
    pub fn ready(&self) -> usize {
        self.0.get().map_or(0, |shelf| shelf.state().ready.len())
    }
}

/// How many copies of a result may be minted at once. A power of two, so that few different numbers of rows are replayed.
fn most_copies<S>(stored: &Stored<S>) -> usize {
    if stored.rows == 0 {
        return 1;
    }
    let most = COPIES.min(ROWS / stored.rows).min(BYTES / stored.bytes.len().max(1));
    most.checked_ilog2().map_or(1, |power| 1 << power)
}

impl<DB: Database> Shelf<DB> {
    fn empty() -> Self {
        Self(Mutex::new(State { ready: Vec::new(), share: None, last: None, minting: false, listed: false }))
    }

    fn state(&self) -> MutexGuard<'_, State<DB>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Replayed<DB>> {
        let mut state = self.state();
        let copy = state.ready.pop()?;
        if state.ready.is_empty() {
            state.ready = Vec::new();
            state.share = None;
        }
        Some(copy)
    }

    /// Makes room. The next hits begin again with one copy.
    fn clear(&self) {
        let mut state = self.state();
        let dropped = (std::mem::take(&mut state.ready), state.share.take());
        state.last = None;
        state.listed = false;
        // Many rows: not under the lock.
        drop(state);
        drop(dropped);
    }
}

/// The right to mint for an entry: one caller has it at a time.
struct Turn<'a, DB: Database> {
    shelf: &'a Arc<Shelf<DB>>,
    copies: usize,
}

impl<DB: Database> Turn<'_, DB> {
    /// Leaves the copies to others.
    fn end(self, minted: Vec<Replayed<DB>>, copy_bytes: usize, room: &Arc<Room<DB>>) {
        // As many as were made: the machinery may have had reason to make fewer. One of them is not here any more, but
        // copies from one reply may share its memory.
        let made = minted.len() + 1;
        let share = room.reserve(made.saturating_mul(copy_bytes));
        let mut state = self.shelf.state();
        if let Some((copies, _)) = &mut state.last {
            *copies = made;
        }
        if minted.is_empty() || share.is_none() {
            return drop(state);
        }
        state.ready = minted;
        state.share = share;
        if !std::mem::replace(&mut state.listed, true) {
            drop(state);
            room.list(self.shelf);
        }
    }
}

impl<DB: Database> Drop for Turn<'_, DB> {
    fn drop(&mut self) {
        self.shelf.state().minting = false;
    }
}

/// Memory for the copies of all results of a pool: 16 MiB, or an eighth of what results themselves may take if that is less.
pub(crate) struct Room<DB: Database> {
    size: usize,
    taken: AtomicUsize,
    /// Shelves that were filled, in the order in which they first were. Some are gone, or empty again.
    shelves: Mutex<VecDeque<Weak<Shelf<DB>>>>,
}

impl<DB: Database> Room<DB> {
    /// The room beside `max_bytes` of results.
    pub fn beside(max_bytes: u64) -> Arc<Self> {
        let size = usize::try_from(max_bytes / PART).unwrap_or(MOST_ROOM).min(MOST_ROOM);
        Arc::new(Self { size, taken: AtomicUsize::new(0), shelves: Mutex::default() })
    }

    /// Takes `bytes`, emptying other shelves if need be.
    fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Share<DB>> {
        if bytes > self.size {
            return None;
        }
        loop {
            let take = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.size);
            if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                return Some(Share { room: Arc::clone(self), bytes });
            }
            let oldest = self.shelves().pop_front()?;
            if let Some(shelf) = oldest.upgrade() {
                shelf.clear();
            }
        }
    }

    fn list(&self, shelf: &Arc<Shelf<DB>>) {
        let mut shelves = self.shelves();
        if shelves.len() == shelves.capacity() {
            // Those that are gone; with as much room again, so that this is rare however few they are.
            shelves.retain(|shelf| shelf.strong_count() > 0);
            let more = shelves.len().max(16);
            shelves.reserve(more);
        }
        shelves.push_back(Arc::downgrade(shelf));
    }

    fn shelves(&self) -> MutexGuard<'_, VecDeque<Weak<Shelf<DB>>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// A part of the room, which comes back when this is dropped: with the last copy, or with the entry.
struct Share<DB: Database> {
    room: Arc<Room<DB>>,
    bytes: usize,
}

impl<DB: Database> Drop for Share<DB> {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
