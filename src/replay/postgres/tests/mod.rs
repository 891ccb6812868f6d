//! Replay against a real PostgreSQL: each result is loaded, kept, given back and compared with what the server gave.

use std::fmt::Debug;

use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, Row, SqlSafeStr, SqlStr, ValueRef};

use super::*;
use crate::replay::tests::{Stage, link_tests, room_tests, servers};

mod alike;
mod sizes;
mod statements;
mod types;

room_tests!(Scene);
link_tests!(Scene, Prepared);

/// A replay, and a connection to a fresh database.
struct Scene {
    replay: PostgresReplay,
    connection: PgConnection,
}

impl Scene {
    async fn run(&mut self, sql: &str) {
        self.connection.execute(text(sql)).await.unwrap();
    }
}

impl Stage for Scene {
    type Database = Postgres;
    type Replay = PostgresReplay;

    async fn new() -> Self {
        let connection = PgConnection::connect(&servers::postgres()).await.unwrap();
        Self { replay: PostgresReplay::start().await.unwrap(), connection }
    }

    fn replay(&self) -> &PostgresReplay {
        &self.replay
    }

    fn into_replay(self) -> PostgresReplay {
        self.replay
    }

    fn series(columns: &str, rows: usize) -> String {
        format!("SELECT {columns} FROM generate_series(1, {rows}) i")
    }

    async fn fetch(&mut self, sql: &str) -> Vec<PgRow> {
        sqlx::query(text(sql)).fetch_all(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn keep(
        &mut self,
        sql: &str,
        rows: &[PgRow],
        previous: Option<&Arc<Shape>>,
    ) -> Result<Stored<Shape>, Unfaithful> {
        let none = format!("{:?}", PgArguments::default());
        self.replay.store(&mut self.connection, &text(sql), &none, rows, previous).await
    }

    fn encode(rows: &[PgRow], shape: &Shape) -> Vec<u8> {
        encode(rows, &shape.statement).unwrap()
    }

    fn text(row: &PgRow, column: usize) -> &str {
        row.get(column)
    }

    fn completes(result: &PgQueryResult, rows: usize) -> bool {
        result.rows_affected() == rows as u64
    }

    fn assert_same_cells(direct: &[PgRow], replayed: &[PgRow]) {
        alike::assert_same_cells(direct, replayed);
    }

    fn assert_same(direct: &[PgRow], replayed: &[PgRow]) {
        alike::assert_same(direct, replayed);
    }
}

fn text(sql: &str) -> SqlStr {
    AssertSqlSafe(sql.to_owned()).into_sql_str()
}
