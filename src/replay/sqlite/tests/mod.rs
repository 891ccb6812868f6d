//! Replay against real SQLite databases: each result is loaded, kept, given back and compared with the original.

use std::fmt::Debug;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Executor, Row, SqlSafeStr, SqlStr, TypeInfo, ValueRef};

use super::*;
use crate::replay::tests::{Stage, room_tests};

mod alike;
mod damage;
mod refusals;
mod shapes;
mod sizes;

room_tests!(Scene);

/// A replay, and a connection to a fresh database.
struct Scene {
    replay: SqliteReplay,
    connection: SqliteConnection,
}

impl Scene {
    async fn run(&mut self, sql: &str) {
        self.connection.execute(text(sql)).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    async fn store(&mut self, rows: &[SqliteRow], previous: Option<&Arc<Shape>>) -> Result<Stored<Shape>, Unfaithful> {
        self.keep("SELECT", rows, previous).await
    }
}

impl Stage for Scene {
    type Database = Sqlite;
    type Replay = SqliteReplay;

    async fn new() -> Self {
        let connection = SqliteConnectOptions::new().disable_statement_logging().connect().await.unwrap();
        Self { replay: SqliteReplay::start().await.unwrap(), connection }
    }

    fn replay(&self) -> &SqliteReplay {
        &self.replay
    }

    fn into_replay(self) -> SqliteReplay {
        self.replay
    }

    fn series(columns: &str, rows: usize) -> String {
        format!(
            "WITH RECURSIVE s(i) AS (SELECT 1 WHERE {rows} UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) \
             SELECT {columns} FROM s"
        )
    }

    async fn fetch(&mut self, sql: &str) -> Vec<SqliteRow> {
        let query = sqlx::query_with(text(sql), SqliteArguments::default());
        query.fetch_all(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn keep(
        &mut self,
        sql: &str,
        rows: &[SqliteRow],
        previous: Option<&Arc<Shape>>,
    ) -> Result<Stored<Shape>, Unfaithful> {
        let none = format!("{:?}", SqliteArguments::default());
        self.replay.store(&mut self.connection, &text(sql), &none, rows, previous).await
    }

    fn encode(rows: &[SqliteRow], _shape: &Shape) -> Vec<u8> {
        encode(rows).unwrap()
    }

    fn text(row: &SqliteRow, column: usize) -> &str {
        row.get(column)
    }

    fn completes(result: &SqliteQueryResult, _rows: usize) -> bool {
        result.rows_affected() == 0
    }

    fn assert_same_cells(direct: &[SqliteRow], replayed: &[SqliteRow]) {
        alike::assert_same_cells(direct, replayed);
    }

    fn assert_same(direct: &[SqliteRow], replayed: &[SqliteRow]) {
        alike::assert_same(direct, replayed);
    }
}

fn text(sql: &str) -> SqlStr {
    AssertSqlSafe(sql.to_owned()).into_sql_str()
}
