//! What the tests share: a fresh database for each, on every kind of server.

use crate::servers::{MariaDb, Postgres};
use larder::{CachedPool, MySqlPool, PgPool, Sessions, SqlitePool};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

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

/// A pool on a fresh MariaDB database, whose only writers are in this process.
pub async fn mysql() -> MySqlPool {
    mysql_of(&MariaDb::shared().fresh()).await
}

/// The same on the database at this URL.
pub async fn mysql_of(url: &str) -> MySqlPool {
    let pool = sqlx::MySqlPool::connect(url).await.expect("the database takes connections");
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.expect("the pool can be built")
}

/// Runs a test of MySQL: one at a time in this process, on a runtime of its own with several threads.
///
/// All databases of all MySQL servers are one to Larder, so that a statement of one test that may do anything empties the
/// caches of all others.
pub fn alone(test: impl Future<Output = ()>) {
    alone_on(tokio::runtime::Builder::new_multi_thread().worker_threads(2), test);
}

/// The same on one thread, which sees all that happens.
pub fn alone_on_one_thread(test: impl Future<Output = ()>) {
    alone_on(&mut tokio::runtime::Builder::new_current_thread(), test);
}

fn alone_on(runtime: &mut tokio::runtime::Builder, test: impl Future<Output = ()>) {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // Let go of after the runtime, and with it all that the test left running, are gone.
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    runtime.enable_all().build().expect("a runtime can be built").block_on(test);
    MariaDb::shared().clear();
}

/// A text that needs no other spelling.
pub fn as_it_is(sql: &str) -> SqlStr {
    AssertSqlSafe(sql).into_sql_str()
}

/// A text as MySQL spells it: `?` for `$1` and so on, names between backticks, texts without limit, `rand()`.
///
/// # Panics
/// If the placeholders do not come in order.
pub fn as_mysql(sql: &str) -> SqlStr {
    let mut spelled = String::new();
    for (at, part) in sql.split('$').enumerate() {
        match at {
            0 => spelled += part,
            _ => spelled += &format!("?{}", part.strip_prefix(&at.to_string()).expect("placeholders come in order")),
        }
    }
    AssertSqlSafe(
        spelled
            .replace('"', "`")
            .replace(" TEXT", " LONGTEXT")
            .replace("AS BIGINT)", "AS SIGNED)")
            .replace("random()", "rand()"),
    )
    .into_sql_str()
}

/// Defines tests that run on every database, on a runtime with several threads. What is spelled in another way by MySQL is
/// to be passed through `spell`.
#[macro_export]
macro_rules! on_each {
    ($($(#[doc = $doc:literal])* async fn $name:ident($pool:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::on! { postgres, larder::PgPool, sqlx::Postgres, larder::PgConnection, as_it_is, $pool, $body }
            $crate::on! { sqlite, larder::SqlitePool, sqlx::Sqlite, larder::SqliteConnection, as_it_is, $pool, $body }

            $(#[doc = $doc])*
            #[test]
            fn mysql() {
                $crate::types! { larder::MySqlPool, sqlx::MySql, larder::MySqlConnection, as_mysql }
                $crate::support::alone(async {
                    let $pool = $crate::support::mysql().await;
                    $body
                });
            }
        }
    )*};
}

/// One of the tests.
#[macro_export]
macro_rules! on {
    ($database:ident, $Pool:ty, $Db:ty, $Watched:ty, $spelling:ident, $pool:ident, $body:block) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $database() {
            $crate::types! { $Pool, $Db, $Watched, $spelling }
            let $pool = $crate::support::$database().await;
            $body
        }
    };
}

/// What a test that runs on several databases may call by these names.
#[macro_export]
macro_rules! types {
    ($Pool:ty, $Db:ty, $Watched:ty, $spelling:ident) => {
        #[allow(dead_code)]
        type Pool = $Pool;
        #[allow(dead_code)]
        type Db = $Db;
        #[allow(dead_code)]
        type DbRow = <$Db as sqlx::Database>::Row;
        #[allow(dead_code)]
        type Watched = $Watched;
        #[allow(unused_imports)]
        use $crate::support::$spelling as spell;
    };
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

/// Runs the program without anything to read; what it printed, its errors, and its exit code.
#[cfg(feature = "cli")]
pub fn larder(arguments: &[&str]) -> (String, String, i32) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
    let output = command.args(arguments).stdin(std::process::Stdio::null()).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (text(output.stdout), text(output.stderr), output.status.code().expect("it ends by itself"))
}
