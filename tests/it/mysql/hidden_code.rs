//! Code, tables and settings that a text does not show, or not to everybody at once.

use larder::{CachedPool, Sessions};

use super::*;

const T: &str = "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL);\nINSERT INTO t VALUES (1, 0), (2, 0)";
const N: &str = "SELECT id, n FROM t ORDER BY id";
const WRITES: &str = "CREATE FUNCTION f() RETURNS INT BEGIN UPDATE t SET n = n + 1; RETURN 1; END";

async fn all_are_back(pool: &MySqlPool) {
    while pool.num_idle() < pool.size() as usize {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What an engine without transactions was given stays after a rollback.
#[test]
fn a_rollback_does_not_undo_all() {
    alone(async {
        for engine in ["MyISAM", "Aria", "Aria TRANSACTIONAL=1", "MEMORY", "CSV"] {
            let pool =
                prepared(&format!("{T};\nCREATE TABLE x (n INT NOT NULL) ENGINE={engine};\nINSERT INTO x VALUES (1)"))
                    .await;
            keep(&pool, N).await;
            for end in ["rollback", "drop", "commit"] {
                let reads = [N, "SELECT COUNT(*) FROM x", "SELECT n, (SELECT COUNT(*) FROM x) AS c FROM t ORDER BY id"];
                let before = rows(pool.inner(), reads[1]).await.unwrap();
                let all_right = async |when: &str| {
                    for read in reads {
                        right(&pool, read, &format!("{engine} {when}")).await;
                    }
                };
                all_right("before").await;
                let mut tx = pool.begin().await.unwrap();
                for sql in ["INSERT INTO x VALUES (2)", "UPDATE t SET n = n + 1"] {
                    sqlx::query(sql).execute(&mut *tx).await.unwrap();
                    all_right("open").await;
                }
                match end {
                    "rollback" => tx.rollback().await.unwrap(),
                    "commit" => tx.commit().await.unwrap(),
                    _ => drop(tx),
                }
                all_right(end).await;
                all_are_back(&pool).await;
                all_right(end).await;
                assert_ne!(rows(pool.inner(), reads[1]).await.unwrap(), before, "{engine} undoes it after all");
            }
            keep(&pool, N).await;
        }
    });
}

/// Prepared in one session, which ends, and committed in another one.
#[test]
fn what_was_prepared_is_committed_by_another_session() {
    alone(async {
        let pool = prepared(T).await;
        for (name, end) in [("a", "COMMIT"), ("b", "ROLLBACK"), ("c", "COMMIT")] {
            keep(&pool, N).await;
            let mut connection = pool.acquire().await.unwrap();
            for sql in [
                &format!("XA START '{name}'"),
                "UPDATE t SET n = n + 1",
                &format!("XA END '{name}'"),
                &format!("XA PREPARE '{name}'"),
            ] {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
                right(&pool, N, sql).await;
            }
            drop(connection);
            all_are_back(&pool).await;
            keep(&pool, N).await;
            let ends = format!("XA {end} '{name}'");
            let deadline = Instant::now() + Duration::from_secs(5);
            // The server lets go of it when it has noticed that its session is gone.
            while let Err(error) =
                sqlx::raw_sql(AssertSqlSafe(&*ends)).execute(&mut *pool.acquire().await.unwrap()).await
            {
                assert!(Instant::now() < deadline, "{ends}: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            right(&pool, N, &ends).await;
            all_are_back(&pool).await;
            right(&pool, N, &ends).await;
        }
        assert_eq!(rows(pool.inner(), N).await.unwrap()[0], "sqlx_mysql::row::MySqlRow {\"id\": 1, \"n\": 2}");
    });
}

/// A temporary table that hides another goes with its connection, and is no reason for others to keep nothing.
#[test]
fn a_temporary_table_is_seen_by_its_session_alone() {
    alone(async {
        for create in [
            "CREATE TEMPORARY TABLE t LIKE u",
            "CREATE TEMPORARY TABLE t SELECT 7 AS id, 7 AS n",
            "CREATE OR REPLACE TEMPORARY TABLE t (id INT, n INT) ENGINE=MEMORY",
            "EXECUTE IMMEDIATE 'CREATE TEMPORARY TABLE t (id INT, n INT)'",
            "BEGIN NOT ATOMIC CREATE TEMPORARY TABLE x LIKE t; ALTER TABLE x RENAME t; END",
            "CREATE /*!50000 TEMPORARY */ TABLE t (id INT, n INT)",
            "SET STATEMENT max_statement_time = 5 FOR CREATE TEMPORARY TABLE t (id INT, n INT)",
            "SELECT g() FROM u",
            "SELECT 1; CREATE TEMPORARY TABLE t (id INT, n INT)",
        ] {
            let setup = format!(
                "{T};\nCREATE TABLE u (id INT, n INT);\nINSERT INTO u VALUES (1, 1);\n\
                 CREATE FUNCTION g() RETURNS INT BEGIN CREATE TEMPORARY TABLE t (id INT, n INT); RETURN 1; END"
            );
            let pool = prepared(&setup).await;
            let truth = keep(&pool, N).await;
            for how in ["connection", "commit", "rollback", "raw"] {
                let text = sqlx::raw_sql(AssertSqlSafe(create));
                if how == "connection" {
                    text.fetch_all(&mut *pool.acquire().await.unwrap()).await.unwrap();
                } else {
                    let mut tx = pool.begin().await.unwrap();
                    match how {
                        "raw" => text.fetch_all(&mut **tx).await.unwrap(),
                        _ => text.fetch_all(&mut *tx).await.unwrap(),
                    };
                    match how {
                        "rollback" => tx.rollback().await.unwrap(),
                        _ => tx.commit().await.unwrap(),
                    }
                }
                all_are_back(&pool).await;
                for _ in 0..5 {
                    assert_eq!(rows(&pool, N).await.unwrap(), truth, "{create}: {how}");
                }
                assert_eq!(keep(&pool, N).await, truth, "{create}: {how}");
            }
        }
    });
}

/// A view calls what writes, and so may a name that is a server's own elsewhere. Another pool changes the schema, so that
/// nothing of that is known any more when it is read.
#[test]
fn a_read_that_writes_while_nothing_is_known() {
    alone(async {
        let setup = format!(
            "{T};\n{WRITES};\nCREATE VIEW v AS SELECT f() AS x;\n\
             CREATE FUNCTION uuid_to_bin(a INT) RETURNS INT BEGIN UPDATE t SET n = n + 1; RETURN 1; END"
        );
        for read in ["SELECT x FROM v", "SELECT uuid_to_bin(1)", "SELECT x FROM w"] {
            for on_connection in [false, true] {
                let reader = prepared(&setup).await;
                let options = (*reader.inner().connect_options()).clone();
                let writer = sqlx::MySqlPool::connect_with(options).await.unwrap();
                let writer = CachedPool::builder(writer, Sessions::Uniform).sole_writer().build().await.unwrap();
                keep(&writer, N).await;
                // Just now one that only reads, and then one that does not.
                run(&reader, "CREATE OR REPLACE VIEW w AS SELECT 1 AS x").await;
                keep(&writer, N).await;
                run(&reader, "CREATE OR REPLACE VIEW w AS SELECT f() AS x").await;
                keep(&reader, N).await;
                let before = rows(reader.inner(), N).await.unwrap();
                match on_connection {
                    true => rows(&mut *writer.acquire().await.unwrap(), read).await.unwrap(),
                    false => rows(&writer, read).await.unwrap(),
                };
                assert_ne!(rows(reader.inner(), N).await.unwrap(), before, "{read} writes nothing");
                right(&reader, N, read).await;
                // Both find out, and go on to keep what may be kept.
                keep(&reader, N).await;
                keep(&writer, N).await;
                right(&reader, N, read).await;
            }
        }
    });
}

/// In `gbk` the last byte of a letter of UTF-8 takes the quote behind it with it: a name for one is a call for the other.
#[test]
fn a_letter_that_takes_a_quote_with_it() {
    alone(async {
        let pool = prepared(&format!("{T};\n{WRITES}")).await;
        let mut connection = pool.acquire().await.unwrap();
        sqlx::raw_sql("SET NAMES gbk").execute(&mut *connection).await.unwrap();
        let before = keep(&pool, N).await;
        let call = "SELECT 1 AS `中`, 2 AS `, f() AS z -- `";
        sqlx::raw_sql(call).execute(&mut *connection).await.unwrap();
        assert_ne!(rows(pool.inner(), N).await.unwrap(), before, "{call} calls nothing");
        right(&pool, N, call).await;
    });
}

/// Whoever takes the first row of a read that may write leaves at any moment: also at the end of the result, where sqlx takes
/// it for open still. What was announced is concluded all the same, and the connection comes back.
#[test]
fn who_leaves_with_the_first_row_leaves_nothing_behind() {
    alone(async {
        let pool = prepared(&format!("{T};\n{WRITES};\nCREATE VIEW v AS SELECT f() AS x")).await;
        for _ in 0..200 {
            sqlx::query("SELECT x FROM v").fetch_one(&pool).await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(5), all_are_back(&pool)).await.expect("all connections come back");
        keep(&pool, N).await;
        right(&pool, N, "after all of them").await;
    });
}
