//! Where the shop stands: a SQLite file in a temporary folder, a schema of its own in the given Postgres, or a database of
//! its own on the given MySQL or MariaDB.
//!
//! In: `--database-url`. Out: pools that see the shop's tables and nothing else.
//! It never touches a table that it did not create, and takes everything away again unless told to keep it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use sqlx::Connection;
use sqlx::pool::PoolOptions;

use super::shop::Shop;
use crate::admin::Admin;
use crate::cli::Failure;
use crate::cli::proxy::Proxy;

mod lever;
mod mysql;
mod postgres;
mod sqlite;

pub use lever::Lever;
pub use mysql::MySqlGround;
pub use postgres::PostgresGround;
pub use sqlite::SqliteGround;

/// How long the database may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place for the shop.
pub trait Ground: fmt::Display + Send + Sync {
    type Straight: Shop;
    type Cached: Shop;

    /// Takes what is there away and creates the empty tables.
    fn clear(&self) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Runs statements that bring their values in their text.
    fn run(&self, pool: &Self::Straight, sql: String) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Lets the database look at its new rows, so that it need not do so while it is measured.
    fn settle(&self, pool: &Self::Straight) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// A pool of sqlx.
    fn straight(&self, connections: u32) -> impl Future<Output = sqlx::Result<Self::Straight>> + Send;
    /// The same pool, through Larder.
    fn cached(&self, connections: u32) -> impl Future<Output = sqlx::Result<Self::Cached>> + Send;
    /// The same pool to be watched, and what its database is stopped by.
    fn served(&self, connections: u32) -> impl Future<Output = sqlx::Result<(Self::Cached, Lever)>> + Send;
    /// Shows that pool on the page.
    fn show(admin: Admin, pool: &Self::Cached) -> Admin;
    /// Takes the shop away, or tells where it is kept.
    fn leave(self, keep: bool) -> impl Future<Output = Result<Option<String>, Failure>> + Send;
}

/// The same for every pool, whichever way it leads.
fn pool_options<DB: sqlx::Database>(connections: u32) -> PoolOptions<DB> {
    PoolOptions::new().min_connections(connections).max_connections(connections).acquire_timeout(PATIENCE)
}

/// Connects, not through a pool, whose time limit would hide why the server cannot be reached. `place` names it.
async fn reach<C: Connection>(options: &C::Options, place: &str) -> Result<C, Failure> {
    match tokio::time::timeout(PATIENCE, C::connect_with(options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Failure::failed(format!("cannot connect as {place}: {error}"))),
        Err(_) => Err(Failure::failed(format!("cannot connect as {place}: no answer for {PATIENCE:?}"))),
    }
}

/// The way to a server, and the port that it begins at.
async fn way_to(host: &str, port: u16) -> sqlx::Result<(Proxy, u16)> {
    let proxy = Proxy::start(host, port).await.map_err(|why| sqlx::Error::Configuration(format!("{why:?}").into()))?;
    let port = proxy.port();
    Ok((proxy, port))
}

/// Takes the shop away; `by` is the statement that somebody else would have to send if that fails.
async fn remove(by: &str, done: impl Future<Output = sqlx::Result<()>>) -> Result<(), Failure> {
    let removed = match tokio::time::timeout(PATIENCE, done).await {
        Ok(removed) => removed.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer for {PATIENCE:?}")),
    };
    removed.map_err(|error| Failure::failed(format!("the shop is still there ({error}): {by}")))
}
