//! The database of the shop: where it is, and what it looks like.

use std::path::Path;
use std::time::Duration;

use larder::SqlitePoolOptions;
pub use larder::{SqliteConnection, SqlitePool};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

static MIGRATOR: Migrator = sqlx::migrate!("examples/service/migrations");

/// Opens the file, makes it if it is not there, and brings its tables up to date.
pub async fn open(file: &Path) -> Result<SqlitePool, MigrateError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await?;
    pool.migrate(&MIGRATOR).await?;
    Ok(pool)
}
