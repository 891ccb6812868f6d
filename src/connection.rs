//! A connection taken from the pool.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use sqlx::{Connection, Database, Execute, Executor, SqlSafeStr, SqlStr};

use crate::analysis::{Kind, SessionEffect, TransactionControl};
use crate::backend::{Backend, Driver, Item, Request, drain};
use crate::inner::Inner;
use crate::observe::{Metered, Sent, Subject};
use crate::plan::{Change, Known};
use crate::reason::Reason;
use crate::transaction::Transaction;
use crate::write::Armed;

/// A [`CachedConnection`] to PostgreSQL: what helpers take that work on `&mut *tx` and `&mut *connection`.
#[cfg(feature = "postgres")]
pub type PgConnection = CachedConnection<sqlx::Postgres>;

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
/// is given back. In a transaction that is put off to the commit.
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

/// What a connection did that is not settled.
pub(crate) struct Ledger<DB: Driver> {
    pub inner: Arc<Inner<DB>>,
    /// Writes whose callers went away before the outcome was known.
    unsettled: Vec<Armed>,
    /// Set from the moment the connection was handed out raw.
    opaque: Option<Armed>,
    /// Whether its settings have to be compared before anybody else gets the connection.
    verify: bool,
    /// Set while a transaction is being begun: sqlx leaves it open on the server if the future is dropped or fails.
    pub half_begun: bool,
    doubt: Doubt,
    /// Whether the connection was handed out raw in the open transaction: that may have ended it, too.
    raw: bool,
    pub transaction: Option<Writes>,
}

/// Whether the open transaction may have been ended by the database itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Doubt {
    No,
    /// A statement in it failed, or nobody heard how it ended.
    Failed,
    /// The database is being asked.
    Asking,
}

/// What an open transaction wrote.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub changes: Vec<Change>,
    /// What the changes were planned under: the oldest of it.
    known: Option<Arc<Known>>,
    /// 1 in the transaction itself, 2 in a savepoint of it, and so on.
    pub depth: usize,
    /// Set once something happened that was not seen or not understood.
    pub everything: Option<Reason>,
}

impl<DB: Driver> Ledger<DB> {
    pub fn new(inner: Arc<Inner<DB>>) -> Self {
        Self {
            inner,
            unsettled: Vec::new(),
            opaque: None,
            verify: false,
            half_begun: false,
            doubt: Doubt::No,
            raw: false,
            transaction: None,
        }
    }

    /// Announces what a statement changes, or puts it off to the commit. Tells what to count it as.
    async fn begin_statement(&mut self, sql: &str, connection: &mut DB::Connection) -> (Subject, Sent) {
        let plan = match self.transaction.is_some() || self.opaque.is_some() {
            // What is seen within a transaction is not what others see.
            true => self.inner.plan(sql),
            false => self.inner.plan_to_run_on(sql, connection).await,
        };
        let counted = (plan.statement.clone(), plan.sent());
        if plan.sent() == Sent::Write {
            self.inner.counters.write(&plan.statement);
        }
        self.verify |= plan.session != SessionEffect::Keeps;
        if self.transaction.is_some() {
            // Until it is known to have succeeded: its caller may go away before he hears that it failed.
            self.doubt = Doubt::Failed;
        }
        match plan.transaction {
            Some(TransactionControl::Savepoint) if self.transaction.is_some() => return counted,
            // Where a transaction begins and ends is no longer known: until it is given back, anything may happen.
            Some(_) => {
                self.opaque_from_now(Reason::OpaqueStatement);
                return counted;
            }
            None => {}
        }
        if plan.kind == Kind::Read && plan.change.is_none() {
            let reason = if self.transaction.is_some() { Reason::Transaction } else { Reason::Connection };
            self.inner.counters.bypass(reason, "it ran on a connection of its own", &plan.statement);
        }
        let Some(change) = &plan.change else { return counted };
        match &mut self.transaction {
            Some(writes) => {
                if writes.changes.is_empty() {
                    writes.known = plan.known.clone();
                }
                if !writes.changes.iter().any(|known| known.cells.as_ptr() == change.cells.as_ptr()) {
                    writes.changes.push(change.clone());
                }
            }
            None => self.unsettled.push(Armed::changes(
                &self.inner,
                plan.known.as_ref(),
                [change],
                change.reason,
                &plan.statement.text,
            )),
        }
        counted
    }

    /// Anything may happen on this connection from now on, at any time.
    pub fn opaque_from_now(&mut self, reason: Reason) {
        self.verify = true;
        if self.opaque.is_none() {
            self.opaque = Some(Armed::everything(&self.inner, reason));
        }
    }

    /// Announces what the open transaction wrote. To be called before its COMMIT is sent.
    pub fn begin_commit(&mut self) {
        let Some(writes) = self.transaction.take() else { return };
        let armed = match writes.everything {
            Some(reason) => Armed::everything(&self.inner, reason),
            None if writes.changes.is_empty() => return,
            None => {
                // A change that is more than a write to its tables is worth the name.
                let more = writes.changes.iter().map(|change| change.reason).find(|reason| *reason != Reason::Write);
                let reason = more.unwrap_or(Reason::Commit);
                Armed::changes(&self.inner, writes.known.as_ref(), &writes.changes, reason, "a transaction")
            }
        };
        self.unsettled.push(armed);
    }

    /// Something that was not seen may have ended a transaction that is rolled back now.
    pub fn begin_unseen(&mut self, reason: Reason) {
        self.unsettled.push(Armed::everything(&self.inner, reason));
    }

    /// The statement or commit under way is over.
    pub fn conclude(&mut self, failure: Option<&sqlx::Error>) {
        if failure.is_none() {
            self.doubt = Doubt::No;
        }
        for armed in self.unsettled.drain(..) {
            armed.conclude(&self.inner, failure);
        }
    }

    /// Whether anything may happen on the connection without being seen.
    pub fn is_opaque(&self) -> bool {
        self.opaque.is_some()
    }

    fn is_clean(&self) -> bool {
        self.unsettled.is_empty()
            && self.opaque.is_none()
            && !self.verify
            && !self.half_begun
            && self.transaction.is_none()
    }

    /// Ends what is under way on `connection` whose callers went away.
    pub async fn settle(&mut self, connection: &mut DB::Connection) {
        if !self.unsettled.is_empty() {
            let answered = drain::<DB>(connection).await;
            self.conclude(answered.as_ref().err());
        }
        self.roll_back_half_begun(connection).await;
        let raw = std::mem::take(&mut self.raw);
        if (raw || self.doubt != Doubt::No) && self.transaction.is_some() {
            // Asked before, and never heard the answer: the question itself may have left something open.
            let asked = std::mem::replace(&mut self.doubt, Doubt::Asking) == Doubt::Asking;
            if asked || DB::has_lost_transaction(connection).await {
                self.opaque_from_now(Reason::OpaqueConnection);
            }
        }
        self.doubt = Doubt::No;
    }

    async fn roll_back_half_begun(&mut self, connection: &mut DB::Connection) {
        if self.half_begun {
            let request =
                Request { sql: SqlStr::from_static("ROLLBACK"), arguments: None, statement: None, persistent: false };
            // Fails where there is nothing to roll back.
            DB::fetch_many(connection, request).for_each(async |_| {}).await;
        }
        self.half_begun = false;
    }

    /// Makes the connection fit to be given back.
    async fn close(mut self, connection: &mut DB::Connection) {
        let answered = drain::<DB>(connection).await;
        if answered.is_ok() {
            self.roll_back_half_begun(connection).await;
        }
        // A transaction that nobody can end any more, since its guard was leaked, shows in the session.
        if answered.is_ok() && (self.verify || self.transaction.is_some()) {
            self.inner.verify_session(connection).await;
        }
        self.conclude(answered.as_ref().err());
        if let Some(opaque) = self.opaque.take() {
            opaque.conclude(&self.inner, answered.as_ref().err());
        }
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
        self.parts().0.ping().await
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
        let Some(mut connection) = self.connection.take() else { return };
        if self.ledger.is_clean() {
            return;
        }
        let nothing = Ledger::new(self.ledger.inner.clone());
        let ledger = std::mem::replace(&mut self.ledger, nothing);
        // Without a runtime nothing can be asked any more: what is unsettled stays in flight.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { ledger.close(&mut connection).await });
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
        self.ledger.verify = true;
        match &mut self.ledger.transaction {
            Some(writes) if self.ledger.doubt == Doubt::No => {
                writes.everything = Some(Reason::OpaqueConnection);
                self.ledger.raw = true;
            }
            _ => self.ledger.opaque_from_now(Reason::OpaqueConnection),
        }
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
        f.debug_struct("CachedConnection").field("opaque", &self.ledger.opaque.is_some()).finish_non_exhaustive()
    }
}

/// A statement under way on a connection: tells the ledger when it is over.
struct Watched<'c, DB: Backend> {
    items: Metered<BoxStream<'c, Result<Item<DB>, sqlx::Error>>>,
    ledger: &'c mut Ledger<DB>,
}

impl<DB: Backend> Stream for Watched<'_, DB> {
    type Item = Result<Item<DB>, sqlx::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.items.poll_next_unpin(context));
        match &item {
            Some(Ok(_)) => {}
            Some(Err(error)) => self.ledger.conclude(Some(error)),
            None => self.ledger.conclude(None),
        }
        Poll::Ready(item)
    }
}

/// The same for a statement that gives one answer.
async fn watched<T, DB: Backend>(
    ledger: &mut Ledger<DB>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = answer.await;
    ledger.conclude(answer.as_ref().err());
    answer
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
            ledger.settle(connection).await;
            let (statement, sent) = ledger.begin_statement(request.sql.as_str(), connection).await;
            let items = ledger.inner.counters.metered(&statement, sent, DB::fetch_many(connection, request));
            Ok::<_, sqlx::Error>(Watched { items, ledger })
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
            ledger.settle(connection).await;
            let (statement, sent) = ledger.begin_statement(request.sql.as_str(), connection).await;
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
        DB::prepare_with(self.parts().0, sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<DB>, sqlx::Error>>
    where
        'c: 'e,
    {
        DB::describe(self.parts().0, sql)
    }
}
