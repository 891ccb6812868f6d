//! [`sqlx::mysql`] with Larder's pool, connection and transaction in the place of sqlx's: for `use sqlx::mysql::..`, write `use larder::mysql::..`.

pub use sqlx::mysql::*;

pub use crate::connection::MySqlConnection;
pub use crate::pool::MySqlPool;
pub use crate::pool_options::MySqlPoolOptions;

/// A [`Transaction`](crate::Transaction) on MySQL or MariaDB.
pub type MySqlTransaction<'c> = crate::transaction::Transaction<'c, sqlx::MySql>;
