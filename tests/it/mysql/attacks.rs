//! What somebody who means harm, or has an odd schema, could do to get a wrong answer.

use std::time::Duration;

use larder::{CachedPool, MySqlPool, PoolOptions, Reason, Sessions};
use sqlx::{AssertSqlSafe, Column, Executor, Row};

use crate::servers::MariaDb;
use crate::support::{alone, mysql_of};

async fn run(pool: &MySqlPool, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

async fn one(pool: &MySqlPool, sql: &str) -> Option<i64> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// Reads until it is a hit, or gives up: what is not kept cannot be wrong.
async fn kept(pool: &MySqlPool, sql: &str) -> Option<i64> {
    let mut last = None;
    for _ in 0..10 {
        let before = pool.stats().hits;
        last = one(pool, sql).await;
        if pool.stats().hits > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    last
}

fn direct(server: &MariaDb, database: &str, sql: &str) -> Option<i64> {
    server.mysql(database, sql).trim().parse().ok()
}

async fn pool_of(url: &str, size: u32) -> MySqlPool {
    let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(size).connect(url).await.unwrap();
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap()
}

/// Waits until what a connection did is settled.
async fn given_back(connection: larder::PoolConnection<sqlx::MySql>) {
    drop(connection);
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Columns and bytes of each row.
type Shown = Vec<(Vec<String>, Vec<Option<Vec<u8>>>)>;

fn shown(rows: &[sqlx::mysql::MySqlRow]) -> Shown {
    let row = |row: &sqlx::mysql::MySqlRow| {
        let columns = row.columns().iter().map(|c| format!("{c:?}")).collect();
        (columns, (0..row.len()).map(|i| row.try_get_unchecked(i).unwrap()).collect())
    };
    rows.iter().map(row).collect()
}

#[test]
fn cascade_over_two_databases_reaches_a_third_table() {
    alone(async {
        let server = MariaDb::shared();
        let (one_db, two_db) = (server.create_database(), server.create_database());
        server.mysql("", &format!("CREATE TABLE {one_db}.a (id INT PRIMARY KEY); INSERT INTO {one_db}.a VALUES (1); \
            CREATE TABLE {two_db}.b (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES {one_db}.a (id) ON DELETE CASCADE); \
            CREATE TABLE {two_db}.c (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES {two_db}.b (id) ON DELETE CASCADE); \
            INSERT INTO {two_db}.b VALUES (1); INSERT INTO {two_db}.c VALUES (1); \
            CREATE USER w_{one_db}; GRANT ALL ON {one_db}.* TO w_{one_db}; \
            CREATE USER r_{one_db}; GRANT SELECT ON {two_db}.* TO r_{one_db}"));
        let writer = mysql_of(&server.url_of(&format!("w_{one_db}"), &one_db)).await;
        let reader = mysql_of(&server.url_of(&format!("r_{one_db}"), &two_db)).await;
        assert_eq!(kept(&reader, "SELECT COUNT(*) FROM c").await, Some(1));
        assert_eq!(kept(&reader, "SELECT COUNT(*) FROM b").await, Some(1));
        run(&writer, "DELETE FROM a").await;
        assert_eq!(one(&reader, "SELECT COUNT(*) FROM b").await, Some(0), "b");
        assert_eq!(one(&reader, "SELECT COUNT(*) FROM c").await, Some(0), "c");
    });
}

#[test]
fn a_chained_transaction_is_committed_by_the_next_begin() {
    alone(async {
        let server = MariaDb::shared();
        let pool = mysql_of(&server.fresh()).await;
        run(&pool, "CREATE TABLE t (id INT)").await;
        run(&pool, "INSERT INTO t VALUES (0)").await;
        let mut conn = pool.acquire().await.unwrap();
        (&mut *conn).execute(sqlx::query("SET completion_type = 'CHAIN'")).await.unwrap();
        conn.begin().await.unwrap().commit().await.unwrap();
        (&mut *conn).execute(sqlx::query("UPDATE t SET id = 1")).await.unwrap();
        assert_eq!(kept(&pool, "SELECT id FROM t").await, Some(0));
        let tx = conn.begin().await.unwrap();
        assert_eq!(one(&pool, "SELECT id FROM t").await, Some(1));
        drop(tx);
    });
}

#[test]
fn autocommit_off_through_a_pool_and_begin() {
    alone(async {
        let server = MariaDb::shared();
        let url = server.fresh();
        let (writer, reader) = (pool_of(&url, 1).await, mysql_of(&url).await);
        run(&writer, "CREATE TABLE t (id INT)").await;
        run(&writer, "INSERT INTO t VALUES (0)").await;
        run(&writer, "SET autocommit = 0").await;
        run(&writer, "UPDATE t SET id = 1").await;
        assert_eq!(kept(&reader, "SELECT id FROM t").await, Some(0));
        let tx = writer.begin().await.unwrap();
        assert_eq!(one(&reader, "SELECT id FROM t").await, Some(1));
        drop(tx);
    });
}

#[test]
fn the_isolation_of_the_next_transaction_stays_behind() {
    alone(async {
        for then in [None, Some("INSERT INTO nowhere VALUES (1)"), Some("INSERT INTO t VALUES (1")] {
            let url = MariaDb::shared().fresh();
            let (pool, other) = (pool_of(&url, 1).await, mysql_of(&url).await);
            run(&pool, "CREATE TABLE t (id INT)").await;
            run(&pool, "INSERT INTO t VALUES (0)").await;
            kept(&pool, "SELECT id FROM t").await;
            let mut conn = pool.acquire().await.unwrap();
            (&mut *conn).execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await.unwrap();
            if let Some(fails) = then {
                (&mut *conn).execute(sqlx::query(fails)).await.unwrap_err();
            }
            given_back(conn).await;
            let mut tx = other.begin().await.unwrap();
            (&mut *tx).execute(sqlx::query("UPDATE t SET id = 1")).await.unwrap();
            let seen = one(&pool, "SELECT id FROM t WHERE id >= 0").await;
            tx.rollback().await.unwrap();
            assert_eq!(seen, Some(0), "dirty read after {then:?}");
            assert_eq!(one(&pool, "SELECT id FROM t WHERE id >= 0").await, Some(0));
        }
    });
}

#[test]
fn a_temporary_sequence_hides_a_table() {
    alone(async {
        let server = MariaDb::shared();
        let url = server.fresh();
        let pool = pool_of(&url, 2).await;
        run(&pool, "CREATE TABLE t (start_value BIGINT)").await;
        run(&pool, "INSERT INTO t VALUES (0)").await;
        kept(&pool, "SELECT start_value FROM t").await;
        let mut conn = pool.acquire().await.unwrap();
        (&mut *conn).execute(sqlx::raw_sql("CREATE TEMPORARY SEQUENCE t START WITH 77")).await.unwrap();
        given_back(conn).await;
        for n in 0..4 {
            assert_eq!(one(&pool, &format!("SELECT start_value FROM t WHERE start_value > -{n}-1")).await, Some(0));
        }
    });
}

#[test]
fn a_procedure_hides_its_temporary_table() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        server.mysql(&database, "CREATE TABLE t (id INT); INSERT INTO t VALUES (0);\nDELIMITER $$\nCREATE PROCEDURE p() BEGIN CREATE TEMPORARY TABLE t (id INT); INSERT INTO t VALUES (9); FLUSH STATUS; END $$");
        let pool = pool_of(&server.url(&database), 2).await;
        assert_eq!(kept(&pool, "SELECT id FROM t").await, Some(0));
        run(&pool, "CALL p()").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        for n in 0..20 {
            assert_eq!(one(&pool, &format!("SELECT id FROM t WHERE id > -{n}-1")).await, Some(0));
        }
    });
}

#[test]
fn an_asterisk_after_alter_elsewhere() {
    alone(async {
        let server = MariaDb::shared();
        let url = server.fresh();
        let (pool, other) = (pool_of(&url, 1).await, mysql_of(&url).await);
        run(&pool, "CREATE TABLE t (a INT, b INT)").await;
        run(&pool, "INSERT INTO t VALUES (1, 2)").await;
        let sql = "SELECT * FROM t";
        for _ in 0..2 {
            sqlx::query(sql).fetch_one(&pool).await.unwrap();
        }
        run(&other, "ALTER TABLE t ADD COLUMN c INT DEFAULT 3 FIRST, CHANGE b d INT").await;
        for _ in 0..3 {
            let row = sqlx::query(sql).fetch_one(&pool).await.unwrap();
            let names: Vec<&str> = row.columns().iter().map(|c| c.name()).collect();
            assert_eq!(names, ["c", "a", "d"]);
            assert_eq!(
                (row.try_get::<i32, _>("c").ok(), row.try_get::<i32, _>("a").ok(), row.try_get::<i32, _>("d").ok()),
                (Some(3), Some(1), Some(2))
            );
        }
    });
}

#[test]
fn late_commits_of_connections_to_come() {
    alone(async {
        let server = MariaDb::start();
        let url = server.fresh();
        let database = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
        let writer = PoolOptions::<sqlx::MySql>::new().max_connections(3).connect(&url).await.unwrap();
        let reader = mysql_of(&url).await;
        run(&writer, "CREATE TABLE t (id INT)").await;
        run(&writer, "INSERT INTO t VALUES (0)").await;
        kept(&reader, "SELECT id FROM t").await;
        let held = (writer.acquire().await.unwrap(), writer.acquire().await.unwrap());
        server.mysql("", "SET GLOBAL autocommit = 0");
        drop(writer.acquire().await.unwrap());
        server.mysql("", "SET GLOBAL autocommit = 1");
        tokio::time::sleep(Duration::from_millis(300)).await;
        run(&writer, "UPDATE t SET id = 1").await;
        assert_eq!(kept(&reader, "SELECT id FROM t").await, Some(0));
        let tx = writer.begin().await.unwrap();
        assert_eq!(one(&reader, "SELECT id FROM t").await, direct(&server, &database, "SELECT id FROM t"));
        drop((tx, held));
    });
}

#[test]
fn a_view_calls_a_function_that_is_not_shown() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        server.mysql(&database, &format!("CREATE TABLE t (id INT); INSERT INTO t VALUES (0); CREATE TABLE u (id INT); \
            CREATE USER v_{database}; GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON {database}.* TO v_{database};\nDELIMITER $$\nCREATE FUNCTION f() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE t SET id = id + 1; RETURN 1; END $$\nDELIMITER ;\nCREATE SQL SECURITY DEFINER VIEW v AS SELECT f() AS x"));
        let pool = mysql_of(&server.url_of(&format!("v_{database}"), &database)).await;
        assert_eq!(kept(&pool, "SELECT id FROM t").await, Some(0));
        assert_eq!(one(&pool, "SELECT x FROM v").await, Some(1));
        assert_eq!(one(&pool, "SELECT id FROM t").await, direct(server, &database, "SELECT id FROM t"));
    });
}

#[test]
fn the_first_row_of_a_call_is_not_its_end() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        server.mysql(&database, "CREATE TABLE t (id INT); INSERT INTO t VALUES (0);\nDELIMITER $$\nCREATE PROCEDURE p() BEGIN SELECT REPEAT('x', 100000); DO SLEEP(1); UPDATE t SET id = 1; END $$");
        let pool = mysql_of(&server.url(&database)).await;
        kept(&pool, "SELECT id FROM t").await;
        let mut conn = pool.acquire().await.unwrap();
        (&mut *conn).fetch_optional(sqlx::query("CALL p()")).await.unwrap();
        let before = kept(&pool, "SELECT id FROM t").await;
        tokio::time::sleep(Duration::from_millis(2000)).await;
        assert_eq!(
            one(&pool, "SELECT id FROM t").await,
            direct(server, &database, "SELECT id FROM t"),
            "was {before:?}"
        );
        drop(conn);
    });
}

#[test]
fn the_first_row_of_a_delete_returning_is_not_its_end() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        let pool = mysql_of(&server.url(&database)).await;
        run(&pool, "CREATE TABLE t (id INT)").await;
        run(&pool, "INSERT INTO t VALUES (0), (1), (2)").await;
        kept(&pool, "SELECT COUNT(*) FROM t").await;
        let mut conn = pool.acquire().await.unwrap();
        (&mut *conn).fetch_one(sqlx::query("DELETE FROM t RETURNING REPEAT('x', 100000), SLEEP(0.5)")).await.unwrap();
        let before = kept(&pool, "SELECT COUNT(*) FROM t").await;
        tokio::time::sleep(Duration::from_millis(3000)).await;
        assert_eq!(
            one(&pool, "SELECT COUNT(*) FROM t").await,
            direct(server, &database, "SELECT COUNT(*) FROM t"),
            "was {before:?}"
        );
        drop(conn);
    });
}

#[test]
fn a_key_that_a_reader_may_not_see() {
    alone(async {
        let server = MariaDb::shared();
        let (one_db, two_db) = (server.create_database(), server.create_database());
        server.mysql("", &format!("CREATE TABLE {one_db}.a (id INT PRIMARY KEY); INSERT INTO {one_db}.a VALUES (1); \
            CREATE TABLE {two_db}.b (id INT PRIMARY KEY, n INT, FOREIGN KEY (id) REFERENCES {one_db}.a (id) ON DELETE CASCADE); \
            INSERT INTO {two_db}.b VALUES (1, 1); \
            CREATE USER w_{one_db}; GRANT ALL ON {one_db}.* TO w_{one_db}; \
            CREATE USER r_{one_db}; GRANT SELECT (n) ON {two_db}.b TO r_{one_db}"));
        let writer = mysql_of(&server.url_of(&format!("w_{one_db}"), &one_db)).await;
        let reader = mysql_of(&server.url_of(&format!("r_{one_db}"), &two_db)).await;
        assert_eq!(kept(&reader, "SELECT COUNT(n) FROM b").await, Some(1));
        run(&writer, "DELETE FROM a").await;
        assert_eq!(one(&reader, "SELECT COUNT(n) FROM b").await, Some(0), "b");
    });
}

#[test]
fn cascades_from_tables_with_odd_names() {
    alone(async {
        let server = MariaDb::shared();
        let pool = mysql_of(&server.fresh()).await;
        for (n, parent) in ["pä-r ent", "p.arent", "Par\"ent", "p@rent", "#p", "P", "日本"].iter().enumerate() {
            run(&pool, &format!("CREATE TABLE `{parent}` (id INT PRIMARY KEY)")).await;
            run(
                &pool,
                &format!(
                    "CREATE TABLE `c{n}` (id INT, FOREIGN KEY (id) REFERENCES `{parent}` (id) ON DELETE SET NULL)"
                ),
            )
            .await;
            run(&pool, &format!("INSERT INTO `{parent}` VALUES (1)")).await;
            run(&pool, &format!("INSERT INTO `c{n}` VALUES (1)")).await;
            assert_eq!(kept(&pool, &format!("SELECT COUNT(id) FROM c{n}")).await, Some(1));
            run(&pool, &format!("DELETE FROM `{parent}`")).await;
            assert_eq!(one(&pool, &format!("SELECT COUNT(id) FROM c{n}")).await, Some(0), "{parent}");
        }
    });
}

#[test]
fn each_connection_has_a_temporary_table_from_the_start() {
    alone(async {
        let server = MariaDb::shared();
        let url = server.fresh();
        let plain = mysql_of(&url).await;
        run(&plain, "CREATE TABLE t (id BIGINT)").await;
        let pool = PoolOptions::<sqlx::MySql>::new()
            .max_connections(2)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection
                        .execute("CREATE TEMPORARY TABLE t SELECT CAST(CONNECTION_ID() AS SIGNED) AS id")
                        .await
                        .map(|_| ())
                })
            })
            .connect(&url)
            .await
            .unwrap();
        let mut first = pool.acquire().await.unwrap();
        let mut second = pool.acquire().await.unwrap();
        let id = |c: &sqlx::mysql::MySqlRow| c.get::<i64, _>(0);
        let a = id(&(&mut *first).fetch_one(sqlx::query("SELECT id FROM t")).await.unwrap());
        let b = id(&(&mut *second).fetch_one(sqlx::query("SELECT id FROM t")).await.unwrap());
        assert_ne!(a, b);
        drop(first);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(kept(&pool, "SELECT id FROM t").await, Some(a));
        let first = pool.acquire().await.unwrap();
        drop(second);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(one(&pool, "SELECT id FROM t").await, Some(b));
        drop(first);
    });
}

#[test]
fn packets_of_another_size() {
    alone(async {
        let server = MariaDb::start();
        let url = server.fresh();
        let pool = PoolOptions::<sqlx::MySql>::new().max_connections(3).connect(&url).await.unwrap();
        run(&pool, "CREATE TABLE t (id INT)").await;
        run(&pool, "INSERT INTO t VALUES (0)").await;
        let sql = "SELECT LENGTH(REPEAT('x', 5000)) FROM t";
        assert_eq!(kept(&pool, sql).await, Some(5000));
        let held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        server.mysql("", "SET GLOBAL max_allowed_packet = 2048");
        let seen = one(&pool, "SELECT LENGTH(REPEAT('x', 5000)) FROM t WHERE 1").await;
        drop(held);
        // What that session says itself; from then on nothing is kept.
        assert_eq!(seen, None);
        one(&pool, sql).await;
        assert!(pool.stats().bypasses_by_reason.contains_key(&Reason::SessionChanged), "{}", pool.stats());
    });
}

#[test]
fn a_clock_in_a_column_whose_reader_has_few_rights() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        server.mysql(&database, &format!("CREATE TABLE t (id INT, c BIGINT AS (UNIX_TIMESTAMP()) VIRTUAL); INSERT INTO t (id) VALUES (0); \
            CREATE USER a_{database}; GRANT SELECT ON {database}.t TO a_{database}; CREATE USER b_{database}; GRANT SELECT (c) ON {database}.t TO b_{database}"));
        for user in ["a", "b"] {
            let pool = mysql_of(&server.url_of(&format!("{user}_{database}"), &database)).await;
            let first = kept(&pool, "SELECT c FROM t").await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
            assert_ne!(one(&pool, "SELECT c FROM t").await, first, "{user}");
        }
    });
}

#[test]
fn a_narrower_grant_hides_triggers() {
    alone(async {
        let server = MariaDb::shared();
        let database = format!("{}_x", server.create_database());
        let escaped = database.replace('_', "\\_");
        server.mysql("", &format!("CREATE DATABASE {database}; USE {database}; CREATE TABLE t (id INT); CREATE TABLE u (id INT); INSERT INTO u VALUES (0); \
            CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW UPDATE u SET id = id + 1; \
            CREATE USER n_{database}; GRANT ALL ON `{database}`.* TO n_{database}; GRANT SELECT, INSERT ON `{escaped}`.* TO n_{database}"));
        let pool = mysql_of(&server.url_of(&format!("n_{database}"), &database)).await;
        assert_eq!(kept(&pool, "SELECT id FROM u").await, Some(0));
        run(&pool, "INSERT INTO t VALUES (1)").await;
        assert_eq!(one(&pool, "SELECT id FROM u").await, direct(server, &database, "SELECT id FROM u"));
    });
}

/// Arguments of all types through one statement: each answer must be that of a direct query.
#[test]
fn arguments_never_share_an_answer() {
    alone(async {
        let server = MariaDb::shared();
        let url = server.fresh();
        let pool = mysql_of(&url).await;
        let plain = sqlx::MySqlPool::connect(&url).await.unwrap();
        run(&pool, "CREATE TABLE t (id INT)").await;
        run(&pool, "INSERT INTO t VALUES (1)").await;
        let sql = "SELECT ?, CHARSET(?), HEX(?), COERCIBILITY(?), LENGTH(?), ? IS NULL, ? + 0, COLLATION(?), id FROM t";
        macro_rules! all { ($($value:expr),* $(,)?) => {{
            let mut wrong = Vec::new();
            for round in 0..2 { $({
                let value = $value;
                macro_rules! q { () => { sqlx::query(sql).bind(value.clone()).bind(value.clone()).bind(value.clone()).bind(value.clone()).bind(value.clone()).bind(value.clone()).bind(value.clone()).bind(value.clone()) } }
                let should = q!().fetch_all(&plain).await.map(|rows| shown(&rows)).map_err(|e| e.to_string());
                let is = q!().fetch_all(&pool).await.map(|rows| shown(&rows)).map_err(|e| e.to_string());
                if is != should { wrong.push(format!("{} in round {round}: {is:?} instead of {should:?}", stringify!($value))); }
            })* }
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }} }
        all!(
            1u8,
            1i8,
            -1i8,
            255u8,
            true,
            false,
            0i8,
            1u16,
            1i16,
            1u32,
            1i32,
            1u64,
            1i64,
            -1i64,
            u64::MAX,
            1f32,
            1f64,
            0.1f32,
            0.1f64,
            -0.0f64,
            0f64,
            f64::from(0.1f32),
            "1",
            "",
            "1".to_owned(),
            &b"1"[..],
            vec![49u8],
            "a",
            "A",
            "a ",
            "\u{e9}",
            "e\u{301}",
            "\0",
            None::<i8>,
            None::<u8>,
            None::<i32>,
            None::<i64>,
            None::<bool>,
            None::<f32>,
            None::<f64>,
            None::<&str>,
            None::<String>,
            None::<Vec<u8>>,
            Some(1i32),
            Some("1"),
            sqlx::types::Json(1),
            sqlx::types::Json("1"),
            sqlx::types::Json(None::<i32>),
            "2024-01-02",
            "2024-01-02 00:00:00",
            "12:00:00",
            sqlx::types::chrono::NaiveDate::from_ymd_opt(2024, 1, 2).unwrap(),
            sqlx::types::chrono::NaiveDate::from_ymd_opt(2024, 1, 2).unwrap().and_hms_opt(0, 0, 0).unwrap(),
            sqlx::types::chrono::NaiveDate::from_ymd_opt(2024, 1, 2).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc(),
            sqlx::types::chrono::NaiveTime::from_hms_opt(12, 0, 0).unwrap(),
            None::<sqlx::types::chrono::NaiveDate>,
            None::<sqlx::types::chrono::NaiveDateTime>,
            None::<sqlx::types::chrono::NaiveTime>,
        );
        eprintln!("{} hits", pool.stats().hits);
    });
}

/// Several statements in one text, of which the last writes: no sleep, no large row.
#[test]
fn the_first_row_of_a_script_is_not_its_end() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        let pool = mysql_of(&server.url(&database)).await;
        run(&pool, "CREATE TABLE t (id INT)").await;
        run(&pool, "INSERT INTO t VALUES (0)").await;
        let mut wrong = 0;
        for n in 1..=100 {
            kept(&pool, "SELECT id FROM t").await;
            let mut conn = pool.acquire().await.unwrap();
            let text = format!("SELECT 1; SELECT COUNT(*) FROM seq_1_to_200000; UPDATE t SET id = {n}");
            (&mut *conn).fetch_one(sqlx::raw_sql(AssertSqlSafe(text))).await.unwrap();
            one(&pool, "SELECT id FROM t").await;
            drop(conn);
            tokio::time::sleep(Duration::from_millis(30)).await;
            wrong += i32::from(one(&pool, "SELECT id FROM t").await != direct(server, &database, "SELECT id FROM t"));
        }
        assert_eq!(wrong, 0, "of 100");
    });
}

/// A savepoint of the name that sqlx uses is set again by text: to roll back to it undoes less than is forgotten.
#[test]
fn a_savepoint_is_set_again() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        let pool = mysql_of(&server.url(&database)).await;
        run(&pool, "CREATE TABLE t (id INT)").await;
        run(&pool, "INSERT INTO t VALUES (0)").await;
        kept(&pool, "SELECT id FROM t").await;
        let mut tx = pool.begin().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        (&mut *inner).execute(sqlx::query("UPDATE t SET id = 1")).await.unwrap();
        (&mut *inner).execute(sqlx::query("SAVEPOINT _sqlx_savepoint_1")).await.unwrap();
        inner.rollback().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(one(&pool, "SELECT id FROM t").await, direct(server, &database, "SELECT id FROM t"));
    });
}

/// Rolled back to a savepoint by text that lies before the one of a guard.
#[test]
fn locked_tables_come_back() {
    alone(async {
        let server = MariaDb::shared();
        let url = server.fresh();
        let pool = pool_of(&url, 2).await;
        run(&pool, "CREATE TABLE t (id INT)").await;
        run(&pool, "CREATE TABLE o (id INT)").await;
        let mut conn = pool.acquire().await.unwrap();
        (&mut *conn).execute(sqlx::raw_sql("LOCK TABLE o READ")).await.unwrap();
        given_back(conn).await;
        for n in 0..4 {
            let read = sqlx::query(AssertSqlSafe(format!("SELECT id FROM t WHERE id > {n}"))).fetch_all(&pool).await;
            assert!(read.is_ok(), "{read:?}");
        }
    });
}
