//! What query caches are known to get wrong.

use sqlx::{Executor, Row};

use crate::support::was_hit;

on_each! {
    /// Each statement hides a read of `hidden` somewhere. Kept it may be; stale it may not.
    async fn tables_hidden_in_a_statement_are_found(pool) {
        sqlx::raw_sql(
            "CREATE TABLE shown (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); CREATE TABLE hidden (id INTEGER PRIMARY KEY, \
             n INTEGER NOT NULL); INSERT INTO shown VALUES (1, 1), (2, 2), (3, 3); INSERT INTO hidden VALUES (1, 1)",
        ).execute(&pool).await.unwrap();
        let statements = [
            "SELECT (SELECT count(*) FROM hidden) FROM shown WHERE id = 1",
            "SELECT count(*) FROM shown GROUP BY id HAVING count(*) < (SELECT count(*) FROM hidden) ORDER BY 1",
            "SELECT CASE WHEN id = 1 THEN (SELECT max(id) FROM hidden) ELSE 0 END FROM shown ORDER BY id",
            "SELECT id FROM shown WHERE NOT EXISTS (SELECT 1 FROM hidden WHERE hidden.id = shown.id) ORDER BY id",
            "SELECT id FROM shown ORDER BY id LIMIT (SELECT count(*) FROM hidden)",
            "SELECT id FROM shown ORDER BY id LIMIT 3 OFFSET (SELECT count(*) - 1 FROM hidden)",
            "SELECT id FROM shown ORDER BY (SELECT max(id) FROM hidden) - id, id",
            "SELECT id FROM shown WHERE id IN (SELECT id FROM hidden) ORDER BY id",
            "WITH h AS (SELECT id FROM hidden) SELECT shown.id FROM shown JOIN h ON h.id = shown.id ORDER BY 1",
            "WITH shown AS (SELECT id FROM hidden) SELECT id FROM shown ORDER BY id",
            "WITH hidden AS (SELECT id FROM hidden) SELECT id FROM hidden ORDER BY id",
            "SELECT id FROM shown WHERE id > 2 UNION ALL SELECT id FROM hidden ORDER BY 1",
            "/* shown */ -- hidden\n SELECT id FROM hidden ORDER BY id",
            "SELECT s.id FROM shown s, (SELECT h.id FROM (SELECT id FROM hidden) h) t WHERE s.id = t.id ORDER BY 1",
            "SELECT count(*) FILTER (WHERE id IN (SELECT id FROM hidden)) FROM shown",
            "SELECT sum(n) OVER (ORDER BY (SELECT max(id) FROM hidden)) FROM shown ORDER BY 1",
            "SELECT id FROM shown WHERE 'hidden' = 'hidden' AND id = (SELECT max(id) FROM hidden)",
        ];
        let (mut kept, mut refused) = (0, 0);
        for (i, sql) in statements.into_iter().enumerate() {
            let id = i as i32 + 2;
            let rows = async |fresh: bool| {
                let rows = if fresh { pool.inner().fetch_all(sqlx::query(sql)).await } else { pool.fetch_all(sqlx::query(sql)).await };
                rows.unwrap_or_else(|error| panic!("{sql}: {error}")).iter().map(|row| format!("{row:?}")).collect::<Vec<_>>()
            };
            if let Err(error) = pool.inner().fetch_all(sqlx::query(sql)).await {
                // SQLite has no name for a table behind a common table expression of the same name; MySQL takes no query as
                // a limit, and no FILTER.
                let (sqlite, mysql) = ("circular reference", "error in your SQL syntax");
                assert!([sqlite, mysql].iter().any(|known| error.to_string().contains(known)), "{sql}: {error}");
                refused += 1;
                continue;
            }
            let before = rows(false).await;
            let (again, hit) = was_hit(&pool, async { Ok(rows(false).await) }).await;
            assert_eq!(before, again, "{sql}");
            kept += usize::from(hit);
            sqlx::query(spell("INSERT INTO hidden VALUES ($1, $2)")).bind(id).bind(id).execute(&pool).await.unwrap();
            assert_eq!(rows(false).await, rows(true).await, "stale: {sql}");
        }
        assert!(refused <= 3 && kept + refused >= statements.len() - 2, "only {kept} of {} were kept at all: {}", statements.len(), pool.stats());
    }

    async fn literals_differ_by_case_and_by_type(pool) {
        let create = match <Db as sqlx::Database>::NAME {
            "MySQL" => "CREATE TABLE words (w VARCHAR(10) COLLATE utf8mb4_bin)",
            _ => "CREATE TABLE words (w VARCHAR(10))",
        };
        sqlx::query(create).execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO words VALUES ('aaa'), ('AAA'), ('1')").execute(&pool).await.unwrap();
        for _ in 0..2 {
            for (sql, expected) in [
                ("SELECT w FROM words WHERE w = 'aaa'", "aaa"),
                ("SELECT w FROM words WHERE w = 'AAA'", "AAA"),
                ("SELECT w FROM words WHERE w = '1'", "1"),
                ("SELECT w FROM words  WHERE w = /* AAA */ 'aaa';", "aaa"),
            ] {
                let word: String = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
                assert_eq!(word, expected, "{sql}");
            }
            for word in ["aaa", "AAA"] {
                let found: String = sqlx::query_scalar(spell("SELECT w FROM words WHERE w = $1")).bind(word).fetch_one(&pool).await.unwrap();
                assert_eq!(found, word);
            }
        }
        assert!(pool.stats().hits >= 6);
    }

    async fn a_prepared_insert_counts_each_time(pool) {
        sqlx::query("CREATE TABLE t (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
        let insert = (&pool).prepare(spell("INSERT INTO t VALUES ($1)")).await.unwrap();
        let count = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t");
        for i in 1..=5_i32 {
            use sqlx::Statement;
            insert.query().bind(i).execute(&pool).await.unwrap();
            assert_eq!(count().fetch_one(&pool).await.unwrap(), i64::from(i));
            assert_eq!(count().fetch_one(&pool).await.unwrap(), i64::from(i));
        }
        assert_eq!(pool.stats().hits, 5);
    }

    async fn a_write_that_returns_rows_is_a_write(pool) {
        sqlx::query("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)").execute(&pool).await.unwrap();
        let count = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t");
        for i in 1..=3_i64 {
            let id: i32 = sqlx::query_scalar(spell("INSERT INTO t VALUES ($1, 0) RETURNING id")).bind(i as i32).fetch_one(&pool).await.unwrap();
            assert_eq!(i64::from(id), i);
            assert_eq!(count().fetch_one(&pool).await.unwrap(), i);
        }
    }

    async fn a_rolled_back_write_keeps_the_hit(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
        let count = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t");
        assert_eq!(count().fetch_one(&pool).await.unwrap(), 1);
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await.unwrap();
        assert_eq!(count().fetch_one(&mut *tx).await.unwrap(), 2);
        assert_eq!(was_hit(&pool, count().fetch_one(&pool)).await, (1, true));
        tx.rollback().await.unwrap();
        assert_eq!(was_hit(&pool, count().fetch_one(&pool)).await, (1, true));
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await.unwrap();
        drop(tx);
        assert_eq!(was_hit(&pool, count().fetch_one(&pool)).await, (1, true));
    }

    async fn what_was_rolled_back_to_a_savepoint_keeps_the_hit(pool) {
        sqlx::raw_sql("CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
        let a = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM a");
        let b = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM b");
        assert_eq!((a().fetch_one(&pool).await.unwrap(), b().fetch_one(&pool).await.unwrap()), (0, 0));
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO a VALUES (1)").execute(&mut *tx).await.unwrap();
        let mut savepoint = tx.begin().await.unwrap();
        sqlx::query("INSERT INTO b VALUES (1)").execute(&mut *savepoint).await.unwrap();
        savepoint.rollback().await.unwrap();
        let mut savepoint = tx.begin().await.unwrap();
        sqlx::query("INSERT INTO a VALUES (2)").execute(&mut *savepoint).await.unwrap();
        savepoint.commit().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(was_hit(&pool, a().fetch_one(&pool)).await, (2, false));
        assert_eq!(was_hit(&pool, b().fetch_one(&pool)).await, (0, true));
    }

    /// sqlx lets a savepoint that is dropped be rolled back; what its text released stays.
    async fn a_savepoint_by_text_is_rolled_back_by_text(pool) {
        sqlx::raw_sql("CREATE TABLE a (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
        let a = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM a");
        assert_eq!(a().fetch_one(&pool).await.unwrap(), 0);
        let mut tx = pool.begin().await.unwrap();
        for sql in ["SAVEPOINT s", "INSERT INTO a VALUES (1)", "ROLLBACK TO SAVEPOINT s", "INSERT INTO a VALUES (2)"] {
            sqlx::query(sql).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(a().fetch_one(&pool).await.unwrap(), 1);
    }

    async fn a_fill_while_a_transaction_is_open_is_not_stale_after_it(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 0)").execute(&pool).await.unwrap();
        let n = || sqlx::query_scalar::<_, i32>("SELECT n FROM t WHERE id = 1");
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("UPDATE t SET n = 1").execute(&mut *tx).await.unwrap();
        // Filled with what was committed: right now, and until the commit.
        assert_eq!(n().fetch_one(&pool).await.unwrap(), 0);
        assert_eq!(was_hit(&pool, n().fetch_one(&pool)).await, (0, true));
        tx.commit().await.unwrap();
        assert_eq!(n().fetch_one(&pool).await.unwrap(), 1);
    }

    async fn after_rename_and_drop_the_next_read_fails(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
        let count = |sql| sqlx::query_scalar::<_, i64>(sql);
        for _ in 0..2 {
            assert_eq!(count("SELECT count(*) FROM t").fetch_one(&pool).await.unwrap(), 1);
        }
        sqlx::query("ALTER TABLE t RENAME TO u").execute(&pool).await.unwrap();
        assert!(count("SELECT count(*) FROM t").fetch_one(&pool).await.is_err());
        for _ in 0..2 {
            assert_eq!(count("SELECT count(*) FROM u").fetch_one(&pool).await.unwrap(), 1);
        }
        sqlx::query("DROP TABLE u").execute(&pool).await.unwrap();
        assert!(count("SELECT count(*) FROM u").fetch_one(&pool).await.is_err());
        // A view under the old name: its table's writes must not be missed.
        sqlx::query("CREATE TABLE base (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
        sqlx::query("CREATE VIEW t AS SELECT id FROM base").execute(&pool).await.unwrap();
        assert_eq!(count("SELECT count(*) FROM t").fetch_one(&pool).await.unwrap(), 0);
        sqlx::query("INSERT INTO base VALUES (1)").execute(&pool).await.unwrap();
        assert_eq!(count("SELECT count(*) FROM t").fetch_one(&pool).await.unwrap(), 1);
    }

    async fn arguments_of_other_types_are_other_questions(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
        for _ in 0..3 {
            let sql = spell("SELECT CAST($1 AS CHAR(20)) || '' FROM t");
            let number: String = sqlx::query_scalar(sql).bind(7_i32).fetch_one(&pool).await.unwrap();
            assert_eq!(number, "7");
            let sql = spell("SELECT CAST($1 AS CHAR(30)) || '' FROM t");
            let text: String = sqlx::query_scalar(sql).bind("7").fetch_one(&pool).await.unwrap();
            assert_eq!(text, "7");
        }
        // Of one text, the database decides by the type that was bound.
        let sql = || spell("SELECT count(*) FROM t WHERE id = $1");
        for _ in 0..2 {
            assert_eq!(sqlx::query_scalar::<_, i64>(sql()).bind(1_i32).fetch_one(&pool).await.unwrap(), 1);
            assert_eq!(sqlx::query_scalar::<_, i64>(sql()).bind(2_i32).fetch_one(&pool).await.unwrap(), 0);
            assert_eq!(sqlx::query_scalar::<_, i64>(sql()).bind(None::<i32>).fetch_one(&pool).await.unwrap(), 0);
        }
    }

    async fn a_part_of_a_result_is_never_taken_for_the_whole(pool) {
        use futures::TryStreamExt;
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)").execute(&pool).await.unwrap();
        for i in 0..100_i32 {
            sqlx::query(spell("INSERT INTO t VALUES ($1)")).bind(i).execute(&pool).await.unwrap();
        }
        let all = "SELECT id FROM t ORDER BY id";
        let first: i32 = sqlx::query_scalar(all).fetch_one(&pool).await.unwrap();
        assert_eq!(first, 0);
        assert_eq!(sqlx::query(all).fetch_all(&pool).await.unwrap().len(), 100);
        pool.clear();
        {
            let mut rows = sqlx::query(all).fetch(&pool);
            for i in 0..3_i32 {
                assert_eq!(rows.try_next().await.unwrap().unwrap().get::<i32, _>(0), i);
            }
        }
        assert_eq!(sqlx::query(all).fetch_all(&pool).await.unwrap().len(), 100);
        assert_eq!(sqlx::query(all).fetch_optional(&pool).await.unwrap().unwrap().get::<i32, _>(0), 0);
        assert!(sqlx::query(all).execute(&pool).await.is_ok());
    }
}

/// What only Postgres has.
#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::Row;

    use crate::support::{postgres, was_hit};

    #[tokio::test]
    async fn writes_in_disguise_are_writes() {
        let pool = postgres().await;
        sqlx::raw_sql("CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u (id INT)").execute(&pool).await.unwrap();
        let count = async || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(&pool).await;
        async fn until_hit(pool: &larder::PgPool, expected: i64, sql: &str) {
            let count = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t");
            for _ in 0..1000 {
                let (n, hit) = was_hit(pool, count().fetch_one(pool)).await;
                assert_eq!(n, expected, "{sql}");
                if hit {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            panic!("nothing is kept after {sql}: {}", pool.stats());
        }
        let mut expected = 0;
        for sql in [
            "WITH new AS (INSERT INTO t VALUES (1) RETURNING id) SELECT id FROM new",
            "EXPLAIN ANALYZE INSERT INTO t VALUES (2)",
            "EXPLAIN (ANALYZE, COSTS OFF) INSERT INTO t VALUES (3)",
            "INSERT INTO t SELECT 4",
            "MERGE INTO t USING (SELECT 5 AS id) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id)",
            "DO $$ BEGIN INSERT INTO t VALUES (6); END $$",
            "WITH gone AS (DELETE FROM u RETURNING id), new AS (INSERT INTO t VALUES (7)) SELECT count(*) FROM gone",
        ] {
            // After a statement that nothing is known of, the schema is looked at anew first.
            until_hit(&pool, expected, sql).await;
            sqlx::query(sql).fetch_all(&pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            expected += 1;
            assert_eq!(count().await.unwrap(), expected, "stale after {sql}");
        }
        assert_eq!(was_hit(&pool, count()).await, (expected, true));
        sqlx::query("EXPLAIN INSERT INTO t VALUES (8)").fetch_all(&pool).await.unwrap();
        assert_eq!(was_hit(&pool, count()).await, (expected, true), "EXPLAIN alone writes nothing");
        sqlx::query("TRUNCATE t").execute(&pool).await.unwrap();
        assert_eq!(count().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_commit_that_a_deferred_constraint_refuses_publishes_nothing() {
        let pool = postgres().await;
        sqlx::raw_sql(
            "CREATE TABLE parent (id INT PRIMARY KEY); CREATE TABLE child (parent INT REFERENCES parent \
             DEFERRABLE INITIALLY DEFERRED)",
        )
        .execute(&pool)
        .await
        .unwrap();
        let count = async || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM child").fetch_one(&pool).await;
        assert_eq!(count().await.unwrap(), 0);
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO child VALUES (1)").execute(&mut *tx).await.unwrap();
        let refused = tx.commit().await.unwrap_err();
        assert!(refused.as_database_error().is_some_and(|error| error.is_foreign_key_violation()), "{refused}");
        assert_eq!(count().await.unwrap(), 0);
        assert_eq!(was_hit(&pool, count()).await, (0, true));
        while pool.num_idle() < pool.size() as usize {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_serialization_failure_at_commit_publishes_nothing() {
        let pool = postgres().await;
        sqlx::raw_sql("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0), (2, 0)")
            .execute(&pool)
            .await
            .unwrap();
        let sum = async || sqlx::query_scalar::<_, i64>("SELECT sum(n) FROM t").fetch_one(&pool).await;
        assert_eq!(sum().await.unwrap(), 0);
        let serializable = "BEGIN ISOLATION LEVEL SERIALIZABLE";
        let (mut a, mut b) =
            (pool.begin_with(serializable).await.unwrap(), pool.begin_with(serializable).await.unwrap());
        for (tx, id) in [(&mut a, 1), (&mut b, 2)] {
            sqlx::query("SELECT sum(n) FROM t").fetch_one(&mut **tx).await.unwrap();
            sqlx::query("UPDATE t SET n = n + 1 WHERE id = $1").bind(id).execute(&mut **tx).await.unwrap();
        }
        a.commit().await.unwrap();
        assert_eq!(b.commit().await.unwrap_err().as_database_error().unwrap().code().unwrap(), "40001");
        assert_eq!(sum().await.unwrap(), 1);
        assert_eq!(was_hit(&pool, sum()).await, (1, true));
    }

    #[tokio::test]
    async fn special_date_words_are_asked_anew() {
        let pool = postgres().await;
        sqlx::raw_sql("CREATE TABLE t (at TIMESTAMPTZ); INSERT INTO t VALUES (clock_timestamp())")
            .execute(&pool)
            .await
            .unwrap();
        for sql in [
            "SELECT count(*) FROM t WHERE at < 'now'",
            "SELECT count(*) FROM t WHERE at < 'tomorrow'",
            "SELECT count(*) FROM t WHERE at < timestamptz 'today'",
            "SELECT count(*) FROM t WHERE at < now()",
            "SELECT count(*) FROM t WHERE at < CURRENT_TIMESTAMP",
        ] {
            for _ in 0..2 {
                sqlx::query(sql).fetch_one(&pool).await.unwrap();
            }
        }
        let ask = async |text: &str| {
            let sql = "SELECT count(*) FROM t WHERE at <= $1::text::timestamptz OR at > $1::timestamptz";
            sqlx::query(sql).bind(text.to_owned()).fetch_one(&pool).await.unwrap().get::<i64, _>(0)
        };
        for text in ["now", "NOW", "2020-01-01"] {
            ask(text).await;
            ask(text).await;
        }
        assert_eq!(pool.stats().hits, 0, "{}", pool.stats());
    }

    /// A change that another session published behind a transaction left by text.
    #[tokio::test]
    async fn two_phase_commit_publishes_what_was_prepared() {
        let pool = postgres().await;
        let possible: String = sqlx::query_scalar("SHOW max_prepared_transactions").fetch_one(&pool).await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (id INT PRIMARY KEY)").execute(&pool).await.unwrap();
        let count = async || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(&pool).await;
        assert_eq!(count().await.unwrap(), 0);
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("BEGIN").execute(&mut *connection).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *connection).await.unwrap();
        let prepared = sqlx::query("PREPARE TRANSACTION 'larder'").execute(&mut *connection).await;
        if possible == "0" {
            assert!(prepared.is_err(), "the server takes no prepared transactions");
            return;
        }
        prepared.unwrap();
        drop(connection);
        assert_eq!(count().await.unwrap(), 0);
        sqlx::query("COMMIT PREPARED 'larder'").execute(&pool).await.unwrap();
        assert_eq!(count().await.unwrap(), 1);
    }
}
