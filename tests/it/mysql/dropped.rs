//! Futures that are dropped while the server answers. sqlx forgets a statement of MySQL that is being prepared, so that the
//! connection gives its answer to the next question: nobody may get such a connection, and nothing may be kept from one.

use std::future::Future;
use std::time::Duration;

use larder::{BreakerOptions, BreakerState, CachedPool, MySqlPool, Sessions};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use super::{keep, rows};
use crate::servers::MariaDb;
use crate::support::alone;

const READ: &str = "SELECT n FROM t WHERE id = 1";

/// A pool of two connections on a table with one row, and its server.
async fn small() -> (MariaDb, MySqlPool) {
    let server = MariaDb::start();
    let database = server.create_database();
    server.mysql(&database, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0)");
    // What is sent first is the statement.
    let options = MySqlPoolOptions::new().max_connections(2).test_before_acquire(false);
    let pool = options.connect(&server.url(&database)).await.unwrap();
    (server, CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap())
}

/// Polls a future while the server stands still, so that it is sent and not answered, and drops it there.
async fn drop_in_the_middle<T>(server: &mut MariaDb, future: impl Future<Output = T>) {
    server.pause();
    let cut_short = tokio::time::timeout(Duration::from_millis(30), future).await;
    server.resume();
    assert!(cut_short.is_err(), "it should have waited");
}

/// Asks on every connection of the pool what has to be prepared first, and looks at what is answered.
async fn all_in_step(pool: &MySqlPool, number: i64) {
    let mut taken = Vec::new();
    for number in [number, number + 1] {
        let connection = tokio::time::timeout(Duration::from_secs(10), pool.acquire()).await;
        taken.push(connection.expect("a connection can be had").unwrap());
        let asked = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT ? + {number} AS `{number}`")));
        let answer = asked.bind(0_i64).fetch_one(&mut **taken.last_mut().unwrap());
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.expect("there is an answer");
        assert_eq!(answer.unwrap(), number);
    }
}

#[test]
fn reads_that_are_not_kept() {
    alone(async {
        let (mut server, pool) = small().await;
        for round in 0..8 {
            // With as many columns and parameters as it takes for the answer to look like another one.
            let sql = format!("SELECT ?, ?, t.*, rand() FROM t WHERE {round} = {round}");
            let query = || sqlx::query(AssertSqlSafe(sql.clone())).bind(0_i64).bind(0_i64);
            match round % 4 {
                0 => drop_in_the_middle(&mut server, query().fetch_all(&pool)).await,
                1 => drop_in_the_middle(&mut server, query().fetch_optional(&pool)).await,
                2 => drop_in_the_middle(&mut server, pool.prepare(AssertSqlSafe(sql).into_sql_str())).await,
                _ => drop_in_the_middle(&mut server, query().execute(&pool)).await,
            }
            all_in_step(&pool, 100 * round).await;
        }
    });
}

#[test]
fn writes_that_are_being_prepared() {
    alone(async {
        let (mut server, pool) = small().await;
        keep(&pool, READ).await;
        let update = || sqlx::query("UPDATE t SET n = n + ? WHERE id = ?").bind(1).bind(1);
        {
            let mut connection = pool.acquire().await.unwrap();
            drop_in_the_middle(&mut server, update().execute(&mut *connection)).await;
            // It says so, and does not give the answer to something else.
            let asked = sqlx::query("SELECT ?").bind(7).fetch_one(&mut *connection).await;
            assert!(asked.unwrap_err().to_string().contains("dropped in the middle"));
        }
        all_in_step(&pool, 0).await;
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (2, 2)").execute(&mut *tx).await.unwrap();
        let update = sqlx::query("UPDATE t SET n = n + ? WHERE id = ? AND 1 = 1").bind(1).bind(1);
        drop_in_the_middle(&mut server, update.execute(&mut *tx)).await;
        assert!(tx.commit().await.unwrap_err().to_string().contains("dropped in the middle"));
        all_in_step(&pool, 100).await;
        // Nothing came of either, and that is known at once.
        assert_eq!(keep(&pool, "SELECT id, n FROM t").await, rows(pool.inner(), "SELECT id, n FROM t").await.unwrap());
        assert_eq!(rows(&pool, "SELECT id, n FROM t").await.unwrap().len(), 1);
    });
}

#[test]
fn writes_that_are_run() {
    alone(async {
        let (mut server, pool) = small().await;
        let update = || sqlx::query("UPDATE t SET n = n + ? WHERE id = ?").bind(1).bind(1);
        let mut connection = pool.acquire().await.unwrap();
        update().execute(&mut *connection).await.unwrap();
        drop_in_the_middle(&mut server, update().execute(&mut *connection)).await;
        // It goes on where the server is.
        let asked = sqlx::query_scalar::<_, i32>("SELECT n FROM t WHERE id = ?").bind(1).fetch_one(&mut *connection);
        assert_eq!(asked.await.unwrap(), 2);
        drop(connection);
        assert_eq!(keep(&pool, READ).await, rows(pool.inner(), READ).await.unwrap());
        all_in_step(&pool, 0).await;
    });
}

/// Callers that go away in the middle of an answer say nothing of the server, though their connections are closed for it.
#[test]
fn impatient_callers_are_no_outage() {
    alone(async {
        let server = MariaDb::start();
        let database = server.create_database();
        server.mysql(&database, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0)");
        let plain = MySqlPoolOptions::new().max_connections(2).connect(&server.url(&database)).await.unwrap();
        let breaker = BreakerOptions::new().minimum_calls(5).failure_rate(0.1);
        let pool = CachedPool::builder(plain, Sessions::Uniform).sole_writer().breaker(breaker).build().await.unwrap();
        let before = pool.breaker().status();
        for _ in 0..12 {
            let mut tx = pool.begin().await.unwrap();
            let sleep = sqlx::query("SELECT SLEEP(?)").bind(20).persistent(false);
            tokio::time::timeout(Duration::from_millis(20), sleep.execute(&mut *tx)).await.unwrap_err();
        }
        // Those who come next get connections: all that was left behind is cleared away.
        let mut taken = Vec::new();
        for _ in 0..2 {
            let connection = tokio::time::timeout(Duration::from_secs(60), pool.acquire()).await;
            taken.push(connection.expect("a connection can be had").unwrap());
        }
        let breaker = pool.breaker().status();
        assert_eq!((&breaker.state, breaker.failure_rate), (&BreakerState::Closed, Some(0.0)), "{breaker:?}");
        assert!(breaker.calls > before.calls && breaker.transitions.is_empty(), "{breaker:?}");
    });
}
