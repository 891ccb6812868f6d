//! What a link to MySQL says and expects.
//!
//! In: shapes. Out: the messages of a server, and the one query that replay connections ever run.
//! It never has a client prepare a second statement: what a statement yields is said anew each time it is executed.

use std::io::{self, ErrorKind};
use std::path::Path;

use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlQueryResult, MySqlSslMode, MySqlStatement,
};
use sqlx::{ConnectOptions, Execute, Executor, MySql, SqlSafeStr, SqlStr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Shape, wire};
use crate::replay::Unfaithful;
use crate::replay::cells::Cells;
use crate::replay::protocol::{Frames, Item, Protocol};

const SOCKET: &str = "mysql.sock";

/// The text of the statement that stands for all.
const STATEMENT: &str = "replay";

#[derive(Debug, Default)]
pub(super) struct Server;

impl Protocol for Server {
    type Database = MySql;
    type Shape = Shape;

    const SOCKET: &'static str = SOCKET;
    /// Each completion would ask for the columns again.
    const COMPLETES_EACH: bool = false;

    async fn connect(folder: &Path) -> Result<MySqlConnection, sqlx::Error> {
        // Without these four, a client begins with SET.
        let mut client = MySqlConnectOptions::new()
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .set_names(false)
            .timezone(None::<String>)
            .socket(folder.join(SOCKET))
            .username("replay")
            .ssl_mode(MySqlSslMode::Disabled)
            .disable_statement_logging()
            .connect()
            .await?;
        client.prepare(STATEMENT.into_sql_str()).await?;
        Ok(client)
    }

    async fn welcome(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        stream.write_all(wire::GREETING).await?;
        // Three bytes of length, the number of the message.
        let length = stream.read_u32_le().await? & 0xff_ff_ff;
        if length > 16 << 10 {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut login = vec![0; length as usize];
        stream.read_exact(&mut login).await?;
        stream.write_all(wire::WELCOME).await?;
        stream.write_all(wire::PREPARED).await
    }

    fn columns(shape: &Shape) -> usize {
        shape.columns()
    }

    fn frames(shape: &Shape) -> Frames {
        let reply = shape.definitions.len() + wire::END.len();
        Frames { reply, copy: 0, row: wire::row_header(shape.columns()) }
    }

    fn head(&self, shape: &Shape, out: &mut Vec<u8>) {
        out.extend_from_slice(&shape.definitions);
    }

    fn row(shape: &Shape, cells: &mut Cells<'_>, out: &mut Vec<u8>) -> Result<(), Unfaithful> {
        wire::row(out, cells, &shape.layouts)
    }

    fn end_copy(_rows: usize, _out: &mut Vec<u8>) -> Result<(), Unfaithful> {
        Ok(())
    }

    fn end(out: &mut Vec<u8>) {
        out.extend_from_slice(wire::END);
    }

    fn fetch<'c>(client: &'c mut MySqlConnection, _shape: &'c Shape) -> BoxStream<'c, Result<Item<Self>, sqlx::Error>> {
        client.fetch_many(Recall)
    }

    fn completes(result: &MySqlQueryResult, _rows: usize) -> bool {
        (result.rows_affected(), result.last_insert_id()) == (0, 0)
    }
}

/// Executes the statement that was prepared when the client connected.
struct Recall;

impl<'q> Execute<'q, MySql> for Recall {
    fn sql(self) -> SqlStr {
        STATEMENT.into_sql_str()
    }

    fn statement(&self) -> Option<&MySqlStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<MySqlArguments>, BoxDynError> {
        Ok(Some(MySqlArguments::default()))
    }

    fn persistent(&self) -> bool {
        true
    }
}
