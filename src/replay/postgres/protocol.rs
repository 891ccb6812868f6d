//! What a link to Postgres says and expects.
//!
//! In: shapes. Out: the messages of a server, and queries that run a statement of another connection.
//! It never lets a client prepare more statements than it keeps.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::Path;

use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgQueryResult, PgSslMode, PgStatement};
use sqlx::{ConnectOptions, Execute, Executor, Postgres, SqlStr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Shape, wire};
use crate::replay::Unfaithful;
use crate::replay::cells::Cells;
use crate::replay::protocol::{Frames, Item, Protocol};

/// Statements a client keeps. When they are used up, the client would send a message that no one expects; the link is
/// given up before.
const STATEMENTS: usize = 1024;

/// The port that sqlx makes the name of the socket of.
const PORT: u16 = 5432;

/// Shapes a client has prepared.
#[derive(Debug, Default)]
pub(super) struct Prepared(HashSet<u64, foldhash::fast::RandomState>);

impl Protocol for Prepared {
    type Database = Postgres;
    type Shape = Shape;

    const SOCKET: &'static str = ".s.PGSQL.5432";
    /// sqlx takes any number of completions before it is told to be ready, and makes of each a `PgQueryResult`, which
    /// nobody else can make.
    const COMPLETES_EACH: bool = true;

    async fn connect(folder: &Path) -> Result<PgConnection, sqlx::Error> {
        PgConnectOptions::new_without_pgpass()
            .socket(folder)
            .port(PORT)
            .username("replay")
            .ssl_mode(PgSslMode::Disable)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging()
            .connect()
            .await
    }

    async fn welcome(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let length = stream.read_u32().await?;
        if !(8..=16 << 10).contains(&length) {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut startup = vec![0; length as usize - 4];
        stream.read_exact(&mut startup).await?;
        stream.write_all(wire::WELCOME).await
    }

    fn is_usable(&self) -> bool {
        self.0.len() + 1 < STATEMENTS
    }

    fn columns(shape: &Shape) -> usize {
        shape.columns()
    }

    fn frames(_shape: &Shape) -> Frames {
        Frames { reply: wire::PREPARED.len() + wire::READY.len(), copy: wire::COMPLETION, row: wire::ROW_HEADER }
    }

    fn head(&self, shape: &Shape, out: &mut Vec<u8>) {
        if !self.0.contains(&shape.id) {
            out.extend_from_slice(wire::PREPARED);
        }
    }

    fn begins(&mut self, shape: &Shape) {
        self.0.insert(shape.id);
    }

    fn row(shape: &Shape, cells: &mut Cells<'_>, out: &mut Vec<u8>) -> Result<(), Unfaithful> {
        let columns = u16::try_from(shape.columns()).map_err(|_| Unfaithful::because("there are too many columns"))?;
        wire::row(out, cells, columns)
    }

    fn end_copy(rows: usize, out: &mut Vec<u8>) -> Result<(), Unfaithful> {
        wire::completion(out, rows)
    }

    fn end(out: &mut Vec<u8>) {
        out.extend_from_slice(wire::READY);
    }

    fn fetch<'c>(client: &'c mut PgConnection, shape: &'c Shape) -> BoxStream<'c, Result<Item<Self>, sqlx::Error>> {
        client.fetch_many(Recall(shape))
    }

    fn completes(result: &PgQueryResult, rows: usize) -> bool {
        result.rows_affected() == rows as u64
    }
}

/// Executes a shape on a replay connection: its tag as the text, its statement for the columns.
struct Recall<'a>(&'a Shape);

impl<'q> Execute<'q, Postgres> for Recall<'_> {
    fn sql(self) -> SqlStr {
        self.0.tag.clone()
    }

    fn statement(&self) -> Option<&PgStatement> {
        Some(&self.0.statement)
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        Ok(Some(PgArguments::default()))
    }

    fn persistent(&self) -> bool {
        true
    }
}
