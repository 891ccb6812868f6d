//! Replay against real SQLite databases: each result is loaded, kept, given back and compared with the original.

use std::fmt::Debug;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Executor, Row, SqlSafeStr, SqlStr, TypeInfo, ValueRef};

use super::*;
use crate::replay::spares::{Room, Spares};

mod alike;
mod damage;
mod many_at_once;
mod refusals;
mod shapes;
mod sizes;
mod speed;

/// A replay, and a connection to a fresh database.
struct Scene {
    replay: SqliteReplay,
    connection: SqliteConnection,
}

impl Scene {
    async fn new() -> Self {
        let connection = SqliteConnectOptions::new().disable_statement_logging().connect().await.unwrap();
        Self { replay: SqliteReplay::start().await.unwrap(), connection }
    }

    async fn run(&mut self, sql: &str) {
        self.connection.execute(text(sql)).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    async fn fetch(&mut self, sql: &str) -> Vec<SqliteRow> {
        let query = sqlx::query_with(text(sql), SqliteArguments::default());
        query.fetch_all(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn keep(&mut self, rows: &[SqliteRow], previous: Option<&Arc<Shape>>) -> Result<Stored<Shape>, Unfaithful> {
        let none = format!("{:?}", SqliteArguments::default());
        self.replay.store(&mut self.connection, &text("SELECT"), &none, rows, previous).await
    }

    /// What the database answers, and the same as it is kept.
    async fn load(&mut self, sql: &str) -> (Vec<SqliteRow>, Stored<Shape>) {
        let rows = self.fetch(sql).await;
        let stored = self.keep(&rows, None).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        (rows, stored)
    }

    /// Loads, keeps, gives back twice, then as copies, and compares.
    async fn comes_back(&mut self, sql: &str) -> Vec<SqliteRow> {
        let (rows, stored) = self.load(sql).await;
        let mut replayed = Vec::new();
        for _ in 0..2 {
            replayed = self.replay.replay(&stored).await.unwrap_or_else(|e| panic!("{sql}: {e}")).rows;
            alike::assert_same_cells(&rows, &replayed);
        }
        let copies = hits(&self.replay, &stored).await;
        for copy in &copies {
            alike::assert_same_cells(&rows, copy);
        }
        alike::assert_same(&rows, &replayed);
        // The decodes have left traces on the rows of the database.
        let again = self.replay.replay(&stored).await.unwrap().rows;
        alike::assert_same(&again, &copies[5]);
        rows
    }
}

/// Gives a result back as often as it takes for several batches of copies, and then from none: all of them.
async fn hits(replay: &SqliteReplay, stored: &Stored<Shape>) -> Vec<Vec<SqliteRow>> {
    let (spares, room) = (Spares::none(), Room::beside(64 << 20));
    let mut copies = Vec::new();
    for _ in 0..8 {
        let copy = spares.take(replay, stored, &room).await.unwrap();
        assert_eq!(copy.result.rows_affected(), 0);
        copies.push(copy.rows);
    }
    drop(spares);
    assert_eq!(room.taken(), 0);
    copies
}

fn text(sql: &str) -> SqlStr {
    AssertSqlSafe(sql.to_owned()).into_sql_str()
}
