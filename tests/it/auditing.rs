//! Answers from the cache are compared with the database's, and only those that are wrong are called so.

use std::time::{Duration, Instant};

use larder::{CachedPool, Sessions};

on_each! {
    async fn what_nobody_saw_is_found(pool) {
        let inner = pool.inner().clone();
        let pool = CachedPool::builder(inner.clone(), Sessions::Uniform).sole_writer().audit(1.0).build().await.unwrap();
        for sql in ["CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)", "INSERT INTO t VALUES (1, 0)", "INSERT INTO t VALUES (2, 0)"] {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
        let read = async || sqlx::query_scalar::<_, i64>("SELECT n FROM t WHERE id = 1").fetch_one(&pool).await.unwrap();
        let begun = Instant::now();
        // One at a time is looked into.
        while pool.stats().audited < 10 {
            assert!(read().await == 0 && begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
        }
        assert_eq!(pool.stats().audited_stale, 0);
        // Written through the pool while answers are looked into: no fault of theirs.
        for n in 1..20 {
            read().await;
            sqlx::query("UPDATE t SET n = n + 1 WHERE id = 1").execute(&pool).await.unwrap();
            assert_eq!(read().await, n);
            read().await;
        }
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(pool.stats().audited_stale, 0, "{}", pool.stats());
        // Written by somebody who is not seen.
        read().await;
        sqlx::query("UPDATE t SET n = 99 WHERE id = 1").execute(&inner).await.unwrap();
        let begun = Instant::now();
        while pool.stats().audited_stale == 0 {
            assert!(read().await == 19 && begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stats = pool.stats();
        let tables: Vec<_> = stats.audited_stale_by_table.keys().collect();
        assert!(tables.len() == 1 && tables[0].ends_with(".t"), "{tables:?}");
        // One table in each answer: it counts for what all of them do.
        let audited = stats.audited_by_table[tables[0]];
        assert!(audited >= 10, "{stats:?}");
        let report = pool.report();
        assert!(report.to_string().contains("Was it right") && report.markdown().contains("Was it right"), "{report}");
        assert!(stats.to_string().contains("were stale"), "{stats}");
        // Nothing is made good by a look.
        assert_eq!(read().await, 19);
    }
}

/// A table that is locked holds up one look, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_up_takes_one_connection_only() {
    let url = crate::servers::Postgres::shared().fresh();
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    let setup =
        "CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (0); CREATE TABLE u (n BIGINT); INSERT INTO u VALUES (0)";
    sqlx::raw_sql(setup).execute(&other).await.unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
    let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().audit(1.0).build().await.unwrap();
    let read = async || sqlx::query_scalar::<_, i64>("SELECT n FROM t").fetch_one(&pool).await.unwrap();
    let begun = Instant::now();
    while pool.stats().audited == 0 {
        read().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
    }
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    for _ in 0..1_000 {
        read().await;
    }
    let write = sqlx::query("UPDATE u SET n = n + 1").execute(&pool);
    tokio::time::timeout(Duration::from_secs(20), write).await.expect("there is a connection left").unwrap();
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    assert!(sqlx::query_scalar::<_, i64>(waiting).fetch_one(&other).await.unwrap() <= 1);
    let before = pool.stats().audited;
    lock.rollback().await.unwrap();
    let begun = Instant::now();
    while pool.stats().audited == before {
        read().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
    }
}
