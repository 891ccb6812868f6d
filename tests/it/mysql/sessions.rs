//! Settings of sessions and servers that change what a text means or what a read may see.

use larder::{PoolOptions, Reason};

use super::*;

/// A pool whose connections are set up by this text.
async fn set_up(url: &str, text: &'static str) -> MySqlPool {
    let options = PoolOptions::<sqlx::MySql>::new().max_connections(3).after_connect(move |connection, _| {
        Box::pin(async move { sqlx::raw_sql(text).execute(connection).await.map(drop) })
    });
    options.connect(url).await.unwrap()
}

/// Texts that mean something else by each mode: each pool answers as its own sessions do, and sees what the others write.
#[test]
fn modes() {
    alone(async {
        let server = MariaDb::shared();
        let url = server.fresh();
        let admin = mysql_of(&url).await;
        for sql in [
            "CREATE TABLE t (id INT PRIMARY KEY, n VARCHAR(20))",
            "INSERT INTO t VALUES (1, 'a'), (2, 'n'), (3, '\\\\')",
        ] {
            run(&admin, sql).await;
        }
        let mut pools = vec![("sqlx's", admin)];
        for text in [
            "SET sql_mode = ''",
            "SET sql_mode = 'ANSI_QUOTES'",
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
            "SET sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES'",
            "SET sql_mode = 'ORACLE'",
            "SET sql_mode = 'MSSQL'",
            "SET sql_mode = 'HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH,IGNORE_SPACE'",
            "SET NAMES gbk",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET time_zone = '+09:00'",
            "SET sql_select_limit = 1",
            "SET div_precision_increment = 9",
            "SET group_concat_max_len = 4",
            "SET lc_time_names = 'de_DE'",
            "SET sql_auto_is_null = 1",
        ] {
            pools.push((text, set_up(&url, text).await));
        }
        let reads = [
            "SELECT id, \"n\" FROM t ORDER BY id",
            "SELECT id FROM t WHERE n = \"n\" ORDER BY id",
            "SELECT id, n || 'x' FROM t ORDER BY id",
            "SELECT id, '\\' AS a, n /* ' AS b */ FROM t ORDER BY id",
            "SELECT id, 'a\\'b' FROM t ORDER BY id",
            "SELECT id FROM t WHERE n = 'A' ORDER BY id",
            "SELECT id FROM t WHERE NOT n BETWEEN 'a' AND 'b' ORDER BY id",
            "SELECT id / 3, FROM_UNIXTIME(id), MONTHNAME('2020-03-01') FROM t ORDER BY id",
            "SELECT GROUP_CONCAT(n ORDER BY id) FROM t",
            "SELECT id FROM t WHERE id IS NULL",
            "SELECT id, count (*) FROM t GROUP BY id ORDER BY id",
            "SELECT id FROM t ORDER BY id",
        ];
        let mut hits = 0;
        // Other tests of this process may drop all that is kept meanwhile.
        for round in 0..8 {
            if round >= 2 && hits > 200 {
                break;
            }
            for (who, pool) in &pools {
                for read in reads {
                    right(pool, read, who).await;
                    right(pool, read, who).await;
                }
            }
            // By each of them, in words that mean a name to some and a text to others.
            for (who, writer) in &pools {
                let write = format!("UPDATE t SET n = \"id\" WHERE id = {}", 1 + round % 2);
                let _ = sqlx::query(AssertSqlSafe(write)).execute(writer).await;
                let _ = sqlx::query("UPDATE t SET n = 'b\\' WHERE id = 2 -- '").execute(writer).await;
                for (_, pool) in &pools {
                    right(pool, reads[0], who).await;
                }
                for sql in ["UPDATE t SET n = 'a' WHERE id = 1", "UPDATE t SET n = 'n' WHERE id = 2"] {
                    run(writer, sql).await;
                }
                for (_, pool) in &pools {
                    right(pool, reads[0], who).await;
                }
            }
            hits = pools.iter().map(|(_, pool)| pool.stats().hits).sum::<u64>();
        }
        assert!(hits > 200, "too little is kept to prove anything: {hits}");
    });
}

/// Where a session commits late, it keeps nothing, and others keep nothing that it may still commit.
#[test]
fn sessions_that_commit_late() {
    alone(async {
        for (text, by_pool) in [("SET autocommit = 0", true), ("SET completion_type = 'CHAIN'", false)] {
            let pool = prepared("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0)").await;
            let read = "SELECT n FROM t";
            keep(&pool, read).await;
            let late = PoolOptions::<sqlx::MySql>::new().max_connections(1).after_connect(move |connection, _| {
                Box::pin(async move { sqlx::raw_sql(text).execute(connection).await.map(drop) })
            });
            let late = late.connect_with((*pool.connect_options()).clone()).await.unwrap();
            for _ in 0..3 {
                rows(&late, read).await.unwrap();
            }
            assert_eq!(late.stats().hits, 0, "{text}: {}", late.stats());
            assert!(late.stats().bypasses_by_reason.contains_key(&Reason::Transaction), "{text}: {}", late.stats());
            if by_pool {
                run(&late, "UPDATE t SET n = 1").await;
                right(&pool, read, "before the commit").await;
                run(&late, "COMMIT").await;
            } else {
                let mut tx = late.begin().await.unwrap();
                sqlx::query("UPDATE t SET n = 1").execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                right(&pool, read, "the first of a chain").await;
                run(&late, "UPDATE t SET n = 2").await;
                right(&pool, read, "in the chain").await;
                run(&late, "COMMIT").await;
            }
            right(&pool, read, text).await;
            // It went on: the next statement is open again.
            run(&late, "UPDATE t SET n = 7").await;
            right(&pool, read, text).await;
            run(&late, "ROLLBACK").await;
            right(&pool, read, text).await;
            late.close().await;
        }
    });
}

#[test]
fn sessions_that_read_what_is_not_committed() {
    alone(async {
        let pool = prepared("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0)").await;
        let url = MariaDb::shared()
            .url(&sqlx::query_scalar::<_, String>("SELECT database()").fetch_one(&pool).await.unwrap());
        let dirty = set_up(&url, "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await;
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("UPDATE t SET n = 1").execute(&mut *tx).await.unwrap();
        for _ in 0..3 {
            right(&dirty, "SELECT n FROM t", "dirty").await;
        }
        tx.rollback().await.unwrap();
        right(&dirty, "SELECT n FROM t", "rolled back").await;
        assert_eq!(dirty.stats().hits, 0);
        assert!(dirty.stats().bypasses_by_reason.contains_key(&Reason::ReadUncommitted), "{}", dirty.stats());
    });
}

#[test]
fn a_server_that_is_read_only() {
    alone(async {
        let server = MariaDb::start_with(&["--read-only=1"]);
        let database = server.create_database();
        server.mysql(&database, "CREATE TABLE t (n INT); INSERT INTO t VALUES (1)");
        let pool = mysql_of(&server.url(&database)).await;
        for n in 1..4 {
            server.mysql(&database, &format!("UPDATE t SET n = {n}"));
            right(&pool, "SELECT n FROM t", "replicated").await;
        }
        assert_eq!(pool.stats().hits, 0);
        assert!(pool.stats().bypasses_by_reason.contains_key(&Reason::Replica), "{}", pool.stats());
    });
}
