//! What is kept of a result.

use std::sync::Arc;
use std::time::Instant;

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

/// A kept result and how long it is good for.
#[derive(Debug)]
pub(crate) struct Entry<S, C> {
    pub stored: Stored<S>,
    /// Copies of it that were made ahead. They go with the entry.
    pub spares: C,
    /// The versions it rests on, taken before its query ran.
    pub stamp: Stamp,
    /// When its time to live ends; counted from the moment its query was begun. `None`: never.
    pub expires: Option<Instant>,
}

impl<S, C> Entry<S, C> {
    /// Whether its time to live is over at `now`.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Bytes of memory that the entry holds alone, without spares: those are counted for the whole pool.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.stored.bytes.len() + self.stamp.weight()
    }
}
