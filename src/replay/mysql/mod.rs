//! Real `MySqlRow`s out of kept bytes, from connections of sqlx whose server is this process. MariaDB is meant as well.
//!
//! In: rows of a result just loaded; later the bytes made of them. Out: rows with equal columns.
//! It never keeps a result whose columns it cannot reproduce: those of each new shape are made once and compared.
//!
//! A MySQL server describes the columns in front of every result, so all that is to know of a shape is that description,
//! made anew from what sqlx shows of the columns. Values are kept as the binary protocol sends them. Text protocol, which
//! only unprepared queries use, decodes differently, and sqlx does not show which of the two a row came by: whoever stores
//! a result must know that its query was prepared.
//!
//! On Linux and macOS the connections run over Unix sockets in a private folder. Elsewhere replay is off, and queries go
//! to the database.

use std::ops::Range;
use std::sync::Arc;

use sqlx::mysql::{MySqlColumn, MySqlConnection, MySqlRow};
use sqlx::{Decode, MySql, Row, SqlStr};

use super::links::Links;
use super::{Replay, Replayed, Unfaithful, cells};
use crate::entry::Stored;

mod protocol;
#[cfg(unix)]
mod self_test;
mod shape;
#[cfg(all(test, unix))]
mod tests;
mod wire;

use protocol::Server;
pub(crate) use shape::Shape;

/// Replay for MySQL and MariaDB.
pub struct MySqlReplay {
    links: Links<Server>,
}

impl Replay<MySql> for MySqlReplay {
    type Shape = Shape;

    const EMPTY_HAS_COLUMNS: bool = false;

    fn digest(shape: &Shape) -> [u8; 32] {
        // What is laid out how follows from the definitions.
        *blake3::Hasher::new().update(b"mysql ").update(&shape.definitions).finalize().as_bytes()
    }

    async fn start() -> Result<Self, Unfaithful> {
        let links = Links::start()?;
        #[cfg(unix)]
        self_test::run(&links).await?;
        Ok(Self { links })
    }

    fn row_bytes(row: &MySqlRow) -> usize {
        (0..row.len()).map(|i| cells::LENGTH + value(row, i).ok().flatten().map_or(0, <[u8]>::len)).sum()
    }

    async fn store(
        &self,
        _connection: &mut MySqlConnection,
        _sql: &SqlStr,
        _arguments: &str,
        rows: &[MySqlRow],
        previous: Option<&Arc<Shape>>,
    ) -> Result<Stored<Shape>, Unfaithful> {
        let Some(first) = rows.first() else {
            let shape = previous.map_or_else(|| Arc::new(Shape::empty()), Arc::clone);
            return Ok(Stored { shape, bytes: Arc::default(), rows: 0 });
        };
        let shape = Shape::of(first.columns())?;
        let bytes = encode(rows, &shape)?.into();
        if let Some(previous) = previous.filter(|previous| ***previous == shape) {
            return Ok(Stored { shape: Arc::clone(previous), bytes, rows: rows.len() });
        }
        let shape = Arc::new(shape);
        self.prove(&shape, first).await?;
        Ok(Stored { shape, bytes, rows: rows.len() })
    }

    async fn mint(&self, stored: &Stored<Shape>, copies: usize) -> Result<Vec<Replayed<MySql>>, Unfaithful> {
        self.links.mint(stored, copies).await
    }

    fn copy_bytes(stored: &Stored<Shape>) -> usize {
        let columns = stored.shape.columns();
        // Each row has the places of its values besides the message they are in.
        let row = size_of::<MySqlRow>() + wire::row_header(columns) + columns * size_of::<Option<Range<usize>>>();
        size_of::<Replayed<MySql>>() + stored.bytes.len() + stored.rows * row
    }
}

impl MySqlReplay {
    /// Replays the first row of a new shape, and compares.
    async fn prove(&self, shape: &Arc<Shape>, first: &MySqlRow) -> Result<(), Unfaithful> {
        let bytes = encode(std::slice::from_ref(first), shape)?.into();
        let stored = Stored { shape: Arc::clone(shape), bytes, rows: 1 };
        let proof = self.replay(&stored).await?.rows;
        let same = proof.iter().all(|row| same_columns(row.columns(), first.columns()));
        if same && encode(&proof, shape)? == *stored.bytes {
            Ok(())
        } else {
            Err(Unfaithful::because("the rows do not come back as they were"))
        }
    }
}

/// Equality of type infos is lenient; their `Debug` is not, and that of columns shows all that there is.
fn same_columns(one: &[MySqlColumn], other: &[MySqlColumn]) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

fn encode(rows: &[MySqlRow], shape: &Shape) -> Result<Vec<u8>, Unfaithful> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    // One list in memory for all rows of a result; a procedure may give several results.
    if !rows.iter().all(|row| std::ptr::eq(row.columns(), first.columns())) {
        return Err(Unfaithful::because("there are several results"));
    }
    let mut bytes = Vec::with_capacity(rows.iter().map(MySqlReplay::row_bytes).sum());
    for row in rows {
        let start = bytes.len();
        for (i, layout) in shape.layouts.iter().enumerate() {
            let value = value(row, i)?;
            layout.check(value)?;
            cells::push(&mut bytes, value)?;
        }
        if !wire::row_fits(shape.columns(), bytes.len() - start) {
            return Err(Unfaithful::because("a row takes 16 MiB or more"));
        }
    }
    Ok(bytes)
}

/// The bytes of a value. A date of zeros has some, although it says that it is NULL.
fn value(row: &MySqlRow, i: usize) -> Result<Option<&[u8]>, Unfaithful> {
    let value = row.try_get_raw(i).map_err(|_| Unfaithful::because("a row lacks a column"))?;
    Ok(<&[u8] as Decode<MySql>>::decode(value).ok())
}
