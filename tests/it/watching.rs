//! What psql, a cron job or another service writes is heard of within the bound, where `larder watch` was installed.

use std::time::{Duration, Instant};

use larder::{CachedPool, Reason, Sessions};
use sqlx::AssertSqlSafe;

use crate::servers::{MariaDb, Postgres};
use crate::support::{as_it_is, as_mysql, larder, was_hit};

/// Runs `larder watch`, and returns what it printed, and whether it succeeded.
fn watch(arguments: &[&str]) -> (String, String, bool) {
    let (text, errors, code) = larder(&[&["watch"], arguments].concat());
    (text, errors, code == 0)
}

fn database(url: &str) -> &str {
    url.rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("a URL ends with the database")
}

fn state(url: &str, table: &str) -> String {
    let (text, errors, _) = watch(&["status", "--json", "--database-url", url]);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let tables = status["tables"].as_array().expect("tables");
    let found = tables.iter().find(|row| row["table"] == table).unwrap_or_else(|| panic!("no {table} in {status}"));
    found["watched"].as_str().expect("a word").to_owned()
}

const BOUND: Duration = Duration::from_millis(400);

/// Defines a test on every database: `$url` is where it is, `$other` a pool of sqlx, for what others do, `$pool` one of Larder.
macro_rules! on_each_url {
    ($($(#[doc = $doc:literal])* async fn $name:ident($url:ident, $other:ident, $setup:expr) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[doc = $doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                use as_it_is as spell;
                let $url = Postgres::shared().fresh();
                let $other = sqlx::PgPool::connect(&$url).await.unwrap();
                sqlx::raw_sql(spell($setup)).execute(&$other).await.unwrap();
                $body
            }

            $(#[doc = $doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                use as_it_is as spell;
                let $url = format!("sqlite:{}", crate::support::file().display());
                let $other = sqlx::SqlitePool::connect(&format!("{}?mode=rwc", $url)).await.unwrap();
                sqlx::raw_sql(spell($setup)).execute(&$other).await.unwrap();
                $body
            }

            $(#[doc = $doc])*
            #[test]
            fn mysql() {
                use as_mysql as spell;
                crate::support::alone(async {
                    let $url = MariaDb::shared().fresh();
                    let $other = sqlx::MySqlPool::connect(&$url).await.unwrap();
                    sqlx::raw_sql(spell($setup)).execute(&$other).await.unwrap();
                    $body
                });
            }
        }
    )*};
}

macro_rules! pool {
    ($other:expr) => {
        CachedPool::builder($other.clone(), Sessions::Uniform).sole_writer().watch_bound(BOUND).build().await.unwrap()
    };
}

/// Asks until it is answered from memory.
macro_rules! keep {
    ($pool:expr, $sql:expr) => {{
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let read = sqlx::query_scalar::<_, i64>(AssertSqlSafe($sql)).fetch_one($pool);
            let (answer, hit) = was_hit($pool, read).await;
            if hit {
                break answer;
            }
            assert!(Instant::now() < deadline, "{} is not kept: {}", $sql, $pool.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }};
}

/// Asks until the answer is this one, and returns how long that took from when it was written.
macro_rules! seen {
    ($pool:expr, $sql:expr, $expected:expr, $written:expr) => {{
        loop {
            let answer = sqlx::query_scalar::<_, i64>(AssertSqlSafe($sql)).fetch_one($pool).await.unwrap();
            if answer == $expected {
                break $written.elapsed();
            }
            assert!($written.elapsed() < Duration::from_secs(20), "{} is still {answer}: {}", $sql, $pool.stats());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }};
}

const TABLES: &str =
    "CREATE TABLE a (id BIGINT PRIMARY KEY, n BIGINT); CREATE TABLE b (id BIGINT PRIMARY KEY, n BIGINT);
    INSERT INTO a VALUES (1, 0); INSERT INTO b VALUES (1, 0);";
const A: &str = "SELECT n FROM a WHERE id = 1";
const B: &str = "SELECT n FROM b WHERE id = 1";

on_each_url! {
    /// One that is watched and one that is not; what Larder itself writes drops no more than before.
    async fn what_others_write_is_seen(url, other, TABLES) {
        let (sql, errors, succeeded) = watch(&["install", "--yes", "--database-url", &url, "a"]);
        assert!(succeeded, "{errors}");
        assert!(sql.contains("CREATE TRIGGER larder_") || sql.contains("CREATE TRIGGER \"larder_"), "{sql}");
        assert_eq!((&*state(&url, "a"), &*state(&url, "b")), ("yes", "no"));
        // Safe to repeat.
        let (sql, errors, succeeded) = watch(&["install", "--yes", "--database-url", &url, "a"]);
        assert!(succeeded && sql.is_empty() && errors.contains("Nothing to do"), "{sql}{errors}");

        let pool = pool!(other);
        for n in 1..4 {
            assert_eq!((keep!(&pool, A), keep!(&pool, B)), (n - 1, 0));
            sqlx::query(spell("UPDATE a SET n = n + 1")).execute(&other).await.unwrap();
            let written = Instant::now();
            seen!(&pool, A, n, written);
            // A table that nobody wrote is kept.
            assert!(was_hit(&pool, sqlx::query_scalar::<_, i64>(B).fetch_one(&pool)).await.1, "{}", pool.stats());
        }
        assert!(pool.stats().invalidations_by_reason[&Reason::ExternalWrite] >= 3, "{}", pool.stats());
        // What is rolled back was not written.
        let before = pool.stats().invalidations_by_reason[&Reason::ExternalWrite];
        let mut tx = other.begin().await.unwrap();
        sqlx::query("UPDATE a SET n = 99").execute(&mut *tx).await.unwrap();
        tx.rollback().await.unwrap();
        tokio::time::sleep(BOUND).await;
        assert_eq!(pool.stats().invalidations_by_reason[&Reason::ExternalWrite], before);
        // The triggers are no reason to drop more than the table.
        keep!(&pool, B);
        sqlx::query("UPDATE a SET n = 7").execute(&pool).await.unwrap();
        assert_eq!(sqlx::query_scalar::<_, i64>(A).fetch_one(&pool).await.unwrap(), 7);
        assert!(was_hit(&pool, sqlx::query_scalar::<_, i64>(B).fetch_one(&pool)).await.1, "{}", pool.stats());

        // Without a name, all of them.
        assert!(watch(&["install", "--yes", "--database-url", &url]).2);
        assert_eq!(state(&url, "b"), "yes");
        let before = keep!(&pool, B);
        sqlx::query("UPDATE b SET n = n + 1").execute(&other).await.unwrap();
        let written = Instant::now();
        seen!(&pool, B, before + 1, written);

        assert!(watch(&["remove", "--yes", "--database-url", &url, "b"]).2);
        assert_eq!((&*state(&url, "a"), &*state(&url, "b")), ("yes", "no"));
        assert!(watch(&["remove", "--yes", "--database-url", &url]).2);
        assert_eq!(state(&url, "a"), "no");
        let (sql, errors, succeeded) = watch(&["remove", "--yes", "--database-url", &url]);
        assert!(succeeded && sql.is_empty() && errors.contains("Nothing to do"), "{sql}{errors}");
        // A pool that followed finds out, and goes on without.
        keep!(&pool, A);
    }

    /// Writers at the same time do not wait for each other, and none of their writes is missed.
    async fn writers_do_not_wait(url, other, TABLES) {
        assert!(watch(&["install", "--yes", "--database-url", &url]).2);
        let pool = pool!(other);
        keep!(&pool, A);
        if !url.starts_with("sqlite") {
            for id in 2..12 {
                sqlx::query(AssertSqlSafe(format!("INSERT INTO a VALUES ({id}, 0)"))).execute(&other).await.unwrap();
            }
            let mut open = Vec::new();
            for id in 2..6 {
                let mut tx = other.begin().await.unwrap();
                let write = format!("UPDATE a SET n = n + 1 WHERE id = {id}");
                sqlx::query(AssertSqlSafe(write)).execute(&mut *tx).await.unwrap();
                open.push(tx);
            }
            keep!(&pool, "SELECT n FROM a WHERE id = 2");
            for tx in open {
                tx.commit().await.unwrap();
                let written = Instant::now();
                // Those that were committed, and no others.
                let sum = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM a WHERE n = 1").fetch_one(&other).await.unwrap();
                seen!(&pool, "SELECT count(*) FROM a WHERE n = 1", sum, written);
            }
        }
        let before = keep!(&pool, A);
        let writers: Vec<_> = (0..4).map(|_| {
            let other = other.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    sqlx::query(spell("UPDATE a SET n = n + 1 WHERE id = 1")).execute(&other).await.unwrap();
                }
            })
        }).collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let written = Instant::now();
        seen!(&pool, A, before + 100, written);
        assert_eq!(keep!(&pool, A), before + 100);
    }
}

#[test]
fn mistakes_are_told() {
    let url = Postgres::shared().fresh();
    let setup = "CREATE TABLE orders (id int); CREATE SCHEMA other; CREATE TABLE other.orders (id int)";
    Postgres::shared().psql(database(&url), setup);
    for (arguments, told) in [
        (&["install", "--yes", "--database-url", &url, "ordes"][..], "there is no table called ordes; is"),
        (&["install", "--yes", "--database-url", &url, "orders"], "say which of other.orders, public.orders"),
        (&["install", "--database-url", &url, "public.orders"], "say --yes"),
        (&["install", "--database-url", "redis://there"], "must begin with"),
        (&["status", "--database-url", "postgres://nobody@127.0.0.1:1/x"], "cannot be asked"),
    ] {
        let (_, errors, succeeded) = watch(arguments);
        assert!(!succeeded && errors.contains(told), "{arguments:?}: {errors}");
    }
    let (sql, errors, succeeded) = watch(&["install", "--dry-run", "--database-url", &url, "public.orders"]);
    assert!(succeeded && sql.contains("ON \"public\".\"orders\"") && errors.is_empty(), "{sql}{errors}");
    let (text, _, succeeded) = watch(&["status", "--database-url", &url]);
    assert!(succeeded && text.contains("Nothing is installed") && text.contains("0 of 2 tables"), "{text}");
}

/// Names that are no plain words, and all that PostgreSQL has besides: partitions, cascades, TRUNCATE, COPY, a replica's role,
/// isolation levels, a role without rights on the versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_corners_of_postgres() {
    let url = Postgres::shared().fresh();
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    let role = format!("writer_{}", database(&url));
    sqlx::raw_sql(AssertSqlSafe(format!(
        r#"CREATE TABLE "it's {{name}} ""x""" (n bigint); INSERT INTO "it's {{name}} ""x""" VALUES (0);
        CREATE TABLE parts (id bigint) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF parts DEFAULT;
        CREATE TABLE parent (id bigint PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9);
        CREATE TABLE child (id bigint REFERENCES parent ON DELETE CASCADE); INSERT INTO child SELECT generate_series(1, 9);
        CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"#
    )))
    .execute(&other)
    .await
    .unwrap();
    let (_, errors, succeeded) = watch(&["install", "--yes", "--database-url", &url]);
    assert!(succeeded, "{errors}");
    let pool = pool!(other);
    let odd = r#"SELECT count(*) FROM "it's {name} ""x""""#;
    let (parts, child) = ("SELECT count(*) FROM parts", "SELECT count(*) FROM child");
    let steps = [
        (r#"INSERT INTO "it's {name} ""x""" VALUES (1)"#.to_owned(), odd, 2),
        (format!(r#"SET ROLE {role}; INSERT INTO "it's {{name}} ""x""" VALUES (1)"#), odd, 3),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO parts VALUES (1); COMMIT".into(), parts, 1),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO part VALUES (2); COMMIT".into(), parts, 2),
        ("DELETE FROM parent WHERE id < 3".into(), child, 7),
        ("SET session_replication_role = replica; DELETE FROM child WHERE id = 3".into(), child, 6),
        ("TRUNCATE parent CASCADE".into(), child, 0),
        (r#"TRUNCATE "it's {name} ""x""""#.into(), odd, 0),
    ];
    for (write, read, expected) in steps {
        keep!(&pool, read);
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(write)).execute(&mut connection).await.unwrap();
        let written = Instant::now();
        seen!(&pool, read, expected, written);
    }
    // Two that see an old state, and write other rows of a table: as without triggers, neither fails.
    let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    let mut one = other.begin_with(begin).await.unwrap();
    let mut two = other.begin_with(begin).await.unwrap();
    sqlx::query("INSERT INTO parent VALUES (100)").execute(&mut *one).await.unwrap();
    sqlx::query("INSERT INTO parent VALUES (200)").execute(&mut *two).await.unwrap();
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    // What they left is merged, and the sum stays.
    let rows = || {
        sqlx::query_as::<_, (i64, i64)>("SELECT count(*), sum(version)::bigint FROM larder.versions").fetch_one(&other)
    };
    let before = rows().await.unwrap();
    sqlx::raw_sql(larder::watch::install(larder::analysis::Dialect::Postgres)).execute(&other).await.unwrap();
    let after = rows().await.unwrap();
    assert!(after.0 < before.0 && after.1 == before.1, "{before:?} {after:?}");
}

/// While nothing can be heard, nothing is given out from memory; afterwards, what was missed is caught up with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_given_out_while_nothing_is_heard() {
    let url = Postgres::shared().fresh();
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&other).await.unwrap();
    assert!(watch(&["install", "--yes", "--database-url", &url, "a", "b"]).2);
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let pool = {
        let _set = metrics::set_default_local_recorder(&recorder);
        let builder = CachedPool::builder(other.clone(), Sessions::Uniform).sole_writer();
        builder.watch_bound(BOUND).build().await.unwrap()
    };
    // What a gauge was moved by since this was asked last.
    let moved = |state: &str| {
        let told = snapshotter.snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| label.value().to_owned()).collect();
            (key.key().name() == "larder_feeds" && labels == ["triggers", state]).then_some(value)
        });
        match told {
            Some(metrics_util::debugging::DebugValue::Gauge(value)) => value.0,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(keep!(&pool, A), 0);
    keep!(&pool, B);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(moved("current"), 1.0);
    // Whoever looks at the versions waits for this.
    let mut locked = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE larder.versions IN ACCESS EXCLUSIVE MODE; UPDATE a SET n = 1")
        .execute(&mut *locked)
        .await
        .unwrap();
    tokio::time::sleep(BOUND).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let (answer, hit) = was_hit(&pool, sqlx::query_scalar::<_, i64>(A).fetch_one(&pool)).await;
        assert!(!hit && answer == 0, "{answer} {hit}: {}", pool.stats());
        if pool.stats().bypasses_by_reason.get(&Reason::Unwatched) > Some(&5) {
            break;
        }
    }
    assert!(pool.stats().bypasses_by_reason[&Reason::Unwatched] > 5, "{}", pool.stats());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(moved("behind"), 1.0);
    locked.commit().await.unwrap();
    let answer = sqlx::query_scalar::<_, i64>(A).fetch_one(&pool).await.unwrap();
    assert_eq!(answer, 1);
    assert_eq!(keep!(&pool, A), 1);
    // The connection that listens is ended by somebody.
    for round in 2..5 {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE '%larder.versions%' AND pid <> pg_backend_pid()";
        sqlx::raw_sql(end).execute(&other).await.unwrap();
        sqlx::query("UPDATE a SET n = $1").bind(round).execute(&other).await.unwrap();
        let written = Instant::now();
        seen!(&pool, A, round, written);
        assert_eq!(keep!(&pool, A), round);
    }
}

/// An outage of the database is one of what is heard of it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_answers_are_given_while_a_watched_database_is_away() {
    let mut server = Postgres::start();
    let url = server.url(&server.create_database());
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&other).await.unwrap();
    assert!(watch(&["install", "--yes", "--database-url", &url, "a", "b"]).2);
    let builder = CachedPool::builder(other.clone(), Sessions::Uniform).sole_writer().watch_bound(BOUND);
    let pool = builder.build().await.unwrap().with(larder::Policy::default().stale_if_error(Duration::from_secs(600)));
    assert_eq!(keep!(&pool, A), 0);
    server.kill();
    let begun = Instant::now();
    // Beyond the time for which nothing has to be heard.
    while begun.elapsed() < BOUND * 3 || pool.stats().stale < 5 {
        assert_eq!(sqlx::query_scalar::<_, i64>(A).fetch_one(&pool).await.unwrap(), 0, "{}", pool.stats());
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", pool.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::task::block_in_place(|| server.restart());
    let begun = Instant::now();
    while sqlx::query("UPDATE a SET n = 5").execute(&other).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    while sqlx::query_scalar::<_, i64>(A).fetch_one(&pool).await.unwrap() != 5 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", pool.stats());
    }
}

/// What psql writes is seen by a pool that shares its results through Redis, and by all others.
#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_in_redis_are_dropped_too() {
    let url = Postgres::shared().fresh();
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&other).await.unwrap();
    assert!(watch(&["install", "--yes", "--database-url", &url, "a"]).2);
    let redis = crate::servers::Redis::shared().url();
    let pool = CachedPool::builder(other.clone(), Sessions::Uniform)
        .watch_bound(BOUND)
        .redis(larder::RedisOptions::new(redis).lease(Duration::from_millis(500)))
        .build()
        .await
        .unwrap();
    for n in 1..5 {
        assert_eq!(keep!(&pool, A), n - 1);
        sqlx::query("UPDATE a SET n = n + 1").execute(&other).await.unwrap();
        let written = Instant::now();
        seen!(&pool, A, n, written);
        for _ in 0..20 {
            assert_eq!(sqlx::query_scalar::<_, i64>(A).fetch_one(&pool).await.unwrap(), n);
        }
    }
}

/// What a statement tells of itself is as without the triggers.
#[test]
fn triggers_leave_no_trace_in_mysql() {
    crate::support::alone(async {
        let url = MariaDb::shared().fresh();
        let other = sqlx::MySqlPool::connect(&url).await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n BIGINT); INSERT INTO t (n) VALUES (0), (0)",
        )
        .execute(&other)
        .await
        .unwrap();
        assert!(watch(&["install", "--yes", "--database-url", &url]).2);
        let mut connection = other.acquire().await.unwrap();
        let inserted = sqlx::query("INSERT INTO t (n) VALUES (1), (2)").execute(&mut *connection).await.unwrap();
        assert_eq!((inserted.last_insert_id(), inserted.rows_affected()), (3, 2));
        let last: u64 = sqlx::query_scalar("SELECT LAST_INSERT_ID()").fetch_one(&mut *connection).await.unwrap();
        assert_eq!(last, 3);
        let updated = sqlx::query("UPDATE t SET n = n + 1").execute(&mut *connection).await.unwrap();
        assert_eq!(updated.rows_affected(), 4);
        let warnings = sqlx::query("SHOW WARNINGS").fetch_all(&mut *connection).await.unwrap();
        assert!(warnings.is_empty(), "{}", warnings.len());
        let deleted = sqlx::query("DELETE FROM t").execute(&mut *connection).await.unwrap();
        assert_eq!(deleted.rows_affected(), 4);
    });
}

/// The same, where a conflict is to be settled by the statement and not by what it sets off.
#[tokio::test]
async fn triggers_leave_no_trace_in_sqlite() {
    let url = format!("sqlite:{}", crate::support::file().display());
    let other = sqlx::SqlitePool::connect(&format!("{url}?mode=rwc")).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n BIGINT UNIQUE); INSERT INTO t (n) VALUES (1), (2)")
        .execute(&other)
        .await
        .unwrap();
    assert!(watch(&["install", "--yes", "--database-url", &url]).2);
    let mut connection = other.acquire().await.unwrap();
    let inserted = sqlx::query("INSERT INTO t (n) VALUES (3), (4)").execute(&mut *connection).await.unwrap();
    assert_eq!((inserted.last_insert_rowid(), inserted.rows_affected()), (4, 2));
    let version = "SELECT version FROM larder_versions WHERE table_name = 't'";
    let before: i64 = sqlx::query_scalar(version).fetch_one(&mut *connection).await.unwrap();
    for sql in ["INSERT OR REPLACE INTO t (n) VALUES (4)", "INSERT OR IGNORE INTO t (n) VALUES (9)"] {
        let written = sqlx::query(sql).execute(&mut *connection).await.unwrap();
        assert_eq!(written.rows_affected(), 1, "{sql}");
    }
    let after: i64 = sqlx::query_scalar(version).fetch_one(&mut *connection).await.unwrap();
    assert!(after >= before + 2, "{before} {after}");
}
