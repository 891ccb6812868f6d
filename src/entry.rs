//! What is kept of a result.

use std::any::{Any, TypeId};
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
    pub stored: Stored<S>,
    /// Copies of the rows that were made ahead. They go with the entry.
    pub spares: C,
    /// What applications made of the rows: few, since there is one for each piece of code that asks for it.
    values: Box<[Value]>,
    pub life: Life,
    /// How long after its query was begun it may be of use. `None`: without end.
    pub of_use: Option<Duration>,
    /// When it was last tried to replace it, in milliseconds after its query was begun.
    tried: AtomicU64,
}

/// What was made of rows.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// Names what made it.
    pub mapper: TypeId,
    pub value: Arc<dyn Any + Send + Sync>,
    /// About how many bytes it takes.
    pub bytes: usize,
}

/// A result that could not be replaced is not tried again for so long.
const TRY_AGAIN: u64 = 1_000;

impl<S, C: Clone> Entry<S, C> {
    pub fn new(stored: Stored<S>, spares: C, life: Life, of_use: Option<Duration>) -> Self {
        Self { stored, spares, values: Box::default(), life, of_use, tried: AtomicU64::new(0) }
    }

    /// The same with one more value.
    pub fn with(&self, value: Value) -> Self {
        Self {
            stored: self.stored.clone(),
            spares: self.spares.clone(),
            values: self.values.iter().cloned().chain([value]).collect(),
            life: self.life.clone(),
            of_use: self.of_use,
            tried: AtomicU64::new(self.tried.load(Relaxed)),
        }
    }
}

impl<S, C> Entry<S, C> {
    /// What `mapper` made of the rows.
    pub fn value(&self, mapper: TypeId) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.values.iter().find(|value| value.mapper == mapper).map(|value| &value.value)
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
        let values: usize = self.values.iter().map(|value| size_of::<Value>() + value.bytes).sum();
        size_of::<Self>() + self.stored.bytes.len() + values
    }
}
