//! Many who ask the same at once cost the database one query; nobody gets an answer older than his question.

use std::time::Duration;

use futures::future::join_all;

on_each! {
    async fn those_who_ask_at_once_share_a_load(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)").execute(&pool).await.unwrap();
        let mut rows = sqlx::QueryBuilder::new("INSERT INTO t ");
        rows.push_values(0..400_i32, |mut row, i| { row.push_bind(i).push_bind(i % 7); });
        rows.build().execute(&pool).await.unwrap();
        // Slow enough for all to arrive while it runs.
        let slow = "SELECT count(*) FROM t a, t b, t c WHERE a.n + b.n + c.n = 3 AND a.id < 60";
        let before = pool.stats();
        let asking: Vec<_> = (0..32).map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { sqlx::query_scalar::<_, i64>(slow).fetch_one(&pool).await.unwrap() })
        }).collect();
        let answers: Vec<i64> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|n| *n == answers[0]));
        let after = pool.stats();
        assert_eq!(after.misses - before.misses, 1, "{after}");
        assert_eq!(after.coalesced + after.hits - before.coalesced - before.hits, 31, "{after}");
        assert!(after.coalesced > 0, "{after}");
    }

    /// The first to ask goes away; his load serves those who stayed.
    async fn a_load_survives_its_caller(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)").execute(&pool).await.unwrap();
        let mut rows = sqlx::QueryBuilder::new("INSERT INTO t ");
        rows.push_values(0..400_i32, |mut row, i| { row.push_bind(i).push_bind(i % 7); });
        rows.build().execute(&pool).await.unwrap();
        let slow = "SELECT count(*) FROM t a, t b, t c WHERE a.n + b.n + c.n = 3 AND a.id < 60";
        let ask = || sqlx::query_scalar::<_, i64>(slow);
        let gone = tokio::time::timeout(Duration::from_millis(5), ask().fetch_one(&pool)).await;
        assert!(gone.is_err(), "the query was meant to be slow");
        // A future that was begun and is kept without being polled holds nobody up either.
        let mut idle = Box::pin(ask().fetch_one(&pool));
        let _ = futures::poll!(&mut idle);
        ask().fetch_one(&pool).await.unwrap();
        let stats = pool.stats();
        assert_eq!(stats.misses, 1, "{stats}");
        assert_eq!(stats.stored, 1, "{stats}");
        assert_eq!(idle.await.unwrap(), ask().fetch_one(&pool).await.unwrap());
    }

    /// Interleaving: a load begins; a write is done and its caller told; that caller asks. He must not be given the load.
    async fn nobody_joins_a_load_begun_before_a_write_he_must_see(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE c (n INTEGER); INSERT INTO c VALUES (0)")
            .execute(&pool).await.unwrap();
        let mut rows = sqlx::QueryBuilder::new("INSERT INTO t ");
        rows.push_values(0..400_i32, |mut row, i| { row.push_bind(i).push_bind(i % 7); });
        rows.build().execute(&pool).await.unwrap();
        let slow = "SELECT (SELECT max(n) FROM c) FROM t a, t b, t c WHERE a.n + b.n + c.n = 3 AND a.id < 60 ORDER BY 1 LIMIT 1";
        for i in 1..=3_i32 {
            let loading = { let pool = pool.clone(); tokio::spawn(async move { sqlx::query_scalar::<_, i32>(slow).fetch_one(&pool).await.unwrap() }) };
            tokio::time::sleep(Duration::from_millis(3)).await;
            sqlx::query(spell("UPDATE c SET n = $1")).bind(i).execute(&pool).await.unwrap();
            assert_eq!(sqlx::query_scalar::<_, i32>(slow).fetch_one(&pool).await.unwrap(), i);
            assert!(loading.await.unwrap() >= i - 1);
            assert_eq!(sqlx::query_scalar::<_, i32>(slow).fetch_one(&pool).await.unwrap(), i);
        }
    }
}
