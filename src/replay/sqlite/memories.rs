//! The databases in memory: few, as each has a thread.
//!
//! In: kept results. Out: rows.
//! It never takes a database back on which something went wrong, or which a caller left in the middle.

use std::sync::{Mutex, PoisonError};
use std::thread;

use sqlx::sqlite::SqliteRow;
use tokio::sync::Semaphore;

use super::memory::Memory;
use super::shape::Shape;
use crate::entry::Stored;
use crate::replay::Unfaithful;

#[derive(Debug)]
pub(super) struct Memories {
    idle: Mutex<Vec<Memory>>,
    /// One permit for each database that may be in use.
    free: Semaphore,
}

impl Memories {
    pub fn new() -> Self {
        let most = thread::available_parallelism().map_or(4, usize::from).clamp(2, 8);
        Self { idle: Mutex::default(), free: Semaphore::new(most) }
    }

    /// The rows of a result, `copies` times over.
    pub async fn replay(&self, stored: &Stored<Shape>, copies: usize) -> Result<Vec<SqliteRow>, Unfaithful> {
        if stored.rows == 0 {
            return if stored.bytes.is_empty() {
                Ok(Vec::new())
            } else {
                Err(Unfaithful::because("the stored bytes are damaged: there are no rows, but values"))
            };
        }
        let _permit = self.free.acquire().await;
        let mut memory = match self.take_idle(&stored.shape) {
            Some(memory) => memory,
            None => Memory::open().await?,
        };
        if memory.make_tables(&stored.shape).await.is_err() {
            // The tables here are those of an older schema, or of names that differ in case only: an empty one may do.
            drop(memory);
            memory = Memory::open().await?;
            memory.make_tables(&stored.shape).await?;
        }
        let rows = memory.replay(stored, copies).await;
        if memory.is_usable() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        }
        rows
    }

    /// The last used that has the tables, else the last used.
    fn take_idle(&self, shape: &Shape) -> Option<Memory> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().rposition(|memory| memory.has_tables_of(shape)) {
            Some(at) => Some(idle.remove(at)),
            None => idle.pop(),
        }
    }
}
