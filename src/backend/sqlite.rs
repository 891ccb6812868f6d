//! SQLite.

use std::fmt::{self, Write};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::DatabaseError;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteStatement, SqliteTypeInfo,
};
use sqlx::{Arguments, Executor, SqlStr, Sqlite};

use super::{Backend, Driver, Item, Request};
use crate::analysis::Dialect;
use crate::catalog::{self, Survey, Witness};
use crate::feed::Feed;
use crate::key::{Bound, TooLong};
use crate::reason::Reason;
use crate::replay::sqlite::SqliteReplay;

mod feed;

impl Backend for Sqlite {}

/// Leaves out what the text of all arguments begins with.
struct Values<'b> {
    out: &'b mut Bound,
    begun: bool,
}

impl Write for Values<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        if self.begun {
            return self.out.write_str(s);
        }
        self.begun = s == "[";
        Ok(())
    }
}

const BUSY_SNAPSHOT: u32 = 517;

impl Driver for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    type Replay = SqliteReplay;
    const OPTIONAL_READS_ALL: bool = false;
    // Decoding changes a value, behind a `Sync` that sqlx declares for the row but not for its values.
    const LOSES_STEP: bool = false;
    const ROWS_CAN_BE_SHARED: bool = false;

    fn fetch_many<'c>(
        connection: &'c mut SqliteConnection,
        request: Request<Self>,
    ) -> BoxStream<'c, Result<Item<Self>, sqlx::Error>> {
        connection.fetch_many(request)
    }

    fn fetch_optional<'c>(
        connection: &'c mut SqliteConnection,
        request: Request<Self>,
    ) -> BoxFuture<'c, Result<Option<SqliteRow>, sqlx::Error>> {
        connection.fetch_optional(request)
    }

    fn prepare_with<'c>(
        connection: &'c mut SqliteConnection,
        sql: SqlStr,
        parameters: &'c [SqliteTypeInfo],
    ) -> BoxFuture<'c, Result<SqliteStatement, sqlx::Error>> {
        connection.prepare_with(sql, parameters)
    }

    fn describe<'c>(
        connection: &'c mut SqliteConnection,
        sql: SqlStr,
    ) -> BoxFuture<'c, Result<sqlx::Describe<Self>, sqlx::Error>> {
        connection.describe(sql)
    }

    #[cfg(feature = "migrate")]
    fn migrate<'c>(
        connection: &'c mut SqliteConnection,
        migrator: &'c sqlx::migrate::Migrator,
    ) -> BoxFuture<'c, Result<(), sqlx::migrate::MigrateError>> {
        // `run` by the name that has no `Acquire` in the way, whose future cannot be sent.
        migrator.run_direct(None, connection, false).boxed()
    }

    fn survey<'c>(
        connection: &'c mut SqliteConnection,
        options: &'c SqliteConnectOptions,
    ) -> BoxFuture<'c, Result<Survey, sqlx::Error>> {
        catalog::sqlite::survey(connection, options).boxed()
    }

    fn session<'c>(connection: &'c mut SqliteConnection) -> BoxFuture<'c, Result<String, sqlx::Error>> {
        catalog::sqlite::session(connection).boxed()
    }

    const COMMITS_UNSEEN: bool = false;

    const MARKED_BEGIN: Option<&'static str> = None;

    fn witness(_connection: &mut SqliteConnection, _commit: bool) -> BoxFuture<'_, Witness> {
        std::future::ready(Witness::Nothing).boxed()
    }

    fn feed(options: &SqliteConnectOptions) -> BoxFuture<'_, Result<Box<dyn Feed>, sqlx::Error>> {
        feed::open(options).boxed()
    }

    fn outlives_connections(options: &SqliteConnectOptions) -> bool {
        catalog::sqlite::is_on_disk(options)
    }

    fn same_sessions(a: &SqliteConnectOptions, b: &SqliteConnectOptions) -> bool {
        // No secret to rotate here: whoever changes these options changes the session.
        format!("{a:?}") == format!("{b:?}")
    }

    fn refuses(request: &Request<Self>) -> Option<Reason> {
        (!request.persistent).then_some(Reason::NotPersistent)
    }

    fn write_arguments(arguments: &mut SqliteArguments, out: &mut Bound) -> Result<(), TooLong> {
        // There is no other way to see them.
        write!(Values { out, begun: false }, "{arguments:?}").map_err(|_| TooLong)
    }

    fn arguments_are_readable() -> bool {
        fn with(
            add: impl FnOnce(&mut SqliteArguments) -> Result<(), sqlx::error::BoxDynError>,
        ) -> Option<SqliteArguments> {
            let mut arguments = SqliteArguments::default();
            add(&mut arguments).ok().map(|()| arguments)
        }
        let samples: Option<Vec<SqliteArguments>> = [
            with(|_| Ok(())),
            with(|a| a.add(None::<i32>)),
            with(|a| a.add(1_i32)),
            with(|a| a.add(1_i64)),
            with(|a| a.add(0.0_f64)),
            with(|a| a.add(-0.0_f64)),
            with(|a| a.add(1.0_f64)),
            with(|a| a.add(1.0 + f64::EPSILON)),
            with(|a| a.add("1")),
            with(|a| a.add("aaa")),
            with(|a| a.add("AAA")),
            with(|a| a.add("Null")),
            with(|a| a.add("\"), Text(\"")),
            with(|a| a.add(&b"aaa"[..])),
            with(|a| a.add("a").and_then(|()| a.add("bc"))),
            with(|a| a.add("ab").and_then(|()| a.add("c"))),
        ]
        .into_iter()
        .collect();
        samples.is_some_and(super::all_differ::<Self>)
    }

    fn argument_types(_arguments: &SqliteArguments) -> String {
        String::new()
    }

    fn may_be_the_clock(arguments: &SqliteArguments, _written: &[u8]) -> bool {
        let text = format!("{arguments:?}");
        // SQLite takes a blob for a text where it wants one.
        text.contains("Blob(") || text.to_ascii_lowercase().contains("now")
    }

    fn is_definite(_error: &sqlx::Error) -> bool {
        // The database runs in this process: when the call is over, so is the statement.
        true
    }

    fn is_outage(error: &sqlx::Error) -> bool {
        match error {
            // Busy for longer than was to be waited, a file that cannot be read or opened.
            sqlx::Error::Database(error) => {
                error
                .code()
                .and_then(|code| code.parse::<u32>().ok())
                // That a snapshot is too old to be written is the transaction's trouble: it is to be begun anew.
                .is_some_and(|code| code != BUSY_SNAPSHOT && matches!(code & 0xff, 5 | 10 | 14))
                // It names no other file than that of an ATTACH.
                && !error.message().starts_with("unable to open database: ")
            }
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
            _ => false,
        }
    }

    fn code_in_words(error: &dyn DatabaseError) -> String {
        let code = error.code().unwrap_or("no code".into());
        let meaning = match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(5) => Some("another program, or a long transaction, has locked it"),
            Ok(10) => Some("its file cannot be read or written"),
            Ok(14) => Some("its file cannot be opened"),
            _ => None,
        };
        super::in_words(code, meaning)
    }

    fn takes_no_more(_error: &sqlx::Error) -> bool {
        false
    }

    fn has_lost_transaction(connection: &mut SqliteConnection) -> BoxFuture<'_, bool> {
        // ON CONFLICT ROLLBACK, RAISE(ROLLBACK), a full disk. SQLite has no other word for it than whether another
        // transaction can begin.
        async move { connection.execute(sqlx::raw_sql("BEGIN; ROLLBACK")).await.is_ok() }.boxed()
    }

    fn settled(_pool: &sqlx::Pool<Self>) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
