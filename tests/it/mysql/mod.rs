//! What only MySQL and MariaDB have: after whatever is done, the cached answer is that of the database.

use std::time::{Duration, Instant};

use larder::MySqlPool;
use sqlx::AssertSqlSafe;

use crate::servers::MariaDb;
use crate::support::{alone, mysql_of, was_hit};

mod attacks;
mod dropped;
mod hidden_code;
mod outages;
mod results;
mod sessions;
mod statements;
mod transactions;
mod writes;

/// A pool on a fresh database in which these statements, each with an end of line behind its semicolon, were run before.
async fn prepared(setup: &str) -> MySqlPool {
    let url = MariaDb::shared().fresh();
    let admin = sqlx::MySqlPool::connect(&url).await.unwrap();
    for statement in setup.split(";\n") {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&admin)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    admin.close().await;
    mysql_of(&url).await
}

/// All rows of a query, as text.
async fn rows<'p>(
    from: impl sqlx::Executor<'p, Database = sqlx::MySql>,
    sql: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(from).await?;
    Ok(rows.iter().map(|row| format!("{row:?}")).collect())
}

/// Reads until the answer comes from memory.
async fn keep(pool: &MySqlPool, sql: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (answer, hit) = was_hit(pool, rows(pool, sql)).await;
        if hit {
            return answer;
        }
        assert!(Instant::now() < deadline, "{sql} is not kept: {}", pool.stats());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads a few times, comparing each with the database.
async fn right(pool: &MySqlPool, sql: &str, what: &str) {
    if let Some(wrong) = wrong(pool, sql).await {
        panic!("{what}: {sql}: {wrong}");
    }
}

/// What was found, and what is there, where that is not the same.
async fn wrong(pool: &MySqlPool, sql: &str) -> Option<String> {
    for _ in 0..3 {
        let truth = rows(pool.inner(), sql).await.map_err(|error| error.to_string());
        let found = rows(pool, sql).await.map_err(|error| error.to_string());
        if found != truth {
            return Some(format!("{found:?} instead of {truth:?}"));
        }
    }
    None
}

/// Runs a text through the pool.
async fn run(pool: &MySqlPool, sql: &str) {
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
