//! Keeps and replays a result of every storage class under every declared type, before any of the application's.
//!
//! In: the replay. Out: nothing, or why it must stay off.
//! It never touches a database but its own.

use std::iter;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, SqlSafeStr};

use super::SqliteReplay;
use crate::replay::{Replay, Unfaithful};

const TYPES: &[&str] =
    &["INTEGER", "INT4", "REAL", "TEXT", "BLOB", "BOOLEAN", "DATE", "TIME", "DATETIME", "NUMERIC", "VARCHAR(9)", ""];

const VALUES: &[&str] = &[
    "1",
    "-9223372036854775808",
    "-0.0",
    "1.0",
    "9e999",
    "'123'",
    "''",
    "'a' || char(0) || 'b'",
    "x'00'",
    "x''",
    "NULL",
];

pub(super) async fn run(replay: &SqliteReplay) -> Result<(), Unfaithful> {
    let mut source = SqliteConnectOptions::new().disable_statement_logging().connect().await.map_err(failed)?;
    let columns: Vec<_> = TYPES.iter().enumerate().map(|(i, declared)| format!("c{i} {declared}")).collect();
    let create = format!("CREATE TABLE t({})", columns.join(","));
    source.execute(AssertSqlSafe(create).into_sql_str()).await.map_err(failed)?;

    // A compound SELECT stores nothing, hence converts nothing: every class under every type.
    let arms = VALUES.iter().map(|value| format!(" UNION ALL SELECT {}, {value}", vec![*value; TYPES.len()].join(",")));
    let select: String = iter::once("SELECT *, 1 AS \"c0\" FROM t".to_owned()).chain(arms).collect();
    let rows = source.fetch_all(AssertSqlSafe(select).into_sql_str()).await.map_err(failed)?;
    if rows.len() != VALUES.len() {
        return Err(Unfaithful::because("the self-test of replay has lost rows"));
    }
    // Keeping the first of a shape replays it and compares.
    for some in 1..=rows.len() {
        replay.keep(&rows[..some], None).await?;
    }
    let stored = replay.keep(&rows, None).await?;
    let again = replay.replay(&stored).await?;
    if super::encode(&again.rows)? == *stored.bytes { Ok(()) } else { Err(Unfaithful::because("rows differ")) }
}

fn failed(error: sqlx::Error) -> Unfaithful {
    Unfaithful::because(format!("the self-test of replay cannot run: {error}"))
}
