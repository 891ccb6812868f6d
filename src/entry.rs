//! What is kept of a result.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::stamp::Stamp;

/// A result as bytes, with the shape of its columns. A clone shares both.
#[derive(Debug)]
pub struct Stored<S> {
    /// Names, types and origins of the columns; shared by all results of one statement.
    pub shape: Arc<S>,
    /// The values: for each row and column a length (-1 for NULL) and the bytes.
    pub bytes: Arc<[u8]>,
    /// Number of rows.
    pub rows: usize,
}

// Derived, it would ask for `S: Clone`.
impl<S> Clone for Stored<S> {
    fn clone(&self) -> Self {
        Self { shape: Arc::clone(&self.shape), bytes: Arc::clone(&self.bytes), rows: self.rows }
    }
}

/// When and how a result came to be: what it is judged by.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    /// The versions it rests on, taken before its query ran.
    pub stamp: Stamp,
    /// When its query was begun: the answer cannot be older.
    pub begun: Instant,
    /// How long the query took.
    pub cost: Duration,
    /// Between 0 and 1, thrown once: entries that were loaded together do not expire together.
    pub dice: f32,
    /// Whether there were no rows.
    pub empty: bool,
}

/// A kept result.
#[derive(Debug)]
pub(crate) struct Entry<S, C> {
    pub held: Held<S, C>,
    pub life: Life,
    /// How long after its query was begun it may be of use. `None`: without end.
    pub of_use: Option<Duration>,
    /// When it was last tried to replace it, in milliseconds after its query was begun.
    tried: AtomicU64,
}

/// In what form a result is kept.
#[derive(Debug)]
pub(crate) enum Held<S, C> {
    /// As bytes, with copies of the rows that were made ahead. They go with the entry.
    Rows { stored: Stored<S>, spares: C },
    /// As what the application made of that many rows, and about how many bytes that takes.
    Value { value: Arc<dyn Any + Send + Sync>, rows: usize, bytes: usize },
}

/// A result that could not be replaced is not tried again for so long.
const TRY_AGAIN: u64 = 1_000;

impl<S, C> Entry<S, C> {
    pub fn new(held: Held<S, C>, life: Life, of_use: Option<Duration>) -> Self {
        Self { held, life, of_use, tried: AtomicU64::new(0) }
    }

    /// Whether it may be tried to replace it now. Yes to one caller in a while: what succeeds takes its place, and what
    /// fails would be asked of the database with each hit.
    pub fn may_be_replaced(&self) -> bool {
        let now = u64::try_from(self.life.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let tried = self.tried.load(Relaxed);
        (tried == 0 || now.saturating_sub(tried) >= TRY_AGAIN)
            && self.tried.compare_exchange(tried, now, Relaxed, Relaxed).is_ok()
    }

    /// Bytes of memory that the entry holds alone, without spares: those are counted for the whole pool.
    pub fn weight(&self) -> usize {
        let held = match &self.held {
            Held::Rows { stored, .. } => stored.bytes.len(),
            Held::Value { bytes, .. } => *bytes,
        };
        size_of::<Self>() + held
    }
}
