//! What a statement tells besides rows: as sqlx tells it, in every way to send it.

use futures::TryStreamExt;
use sqlx::mysql::MySqlQueryResult;
use sqlx::{Either, Executor};

use super::*;

const SETUP: &str =
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT UNIQUE); INSERT INTO t VALUES (1, 1), (2, 2);
    CREATE PROCEDURE p() BEGIN SELECT n FROM t ORDER BY id; UPDATE t SET n = n + 1 ORDER BY n DESC; SELECT id FROM t ORDER BY id; END";

async fn told<'p>(from: impl Executor<'p, Database = sqlx::MySql>, sql: &str) -> String {
    let item = |item| match item {
        Either::<MySqlQueryResult, sqlx::mysql::MySqlRow>::Left(done) => {
            format!("done: {} rows, id {}", done.rows_affected(), done.last_insert_id())
        }
        Either::Right(row) => format!("{row:?}"),
    };
    let items = from.fetch_many(sqlx::query(AssertSqlSafe(sql))).map_ok(item).try_collect::<Vec<_>>().await;
    format!("{:?}", items.map_err(|error| error.to_string()))
}

#[test]
fn ids_and_counts_are_those_of_sqlx() {
    alone(async {
        // Twins: what is done to the one is done to the other, by sqlx alone.
        let (ours, theirs) = (prepared(SETUP).await, prepared(SETUP).await);
        let theirs = theirs.inner();
        for sql in [
            "SELECT id, n FROM t ORDER BY id",
            "SELECT id FROM t WHERE id = 77",
            "INSERT INTO t (n) VALUES (50)",
            "INSERT INTO t (n) VALUES (51), (52)",
            "SELECT id, n FROM t ORDER BY id",
            "INSERT INTO t (n) VALUES (51) ON DUPLICATE KEY UPDATE n = 53",
            "INSERT INTO t (n) VALUES (53) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
            "INSERT IGNORE INTO t (n) VALUES (50), (60)",
            "INSERT INTO t (n) VALUES (50)",
            "REPLACE INTO t (n) VALUES (50)",
            "UPDATE t SET n = 50 WHERE n = 50",
            "UPDATE t SET n = n + 5 ORDER BY n DESC",
            "INSERT INTO t (n) VALUES (90) RETURNING id, n",
            "SELECT id, n FROM t ORDER BY id",
            "CALL p()",
            "DELETE FROM t WHERE id < 3",
            "DELETE FROM t WHERE FALSE",
            "SET @x = 1",
            "CREATE TABLE more (id INT)",
            "SELECT count(*) FROM t",
        ] {
            // A read twice: the second time from memory.
            for _ in 0..if sql.starts_with("SELECT") { 3 } else { 1 } {
                assert_eq!(told(&ours, sql).await, told(theirs, sql).await, "pool: {sql}");
            }
            if sql.starts_with("SET") || sql.starts_with("CREATE") {
                continue;
            }
            let (mut a, mut b) = (ours.inner().acquire().await.unwrap(), theirs.acquire().await.unwrap());
            assert_eq!(told(&mut *a, sql).await, told(&mut *b, sql).await, "below: {sql}");
            drop((a, b));
            ours.clear();
            let (mut a, mut b) = (ours.acquire().await.unwrap(), theirs.acquire().await.unwrap());
            assert_eq!(told(&mut *a, sql).await, told(&mut *b, sql).await, "connection: {sql}");
            drop((a, b));
            let (mut a, mut b) = (ours.begin().await.unwrap(), theirs.begin().await.unwrap());
            assert_eq!(told(&mut *a, sql).await, told(&mut *b, sql).await, "transaction: {sql}");
            a.commit().await.unwrap();
            b.commit().await.unwrap();
            right(&ours, "SELECT id, n FROM t ORDER BY id", sql).await;
        }
        for _ in 0..3 {
            let sql = "SELECT id, n FROM t ORDER BY id";
            let (a, b) = (ours.execute(sql).await.unwrap(), theirs.execute(sql).await.unwrap());
            assert_eq!((a.rows_affected(), a.last_insert_id()), (b.rows_affected(), b.last_insert_id()));
        }
    });
}

/// A caller who gives too few arguments hears of it, whatever Larder wanted to ask the connection afterwards.
#[test]
fn a_call_without_its_arguments_ends() {
    alone(async {
        let pool = prepared(SETUP).await;
        let call = sqlx::query("CALL p(?)").execute(&pool);
        let told = tokio::time::timeout(Duration::from_secs(10), call).await.expect("it ends");
        told.unwrap_err();
        let insert = sqlx::query("INSERT INTO t VALUES (?, ?)").bind(1).execute(&pool);
        tokio::time::timeout(Duration::from_secs(10), insert).await.expect("it ends").unwrap_err();
        keep(&pool, "SELECT n FROM t").await;
    });
}
