//! What differs between Postgres, MySQL and SQLite.
//!
//! In: connections, requests, arguments. Out: rows, and what the database says of itself.
//! It never decides what is cached.

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Either, Execute, SqlStr};

use crate::analysis::Dialect;
use crate::catalog::{Survey, Witness};
use crate::feed::Feed;
use crate::key::{Bound, TooLong};
use crate::reason::Reason;
use crate::replay::Replay;

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

/// What a server may still receive from a connection that was lost, it has received after this long.
#[cfg(any(feature = "mysql", feature = "postgres"))]
const IN_THE_PIPE: std::time::Duration = std::time::Duration::from_secs(2);

/// A database that Larder works with: [`sqlx::Postgres`], [`sqlx::MySql`] or [`sqlx::Sqlite`].
///
/// Sealed: it cannot be implemented outside this crate.
pub trait Backend: Driver {}

/// What a query yields: rows, and how each statement in it completed.
pub type Item<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

/// Options to connect with.
pub type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A query taken apart, so that it can be looked up first and run later, elsewhere, or not at all.
pub struct Request<DB: Database> {
    pub sql: SqlStr,
    pub arguments: Option<DB::Arguments>,
    pub statement: Option<DB::Statement>,
    pub persistent: bool,
}

/// How often a statement is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// It is sent as text.
    Never,
    /// Whenever it is run.
    EachTime,
    /// When a connection runs it for the first time.
    Once,
}

impl<DB: Database> Request<DB> {
    pub fn prepared(&self) -> Prepared {
        match (&self.arguments, self.persistent) {
            (None, _) => Prepared::Never,
            (Some(_), false) => Prepared::EachTime,
            (Some(_), true) => Prepared::Once,
        }
    }

    /// Takes a query apart. Fails where an argument could not be encoded, as sqlx would.
    pub fn take<'q, E: Execute<'q, DB>>(mut query: E) -> Result<Self, sqlx::Error> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let statement = query.statement().cloned();
        let persistent = query.persistent();
        Ok(Self { sql: query.sql(), arguments, statement, persistent })
    }
}

impl<DB: Database> Execute<'_, DB> for Request<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// The inner side of [`Backend`]. The methods on connections only name sqlx's own; spelling out their bounds on every
/// generic function instead overflows the compiler's trait solver.
pub trait Driver: Database {
    const DIALECT: Dialect;
    type Replay: Replay<Self>;

    /// Whether `fetch_optional` reads to the end, so that an error after the first row is reported.
    const OPTIONAL_READS_ALL: bool;

    /// Whether a connection no longer knows which answer belongs to which question once a question on it was dropped in the
    /// middle of its answer.
    const LOSES_STEP: bool;

    /// Whether a connection keeps a statement that it has prepared, so that it need not be prepared again to be run.
    fn keeps_prepared(_connection: &Self::Connection) -> bool {
        true
    }

    /// Whether several threads may decode one row at the same time.
    const ROWS_CAN_BE_SHARED: bool;

    fn fetch_many<'c>(
        connection: &'c mut Self::Connection,
        request: Request<Self>,
    ) -> BoxStream<'c, Result<Item<Self>, sqlx::Error>>;

    fn fetch_optional<'c>(
        connection: &'c mut Self::Connection,
        request: Request<Self>,
    ) -> BoxFuture<'c, Result<Option<Self::Row>, sqlx::Error>>;

    fn prepare_with<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        parameters: &'c [Self::TypeInfo],
    ) -> BoxFuture<'c, Result<Self::Statement, sqlx::Error>>;

    fn describe<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
    ) -> BoxFuture<'c, Result<sqlx::Describe<Self>, sqlx::Error>>;

    /// Runs migrations.
    #[cfg(feature = "migrate")]
    fn migrate<'c>(
        connection: &'c mut Self::Connection,
        migrator: &'c sqlx::migrate::Migrator,
    ) -> BoxFuture<'c, Result<(), sqlx::migrate::MigrateError>>;

    /// Looks at the database and at this session of it.
    fn survey<'c>(
        connection: &'c mut Self::Connection,
        options: &'c Options<Self>,
    ) -> BoxFuture<'c, Result<Survey, sqlx::Error>>;

    /// The settings of this session, as in [`Survey::session`].
    fn session<'c>(connection: &'c mut Self::Connection) -> BoxFuture<'c, Result<String, sqlx::Error>>;

    /// Whether the settings of a session that somebody may have changed are those of `session`. "No" where it cannot tell.
    fn is_as_it_was<'c>(connection: &'c mut Self::Connection, session: &'c str) -> BoxFuture<'c, bool> {
        async move { Self::session(connection).await.is_ok_and(|now| now == session) }.boxed()
    }

    /// Ends what was set for the next transaction alone, and locks that a session holds outside of transactions. It is not in
    /// one. Tells whether that worked.
    fn let_go(_connection: &mut Self::Connection) -> BoxFuture<'_, bool> {
        std::future::ready(true).boxed()
    }

    /// Whether a statement other than COMMIT may end a transaction: in MySQL a schema change does, and a procedure may.
    const COMMITS_UNSEEN: bool;

    /// Begins a transaction with a mark that ends with it. `None` where the database cannot tell what a transaction wrote.
    const MARKED_BEGIN: Option<&'static str>;

    /// What the open transaction wrote, if it is still the one that was begun with [`Driver::MARKED_BEGIN`]. To be asked as
    /// the last thing before its end, which it leaves as it was; but what was put off to its `commit` is run.
    fn witness(connection: &mut Self::Connection, commit: bool) -> BoxFuture<'_, Witness>;

    /// Opens a connection of its own that hears what other programs write.
    fn feed(options: &Options<Self>) -> BoxFuture<'_, Result<Box<dyn Feed>, sqlx::Error>>;

    /// Whether what the database holds is still there when a connection is closed.
    fn outlives_connections(options: &Options<Self>) -> bool;

    /// Whether connections made with either options are alike but for secrets and time limits.
    fn same_sessions(a: &Options<Self>, b: &Options<Self>) -> bool;

    /// Why a request of this kind is not cached, seen by how it is sent.
    fn refuses(request: &Request<Self>) -> Option<Reason>;

    /// Writes every bound argument with its type. What is written is equal only for equal arguments. They are as before
    /// when it returns.
    fn write_arguments(arguments: &mut Self::Arguments, out: &mut Bound) -> Result<(), TooLong>;

    /// Whether [`Driver::write_arguments`] still tells arguments apart: sqlx shows them in ways that a release of it may
    /// change.
    fn arguments_are_readable() -> bool;

    /// Text that begins with the types of the arguments, as far as they have any.
    fn argument_types(arguments: &Self::Arguments) -> String;

    /// Whether one of the arguments, of which [`Driver::write_arguments`] wrote this, may come to stand for the current time or date.
    fn may_be_the_clock(arguments: &Self::Arguments, written: &[u8]) -> bool;

    /// Whether the server is done with what failed with this error. Otherwise it may still be at it.
    fn is_definite(error: &sqlx::Error) -> bool;

    /// Whether this error says that the database is out of reach, and nothing about the request.
    fn is_outage(error: &sqlx::Error) -> bool;

    /// The code of an error, and what it means where that is known: nothing of what the server says besides, such as names or values.
    fn code_in_words(error: &dyn DatabaseError) -> String;

    /// Whether this error says that the server makes no more connections, but keeps those that there are.
    fn takes_no_more(error: &sqlx::Error) -> bool;

    /// Whether the transaction that sqlx believes open was rolled back by the database itself when a statement in it failed,
    /// so that each statement is on its own from now on.
    fn has_lost_transaction(connection: &mut Self::Connection) -> BoxFuture<'_, bool>;

    /// Returns once the server is done with every statement that was sent to it on connections lost before this call.
    fn settled(pool: &sqlx::Pool<Self>) -> BoxFuture<'_, ()>;
}

/// A code with what it means, if that is known.
fn in_words(code: impl std::fmt::Display, meaning: Option<&str>) -> String {
    meaning.map_or_else(|| code.to_string(), |meaning| format!("{code} ({meaning})"))
}

/// Gives a connection back to its pool within this task. To drop it would spawn one more, which wakes another thread if
/// somebody else was woken just before.
pub(crate) async fn release<DB: Driver>(mut connection: PoolConnection<DB>) {
    connection.return_to_pool().await;
}

/// Has a connection closed whose server is still at a statement that nobody waits for. SQLite ends with its statement.
pub(crate) fn leave<DB: Driver>(connection: &mut PoolConnection<DB>) {
    if DB::DIALECT != Dialect::Sqlite {
        connection.close_on_drop();
    }
}

/// A connection of the pool that is closed instead of given back if its user goes away in the middle of an answer and it is out
/// of step then: what it answers to the next one may be meant for the last.
pub(crate) struct InStep<DB: Driver> {
    connection: PoolConnection<DB>,
    /// Whether the server may owe an answer.
    asking: bool,
}

impl<DB: Driver> InStep<DB> {
    pub fn of(connection: PoolConnection<DB>) -> Self {
        Self { connection, asking: false }
    }

    /// The connection, to ask it something, and whether an answer to that is owed: so it is until it is said to be over.
    pub fn ask(&mut self) -> (&mut PoolConnection<DB>, &mut bool) {
        self.asking = true;
        (&mut self.connection, &mut self.asking)
    }

    /// Nobody waits for its answer any more.
    pub fn leave(&mut self) {
        leave::<DB>(&mut self.connection);
    }

    /// The same for a question whose answer comes as a whole.
    pub async fn answer<'c, T>(&'c mut self, ask: impl FnOnce(&'c mut PoolConnection<DB>) -> BoxFuture<'c, T>) -> T {
        let (connection, asking) = self.ask();
        let answer = ask(connection).await;
        *asking = false;
        answer
    }
}

impl<DB: Driver> Drop for InStep<DB> {
    fn drop(&mut self) {
        if self.asking && DB::LOSES_STEP {
            self.connection.close_on_drop();
        }
    }
}

/// Waits until the server has answered everything that was sent to it. What fails in that is not this call's failure.
pub(crate) async fn drain<DB: Driver>(connection: &mut DB::Connection) -> Result<(), sqlx::Error> {
    loop {
        match connection.ping().await {
            Err(sqlx::Error::Database(_)) => {}
            answered => return answered,
        }
    }
}

/// Whether [`Driver::write_arguments`] writes something of its own for each of `samples`, and leaves them as they were.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn all_differ<DB: Driver>(mut samples: Vec<DB::Arguments>) -> bool
where
    DB::Arguments: fmt::Debug,
{
    let written: Option<std::collections::HashSet<Vec<u8>>> = samples
        .iter_mut()
        .map(|sample| {
            let before = format!("{sample:?}");
            let mut bound = Bound::new(false, true, None, []).ok()?;
            DB::write_arguments(sample, &mut bound).ok()?;
            (format!("{sample:?}") == before).then(|| bound.bytes().to_vec())
        })
        .collect();
    written.is_some_and(|written| written.len() == samples.len())
}
