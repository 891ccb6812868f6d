//! SQLite.

use std::fmt;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use super::{Ground, Lever, PATIENCE, pool_options};
use crate::admin::Admin;
use crate::cli::Failure;
use crate::cli::demo::schema;
use crate::cli::demo::serve::watched;
use crate::{CachedPool, Sessions};

/// A file in a temporary folder, which is removed with this.
pub struct SqliteGround {
    folder: TempDir,
}

impl SqliteGround {
    pub fn new() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("larder-demo-").tempdir();
        let folder = folder.map_err(|error| Failure::failed(format!("cannot create a temporary folder: {error}")))?;
        Ok(Self { folder })
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.folder.path().join("shop.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
    }
}

impl fmt::Display for SqliteGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SQLite, in a temporary file")
    }
}

impl Ground for SqliteGround {
    type Straight = sqlx::SqlitePool;
    type Cached = crate::SqlitePool;

    async fn clear(&self) -> sqlx::Result<()> {
        for file in ["shop.db", "shop.db-wal", "shop.db-shm"] {
            match std::fs::remove_file(self.folder.path().join(file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        let mut connection = self.options().connect().await?;
        sqlx::raw_sql(schema::TABLES).execute(&mut connection).await?;
        connection.close().await
    }

    async fn run(&self, pool: &Self::Straight, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop)
    }

    async fn settle(&self, pool: &Self::Straight) -> sqlx::Result<()> {
        sqlx::raw_sql("ANALYZE").execute(pool).await.map(drop)
    }

    async fn straight(&self, connections: u32) -> sqlx::Result<Self::Straight> {
        let options: SqlitePoolOptions = pool_options(connections);
        options.connect_with(self.options()).await
    }

    async fn cached(&self, connections: u32) -> sqlx::Result<Self::Cached> {
        let pool = self.straight(connections).await?;
        CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await
    }

    async fn served(&self, connections: u32) -> sqlx::Result<(Self::Cached, Lever)> {
        // A journal that has readers wait for a lock as well, but not for long.
        let options = self.options().journal_mode(SqliteJournalMode::Delete).busy_timeout(Duration::from_millis(500));
        let pool: SqlitePoolOptions = pool_options(connections);
        let pool = pool.connect_with(options.clone()).await?;
        let pool = watched(CachedPool::builder(pool, Sessions::Uniform)).build().await?;
        Ok((pool, Lever::File { options: Box::new(options), lock: None }))
    }

    fn show(admin: Admin, pool: &Self::Cached) -> Admin {
        admin.pool("shop", pool)
    }

    async fn leave(self, keep: bool) -> Result<Option<String>, Failure> {
        if keep {
            return Ok(Some(self.folder.keep().join("shop.db").display().to_string()));
        }
        let path = self.folder.path().to_owned();
        let close = |error| Failure::failed(format!("cannot remove {}: {error}", path.display()));
        self.folder.close().map_err(close).map(|()| None)
    }
}
