//! What a statement tells besides rows: as sqlx tells it, in every way to send it.

use futures::TryStreamExt;
use larder::PoolOptions;
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

/// What a name in a text stands for: a variable of the session, a time zone in a table, a rank by what the server guesses.
#[test]
fn functions_that_look_things_up() {
    alone(async {
        let server = MariaDb::start();
        let pool = mysql_of(&server.fresh()).await;
        run(&pool, "CREATE TABLE t (doc VARCHAR(100))").await;
        run(&pool, "INSERT INTO t VALUES ('<a><b>1</b><b>2</b></a>')").await;
        // The only connection, so that both ask in one session.
        let url = pool.inner().connect_options();
        let alone = PoolOptions::<sqlx::MySql>::new().max_connections(1).connect_with((*url).clone()).await.unwrap();
        for i in 1..=2 {
            alone.acquire().await.unwrap().execute(sqlx::query("SET @i = ?").bind(i)).await.unwrap();
            right(&alone, "SELECT EXTRACTVALUE(doc, '//b[$@i]') AS b FROM t", "a variable").await;
        }

        let zone = "SELECT CONVERT_TZ('2024-01-01 12:00:00', '+00:00', 'Here') AS here FROM t";
        let unknown = keep(&pool, zone).await;
        for write in [
            "INSERT INTO mysql.time_zone VALUES (9999, 'N')",
            "INSERT INTO mysql.time_zone_transition_type VALUES (9999, 0, 3600, 0, 'X')",
            "INSERT INTO mysql.time_zone_name VALUES ('Here', 9999)",
        ] {
            run(&pool, write).await;
        }
        assert_ne!(rows(pool.inner(), zone).await.unwrap(), unknown, "the server knows the zone");
        right(&pool, zone, "a time zone").await;

        run(&pool, "CREATE TABLE f (a TEXT, FULLTEXT (a)) STATS_AUTO_RECALC = 0").await;
        run(&pool, "INSERT INTO f SELECT CONCAT('hello w', seq) FROM seq_1_to_500").await;
        run(&pool, "INSERT INTO f SELECT CONCAT('other w', seq, REPEAT('x ', seq % 300)) FROM seq_1_to_3000").await;
        let rank = "SELECT MATCH (a) AGAINST ('hello') AS fits FROM f WHERE a = 'hello w1'";
        let found = "SELECT COUNT(*) FROM f WHERE MATCH (a) AGAINST ('hello')";
        keep(&pool, found).await;
        // As the server does by itself when it finds the time, with another rank afterwards: that may not be kept.
        let plain = sqlx::MySqlPool::connect_with((*pool.inner().connect_options()).clone()).await.unwrap();
        plain.execute("ANALYZE TABLE f").await.unwrap();
        plain.execute("FLUSH TABLES").await.unwrap();
        for _ in 0..3 {
            let (answer, hit) = was_hit(&pool, rows(&pool, rank)).await;
            assert!(!hit && answer.len() == 1, "a rank was kept");
        }
        right(&pool, found, "what matches").await;
    });
}

/// Blanks and comments wherever they may stand: an answer from memory has the columns and values of a direct one.
#[test]
fn columns_are_named_by_the_text_as_it_is_written() {
    alone(async {
        let pool = prepared(
            "CREATE TABLE t (id INT, name VARCHAR(20), d DATETIME, `from` INT);\n\
             INSERT INTO t VALUES (1, 'a b', '2024-01-02 03:04:05', 1), (2, NULL, NULL, 2)",
        )
        .await;
        let mut wrong = Vec::new();
        for sql in [
            "SELECT id+1, name FROM t",
            "SELECT COUNT(*), (SELECT MAX(id) FROM t) FROM t",
            "SELECT * FROM (SELECT id+1 FROM t) AS x",
            "SELECT * FROM (VALUES ((SELECT MAX(id) FROM t))) AS x",
            "VALUES ((SELECT MAX(id) FROM t), 1+1)",
            "WITH c AS (SELECT id*2 FROM t) SELECT * FROM c",
            "SELECT id-1 FROM t UNION SELECT id--1 FROM t",
            "SELECT EXTRACT(YEAR FROM d)+1 FROM t",
            "SELECT t.from, id+1 FROM t",
            "SELECT 'a' 'b', TRIM(BOTH 'a' FROM name) FROM t",
            "(SELECT id+1 FROM t) ORDER BY 1 LIMIT 1",
            "SELECT id IN (SELECT id+0 FROM t WHERE id = 1) FROM t WHERE (SELECT 1 FROM t LIMIT 1) = 1",
            "TABLE t",
            "SELECT IF(id=1,'x',N'y') FROM t GROUP BY id+1, id",
        ] {
            let letter = |at: usize| sql.as_bytes()[at].is_ascii_alphanumeric();
            for at in (1..sql.len()).filter(|&at| !(letter(at - 1) && letter(at))) {
                for blank in ["/**/", "  ", "-- y\n"] {
                    let text = format!("{}{blank}{}", &sql[..at], &sql[at..]);
                    let truth = rows(pool.inner(), &text).await.ok();
                    let found = rows(&pool, &text).await.ok();
                    if found != truth {
                        wrong.push(format!("{text:?}: {found:?} instead of {truth:?}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert!(pool.stats().hits > 200, "too few came from memory: {}", pool.stats());
    });
}
