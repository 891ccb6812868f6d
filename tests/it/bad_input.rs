//! Whatever is wrong with a URL, a statement or an argument: the error is sqlx's, nothing hangs or panics, and the pool works
//! afterwards.

use std::time::{Duration, Instant};

use larder::{CachedPool, Sessions};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a statement gave, without what differs from one run to the next.
fn told<T: std::fmt::Debug>(answer: Result<T, sqlx::Error>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(sqlx::Error::Database(error)) => {
            // Prepared statements are numbered by connection.
            let message = error.message().split(" \"sqlx_s_").next().unwrap_or_default();
            format!("{:?} {message}", error.code())
        }
        Err(error) => error.to_string(),
    }
}

on_each! {
    /// The same statement through sqlx alone and twice through the pool, by each way to ask.
    async fn statements(pool) {
        sqlx::raw_sql(spell("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES (1, 'a')")).execute(&pool).await.unwrap();
        let deep = format!("SELECT {}1{} FROM t", "(".repeat(400), ")".repeat(400));
        let deeper = format!("SELECT {}1{} FROM t", "(".repeat(20_000), ")".repeat(20_000));
        let chain = format!("SELECT id FROM t WHERE id = 0{}", " OR id = 1".repeat(900));
        let long = format!("SELECT id FROM t WHERE s = '{}'", "x".repeat(1 << 20));
        let comment = format!("SELECT id /*{}*/ FROM t", "y".repeat(1 << 20));
        // MariaDB takes twice the time for each level when it executes a prepared statement for the second time.
        let levels = if <Db as sqlx::Database>::NAME == "MySQL" { 10 } else { 60 };
        let nested = format!("SELECT id FROM {}t{} WHERE id = 1", "(SELECT id, s FROM ".repeat(levels), ") x".repeat(levels));
        let statements = [
            "", ";", ";;", " ", "-- nothing", "/* nothing", "'", "\"", "$$", "SELEC 1", "SELECT", "SELECT * FROM", "SELECT nothing FROM t",
            "SELECT id FROM nowhere", "INSERT INTO nowhere VALUES (1)", "INSERT INTO t VALUES (1, 'b')", "UPDATE t SET nothing = 1",
            "SELECT id FROM t WHERE id = $1 +", "SELECT id FROM t; SELECT s FROM t", "SELECT id FROM t;", "SELECT 1/0 FROM t",
            "SELECT \"🦀\" FROM t", "SELECT id AS \"🦀\" FROM t", "SELECT '🦀' FROM t", "SELECT s FROM t WHERE s = 'ä\u{301}\u{202e}'",
            "CREATE TABLE \"🥫 larder\" (\"ключ\" INTEGER)", "INSERT INTO \"🥫 larder\" VALUES (7)", "SELECT \"ключ\" FROM \"🥫 larder\"",
            "SELECT id FROM t LIMIT -1", "SELECT id FROM t ORDER BY 9", "SELECT count(*) FROM t GROUP BY", "COMMIT PREPARED 'nothing'",
            "SELECT id FROM t WHERE s = E'\\", "\u{feff}SELECT id FROM t", "SELECT\u{a0}id FROM t",
            &deep, &deeper, &chain, &long, &comment, &nested,
        ];
        for sql in statements {
            let shown: String = sql.chars().take(60).collect();
            // MySQL has no such name, and would take it for a text.
            let sql = if <Db as sqlx::Database>::NAME == "MySQL" { sql.replace("🥫", "ß").replace('"', "`") } else { sql.to_owned() };
            let query = || sqlx::query(sqlx::AssertSqlSafe(&*sql));
            // What writes can only be tried once: on a table of its own that is put back.
            let restore = async || sqlx::raw_sql("DELETE FROM t WHERE id <> 1").execute(&pool).await.unwrap();
            if sql.starts_with("CREATE") {
                sqlx::raw_sql(sqlx::AssertSqlSafe(&*sql)).execute(&pool).await.unwrap();
                continue;
            }
            let expected = told(query().fetch_all(pool.inner()).await.map(|rows| rows.len()));
            restore().await;
            for _ in 0..2 {
                let found = tokio::time::timeout(PATIENCE, query().fetch_all(&pool)).await.unwrap_or_else(|_| panic!("{shown} hangs"));
                assert_eq!(told(found.map(|rows| rows.len())), expected, "{shown}");
                let mut connection = pool.acquire().await.unwrap();
                let found = tokio::time::timeout(PATIENCE, query().fetch_all(&mut *connection)).await.unwrap_or_else(|_| panic!("{shown} hangs on a connection"));
                assert_eq!(told(found.map(|rows| rows.len())), expected, "on a connection: {shown}");
            }
            let expected = told(query().fetch_optional(pool.inner()).await.map(|row| row.is_some()));
            let found = tokio::time::timeout(PATIENCE, query().fetch_optional(&pool)).await.unwrap_or_else(|_| panic!("{shown} hangs"));
            assert_eq!(told(found.map(|row| row.is_some())), expected, "fetch_optional: {shown}");
            assert_eq!(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(&pool).await.unwrap(), 1, "{shown}");
        }
    }

    async fn arguments(pool) {
        sqlx::raw_sql(spell("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES (1, 'a')")).execute(&pool).await.unwrap();
        let by_text = spell("SELECT id FROM t WHERE s = $1");
        let huge = "z".repeat(20 << 20);
        for _ in 0..2 {
            // Missing, too many, of another type. On MySQL, sqlx counts them, and then waits for ever for the answer to what it
            // did not send.
            if <Db as sqlx::Database>::NAME == "MySQL" {
                break;
            }
            let ask = || sqlx::query(by_text.clone());
            assert_eq!(told(ask().fetch_all(&pool).await.map(|r| r.len())), told(ask().fetch_all(pool.inner()).await.map(|r| r.len())));
            // Of a text of its own: sqlx keeps the first number of arguments with the prepared statement.
            let ask = || sqlx::query(spell("SELECT id FROM t WHERE s = $1 AND id > 0")).bind("a").bind("b");
            assert_eq!(told(ask().fetch_all(&pool).await.map(|r| r.len())), told(ask().fetch_all(pool.inner()).await.map(|r| r.len())));
        }
        for _ in 0..2 {
            for text in ["a", "", "a\0", "\0", "🦀", "\u{202e}", "'; DROP TABLE t; --", "Null", &huge] {
                let ask = || sqlx::query(by_text.clone()).bind(text);
                assert_eq!(
                    told(ask().fetch_all(&pool).await.map(|r| r.len())),
                    told(ask().fetch_all(pool.inner()).await.map(|r| r.len())),
                );
            }
        }
        sqlx::query(spell("UPDATE t SET s = $1 WHERE id = 1")).bind(&huge).execute(&pool).await.unwrap();
        for _ in 0..2 {
            let s: String = sqlx::query_scalar(spell("SELECT s FROM t WHERE id = $1")).bind(1).fetch_one(&pool).await.unwrap();
            assert_eq!(s.len(), huge.len());
        }
        assert_eq!(sqlx::query(by_text.clone()).bind(&huge).fetch_all(&pool).await.unwrap().len(), 1);
    }

    /// An error of a write is the writer's; what it might have changed is right afterwards, and kept again.
    async fn failed_writes(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 5)); INSERT INTO t VALUES (1, 0)").execute(&pool).await.unwrap();
        let n = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t");
        for sql in ["INSERT INTO t VALUES (1, 1)", "INSERT INTO t VALUES (2, 9)", "UPDATE t SET n = 9", "INSERT INTO t VALUES ('x', 1)", "DELETE FROM t WHERE"] {
            sqlx::query(sql).execute(&pool).await.expect_err(sql);
            assert_eq!(n().fetch_one(&pool).await.unwrap(), 1);
            // In MySQL, what does not parse may have written anything, as far as can be told.
            let told = sql != "DELETE FROM t WHERE" || <Db as sqlx::Database>::NAME != "MySQL";
            assert_eq!(crate::support::was_hit(&pool, n().fetch_one(&pool)).await, (1, told), "{sql}");
        }
    }

    async fn a_closed_pool(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
        for _ in 0..2 {
            sqlx::query("SELECT id FROM t").fetch_all(&pool).await.unwrap();
        }
        pool.close().await;
        assert!(matches!(sqlx::query("SELECT id FROM t").fetch_all(&pool).await, Err(sqlx::Error::PoolClosed)));
        assert!(matches!(sqlx::query("DELETE FROM t").execute(&pool).await, Err(sqlx::Error::PoolClosed)));
        assert!(matches!(pool.begin().await.map(drop), Err(sqlx::Error::PoolClosed)));
        assert!(matches!(pool.acquire().await.map(drop), Err(sqlx::Error::PoolClosed)));
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::servers::Postgres;
    use larder::PgPool;
    use sqlx::postgres::PgPoolOptions;

    #[tokio::test]
    async fn urls() {
        let good = Postgres::shared().fresh();
        let port = Postgres::shared().port().to_string();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        for url in [
            "",
            "nonsense",
            "postgres:",
            "postgres://",
            "mysql://127.0.0.1/x",
            "postgres://127.0.0.1:99999/x",
            "postgres://postgres@127.0.0.1:1x/x",
            "sqlite::memory:",
            "postgres://[::1",
            "postgres://postgres@127.0.0.1/x?sslmode=perhaps",
        ] {
            let (ours, theirs) = (PgPool::connect_lazy(url).map(drop), sqlx::PgPool::connect_lazy(url).map(drop));
            assert_eq!(told(ours), told(theirs), "{url}");
        }
        for url in [
            good.replace("/test_", "/no_such_database_"),
            good.replace("postgres@", "nobody_of_that_name@"),
            good.replace(&port, &closed),
            good.replace("127.0.0.1", "no-such-host.invalid"),
        ] {
            let options = || PgPoolOptions::new().acquire_timeout(Duration::from_millis(500));
            let theirs = options().connect(&url).await.map(drop).expect_err("it is wrong");
            let ours = tokio::time::timeout(PATIENCE, async {
                let pool = options().connect_lazy(&url)?;
                CachedPool::builder(pool, Sessions::Uniform).build().await.map(drop)
            });
            let ours = ours.await.expect("no hang").expect_err("it is wrong");
            assert_eq!(ours.to_string(), theirs.to_string(), "{url}");
            let lazy = CachedPool::builder(options().connect_lazy(&url).unwrap(), Sessions::Uniform).build_lazy();
            for sql in ["SELECT n FROM t", "UPDATE t SET n = 1"] {
                let error = sqlx::query(sql).execute(&lazy).await.expect_err("it is wrong");
                assert_eq!(error.to_string(), theirs.to_string(), "{url}: {sql}");
            }
        }
    }

    /// A server that takes connections and never says a word: everybody's wait ends with the time limit of the pool, and not
    /// one after the other.
    #[tokio::test]
    async fn a_server_that_never_answers() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://postgres@{}/x", silent.local_addr().unwrap());
        let limit = Duration::from_millis(700);
        let pool = PgPoolOptions::new().acquire_timeout(limit).connect_lazy(&url).unwrap();
        let pool = CachedPool::builder(pool, Sessions::Uniform).build_lazy();
        let begun = Instant::now();
        let asked = (0..20).map(|i| {
            let pool = &pool;
            async move {
                let error = match i % 4 {
                    0 => sqlx::query("SELECT n FROM t").fetch_all(pool).await.map(drop),
                    1 => sqlx::query("UPDATE t SET n = 1").execute(pool).await.map(drop),
                    2 => pool.begin().await.map(drop),
                    _ => pool.acquire().await.map(drop),
                };
                assert!(matches!(error, Err(sqlx::Error::PoolTimedOut)), "{i}: {error:?}");
            }
        });
        futures::future::join_all(asked).await;
        assert!(begun.elapsed() < limit * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_statement_that_takes_too_long() {
        let pool = crate::support::postgres().await;
        sqlx::raw_sql("CREATE TABLE t (n INT); INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
        let database: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&pool).await.unwrap();
        let limit = format!("ALTER DATABASE {database} SET statement_timeout TO '400ms'");
        sqlx::query(sqlx::AssertSqlSafe(limit)).execute(&pool).await.unwrap();
        let pool = PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
        for sql in ["SELECT n FROM t WHERE pg_sleep(5) IS NOT NULL", "UPDATE t SET n = 2 WHERE pg_sleep(5) IS NOT NULL"]
        {
            let error = sqlx::query(sql).execute(&pool).await.unwrap_err();
            assert_eq!(error.as_database_error().unwrap().code().unwrap(), "57014", "{error}");
        }
        for _ in 0..2 {
            assert_eq!(sqlx::query_scalar::<_, i32>("SELECT n FROM t").fetch_one(&pool).await.unwrap(), 1);
        }
        assert_eq!(pool.stats().hits, 1, "{}", pool.stats());
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use larder::SqlitePool;

    #[tokio::test]
    async fn urls() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.db");
        std::fs::write(
            &text,
            "no database, but a text that is long enough to be taken for a header of one ".repeat(20),
        )
        .unwrap();
        for url in [
            "sqlite:///no/such/folder/x.db".to_owned(),
            format!("sqlite://{}/absent.db", folder.path().display()),
            format!("sqlite://{}", folder.path().display()),
            format!("sqlite://{}", text.display()),
            "sqlite://x?mode=perhaps".to_owned(),
            "postgres://127.0.0.1/x".to_owned(),
            "nonsense".to_owned(),
        ] {
            let options = || sqlx::sqlite::SqlitePoolOptions::new().acquire_timeout(Duration::from_secs(2));
            let theirs = async {
                let pool = options().connect(&url).await?;
                sqlx::query("CREATE TABLE t (n)").execute(&pool).await.map(drop)
            };
            let ours = async {
                let pool: SqlitePool =
                    CachedPool::builder(options().connect(&url).await?, Sessions::Uniform).build().await?;
                sqlx::query("CREATE TABLE t (n)").execute(&pool).await.map(drop)
            };
            let theirs = tokio::time::timeout(PATIENCE, theirs).await.expect("no hang");
            if theirs.is_ok() {
                continue;
            }
            let ours = tokio::time::timeout(PATIENCE, ours).await.expect("no hang");
            assert_eq!(told(ours), told(theirs), "{url}");
        }
    }
}
