//! COPY, as a write of the table it fills and as a read that is passed through.
//!
//! In: a COPY statement, and the data that it takes or gives. Out: sqlx's own answers.
//! It never keeps what a COPY gives, and never uses a connection again on which a COPY stopped half way: sqlx then no longer
//! knows which answer of the server belongs to which question.

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use sqlx::Postgres;
use sqlx::postgres::{PgConnection, PgCopyIn as SqlxCopyIn};
use sqlx_core::bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};

use crate::analysis::{self, Dialect, Kind};
use crate::connection::{CachedConnection, PoolConnection};
use crate::ledger::Ledger;
use crate::pool::CachedPool;
use crate::reason::Reason;

/// A COPY that takes data: [`sqlx::postgres::PgCopyIn`], watched.
///
/// What it writes invalidates its table when [`PgCopyIn::finish`] or [`PgCopyIn::abort`] has an outcome, or, in a
/// transaction, at the commit. Dropped before that, the COPY fails and its connection is closed.
#[must_use = "the COPY fails if it is not finished"]
pub struct PgCopyIn<'c>(Running<'c>);

enum Running<'c> {
    /// On a connection of its own, in a task that sees to it that every answer is heard.
    Task {
        commands: mpsc::Sender<Command>,
        textual: bool,
        columns: Box<[bool]>,
    },
    Connection {
        copy: SqlxCopyIn<&'c mut PgConnection>,
        step: Step<'c>,
    },
}

/// What a COPY in a task is told, and where to answer.
enum Command {
    Send(Vec<u8>, oneshot::Sender<Result<(), sqlx::Error>>),
    Abort(String, oneshot::Sender<Result<(), sqlx::Error>>),
    Finish(oneshot::Sender<Result<u64, sqlx::Error>>),
}

/// Tells a COPY in a task what to do, and waits for the answer.
async fn tell<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<Result<T, sqlx::Error>>) -> Command,
) -> Result<T, sqlx::Error> {
    let (reply, answer) = oneshot::channel();
    let told = commands.send(command(reply)).await;
    told.map_err(|_| sqlx::Error::WorkerCrashed)?;
    answer.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

impl PgCopyIn<'_> {
    /// Whether the server expects text or CSV.
    pub fn is_textual(&self) -> bool {
        match &self.0 {
            Running::Task { textual, .. } => *textual,
            Running::Connection { copy, .. } => copy.is_textual(),
        }
    }

    /// Number of columns expected.
    pub fn num_columns(&self) -> usize {
        match &self.0 {
            Running::Task { columns, .. } => columns.len(),
            Running::Connection { copy, .. } => copy.num_columns(),
        }
    }

    /// Whether the server expects text for a column.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn column_is_textual(&self, column: usize) -> bool {
        match &self.0 {
            Running::Task { columns, .. } => columns[column],
            Running::Connection { copy, .. } => copy.column_is_textual(column),
        }
    }

    /// Sends data.
    ///
    /// # Errors
    /// Those of [`sqlx::postgres::PgCopyIn::send`].
    pub async fn send(&mut self, data: impl Deref<Target = [u8]>) -> Result<&mut Self, sqlx::Error> {
        match &mut self.0 {
            Running::Task { commands, .. } => tell(commands, |reply| Command::Send(data.to_vec(), reply)).await?,
            Running::Connection { copy, .. } => copy.send(data).await.map(drop)?,
        }
        Ok(self)
    }

    /// Sends all that `source` has.
    ///
    /// # Errors
    /// Those of [`sqlx::postgres::PgCopyIn::read_from`].
    pub async fn read_from(&mut self, mut source: impl AsyncRead + Unpin) -> Result<&mut Self, sqlx::Error> {
        match &mut self.0 {
            Running::Task { .. } => loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                if source.read_buf(&mut chunk).await? == 0 {
                    break;
                }
                self.send(chunk).await?;
            },
            Running::Connection { copy, .. } => copy.read_from(source).await.map(drop)?,
        }
        Ok(self)
    }

    /// Ends the COPY so that nothing of it is kept.
    ///
    /// # Errors
    /// Those of [`sqlx::postgres::PgCopyIn::abort`].
    pub async fn abort(self, message: impl Into<String>) -> Result<(), sqlx::Error> {
        match self.0 {
            Running::Task { commands, .. } => tell(&commands, |reply| Command::Abort(message.into(), reply)).await,
            Running::Connection { copy, step } => {
                let aborted = copy.abort(message).await;
                // sqlx leaves an answer unread where the COPY had failed before.
                step.conclude(aborted.as_ref().err(), aborted.is_ok()).await;
                aborted
            }
        }
    }

    /// Ends the COPY, and returns the number of rows.
    ///
    /// # Errors
    /// Those of [`sqlx::postgres::PgCopyIn::finish`].
    pub async fn finish(self) -> Result<u64, sqlx::Error> {
        match self.0 {
            Running::Task { commands, .. } => tell(&commands, Command::Finish).await,
            Running::Connection { copy, step } => {
                let finished = copy.finish().await;
                step.conclude(finished.as_ref().err(), is_answer(finished.as_ref().err())).await;
                finished
            }
        }
    }
}

impl fmt::Debug for PgCopyIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgCopyIn").finish_non_exhaustive()
    }
}

/// Runs a COPY on a connection of its own. What its caller drops half way, ends here. The connection is given back before
/// the end is told, so that what was written is seen by whoever heard of it.
async fn run(
    mut connection: PoolConnection<Postgres>,
    statement: String,
    begun: oneshot::Sender<Result<PgCopyIn<'static>, sqlx::Error>>,
) {
    let tell = drive(&mut connection, &statement, begun).await;
    connection.give_back().await;
    tell();
}

/// What is left to be said when it is over.
type LastWord = Box<dyn FnOnce() + Send>;

async fn drive(
    connection: &mut CachedConnection<Postgres>,
    statement: &str,
    begun: oneshot::Sender<Result<PgCopyIn<'static>, sqlx::Error>>,
) -> LastWord {
    let mut copy = match connection.copy_in_raw(statement).await {
        Ok(copy) => copy,
        Err(error) => return Box::new(|| drop(begun.send(Err(error)))),
    };
    let (commands, mut told) = mpsc::channel(1);
    let columns = (0..copy.num_columns()).map(|column| copy.column_is_textual(column)).collect();
    let _ = begun.send(Ok(PgCopyIn(Running::Task { commands, textual: copy.is_textual(), columns })));
    loop {
        match told.recv().await {
            Some(Command::Send(data, reply)) => drop(reply.send(copy.send(data).await.map(drop))),
            Some(Command::Abort(message, reply)) => {
                let aborted = copy.abort(message).await;
                return Box::new(|| drop(reply.send(aborted)));
            }
            Some(Command::Finish(reply)) => {
                let finished = copy.finish().await;
                return Box::new(|| drop(reply.send(finished)));
            }
            None => return Box::new(|| ()),
        }
    }
}

/// A COPY on a connection that goes on to be used. Unless it is concluded, the connection is not.
struct Step<'c> {
    ledger: &'c mut Ledger<Postgres>,
    kept: bool,
}

impl Step<'_> {
    /// The COPY is over; `kept`: sqlx has heard all that the server had to say of it.
    async fn conclude(mut self, failure: Option<&sqlx::Error>, kept: bool) {
        self.over(failure, kept);
        self.ledger.published().await;
    }

    /// The same, without waiting for others to hear of it.
    fn conclude_unheard(mut self, failure: Option<&sqlx::Error>, kept: bool) {
        self.over(failure, kept);
    }

    fn over(&mut self, failure: Option<&sqlx::Error>, kept: bool) {
        self.kept = kept;
        self.ledger.heard(failure);
        if kept {
            self.ledger.conclude(failure);
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.ledger.out_of_step();
        }
    }
}

/// Whether the server answered.
fn is_answer(failure: Option<&sqlx::Error>) -> bool {
    matches!(failure, None | Some(sqlx::Error::Database(_)))
}

/// What else is sent this way does what it does, but sqlx does not hear it out.
fn check(statement: &str, copies: bool, expected: &str) -> Result<(), sqlx::Error> {
    let facts = analysis::analyze(statement, Dialect::Postgres);
    let several = facts.refusals.iter().any(|refusal| refusal.reason == Reason::SeveralStatements);
    match copies && !several && facts.normal_form.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case("copy")) {
        true => Ok(()),
        false => Err(sqlx::Error::InvalidArgument(format!("the statement is not one single {expected}: send that"))),
    }
}

fn check_in(statement: &str) -> Result<(), sqlx::Error> {
    let facts = analysis::analyze(statement, Dialect::Postgres);
    let query = facts.normal_form.get(4..).is_some_and(|rest| rest.trim_start().starts_with('('));
    check(statement, facts.kind == Kind::Write && !query, "COPY .. FROM STDIN")
}

fn check_out(statement: &str) -> Result<(), sqlx::Error> {
    check(statement, true, "COPY .. TO STDOUT")
}

impl CachedPool<Postgres> {
    /// Begins a `COPY .. FROM STDIN` on a connection of its own, as sqlx's `PgPoolCopyExt` does. It is a write of its
    /// table.
    ///
    /// ```no_run
    /// # async fn f(pool: larder::PgPool) -> Result<(), sqlx::Error> {
    /// let mut copy = pool.copy_in_raw("COPY users (id, name) FROM STDIN (FORMAT csv)").await?;
    /// copy.send(&b"1,Ada\n2,Grace\n"[..]).await?;
    /// assert_eq!(copy.finish().await?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of sqlx, and [`sqlx::Error::InvalidArgument`] for another statement.
    pub async fn copy_in_raw(&self, statement: &str) -> Result<PgCopyIn<'static>, sqlx::Error> {
        check_in(statement)?;
        let connection = self.acquire().await?;
        let (begun, beginning) = oneshot::channel();
        tokio::spawn(run(connection, statement.to_owned(), begun));
        beginning.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Begins a `COPY .. TO STDOUT` on a connection of its own, as sqlx's `PgPoolCopyExt` does. What it reads is passed
    /// through and not kept; a query in it that writes invalidates.
    ///
    /// # Errors
    /// Those of sqlx, and [`sqlx::Error::InvalidArgument`] for another statement.
    pub async fn copy_out_raw(
        &self,
        statement: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, sqlx::Error>>, sqlx::Error> {
        check_out(statement)?;
        let mut connection = self.acquire().await?;
        let statement = statement.to_owned();
        let (begun, beginning) = oneshot::channel();
        let (send, mut receive) = mpsc::channel(64);
        tokio::spawn(async move {
            let failed = {
                let begin = connection.copy_out_raw(&statement).await;
                match begin {
                    Ok(mut data) => {
                        let _ = begun.send(Ok(()));
                        while let Some(item) = data.next().await {
                            if send.send(item).await.is_err() {
                                break;
                            }
                        }
                        None
                    }
                    Err(error) => Some((error, begun)),
                }
            };
            // Before the end is told, so that what was written is seen by whoever heard of it.
            connection.give_back().await;
            if let Some((error, begun)) = failed {
                let _ = begun.send(Err(error));
            }
            drop(send);
        });
        beginning.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))?;
        Ok(stream::poll_fn(move |context| receive.poll_recv(context)).boxed())
    }
}

impl CachedConnection<Postgres> {
    /// Begins a `COPY .. FROM STDIN`, as [`PgConnection::copy_in_raw`] does. It is a write of its table.
    ///
    /// # Errors
    /// Those of sqlx, and [`sqlx::Error::InvalidArgument`] for another statement.
    pub async fn copy_in_raw(&mut self, statement: &str) -> Result<PgCopyIn<'_>, sqlx::Error> {
        check_in(statement)?;
        let (connection, ledger) = self.parts();
        ledger.settle(connection).await?;
        ledger.begin_statement(statement, connection).await?;
        let step = Step { ledger, kept: false };
        match connection.copy_in_raw(statement).await {
            Ok(copy) => Ok(PgCopyIn(Running::Connection { copy, step })),
            Err(error) => {
                step.conclude(Some(&error), is_answer(Some(&error))).await;
                Err(error)
            }
        }
    }

    /// Begins a `COPY .. TO STDOUT`, as [`PgConnection::copy_out_raw`] does. What it reads is passed through and not kept;
    /// a query in it that writes invalidates. If it fails, or its data is not read to the end, the connection cannot be
    /// used any more.
    ///
    /// # Errors
    /// Those of sqlx, and [`sqlx::Error::InvalidArgument`] for another statement.
    pub async fn copy_out_raw<'c>(
        &'c mut self,
        statement: &str,
    ) -> Result<BoxStream<'c, Result<Bytes, sqlx::Error>>, sqlx::Error> {
        check_out(statement)?;
        let (connection, ledger) = self.parts();
        ledger.settle(connection).await?;
        ledger.begin_statement(statement, connection).await?;
        let step = Step { ledger, kept: false };
        // Where it fails, sqlx leaves an answer unread.
        let data = match connection.copy_out_raw(statement).await {
            Ok(data) => data,
            Err(error) => {
                step.ledger.heard(Some(&error));
                return Err(error);
            }
        };
        Ok(CopyOut { data, step: Some(step) }.boxed())
    }
}

/// The data of a COPY on a connection that goes on to be used.
struct CopyOut<'c> {
    data: BoxStream<'c, Result<Bytes, sqlx::Error>>,
    step: Option<Step<'c>>,
}

impl Stream for CopyOut<'_> {
    type Item = Result<Bytes, sqlx::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.data.poll_next_unpin(context));
        let failure = match &item {
            Some(Ok(_)) => return Poll::Ready(item),
            Some(Err(error)) => Some(error),
            None => None,
        };
        if let Some(step) = self.step.take() {
            step.conclude_unheard(failure, is_answer(failure));
        }
        Poll::Ready(item)
    }
}
