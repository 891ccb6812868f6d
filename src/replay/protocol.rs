//! The part of a database's server that a link plays: all that the links of two databases do not share.
//!
//! In: a shape and kept values. Out: the messages a server would send, and what a client asks for them with.
//! It never decides when anything is sent.

use std::io;
use std::path::Path;

use futures_util::stream::BoxStream;
use sqlx::{Database, Either};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Unfaithful;
use super::cells::Cells;

pub(super) type Connection<P> = <<P as Protocol>::Database as Database>::Connection;
pub(super) type QueryResult<P> = <<P as Protocol>::Database as Database>::QueryResult;
pub(super) type Row<P> = <<P as Protocol>::Database as Database>::Row;
pub(super) type Item<P> = Either<QueryResult<P>, Row<P>>;

/// Bytes that a reply takes besides the kept ones, at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames {
    pub reply: usize,
    pub copy: usize,
    pub row: usize,
}

/// How one database's server speaks. A value is what the server knows of one client.
///
/// A reply is what [`head`](Self::head) writes, then for each copy its [rows](Self::row) and [what ends
/// it](Self::end_copy), then [what ends the reply](Self::end).
pub(super) trait Protocol: Default + Send + 'static {
    type Database: Database;
    /// Columns of a result.
    type Shape: Send + Sync + 'static;

    /// Name of the socket in its folder.
    const SOCKET: &'static str;
    /// Whether each copy in a reply has a completion of its own; else one completes them all.
    const COMPLETES_EACH: bool;

    /// Connects a client to the socket in `folder`, which must send nothing more until it is asked to.
    async fn connect(folder: &Path) -> Result<Connection<Self>, sqlx::Error>;

    /// Plays the server until the session is open.
    async fn welcome(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()>;

    /// Whether the client can ask for another shape.
    fn is_usable(&self) -> bool {
        true
    }

    /// How many values a row has.
    fn columns(shape: &Self::Shape) -> usize;

    fn frames(shape: &Self::Shape) -> Frames;

    /// Appends what comes before the first row.
    fn head(&self, shape: &Self::Shape, out: &mut Vec<u8>);

    /// Notes that a reply for `shape` is under way.
    fn begins(&mut self, _shape: &Self::Shape) {}

    /// Appends the next row. Refuses values that do not fit their columns.
    fn row(shape: &Self::Shape, cells: &mut Cells<'_>, out: &mut Vec<u8>) -> Result<(), Unfaithful>;

    /// Appends what ends a copy of so many rows.
    fn end_copy(rows: usize, out: &mut Vec<u8>) -> Result<(), Unfaithful>;

    /// Appends what ends the reply.
    fn end(out: &mut Vec<u8>);

    /// Has the client ask, and read the reply.
    fn fetch<'c>(
        client: &'c mut Connection<Self>,
        shape: &'c Self::Shape,
    ) -> BoxStream<'c, Result<Item<Self>, sqlx::Error>>;

    /// Whether a result of so many rows completes like this.
    fn completes(result: &QueryResult<Self>, rows: usize) -> bool;
}
