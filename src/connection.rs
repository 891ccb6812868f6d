//! A connection taken from the pool.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use sqlx::{Connection, Database, Execute, Executor, SqlSafeStr, SqlStr};

use crate::backend::{Backend, Item, Prepared, Request};
use crate::inner::Inner;
use crate::ledger::{Asking, Ledger};
use crate::observe::{Metered, Sent};
use crate::read::first_row;
use crate::transaction::Transaction;

/// A [`CachedConnection`] to PostgreSQL: what helpers take that work on `&mut *tx` and `&mut *connection`.
#[cfg(feature = "postgres")]
pub type PgConnection = CachedConnection<sqlx::Postgres>;

/// A [`CachedConnection`] to MySQL or MariaDB: what helpers take that work on `&mut *tx` and `&mut *connection`.
#[cfg(feature = "mysql")]
pub type MySqlConnection = CachedConnection<sqlx::MySql>;

/// A [`CachedConnection`] to SQLite: what helpers take that work on `&mut *tx` and `&mut *connection`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use larder::{SqliteConnection, SqlitePool};
///
/// async fn rename(connection: &mut SqliteConnection, from: &str, to: &str) -> Result<u64, sqlx::Error> {
///     let renamed = sqlx::query("UPDATE users SET name = $1 WHERE name = $2").bind(to).bind(from);
///     Ok(renamed.execute(connection).await?.rows_affected())
/// }
///
/// let pool = SqlitePool::connect("sqlite::memory:").await?;
/// sqlx::query("CREATE TABLE users (name TEXT)").execute(&pool).await?;
/// sqlx::query("INSERT INTO users VALUES ('Ada')").execute(&pool).await?;
/// let mut tx = pool.begin().await?;
/// assert_eq!(rename(&mut tx, "Ada", "Grace").await?, 1);
/// tx.commit().await?; // drops what rests on users; with `sqlx::SqliteConnection` above it would drop everything
/// # Ok::<_, sqlx::Error>(()) }).unwrap();
/// ```
#[cfg(feature = "sqlite")]
pub type SqliteConnection = CachedConnection<sqlx::Sqlite>;

/// A connection of a [`CachedPool`](crate::CachedPool), by itself or in a [`Transaction`].
///
/// `&mut CachedConnection` is an [`sqlx::Executor`]. Its queries go to the database and are not kept; its writes invalidate as those through the pool do.
///
/// It dereferences to the sqlx connection, for helpers that take a `&mut sqlx::PgConnection`. What happens there is not seen, so
/// to take it mutably makes the connection *opaque*: everything is invalidated, and nothing is cached until the connection
/// is given back. In a transaction that is put off to the commit; PostgreSQL is asked there which tables the transaction
/// wrote, from the second such transaction of the pool on.
///
/// A connection that is given back with other settings than it had is closed, or, where it is the only one, turns the cache
/// of the pool off.
pub struct CachedConnection<DB: Backend> {
    /// `None` only while it is being given back.
    connection: Option<sqlx::pool::PoolConnection<DB>>,
    pub(crate) ledger: Ledger<DB>,
}

/// A [`CachedConnection`] taken from a [`CachedPool`](crate::CachedPool); given back when dropped. As with sqlx's, `&mut *connection` is an
/// [`sqlx::Executor`].
pub struct PoolConnection<DB: Backend>(pub(crate) CachedConnection<DB>);

impl<DB: Backend> Deref for PoolConnection<DB> {
    type Target = CachedConnection<DB>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<DB: Backend> DerefMut for PoolConnection<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<DB: Backend> fmt::Debug for PoolConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<DB: Backend> CachedConnection<DB> {
    pub(crate) fn new(inner: Arc<Inner<DB>>, connection: sqlx::pool::PoolConnection<DB>) -> Self {
        Self { connection: Some(connection), ledger: Ledger::new(inner) }
    }

    /// The sqlx connection and the ledger, without making the connection opaque.
    pub(crate) fn parts(&mut self) -> (&mut DB::Connection, &mut Ledger<DB>) {
        (self.connection.as_mut().expect(GIVEN_BACK), &mut self.ledger)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Those of [`sqlx::Connection::begin`].
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, sqlx::Error> {
        Transaction::begin_on(self, None).await
    }

    /// Begins a transaction with a statement of your own, such as `BEGIN ISOLATION LEVEL SERIALIZABLE`.
    ///
    /// # Errors
    /// Those of [`sqlx::Connection::begin_with`].
    pub async fn begin_with(&mut self, statement: impl SqlSafeStr) -> Result<Transaction<'_, DB>, sqlx::Error> {
        Transaction::begin_on(self, Some(statement.into_sql_str())).await
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// Those of [`sqlx::Connection::ping`].
    pub async fn ping(&mut self) -> Result<(), sqlx::Error> {
        let (connection, ledger) = self.parts();
        asked(ledger, connection.ping().boxed()).await
    }

    /// Gives the connection back, and waits until what it did is settled.
    #[cfg(any(feature = "postgres", feature = "migrate"))]
    pub(crate) async fn give_back(&mut self) {
        if let Some(settling) = self.take_settling() {
            // In a task: it goes on if nobody waits for it any more.
            let _ = tokio::spawn(settling).await;
        }
    }

    /// What is left to be done before others may have the connection.
    fn take_settling(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let connection = self.connection.take()?;
        if self.ledger.is_clean() {
            return None;
        }
        let nothing = Ledger::new(self.ledger.inner.clone());
        Some(std::mem::replace(&mut self.ledger, nothing).close(connection))
    }

    /// Closes the connection instead of giving it back to the pool when it is dropped.
    pub fn close_on_drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

const GIVEN_BACK: &str = "the connection is there until it is dropped";

impl<DB: Backend> Drop for CachedConnection<DB> {
    fn drop(&mut self) {
        // Without a runtime nothing can be asked any more: what is unsettled stays in flight.
        if let (Some(settling), Ok(runtime)) = (self.take_settling(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(settling);
        }
    }
}

impl<DB: Backend> Deref for CachedConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        self.connection.as_ref().expect(GIVEN_BACK)
    }
}

/// Makes the connection opaque: see [`CachedConnection`].
impl<DB: Backend> DerefMut for CachedConnection<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.ledger.hand_out_raw();
        self.parts().0
    }
}

impl<DB: Backend> AsMut<DB::Connection> for CachedConnection<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Backend> fmt::Debug for CachedConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedConnection").field("opaque", &self.ledger.is_opaque()).finish_non_exhaustive()
    }
}

/// The last that a statement yields, wherever it is in memory.
type Ended<DB> = Box<Option<Result<Item<DB>, sqlx::Error>>>;

/// A statement under way on a connection: tells the ledger when it is over.
struct Watched<'c, DB: Backend> {
    items: Metered<BoxStream<'c, Result<Item<DB>, sqlx::Error>>>,
    ledger: &'c mut Ledger<DB>,
    asking: Asking,
    /// How it ended, while others are told.
    ended: Option<Ended<DB>>,
}

impl<'c, DB: Backend> Watched<'c, DB> {
    fn new(
        items: Metered<BoxStream<'c, Result<Item<DB>, sqlx::Error>>>,
        ledger: &'c mut Ledger<DB>,
        asking: Asking,
    ) -> Self {
        Self { items, ledger, asking, ended: None }
    }
}

impl<DB: Backend> Stream for Watched<'_, DB> {
    type Item = Result<Item<DB>, sqlx::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended.is_some() {
            ready!(self.ledger.poll_published(context));
            return Poll::Ready(self.ended.take().and_then(|ended| *ended));
        }
        let polled = self.items.poll_next_unpin(context);
        self.ledger.asking = if polled.is_pending() { self.asking } else { Asking::Nothing };
        let item = ready!(polled);
        match &item {
            Some(Ok(_)) => return Poll::Ready(item),
            Some(Err(error)) => self.ledger.answered(Some(error)),
            None => self.ledger.answered(None),
        }
        if self.ledger.poll_published(context).is_pending() {
            self.ended = Some(Box::new(item));
            return Poll::Pending;
        }
        Poll::Ready(item)
    }
}

impl<DB: Backend> Drop for Watched<'_, DB> {
    fn drop(&mut self) {
        if self.ledger.asking == Asking::Nothing {
            // Its caller has what he wants, or the end of it.
            self.ledger.is_over();
        }
    }
}

/// The same for a statement that gives one answer.
async fn watched<T, DB: Backend>(
    ledger: &mut Ledger<DB>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = answer.await;
    ledger.answered(answer.as_ref().err());
    ledger.published().await;
    answer
}

/// The same for what changes nothing.
fn asked<'c, T: 'c, DB: Backend>(
    ledger: &'c mut Ledger<DB>,
    answer: BoxFuture<'c, Result<T, sqlx::Error>>,
) -> BoxFuture<'c, Result<T, sqlx::Error>> {
    Box::pin(async move {
        ledger.ask(Asking::ToPrepare)?;
        let answer = answer.await;
        ledger.heard(answer.as_ref().err());
        ledger.asking = Asking::Nothing;
        answer
    })
}

/// Has a statement prepared by itself where a caller who goes away meanwhile takes with him what is needed to go on: it is then
/// known that nothing came of it. Tells what is left to be asked.
async fn prepare_first<DB: Backend>(
    connection: &mut DB::Connection,
    ledger: &mut Ledger<DB>,
    sql: SqlStr,
    prepared: Prepared,
) -> Result<Asking, sqlx::Error> {
    match prepared {
        _ if !DB::LOSES_STEP => return Ok(Asking::ToRun),
        Prepared::Never => return Ok(Asking::ToRun),
        Prepared::EachTime => return Ok(Asking::Both),
        Prepared::Once => {}
    }
    ledger.ask(Asking::ToPrepare)?;
    if let Err(error) = DB::prepare_with(connection, sql, &[]).await {
        ledger.answered(Some(&error));
        return Err(error);
    }
    let asking = if DB::keeps_prepared(connection) { Asking::ToRun } else { Asking::Both };
    ledger.asking = asking;
    Ok(asking)
}

impl<'c, DB: Backend> Executor<'c> for &'c mut CachedConnection<DB> {
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Item<DB>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let request = Request::take(query);
        let (connection, ledger) = self.parts();
        stream::once(async move {
            let request = request?;
            ledger.settle(connection).await?;
            let (statement, sent) = ledger.begin_statement(request.sql.as_str(), connection).await?;
            let asking = prepare_first(connection, ledger, request.sql.clone(), request.prepared()).await?;
            let items = ledger.inner.counters.metered(&statement, sent, DB::fetch_many(connection, request));
            Ok::<_, sqlx::Error>(Watched::new(items, ledger, asking))
        })
        .try_flatten()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let request = Request::take(query);
        let (connection, ledger) = self.parts();
        Box::pin(async move {
            let request = request?;
            ledger.settle(connection).await?;
            let (statement, sent) = ledger.begin_statement(request.sql.as_str(), connection).await?;
            let asking = prepare_first(connection, ledger, request.sql.clone(), request.prepared()).await?;
            if (sent == Sent::Write || ledger.has_announced()) && !DB::OPTIONAL_READS_ALL {
                // sqlx would leave with the first row, before the server is done.
                let items = ledger.inner.counters.metered(&statement, sent, DB::fetch_many(connection, request));
                return first_row::<DB>(Watched::new(items, ledger, asking).boxed(), true).await;
            }
            let counters = ledger.inner.counters.clone();
            let answer = counters.metered_one(&statement, sent, DB::fetch_optional(connection, request));
            watched(ledger, answer).await
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [<DB as Database>::TypeInfo],
    ) -> BoxFuture<'e, Result<<DB as Database>::Statement, sqlx::Error>>
    where
        'c: 'e,
    {
        let (connection, ledger) = self.parts();
        asked(ledger, DB::prepare_with(connection, sql, parameters))
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<DB>, sqlx::Error>>
    where
        'c: 'e,
    {
        let (connection, ledger) = self.parts();
        asked(ledger, DB::describe(connection, sql))
    }
}
