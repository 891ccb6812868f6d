//! Turns cached bytes back into real sqlx rows, which have no public constructor.
//!
//! In: the rows of a result just loaded, later the bytes made of them. Out: rows equal to those.
//! It never hands bytes on unchecked, and never gives rows it is not sure of: on any doubt the caller asks the database.
//!
//! sqlx makes a row only where a connection receives one. So each database has a private connection of its own here, whose
//! other end is this process: for Postgres and MySQL a socket that we answer ourselves, for SQLite a database in memory.
//! Rows made there go through sqlx's own decoding, and are what the application would have got.

use std::future::Future;
use std::sync::Arc;

use sqlx::{Database, SqlStr};

use crate::entry::Stored;

#[cfg_attr(not(any(all(unix, any(feature = "mysql", feature = "postgres")), feature = "sqlite")), allow(dead_code))]
mod cells;
#[cfg(all(unix, any(feature = "mysql", feature = "postgres")))]
mod link;
#[cfg_attr(not(unix), path = "no_links.rs")]
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod links;
#[cfg_attr(not(unix), allow(dead_code))]
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg_attr(not(unix), allow(dead_code))]
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg_attr(not(unix), allow(dead_code))]
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod protocol;
#[cfg(all(unix, any(feature = "mysql", feature = "postgres")))]
mod socket;
pub(crate) mod spares;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(test)]
mod tests;

/// Why a result cannot be kept, or a kept one not be given back. The sentence names no value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unfaithful(pub String);

impl Unfaithful {
    fn because(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// A result given back: what `fetch_many` yields, in order: the rows, then how the statement completed.
pub struct Replayed<DB: Database> {
    pub rows: Vec<DB::Row>,
    pub result: DB::QueryResult,
}

/// One per database: the way back from bytes to rows.
pub trait Replay<DB: Database>: Send + Sync + Sized + 'static {
    /// Columns of a result: names, types, origins.
    type Shape: Send + Sync + std::fmt::Debug + 'static;

    /// Sets the machinery up and tests it on rows of its own; an error says why replay must stay off.
    fn start() -> impl Future<Output = Result<Self, Unfaithful>> + Send;

    /// Whether the columns of a result without rows are known.
    const EMPTY_HAS_COLUMNS: bool;

    /// Digest of the columns: equal in every process for results whose bytes mean the same.
    fn digest(shape: &Self::Shape) -> [u8; 32];

    /// About how many bytes a row will take when stored.
    fn row_bytes(row: &DB::Row) -> usize;

    /// Makes bytes of a result that was just loaded for `sql` on `connection`.
    ///
    /// `arguments` begins as the `Debug` text of the arguments it was loaded with, at least to the end of their types.
    /// `previous` is the shape of the last result of
    /// the same statement, to be shared if it still fits. Call it before anyone decodes the rows: it leaves no trace on
    /// them, but a borrowing decode by others may.
    fn store(
        &self,
        connection: &mut DB::Connection,
        sql: &SqlStr,
        arguments: &str,
        rows: &[DB::Row],
        previous: Option<&Arc<Self::Shape>>,
    ) -> impl Future<Output = Result<Stored<Self::Shape>, Unfaithful>> + Send;

    /// Gives the rows back up to `copies` times, in one go; fewer where so many do not fit, but at least once. It may be
    /// dropped at any await; nothing of it stays behind then.
    fn mint(
        &self,
        stored: &Stored<Self::Shape>,
        copies: usize,
    ) -> impl Future<Output = Result<Vec<Replayed<DB>>, Unfaithful>> + Send;

    /// About how many bytes of memory the rows of a result take.
    fn copy_bytes(stored: &Stored<Self::Shape>) -> usize;

    /// Gives the rows back once.
    fn replay(&self, stored: &Stored<Self::Shape>) -> impl Future<Output = Result<Replayed<DB>, Unfaithful>> + Send {
        async { self.mint(stored, 1).await?.pop().ok_or_else(|| Unfaithful::because("a replay gave nothing")) }
    }
}
