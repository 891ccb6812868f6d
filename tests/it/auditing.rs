//! Answers from the cache are compared with the database's, and only those that are wrong are called so.

use std::time::{Duration, Instant};

use larder::{CachedPool, Sessions};

macro_rules! until {
    ($pool:expr, $is_so:expr) => {{
        let begun = Instant::now();
        while !$is_so($pool.stats()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", $pool.stats());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }};
}

on_each! {
    async fn what_nobody_saw_is_found(pool) {
        let inner = pool.inner().clone();
        let pool = CachedPool::builder(inner.clone(), Sessions::Uniform).sole_writer().audit(1.0).build().await.unwrap();
        for sql in ["CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)", "INSERT INTO t VALUES (1, 0)", "INSERT INTO t VALUES (2, 0)"] {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
        let read = async || sqlx::query_scalar::<_, i64>("SELECT n FROM t WHERE id = 1").fetch_one(&pool).await.unwrap();
        let begun = Instant::now();
        while pool.stats().hits < 20 {
            assert!(read().await == 0 && begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
        }
        until!(pool, |stats: larder::Stats| stats.audited >= 10);
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
        assert_eq!(read().await, 19);
        until!(pool, |stats: larder::Stats| stats.audited_stale > 0);
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
