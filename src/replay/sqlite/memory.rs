//! One private database in memory: empty tables, and a connection to it.
//!
//! In: kept bytes. Out: rows.
//! It never holds a value of the application longer than a statement runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Executor, Row, SqlSafeStr};

use super::shape::{Shape, quoted};
use super::values;
use crate::entry::Stored;
use crate::replay::Unfaithful;
use crate::replay::cells::Cells;

/// Statements kept prepared per connection.
const STATEMENTS: usize = 128;

/// Rows a connection hands over before its thread waits for the caller.
const ROWS_AHEAD: usize = 1024;

/// Shapes after which a connection is replaced, so that tables which no one needs any more do not pile up.
const SHAPES: usize = 1024;

#[derive(Debug)]
pub(super) struct Memory {
    connection: SqliteConnection,
    /// Shapes whose tables are here.
    shapes: HashSet<u64, foldhash::fast::RandomState>,
    /// Columns that exist, with their declared types.
    tables: HashMap<Arc<str>, HashMap<Arc<str>, &'static str>>,
    /// Set while a statement is under way. If it stays set, that statement did not end well.
    busy: bool,
}

impl Memory {
    pub async fn open() -> Result<Self, Unfaithful> {
        let connection = SqliteConnectOptions::new()
            .statement_cache_capacity(STATEMENTS)
            .row_buffer_size(ROWS_AHEAD)
            .thread_name(|id| format!("larder-replay-{id}"))
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|error| Unfaithful::because(format!("no database in memory can be opened: {error}")))?;
        Ok(Self { connection, shapes: HashSet::default(), tables: HashMap::new(), busy: false })
    }

    pub fn is_usable(&self) -> bool {
        !self.busy && self.shapes.len() < SHAPES
    }

    pub fn has_tables_of(&self, shape: &Shape) -> bool {
        self.shapes.contains(&shape.id)
    }

    /// Makes the tables of a shape. Fails where another shape needs one of them with other types, or in other case.
    pub async fn make_tables(&mut self, shape: &Shape) -> Result<(), Unfaithful> {
        if self.has_tables_of(shape) {
            return Ok(());
        }
        self.busy = true;
        for table in &shape.tables {
            for (column, declared) in &table.columns {
                let sql = match self.tables.get(&table.name) {
                    None => format!("CREATE TABLE main.{}({} {declared})", quoted(&table.name), quoted(column)),
                    Some(known) => match known.get(column) {
                        Some(other) if other == declared => continue,
                        Some(_) => return Err(Unfaithful::because("a column has changed its declared type")),
                        None => {
                            format!("ALTER TABLE main.{} ADD COLUMN {} {declared}", quoted(&table.name), quoted(column))
                        }
                    },
                };
                self.connection
                    .execute(AssertSqlSafe(sql).into_sql_str())
                    .await
                    .map_err(|_| Unfaithful::because("a table of the result cannot be reproduced"))?;
                self.tables.entry(Arc::clone(&table.name)).or_default().insert(Arc::clone(column), declared);
            }
        }
        self.busy = false;
        self.shapes.insert(shape.id);
        Ok(())
    }

    /// Replays a result whose tables are here, `copies` times over.
    ///
    /// The values are bound anew for each copy. Joined with a table of numbers they would be bound once, but SQLite then
    /// builds a table of them: measured, that costs a third more for one row, and saves a fifth from ten rows on.
    pub async fn replay(&mut self, stored: &Stored<Shape>, copies: usize) -> Result<Vec<SqliteRow>, Unfaithful> {
        let shape = &*stored.shape;
        let first = Cells::new(&stored.bytes, shape.columns(), stored.rows)?;
        let mut cells = first.clone();
        let all = stored.rows * copies;
        let mut rows = Vec::with_capacity(all);
        while rows.len() < all {
            let (sql, step) = shape.statement(all - rows.len());
            let mut arguments = SqliteArguments::default();
            arguments.reserve(step * shape.columns(), 0);
            for row in rows.len()..rows.len() + step {
                if row > 0 && row % stored.rows == 0 {
                    cells.end()?;
                    cells = first.clone();
                }
                for _ in 0..shape.columns() {
                    values::bind(cells.value()?, &mut arguments)?;
                }
            }
            let expected = rows.len() + step;
            self.busy = true;
            let mut reply = sqlx::query_with(sql, arguments).fetch(&mut self.connection);
            while let Some(row) = reply.try_next().await.map_err(refused)? {
                rows.push(row);
            }
            drop(reply);
            self.busy = false;
            if rows.len() != expected || rows[expected - 1].len() != shape.columns() {
                return Err(Unfaithful::because("the database in memory gave other rows"));
            }
        }
        cells.end()?;
        Ok(rows)
    }
}

fn refused(_: sqlx::Error) -> Unfaithful {
    Unfaithful::because("the database in memory refused the statement")
}
