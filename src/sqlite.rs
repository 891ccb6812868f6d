//! [`sqlx::sqlite`] with Larder's pool, connection and transaction in the place of sqlx's: for `use sqlx::sqlite::..`, write `use larder::sqlite::..`.

pub use sqlx::sqlite::*;

pub use crate::connection::SqliteConnection;
pub use crate::pool::SqlitePool;
pub use crate::pool_options::SqlitePoolOptions;

/// A [`Transaction`](crate::Transaction) on SQLite.
pub type SqliteTransaction<'c> = crate::transaction::Transaction<'c, sqlx::Sqlite>;
