//! Where transactions begin and end by themselves.

use super::*;

const T: &str = "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL); INSERT INTO t VALUES (1, 0), (2, 0)";
const N: &str = "SELECT id, n FROM t ORDER BY id";
const RAISE: &str = "UPDATE t SET n = n + 1 WHERE id = 1";

/// What was written before a statement that commits is there at once, whatever becomes of the transaction.
#[test]
fn an_implicit_commit_publishes_what_was_open() {
    alone(async {
        let mut all = Vec::new();
        for (at, ends) in [
            "CREATE TABLE more (id INT)",
            "ALTER TABLE t ADD COLUMN more INT",
            "TRUNCATE u",
            "CREATE VIEW v AS SELECT n FROM t",
            "CREATE INDEX i ON t (n)",
            "RENAME TABLE u TO w",
            "DROP TABLE IF EXISTS u",
            "CREATE USER IF NOT EXISTS somebody",
            "GRANT SELECT ON *.* TO root@localhost",
            "ANALYZE TABLE t",
            "OPTIMIZE TABLE u",
            "FLUSH TABLES",
            "LOCK TABLES t READ",
            "REVOKE SELECT ON *.* FROM somebody",
            "SET ROLE NONE",
            "ALTER USER somebody IDENTIFIED BY 'x'",
            "DROP USER somebody",
            "CREATE ROLE IF NOT EXISTS someone",
            "DROP ROLE someone",
            "CHECK TABLE t",
            "REPAIR TABLE u",
            "CACHE INDEX u IN default",
            "LOAD INDEX INTO CACHE u",
            "FLUSH PRIVILEGES",
            "CHECKSUM TABLE t",
            "CREATE DATABASE IF NOT EXISTS elsewhere",
            "ALTER DATABASE elsewhere COMMENT 'x'",
            "CREATE SEQUENCE s",
            "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO SELECT 1",
            "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1')",
            "ANALYZE TABLE t PERSISTENT FOR ALL",
            "SET autocommit = 1",
            "BEGIN",
            "START TRANSACTION",
            "COMMIT AND CHAIN",
            "SET PASSWORD = ''",
            "CREATE PROCEDURE p() SELECT 1",
            "BEGIN NOT ATOMIC COMMIT; END",
            "/*! COMMIT */",
        ]
        .into_iter()
        .enumerate()
        {
            let pool = prepared(&format!("{T};\nCREATE TABLE u (id INT)")).await;
            {
                keep(&pool, N).await;
                let mut tx = pool.begin().await.unwrap();
                sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
                let ended = sqlx::raw_sql(AssertSqlSafe(ends)).execute(&mut *tx).await;
                if let Err(error) = &ended {
                    println!("{ends}: {error}");
                }
                all.extend(wrong(&pool, N).await.map(|wrong| format!("{ends}: {wrong}")));
                // Nobody holds this back any more.
                let _ = sqlx::query(RAISE).execute(&mut *tx).await;
                all.extend(wrong(&pool, N).await.map(|wrong| format!("{ends}: {wrong}")));
                match at % 2 {
                    0 => drop(tx.rollback().await),
                    _ => drop(tx),
                }
                all.extend(wrong(&pool, N).await.map(|wrong| format!("{ends}: {wrong}")));
                while pool.num_idle() < pool.size() as usize {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                all.extend(wrong(&pool, N).await.map(|wrong| format!("{ends}: {wrong}")));
            }
        }
        assert!(all.is_empty(), "{all:#?}");
    });
}

/// A deadlock rolls the whole transaction of its victim back; what follows is committed by itself.
#[test]
fn a_deadlock_ends_the_transaction() {
    alone(async {
        for end in ["commit", "rollback", "drop"] {
            let pool = prepared(T).await;
            keep(&pool, N).await;
            let mut heavy = pool.inner().begin().await.unwrap();
            let mut tx = pool.begin().await.unwrap();
            sqlx::query("UPDATE t SET n = 7 WHERE id = 1").execute(&mut *tx).await.unwrap();
            sqlx::query("INSERT INTO t SELECT seq + 10, 1 FROM seq_1_to_200").execute(&mut *heavy).await.unwrap();
            sqlx::query("UPDATE t SET n = 1 WHERE id = 2").execute(&mut *heavy).await.unwrap();
            let waits = tokio::spawn(async move {
                let done = sqlx::query("UPDATE t SET n = 1 WHERE id = 1").execute(&mut *heavy).await.map(drop);
                heavy.rollback().await.unwrap();
                done
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            let victim = sqlx::query("UPDATE t SET n = 8 WHERE id = 2").execute(&mut *tx).await.unwrap_err();
            assert_eq!(victim.as_database_error().unwrap().code().as_deref(), Some("40001"), "{victim}");
            waits.await.unwrap().unwrap();
            keep(&pool, N).await;
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            right(&pool, N, end).await;
            assert_eq!(rows(pool.inner(), N).await.unwrap()[0], "sqlx_mysql::row::MySqlRow {\"id\": 1, \"n\": 1}");
            match end {
                "commit" => tx.commit().await.unwrap(),
                "rollback" => tx.rollback().await.unwrap(),
                _ => drop(tx),
            }
            right(&pool, N, end).await;
        }
    });
}

/// A wait for a lock that took too long undoes its statement alone.
#[test]
fn a_lock_wait_timeout_leaves_the_transaction() {
    alone(async {
        let pool = prepared(T).await;
        keep(&pool, N).await;
        let mut holder = pool.inner().begin().await.unwrap();
        sqlx::query("UPDATE t SET n = 5 WHERE id = 2").execute(&mut *holder).await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        let late = sqlx::query("SELECT n FROM t WHERE id = 2 FOR UPDATE NOWAIT").execute(&mut *tx).await.unwrap_err();
        assert_eq!(late.as_database_error().unwrap().code().as_deref(), Some("HY000"), "{late}");
        right(&pool, N, "open").await;
        tx.commit().await.unwrap();
        right(&pool, N, "committed").await;
        holder.rollback().await.unwrap();
    });
}

/// What is begun by text on a connection, by what ends it, and what somebody forgot.
#[test]
fn transactions_by_text() {
    alone(async {
        for texts in [
            &["SET autocommit = 0", RAISE, "COMMIT", RAISE, "SET autocommit = 1", RAISE][..],
            &["SET autocommit = 0", RAISE],
            &["SET completion_type = 'CHAIN'", "BEGIN", RAISE, "COMMIT", RAISE, "COMMIT", RAISE],
            &["XA START 'x'", RAISE, "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"],
            &["XA START 'y'", RAISE, "XA END 'y'", "XA COMMIT 'y' ONE PHASE"],
            &["LOCK TABLES t WRITE", RAISE, "UNLOCK TABLES"],
            &["BEGIN", RAISE, "LOCK TABLES t READ", "UNLOCK TABLES"],
            &["START TRANSACTION", RAISE, "BEGIN", RAISE, "ROLLBACK"],
            &["BEGIN", RAISE, "COMMIT AND CHAIN", RAISE, "COMMIT RELEASE"],
            &["CALL begins()", RAISE, "COMMIT"],
            &["CALL begins()", RAISE],
            &["HANDLER t OPEN", "HANDLER t READ FIRST", RAISE, "HANDLER t CLOSE"],
            &["PREPARE s FROM 'UPDATE t SET n = n + 1'", "EXECUTE s", "DEALLOCATE PREPARE s"],
            &["DO (SELECT writes())", RAISE],
            &["SET @x = writes()"],
            &["SELECT writes() INTO @x"],
            &["CREATE TEMPORARY TABLE t (id INT, n INT)", "INSERT INTO t VALUES (8, 8)"],
            &["CALL hides()", "INSERT INTO t VALUES (8, 8)"],
        ] {
            let setup = format!(
                "{T};\nCREATE PROCEDURE begins() BEGIN START TRANSACTION; UPDATE t SET n = n + 1; END;\n\
                 CREATE FUNCTION writes() RETURNS INT BEGIN UPDATE t SET n = n + 1; RETURN 1; END;\n\
                 CREATE PROCEDURE hides() CREATE TEMPORARY TABLE t (id INT, n INT)"
            );
            for raw in [false, true] {
                let pool = prepared(&setup).await;
                keep(&pool, N).await;
                let (mut connection, mut locked) = (pool.acquire().await.unwrap(), false);
                for text in texts {
                    match raw {
                        true => sqlx::raw_sql(*text).execute(&mut **connection).await.map(drop),
                        false => sqlx::raw_sql(*text).execute(&mut *connection).await.map(drop),
                    }
                    .unwrap_or_else(|error| panic!("{text}: {error}"));
                    // Nobody else can read what is locked.
                    locked = (locked || text.ends_with("t WRITE")) && *text != "UNLOCK TABLES";
                    if !locked {
                        right(&pool, N, text).await;
                    }
                }
                drop(connection);
                while pool.num_idle() < pool.size() as usize {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                right(&pool, N, texts[0]).await;
                run(&pool, RAISE).await;
                right(&pool, N, texts[0]).await;
            }
        }
    });
}

/// The same through the pool, where anybody may get the connection next: nothing is kept, or nothing is wrong.
#[test]
fn sessions_changed_through_the_pool() {
    alone(async {
        for text in [
            "CALL begins()",
            "BEGIN",
            "SET autocommit = 0",
            "SET SESSION sql_mode = 'ANSI_QUOTES'",
            "CALL hides()",
            "CREATE TEMPORARY TABLE t (id INT, n INT)",
            "SET @x = 1, autocommit = 0",
            "SET STATEMENT max_statement_time = 5 FOR SELECT 1",
            "LOCK TABLES t READ, t AS a READ",
            "USE information_schema",
            "BEGIN NOT ATOMIC SET autocommit = 0; END",
            "EXECUTE IMMEDIATE 'SET autocommit = 0'",
        ] {
            let setup = format!(
                "{T};\nCREATE PROCEDURE begins() BEGIN START TRANSACTION; UPDATE t SET n = n + 1; END;\n\
                 CREATE PROCEDURE hides() CREATE TEMPORARY TABLE t (id INT, n INT)"
            );
            let pool = prepared(&setup).await;
            let other = mysql_of(&MariaDb::shared().url(&{
                let name: String = sqlx::query_scalar("SELECT database()").fetch_one(pool.inner()).await.unwrap();
                name
            }))
            .await;
            keep(&pool, N).await;
            keep(&other, N).await;
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&pool).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            // What others see is what a session of their own sees.
            right(&other, N, text).await;
            let before = pool.stats().hits;
            for _ in 0..4 {
                let _ = rows(&pool, N).await;
            }
            if pool.stats().hits > before {
                right(&pool, N, text).await;
            }
        }
    });
}

/// A procedure leaves a transaction open, which the next BEGIN commits.
#[test]
fn what_a_procedure_began_is_committed_by_the_next_begin() {
    alone(async {
        for call in [
            "CALL begins()",
            "EXECUTE IMMEDIATE 'CALL begins()'",
            "BEGIN NOT ATOMIC START TRANSACTION; UPDATE t SET n = n + 1; END",
        ] {
            let begins = "CREATE PROCEDURE begins() BEGIN START TRANSACTION; UPDATE t SET n = n + 1; END";
            let pool = prepared(&format!("{T};\n{begins}")).await;
            keep(&pool, N).await;
            let mut connection = pool.acquire().await.unwrap();
            sqlx::raw_sql(call).execute(&mut *connection).await.unwrap();
            // Until what was found would be kept, if it may be.
            for _ in 0..30 {
                right(&pool, N, "open").await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let tx = connection.begin().await.unwrap();
            right(&pool, N, call).await;
            tx.rollback().await.unwrap();
            right(&pool, N, call).await;
        }
    });
}
