//! Replay against a real PostgreSQL: each result is loaded, kept, given back and compared with what the server gave.

use std::fmt::Debug;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, Row, SqlSafeStr, SqlStr, ValueRef};

use super::*;
use crate::replay::spares::{Room, Spares};

mod alike;
mod damage;
mod many_at_once;
#[path = "../../../../tests/it/servers/mod.rs"]
mod servers;
mod sizes;
mod sockets;
mod speed;
mod statements;
mod types;

/// A replay, and a connection to a fresh database.
struct Scene {
    replay: PostgresReplay,
    connection: PgConnection,
}

impl Scene {
    async fn new() -> Self {
        let connection = PgConnection::connect(&servers::postgres()).await.unwrap();
        Self { replay: PostgresReplay::start().await.unwrap(), connection }
    }

    async fn run(&mut self, sql: &str) {
        self.connection.execute(text(sql)).await.unwrap();
    }

    /// What the server answers, and the same as it is kept.
    async fn load(&mut self, sql: &str) -> (Vec<PgRow>, Stored<Shape>) {
        let rows =
            sqlx::query(text(sql)).fetch_all(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let stored = self.keep(sql, &rows, None).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        (rows, stored)
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

    /// Loads, keeps, gives back twice (the second time the shape is known to the link), then as copies, and compares.
    async fn comes_back(&mut self, sql: &str) -> Vec<PgRow> {
        let (rows, stored) = self.load(sql).await;
        for _ in 0..2 {
            let replayed = self.replay.replay(&stored).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(replayed.result.rows_affected(), rows.len() as u64);
            alike::assert_same(&rows, &replayed.rows);
        }
        let copies = hits(&self.replay, &stored).await;
        for copy in &copies {
            alike::assert_same_cells(&rows, copy);
        }
        alike::assert_same(&rows, &copies[5]);
        rows
    }
}

/// Gives a result back as often as it takes for several batches of copies, and then from none: all of them.
async fn hits(replay: &PostgresReplay, stored: &Stored<Shape>) -> Vec<Vec<PgRow>> {
    let (spares, room) = (Spares::none(), Room::beside(64 << 20));
    let mut copies = Vec::new();
    for _ in 0..8 {
        let copy = spares.take(replay, stored, &room).await.unwrap();
        assert_eq!(copy.result.rows_affected(), stored.rows as u64);
        copies.push(copy.rows);
    }
    drop(spares);
    assert_eq!(room.taken(), 0);
    copies
}

fn text(sql: &str) -> SqlStr {
    AssertSqlSafe(sql.to_owned()).into_sql_str()
}
