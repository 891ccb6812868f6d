//! [`sqlx::postgres`] with Larder's pool, connection and transaction in the place of sqlx's: for `use sqlx::postgres::..`, write `use larder::postgres::..`.

pub use sqlx::postgres::*;

pub use crate::connection::PgConnection;
pub use crate::copy::PgCopyIn;
pub use crate::pool::PgPool;
pub use crate::pool_options::PgPoolOptions;

/// A [`Transaction`](crate::Transaction) on PostgreSQL.
pub type PgTransaction<'c> = crate::transaction::Transaction<'c, sqlx::Postgres>;
