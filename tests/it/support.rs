//! What the tests share: a fresh database for each, on every kind of server.

use crate::servers::Postgres;
use larder::{CachedPool, PgPool, Sessions, SqlitePool};

/// A pool on a fresh PostgreSQL database, whose only writers are in this process.
pub async fn postgres() -> PgPool {
    let pool = sqlx::PgPool::connect(&Postgres::shared().fresh()).await.expect("a fresh database takes connections");
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.expect("the pool can be built")
}

/// A pool on a fresh SQLite file, whose only writers are in this process. The file is removed with the test process.
pub async fn sqlite() -> SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file())
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .busy_timeout(std::time::Duration::from_secs(20));
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a fresh file takes connections");
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.expect("the pool can be built")
}

/// A path for a fresh SQLite file.
pub fn file() -> std::path::PathBuf {
    static FOLDER: std::sync::LazyLock<tempfile::TempDir> =
        std::sync::LazyLock::new(|| tempfile::tempdir().expect("there is room for a folder"));
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    FOLDER.path().join(format!("{}.db", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))
}

/// Defines tests that run on every database, on a runtime with several threads.
#[macro_export]
macro_rules! on_both {
    ($($(#[doc = $doc:literal])* async fn $name:ident($pool:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[doc = $doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                #[allow(dead_code)]
                type Pool = larder::PgPool;
                #[allow(dead_code)]
                type DbRow = sqlx::postgres::PgRow;
                #[allow(dead_code)]
                type Watched = larder::PgConnection;
                let $pool = $crate::support::postgres().await;
                $body
            }

            $(#[doc = $doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                #[allow(dead_code)]
                type Pool = larder::SqlitePool;
                #[allow(dead_code)]
                type DbRow = sqlx::sqlite::SqliteRow;
                #[allow(dead_code)]
                type Watched = larder::SqliteConnection;
                let $pool = $crate::support::sqlite().await;
                $body
            }
        }
    )*};
}

/// Runs `read`, which must succeed, and tells whether it was answered from memory.
pub async fn was_hit<DB, T>(pool: &CachedPool<DB>, read: impl Future<Output = Result<T, sqlx::Error>>) -> (T, bool)
where
    DB: larder::Backend,
{
    let before = pool.stats();
    let answer = read.await.expect("the query succeeds");
    let after = pool.stats();
    (answer, after.hits > before.hits)
}
