//! Real `SqliteRow`s out of kept bytes, from private databases in memory.
//!
//! In: rows of a result just loaded; later the bytes made of them. Out: rows equal to those.
//! It never keeps a result whose columns it cannot reproduce: the first of each shape is replayed and compared.
//!
//! A hit runs `SELECT "t"."id" AS "id", NULL AS "sum" FROM main."t" WHERE 0 UNION ALL VALUES (?, ?), (?, ?)`. The left arm
//! yields no row; it gives names, declared types and origins. The right arm yields the values as they are bound: a
//! compound SELECT applies no affinity, where a table would turn the text '123' in an INTEGER column into a number. The
//! private database keeps nothing but empty tables, so there is nothing to evict.
//!
//! Every connection of sqlx to SQLite has a thread of its own, and a replay is a round trip to it (some microseconds).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqliteQueryResult, SqliteRow, SqliteValue};
use sqlx::{Row, SqlStr, Sqlite};

use super::{Replay, Replayed, Unfaithful, cells};
use crate::entry::Stored;

mod memories;
mod memory;
mod self_test;
mod shape;
#[cfg(test)]
mod tests;
mod values;

use memories::Memories;
pub(crate) use shape::Shape;

/// What SQLite itself takes for a value besides the bytes of a text, about: the value, and what its allocator adds.
const SQLITE3_VALUE: usize = 96;

/// Replay for SQLite.
#[derive(Debug)]
pub struct SqliteReplay {
    memories: Memories,
}

impl Replay<Sqlite> for SqliteReplay {
    type Shape = Shape;

    const EMPTY_HAS_COLUMNS: bool = false;

    fn digest(shape: &Shape) -> [u8; 32] {
        *blake3::hash(format!("sqlite {}", shape.describe()).as_bytes()).as_bytes()
    }

    async fn start() -> Result<Self, Unfaithful> {
        let replay = Self { memories: Memories::new() };
        self_test::run(&replay).await?;
        Ok(replay)
    }

    fn row_bytes(row: &SqliteRow) -> usize {
        guarded(|| (0..row.len()).map(|i| cells::LENGTH + values::size(row, i)).sum()).unwrap_or(0)
    }

    async fn store(
        &self,
        _connection: &mut SqliteConnection,
        _sql: &SqlStr,
        _arguments: &str,
        rows: &[SqliteRow],
        previous: Option<&Arc<Shape>>,
    ) -> Result<Stored<Shape>, Unfaithful> {
        self.keep(rows, previous).await
    }

    async fn mint(&self, stored: &Stored<Shape>, copies: usize) -> Result<Vec<Replayed<Sqlite>>, Unfaithful> {
        let rows = self.memories.replay(stored, copies).await?;
        // A SELECT reports what the statements before it on its connection did; a fresh connection reports nothing.
        let copy = |rows| Replayed { rows, result: SqliteQueryResult::default() };
        if copies == 1 {
            return Ok(vec![copy(rows)]);
        }
        let mut rows = rows.into_iter();
        Ok((0..copies).map(|_| copy(rows.by_ref().take(stored.rows).collect())).collect())
    }

    fn copy_bytes(stored: &Stored<Shape>) -> usize {
        // Each value is a `sqlite3_value` of its own.
        let value = size_of::<SqliteValue>() + SQLITE3_VALUE;
        let row = size_of::<SqliteRow>() + stored.shape.columns() * value;
        size_of::<Replayed<Sqlite>>() + stored.bytes.len() + stored.rows * row
    }
}

impl SqliteReplay {
    async fn keep(&self, rows: &[SqliteRow], previous: Option<&Arc<Shape>>) -> Result<Stored<Shape>, Unfaithful> {
        let Some(first) = rows.first() else {
            let shape = previous.map_or_else(|| Arc::new(Shape::empty()), Arc::clone);
            return Ok(Stored { shape, bytes: Arc::default(), rows: 0 });
        };
        // One list in memory for all rows; several statements in one text have several.
        if !rows.iter().all(|row| std::ptr::eq(row.columns(), first.columns())) {
            return Err(Unfaithful::because("there are several results"));
        }
        let bytes = encode(rows)?.into();
        if let Some(shape) = previous.filter(|shape| shape.fits(first.columns())) {
            return Ok(Stored { shape: Arc::clone(shape), bytes, rows: rows.len() });
        }
        let stored = Stored { shape: Arc::new(Shape::new(first.columns())?), bytes, rows: rows.len() };
        let proof = self.memories.replay(&stored, 1).await?;
        if proof.iter().all(|row| stored.shape.fits(row.columns())) && encode(&proof)? == *stored.bytes {
            Ok(stored)
        } else {
            Err(Unfaithful::because("the rows do not come back as they were"))
        }
    }
}

fn encode(rows: &[SqliteRow]) -> Result<Vec<u8>, Unfaithful> {
    guarded(|| {
        let mut bytes = Vec::new();
        for row in rows {
            for i in 0..row.len() {
                values::encode(row, i, &mut bytes)?;
            }
        }
        Ok(bytes)
    })?
}

/// When a table lost a column under a prepared statement, sqlx makes rows with fewer values than columns, and panics when
/// the missing ones are asked for. A query that does not ask must not suffer.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, Unfaithful> {
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| Unfaithful::because("the table was changed under the prepared statement"))
}
