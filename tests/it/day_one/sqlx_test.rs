//! `#[sqlx::test]`: the pool that sqlx makes for a test, with one line in front.

use larder::{CachedPool, Sessions};

use super::RAISE;

/// Its database is a file below `target`.
#[cfg(feature = "sqlite")]
#[sqlx::test(migrations = "tests/it/day_one/migrations")]
async fn sqlite(pool: sqlx::SqlitePool) {
    let pool = CachedPool::builder(pool, Sessions::Uniform).build().await.unwrap();
    keep!(pool, "a");
    sqlx::query(RAISE).execute(&pool).await.unwrap();
    assert_eq!(read!(pool, "a"), (1, false));
}

/// The inner test takes its server from the environment, so that it is run in a process of its own.
#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use std::process::Command;
    use std::sync::LazyLock;

    /// Says that `DATABASE_URL` is the address of a server that was started for this.
    const STARTED: &str = "LARDER_TEST_SERVER_STARTED";

    /// Asked for before sqlx looks for a server.
    static MIGRATOR: LazyLock<sqlx::migrate::Migrator> = LazyLock::new(|| {
        let started = std::env::var_os(STARTED).is_some();
        assert!(
            started,
            "this test is run by `sqlx_test::postgres::on_a_server`, which starts a server for it: run that one"
        );
        sqlx::migrate!("tests/it/day_one/migrations")
    });

    #[sqlx::test(migrator = "MIGRATOR")]
    #[ignore = "run by on_a_server, which starts a server for it"]
    async fn within(pool: sqlx::PgPool) {
        let pool = CachedPool::builder(pool, Sessions::Uniform).build().await.unwrap();
        keep!(pool, "a");
        sqlx::query(RAISE).execute(&pool).await.unwrap();
        assert_eq!(read!(pool, "a"), (1, false));
    }

    /// The same with options: the pool is Larder's from the start.
    #[sqlx::test(migrator = "MIGRATOR")]
    #[ignore = "run by on_a_server, which starts a server for it"]
    async fn within_by_options(_: sqlx::pool::PoolOptions<sqlx::Postgres>, options: sqlx::postgres::PgConnectOptions) {
        let pool = larder::PgPool::connect_with(options).await.unwrap();
        keep!(pool, "a");
        pool.close().await;
    }

    #[test]
    fn on_a_server() {
        let (_, path) = concat!(module_path!(), "::within").split_once("::").expect("a path in a crate");
        let run = |server: Option<String>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--ignored", path]).env_remove(STARTED).env_remove("DATABASE_URL");
            if let Some(url) = server {
                command.env(STARTED, "1").env("DATABASE_URL", url);
            }
            let output = command.output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
        };
        let (passed, text) = run(Some(crate::servers::postgres()));
        assert!(passed && text.contains("2 passed"), "{text}");
        // Somebody who runs ignored tests is told what to do.
        let (passed, text) = run(None);
        assert!(!passed && text.contains("which starts a server for it: run that one"), "{text}");
    }
}
