//! Real `PgRow`s out of kept bytes, from connections of sqlx whose server is this process.
//!
//! In: rows of a result just loaded and the connection they came from; later the bytes. Out: rows with the original columns.
//! It never keeps values in text format, and never a result whose prepared statement it cannot see.
//!
//! Rows get their columns from a prepared statement, and a statement can be handed to any connection through
//! `Execute::statement()`. So the statement of the application's own connection is kept, and a replay connection that runs
//! it needs to receive values only: types known to the database alone (enums, composites) come out as they were.
//!
//! On Linux and macOS the connections run over Unix sockets in a private folder. Elsewhere replay is off, and queries go
//! to the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::{PgColumn, PgConnection, PgRow, PgStatement, PgValueFormat};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, Postgres, Row, SqlSafeStr, SqlStr, Statement, ValueRef};

use super::links::Links;
use super::{Replay, Replayed, Unfaithful, cells};
use crate::entry::Stored;

mod arguments;
mod protocol;
#[cfg(unix)]
mod self_test;
#[cfg(all(test, unix))]
mod tests;
mod wire;

use protocol::Prepared;

/// Replay for Postgres.
pub struct PostgresReplay {
    links: Links<Prepared>,
}

/// The prepared statement a result came from: columns, by name and by position, and parameters.
#[derive(Debug)]
pub struct Shape {
    /// Tells replay connections whether they have seen this shape. Never used twice in a process.
    id: u64,
    /// What the statement is called on replay connections, in place of its text.
    tag: SqlStr,
    statement: PgStatement,
    /// Statements of other connections that were compared with this one, and argument types that were compared with
    /// them: each pair is compared once. Holding a statement keeps its columns where they are in memory.
    compared: Mutex<Vec<(PgStatement, Box<str>)>>,
}

/// What a row takes in a message besides its values, about.
const ROW_FRAME: usize = 16;

/// Pairs that a shape remembers: those of a usual pool whose callers are of one mind about the types.
const COMPARED: usize = 16;

impl Shape {
    fn new(statement: PgStatement) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, tag: tag(id), statement, compared: Mutex::default() }
    }

    /// Whether a result of `statement`, loaded with `arguments`, was found to have this shape before.
    fn was_compared(&self, statement: &PgStatement, arguments: &str) -> bool {
        let compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        compared
            .iter()
            .any(|(one, types)| std::ptr::eq(one.columns(), statement.columns()) && arguments.starts_with(&**types))
    }

    fn remember(&self, statement: PgStatement, arguments: &str) {
        let Some(types) = arguments::head(arguments) else { return };
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if compared.len() == COMPARED {
            compared.remove(0);
        }
        compared.push((statement, types.into()));
    }

    fn columns(&self) -> usize {
        self.statement.columns().len()
    }

    /// Whether another statement has the same columns and parameters, down to the variants of enums.
    fn fits(&self, other: &PgStatement) -> bool {
        let mine = &self.statement;
        std::ptr::eq(mine.columns(), other.columns())
            || (mine.columns().len() == other.columns().len()
                && mine.columns().iter().zip(other.columns()).all(|(mine, other)| same_column(mine, other))
                && format!("{:?}", mine.parameters()) == format!("{:?}", other.parameters()))
    }
}

/// Equality of type infos is lenient; their `Debug` is not, but prints names without quotes.
fn same_column(one: &PgColumn, other: &PgColumn) -> bool {
    one.ordinal() == other.ordinal() && one.name() == other.name() && format!("{one:?}") == format!("{other:?}")
}

fn tag(id: u64) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(format!("s{id}"))).into_sql_str()
}

impl Replay<Postgres> for PostgresReplay {
    type Shape = Shape;

    const EMPTY_HAS_COLUMNS: bool = true;

    fn digest(shape: &Shape) -> [u8; 32] {
        let statement = &shape.statement;
        let text = format!("postgres {:?} {:?}", statement.columns(), statement.parameters());
        *blake3::hash(text.as_bytes()).as_bytes()
    }

    async fn start() -> Result<Self, Unfaithful> {
        let links = Links::start()?;
        #[cfg(unix)]
        self_test::run(&links).await?;
        Ok(Self { links })
    }

    fn row_bytes(row: &PgRow) -> usize {
        (0..row.len())
            .map(|i| match row.try_get_raw(i) {
                Ok(value) if !value.is_null() => cells::LENGTH + value.as_bytes().map_or(0, <[u8]>::len),
                _ => cells::LENGTH,
            })
            .sum()
    }

    async fn store(
        &self,
        connection: &mut PgConnection,
        sql: &SqlStr,
        arguments: &str,
        rows: &[PgRow],
        previous: Option<&Arc<Shape>>,
    ) -> Result<Stored<Shape>, Unfaithful> {
        let statement = statement_of(connection, sql).await?;
        let bytes = encode(rows, &statement)?;
        let shape = match previous {
            Some(shape) if shape.was_compared(&statement, arguments) => Arc::clone(shape),
            _ if !arguments::fit(arguments, &statement) => {
                return Err(Unfaithful::because("the arguments are not of the types the statement was prepared for"));
            }
            previous => {
                let shape = match previous {
                    Some(shape) if shape.fits(&statement) => Arc::clone(shape),
                    _ => Arc::new(Shape::new(statement.clone())),
                };
                shape.remember(statement, arguments);
                shape
            }
        };
        Ok(Stored { shape, bytes: bytes.into(), rows: rows.len() })
    }

    async fn mint(&self, stored: &Stored<Shape>, copies: usize) -> Result<Vec<Replayed<Postgres>>, Unfaithful> {
        self.links.mint(stored, copies).await
    }

    fn copy_bytes(stored: &Stored<Shape>) -> usize {
        // Each row has the places of its values besides the message they are in.
        let row = size_of::<PgRow>() + ROW_FRAME + stored.shape.columns() * size_of::<Option<std::ops::Range<u32>>>();
        size_of::<Replayed<Postgres>>() + stored.bytes.len() + stored.rows * row
    }
}

/// The prepared statement that `connection` just executed for `sql`, without asking the server.
async fn statement_of(connection: &mut PgConnection, sql: &SqlStr) -> Result<PgStatement, Unfaithful> {
    let kept = connection.cached_statements_size();
    if kept == 0 {
        return Err(Unfaithful::because("the pool keeps no prepared statements"));
    }
    let statement = connection
        .prepare(sql.clone())
        .await
        .map_err(|_| Unfaithful::because("the prepared statement is gone from the connection"))?;
    if connection.cached_statements_size() != kept {
        return Err(Unfaithful::because("the statement was not kept by the connection"));
    }
    Ok(statement)
}

fn encode(rows: &[PgRow], statement: &PgStatement) -> Result<Vec<u8>, Unfaithful> {
    let columns = statement.columns();
    if columns.is_empty() && !rows.is_empty() {
        return Err(Unfaithful::because("the rows have no columns"));
    }
    if u16::try_from(columns.len()).is_err() {
        return Err(Unfaithful::because("there are too many columns"));
    }
    // The same list in memory, not merely an equal one: then names are found alike, too, and one result is all there is.
    if !rows.iter().all(|row| std::ptr::eq(row.columns(), columns)) {
        return Err(Unfaithful::because("the rows are not those of the prepared statement"));
    }
    let mut bytes = Vec::with_capacity(rows.iter().map(PostgresReplay::row_bytes).sum());
    for row in rows {
        for i in 0..columns.len() {
            let value = row.try_get_raw(i).map_err(|_| Unfaithful::because("a row lacks a column"))?;
            if value.format() != PgValueFormat::Binary {
                return Err(Unfaithful::because("the values are in text format"));
            }
            cells::push(&mut bytes, value.as_bytes().ok())?;
        }
    }
    Ok(bytes)
}
