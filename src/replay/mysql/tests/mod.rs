//! Replay against a real MariaDB: each result is loaded, kept, given back and compared with what the server gave.

use std::fmt::Debug;

use sqlx::mysql::{MySqlConnection, MySqlQueryResult, MySqlRow};
use sqlx::{AssertSqlSafe, Column, Connection, Row, SqlSafeStr, SqlStr, TypeInfo, ValueRef};

use super::*;
use crate::replay::tests::{Stage, link_tests, room_tests, servers};

mod alike;
mod refusals;
mod shapes;
mod types;

room_tests!(Scene);
link_tests!(Scene, Server);

/// A replay, and a connection to a fresh database.
struct Scene {
    replay: MySqlReplay,
    connection: MySqlConnection,
}

impl Scene {
    async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(text(sql)).execute(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

impl Stage for Scene {
    type Database = MySql;
    type Replay = MySqlReplay;

    async fn new() -> Self {
        let connection = MySqlConnection::connect(&servers::mariadb()).await.unwrap();
        Self { replay: MySqlReplay::start().await.unwrap(), connection }
    }

    fn replay(&self) -> &MySqlReplay {
        &self.replay
    }

    fn into_replay(self) -> MySqlReplay {
        self.replay
    }

    fn series(columns: &str, rows: usize) -> String {
        // A sequence to 0 would count down.
        let last = rows.max(1);
        format!("SELECT {columns} FROM (SELECT seq AS i FROM seq_1_to_{last} WHERE seq <= {rows}) AS s")
    }

    async fn fetch(&mut self, sql: &str) -> Vec<MySqlRow> {
        sqlx::query(text(sql)).fetch_all(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn keep(
        &mut self,
        sql: &str,
        rows: &[MySqlRow],
        previous: Option<&Arc<Shape>>,
    ) -> Result<Stored<Shape>, Unfaithful> {
        self.replay.store(&mut self.connection, &text(sql), "", rows, previous).await
    }

    fn encode(rows: &[MySqlRow], shape: &Shape) -> Vec<u8> {
        encode(rows, shape).unwrap()
    }

    fn text(row: &MySqlRow, column: usize) -> &str {
        row.get(column)
    }

    fn completes(result: &MySqlQueryResult, _rows: usize) -> bool {
        (result.rows_affected(), result.last_insert_id()) == (0, 0)
    }

    fn assert_same_cells(direct: &[MySqlRow], replayed: &[MySqlRow]) {
        alike::assert_same_cells(direct, replayed);
    }

    fn assert_same(direct: &[MySqlRow], replayed: &[MySqlRow]) {
        alike::assert_same(direct, replayed);
    }
}

fn text(sql: &str) -> SqlStr {
    AssertSqlSafe(sql.to_owned()).into_sql_str()
}
