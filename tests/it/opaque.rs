//! What happens where only sqlx looks is never missed: helpers that take the raw connection, settings they leave behind,
//! transactions by text.

use std::time::{Duration, Instant};

use larder::Reason;

use crate::support::was_hit;

const SETUP: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO t VALUES (1, 0)";
const N: &str = "SELECT n FROM t WHERE id = 1";
const RAISE: &str = "UPDATE t SET n = n + 1 WHERE id = 1";

macro_rules! n {
    ($pool:expr) => {
        sqlx::query_scalar::<_, i64>(N).fetch_one(&$pool).await.unwrap()
    };
}

/// Reads until the answer comes from memory.
macro_rules! kept {
    ($pool:expr, $expected:expr, $what:expr) => {{
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let (n, hit) = was_hit(&$pool, sqlx::query_scalar::<_, i64>(N).fetch_one(&$pool)).await;
            assert_eq!(n, $expected, "{}", $what);
            if hit {
                break;
            }
            assert!(Instant::now() < deadline, "{}: nothing is kept any more: {}", $what, $pool.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }};
}

/// Waits until every connection was given back.
macro_rules! idle {
    ($pool:expr) => {
        while $pool.num_idle() < $pool.size() as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
}

on_each! {
    async fn helpers_that_know_sqlx_alone(pool) {
        type Raw = <Db as sqlx::Database>::Connection;
        async fn raise(connection: &mut Raw) {
            sqlx::query(RAISE).execute(connection).await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");

        let mut connection = pool.acquire().await.unwrap();
        raise(&mut connection).await;
        assert_eq!(n!(pool), 1);
        assert_eq!(n!(pool), 1);
        raise(&mut connection).await;
        raise(connection.as_mut()).await;
        assert_eq!(n!(pool), 3, "what was kept while the connection is out must not outlive its next write");
        drop(connection);
        kept!(pool, 3, "given back");

        let mut tx = pool.begin().await.unwrap();
        raise(&mut tx).await;
        raise(&mut tx).await;
        assert_eq!(n!(pool), 3);
        tx.commit().await.unwrap();
        assert_eq!(n!(pool), 5);
        kept!(pool, 5, "committed");

        let mut tx = pool.begin().await.unwrap();
        raise(&mut tx).await;
        let mut savepoint = tx.begin().await.unwrap();
        raise(&mut savepoint).await;
        savepoint.rollback().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(n!(pool), 6);
        kept!(pool, 6, "committed around a savepoint");

        for rollback in [true, false] {
            let mut tx = pool.begin().await.unwrap();
            raise(&mut tx).await;
            match rollback {
                true => tx.rollback().await.unwrap(),
                false => drop(tx),
            }
            kept!(pool, 6, "rolled back");
        }

        let mut connection = pool.acquire().await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        raise(&mut tx).await;
        tx.commit().await.unwrap();
        assert_eq!(n!(pool), 7);
        drop(connection);
        kept!(pool, 7, "on a connection");

        // A helper that begins a transaction of sqlx's own.
        let mut connection = pool.acquire().await.unwrap();
        {
            let mut tx = sqlx::Connection::begin(&mut **connection).await.unwrap();
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            assert_eq!(n!(pool), 7);
            assert_eq!(n!(pool), 7);
            tx.commit().await.unwrap();
        }
        assert_eq!(n!(pool), 8);
        drop(connection);
        kept!(pool, 8, "sqlx's own transaction");
    }

    /// The same helper, written for Larder's connection, drops nothing but what rests on its table.
    async fn helpers_that_are_watched(pool) {
        async fn raise(connection: &mut Watched) {
            sqlx::query(RAISE).execute(&mut *connection).await.unwrap();
            let mut tx = connection.begin().await.unwrap();
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        sqlx::raw_sql("CREATE TABLE other (id BIGINT PRIMARY KEY)").execute(&pool).await.unwrap();
        let other = async || was_hit(&pool, sqlx::query("SELECT id FROM other").fetch_all(&pool)).await.1;
        kept!(pool, 0, "at first");
        other().await;

        let mut tx = pool.begin().await.unwrap();
        raise(&mut tx).await;
        assert_eq!(n!(pool), 0);
        tx.commit().await.unwrap();
        assert_eq!(n!(pool), 2);
        assert!(other().await, "{}", pool.stats());

        let mut connection = pool.acquire().await.unwrap();
        raise(&mut connection).await;
        assert_eq!(n!(pool), 4);
        kept!(pool, 4, "while the connection is out");
        assert!(other().await, "{}", pool.stats());
    }

    /// A helper commits by text the transaction it was lent, and writes on. In SQLite, sqlx then believes for ever that the
    /// transaction is open, and nothing is kept any more.
    async fn a_helper_that_ends_the_transaction_before_its_commit(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");
        let mut tx = pool.begin().await.unwrap();
        sqlx::raw_sql("COMMIT").execute(&mut **tx).await.unwrap();
        sqlx::query(RAISE).execute(&mut **tx).await.unwrap();
        let _ = tx.commit().await;
        idle!(pool);
        assert_eq!(n!(pool), 1);
    }

    async fn a_helper_that_ends_the_transaction_before_it_is_dropped(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");
        let mut tx = pool.begin().await.unwrap();
        sqlx::raw_sql("COMMIT").execute(&mut **tx).await.unwrap();
        sqlx::query(RAISE).execute(&mut **tx).await.unwrap();
        drop(tx);
        idle!(pool);
        assert_eq!(n!(pool), 1);
    }

    async fn transactions_by_text(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");
        let mut connection = pool.acquire().await.unwrap();
        for (sql, expected) in [
            ("BEGIN", 0), (RAISE, 0), ("SAVEPOINT s", 0), (RAISE, 0), ("ROLLBACK TO s", 0), ("RELEASE SAVEPOINT s", 0), ("COMMIT", 1),
            (RAISE, 2), ("BEGIN", 2), (RAISE, 2), ("ROLLBACK", 2), (RAISE, 3),
        ] {
            sqlx::query(sql).execute(&mut *connection).await.unwrap();
            assert_eq!(n!(pool), expected, "after {sql}");
            assert_eq!(n!(pool), expected, "again after {sql}");
        }
        drop(connection);
        kept!(pool, 3, "given back");

        // The end of a transaction that was begun as sqlx does.
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        sqlx::query("COMMIT").execute(&mut *tx).await.unwrap();
        assert_eq!(n!(pool), 4);
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        assert_eq!(n!(pool), 5);
        drop(tx);
        idle!(pool);
        assert_eq!(n!(pool), 5);

        let mut tx = pool.begin().await.unwrap();
        let _ = sqlx::raw_sql("UPDATE t SET n = n + 1; COMMIT; UPDATE t SET n = n + 1").execute(&mut *tx).await;
        assert_eq!(n!(pool), 7);
        drop(tx);
        idle!(pool);
        assert_eq!(n!(pool), 7);
    }

    /// More than BEGIN in the statement that begins.
    async fn begun_with_a_write(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");
        if let Ok(tx) = pool.begin_with("BEGIN; UPDATE t SET n = n + 1").await {
            tx.commit().await.unwrap();
        }
        idle!(pool);
        let truth: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
        kept!(pool, truth, "a write behind BEGIN");
        pool.begin_with(RAISE).await.expect_err("it begins nothing");
        idle!(pool);
        assert_eq!(n!(pool), truth + 1, "a write in place of BEGIN");
        pool.begin_with("BEGIN; SELECT nothing").await.expect_err("it fails");
        sqlx::query(RAISE).execute(&pool).await.unwrap();
        assert_eq!(n!(pool), truth + 2);
        kept!(pool, truth + 2, "after a BEGIN that failed");
    }

    /// Text through the pool leaves one of its connections in a transaction; nothing can be kept any more.
    async fn begin_through_the_pool(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");
        sqlx::query("BEGIN").execute(&pool).await.unwrap();
        let before = pool.stats();
        n!(pool);
        n!(pool);
        let after = pool.stats();
        assert_eq!(after.hits, before.hits);
        assert_eq!(after.bypasses_by_reason[&Reason::SessionChanged], 2, "{after}");
    }

    /// A transaction whose guard is leaked stays open on a connection that is then given back.
    async fn a_leaked_transaction_is_found(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");
        let mut connection = pool.acquire().await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        std::mem::forget(tx);
        drop(connection);
        idle!(pool);
        kept!(pool, 0, "its connection is closed");
        sqlx::query(RAISE).execute(&pool).await.unwrap();
        kept!(pool, 1, "and with it ended the transaction");
    }
}

/// Each helper leaves the connection other than it found it: nobody else gets it. Where it is the only one, nothing is kept
/// from then on.
macro_rules! sessions {
    ($new:path, $of_one:path, $($sql:expr),+ $(,)?) => {
        for sql in [$($sql),+] {
            let pool = $new().await;
            sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
            kept!(pool, 0, sql);
            let mut connection = pool.acquire().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut **connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            drop(connection);
            idle!(pool);
            kept!(pool, 0, sql);
            sqlx::query(RAISE).execute(&pool).await.unwrap_or_else(|error| panic!("after {sql}: {error}"));
            kept!(pool, 1, sql);

            let pool = $of_one().await;
            sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
            kept!(pool, 0, sql);
            let mut connection = pool.acquire().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut **connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            drop(connection);
            idle!(pool);
            for _ in 0..2 {
                let _ = sqlx::query(N).fetch_one(&pool).await;
            }
            let stats = pool.stats();
            assert_eq!(stats.bypasses_by_reason.get(&Reason::SessionChanged), Some(&2), "{sql}: {stats}");
        }
    };
}

/// Each helper leaves the connection as it found it.
macro_rules! harmless {
    ($new:path, $($sql:expr),+ $(,)?) => {
        let pool = $new().await;
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for sql in [$($sql),+] {
            let mut connection = pool.acquire().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut **connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            drop(connection);
            kept!(pool, 0, sql);
        }
    };
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::support::postgres;

    async fn of_one() -> larder::CachedPool<sqlx::Postgres> {
        let options = larder::PoolOptions::new().max_connections(1);
        options.connect_with((*postgres().await.connect_options()).clone()).await.unwrap()
    }

    #[tokio::test]
    async fn changed_sessions_share_nothing() {
        sessions!(
            postgres,
            of_one,
            "CREATE SCHEMA other; SET search_path TO other, public",
            "SET ROLE pg_read_all_data",
            "CREATE TEMP TABLE t (id BIGINT, n BIGINT)",
            "SET TimeZone TO 'Asia/Tokyo'",
            "SET default_transaction_isolation TO 'repeatable read'",
            "BEGIN",
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT n FROM t",
            "SELECT set_config('search_path', 'pg_catalog', false)",
            "DO $$ BEGIN SET search_path TO pg_catalog; END $$",
            "SET SESSION AUTHORIZATION pg_read_all_data",
        );
    }

    #[tokio::test]
    async fn what_is_put_back_does_no_harm() {
        harmless!(
            postgres,
            "SELECT 1",
            "SET search_path TO pg_catalog; RESET search_path",
            "BEGIN; SET LOCAL search_path TO pg_catalog; COMMIT",
            "SET ROLE pg_read_all_data; RESET ROLE",
            "BEGIN; UPDATE t SET n = 7; ROLLBACK",
            "SET application_name TO 'somebody'",
        );
    }

    /// Interleaving: a helper changes the search path, then its caller goes away in the middle of a statement that fails. The
    /// first answer of the connection is that failure, and the settings behind it must be looked at all the same.
    #[tokio::test]
    async fn a_failure_in_the_pipe_hides_no_setting() {
        let pool = postgres().await;
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        sqlx::raw_sql("CREATE SCHEMA other; CREATE TABLE other.t AS SELECT 1::bigint AS id, 99::bigint AS n")
            .execute(&pool)
            .await
            .unwrap();
        kept!(pool, 0, "at first");
        let mut connection = pool.acquire().await.unwrap();
        let helper = async {
            let raw: &mut sqlx::PgConnection = &mut connection;
            sqlx::query("SET search_path TO other").execute(&mut *raw).await.unwrap();
            sqlx::query("SELECT n / (n - n) FROM t, pg_sleep(0.2)").execute(&mut *raw).await
        };
        tokio::time::timeout(Duration::from_millis(60), helper).await.expect_err("it was meant to be slow");
        drop(connection);
        idle!(pool);
        kept!(pool, 0, "nobody else got the connection");
        assert_eq!(pool.stats().bypasses_by_reason.get(&Reason::SessionChanged), None);
    }

    #[tokio::test]
    async fn set_through_the_pool_ends_the_caching() {
        for sql in
            ["SET TimeZone TO 'Asia/Tokyo'", "SET ROLE pg_read_all_data", "CREATE TEMP TABLE x (id INT)", "DISCARD ALL"]
        {
            let pool = postgres().await;
            sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
            kept!(pool, 0, sql);
            sqlx::query(sql).execute(&pool).await.unwrap();
            let _ = sqlx::query(N).fetch_one(&pool).await;
            let stats = pool.stats();
            assert_eq!(stats.bypasses_by_reason.get(&Reason::SessionChanged), Some(&1), "{sql}: {stats}");
        }
    }

    /// Another pool goes on as if nothing had happened: its own sessions are as they were.
    #[tokio::test]
    async fn other_pools_are_not_touched() {
        let pool = postgres().await;
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let other = larder::PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
        sqlx::query("SET TimeZone TO 'Asia/Tokyo'").execute(&pool).await.unwrap();
        kept!(other, 0, "the other pool");
        sqlx::query(RAISE).execute(&pool).await.unwrap();
        assert_eq!(n!(other), 1, "a pool that keeps nothing still invalidates");
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use crate::support::sqlite;

    async fn of_one() -> larder::CachedPool<sqlx::Sqlite> {
        let options = larder::PoolOptions::new().max_connections(1);
        options.connect_with((*sqlite().await.connect_options()).clone()).await.unwrap()
    }

    #[tokio::test]
    async fn changed_sessions_share_nothing() {
        sessions!(
            sqlite,
            of_one,
            "CREATE TEMP TABLE t (id, n)",
            "CREATE TEMP TRIGGER g AFTER UPDATE ON t BEGIN DELETE FROM t; END",
            "PRAGMA case_sensitive_like = ON",
            "PRAGMA foreign_keys = OFF",
            "ATTACH ':memory:' AS other",
            "PRAGMA reverse_unordered_selects = ON",
            "BEGIN",
            "BEGIN; SELECT n FROM t",
        );
    }

    #[tokio::test]
    async fn what_is_put_back_does_no_harm() {
        harmless!(
            sqlite,
            "SELECT 1",
            "PRAGMA foreign_keys = OFF; PRAGMA foreign_keys = ON",
            "BEGIN; UPDATE t SET n = 7; ROLLBACK",
            "PRAGMA cache_size = 100",
        );
    }

    /// A database in memory ends with its last connection, which is therefore never closed for what it looks like.
    #[tokio::test]
    async fn what_lives_in_memory_stays() {
        let url = "sqlite:file:opaque_in_memory?mode=memory&cache=shared";
        let pool = larder::SqlitePoolOptions::new().max_connections(3).connect(url).await.unwrap();
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut connection = pool.acquire().await.unwrap();
            sqlx::raw_sql("PRAGMA case_sensitive_like = ON").execute(&mut **connection).await.unwrap();
            all.push(connection);
        }
        drop(all);
        idle!(pool);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(n!(pool), 0);
        assert_eq!(pool.stats().bypasses_by_reason.get(&Reason::SessionChanged), Some(&1), "{}", pool.stats());
    }

    /// SQLite rolls back by itself, and every statement after that is published at once.
    #[tokio::test]
    async fn a_transaction_that_rolled_itself_back_hides_no_write() {
        for end in ["drop", "rollback", "commit"] {
            let pool = sqlite().await;
            sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
            kept!(pool, 0, "at first");
            let mut tx = pool.begin().await.unwrap();
            sqlx::query("INSERT OR ROLLBACK INTO t VALUES (1, 5)").execute(&mut *tx).await.unwrap_err();
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            assert_eq!(n!(pool), 1, "{end}");
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            assert_eq!(n!(pool), 2, "{end}");
            match end {
                "drop" => drop(tx),
                "rollback" => drop(tx.rollback().await),
                _ => drop(tx.commit().await),
            }
            idle!(pool);
            assert_eq!(n!(pool), 2, "{end}");
        }
        // A failure that leaves the transaction alone costs nothing.
        let pool = sqlite().await;
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        kept!(pool, 0, "at first");
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1, 5)").execute(&mut *tx).await.unwrap_err();
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        assert_eq!(was_hit(&pool, sqlx::query_scalar::<_, i64>(N).fetch_one(&pool)).await, (0, true));
        tx.commit().await.unwrap();
        assert_eq!(n!(pool), 1);
    }
}
