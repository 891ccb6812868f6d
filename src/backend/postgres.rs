//! PostgreSQL.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::DatabaseError;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgSeverity, PgStatement, PgTypeInfo,
};
use sqlx::{Arguments, Executor, Postgres, SqlStr};

use super::{Backend, Driver, IN_THE_PIPE, Item, Request};
use crate::analysis::Dialect;
use crate::catalog::{self, Survey, Witness};
use crate::feed::Feed;
use crate::key::{Bound, TooLong};
use crate::reason::Reason;
use crate::replay::postgres::PostgresReplay;

mod arguments;
mod feed;

impl Backend for Postgres {}

/// Whether a session of this login that was there at a moment is still at work on something begun before it.
///
/// Of other logins, the server shows neither what they do nor whether they do anything.
const AT_WORK: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datname = \
    pg_catalog.current_database() AND usename = SESSION_USER AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid() AND \
    (state IS NULL OR state <> 'idle') AND (xact_start IS NULL OR extract(epoch FROM xact_start) <= $1))";

/// Whether the server ends the connection with it.
fn is_fatal(error: &dyn DatabaseError) -> bool {
    let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

impl Driver for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
    type Replay = PostgresReplay;
    const OPTIONAL_READS_ALL: bool = true;
    const LOSES_STEP: bool = false;
    const ROWS_CAN_BE_SHARED: bool = true;

    fn fetch_many<'c>(
        connection: &'c mut PgConnection,
        request: Request<Self>,
    ) -> BoxStream<'c, Result<Item<Self>, sqlx::Error>> {
        connection.fetch_many(request)
    }

    fn fetch_optional<'c>(
        connection: &'c mut PgConnection,
        request: Request<Self>,
    ) -> BoxFuture<'c, Result<Option<PgRow>, sqlx::Error>> {
        connection.fetch_optional(request)
    }

    fn prepare_with<'c>(
        connection: &'c mut PgConnection,
        sql: SqlStr,
        parameters: &'c [PgTypeInfo],
    ) -> BoxFuture<'c, Result<PgStatement, sqlx::Error>> {
        connection.prepare_with(sql, parameters)
    }

    fn describe<'c>(
        connection: &'c mut PgConnection,
        sql: SqlStr,
    ) -> BoxFuture<'c, Result<sqlx::Describe<Self>, sqlx::Error>> {
        connection.describe(sql)
    }

    #[cfg(feature = "migrate")]
    fn migrate<'c>(
        connection: &'c mut PgConnection,
        migrator: &'c sqlx::migrate::Migrator,
    ) -> BoxFuture<'c, Result<(), sqlx::migrate::MigrateError>> {
        // `run` by the name that has no `Acquire` in the way, whose future cannot be sent.
        migrator.run_direct(None, connection, false).boxed()
    }

    fn survey<'c>(
        connection: &'c mut PgConnection,
        _options: &'c PgConnectOptions,
    ) -> BoxFuture<'c, Result<Survey, sqlx::Error>> {
        catalog::postgres::survey(connection).boxed()
    }

    fn session<'c>(connection: &'c mut PgConnection) -> BoxFuture<'c, Result<String, sqlx::Error>> {
        catalog::postgres::session(connection).boxed()
    }

    const COMMITS_UNSEEN: bool = false;

    // A text that is always the same, so that statistics of the server take it for one statement.
    const MARKED_BEGIN: Option<&'static str> = Some("BEGIN; SET LOCAL larder.transaction = 'open'");

    fn witness(connection: &mut PgConnection, commit: bool) -> BoxFuture<'_, Witness> {
        catalog::postgres::witness(connection, commit).boxed()
    }

    fn feed(options: &PgConnectOptions) -> BoxFuture<'_, Result<Box<dyn Feed>, sqlx::Error>> {
        feed::open(options).boxed()
    }

    fn outlives_connections(_options: &PgConnectOptions) -> bool {
        true
    }

    fn same_sessions(a: &PgConnectOptions, b: &PgConnectOptions) -> bool {
        a.get_host() == b.get_host()
            && a.get_port() == b.get_port()
            && a.get_socket() == b.get_socket()
            && a.get_username() == b.get_username()
            && a.get_database() == b.get_database()
            && a.get_options() == b.get_options()
    }

    fn refuses(request: &Request<Self>) -> Option<Reason> {
        match request {
            // Sent as simple query, whose values come as text.
            Request { arguments: None, .. } => Some(Reason::Unprepared),
            Request { persistent: false, .. } => Some(Reason::NotPersistent),
            _ => None,
        }
    }

    fn write_arguments(arguments: &mut PgArguments, out: &mut Bound) -> Result<(), TooLong> {
        arguments::write(arguments, out)
    }

    fn arguments_are_readable() -> bool {
        fn with(add: impl FnOnce(&mut PgArguments) -> Result<(), sqlx::error::BoxDynError>) -> Option<PgArguments> {
            let mut arguments = PgArguments::default();
            add(&mut arguments).ok().map(|()| arguments)
        }
        let samples: Option<Vec<PgArguments>> = [
            with(|_| Ok(())),
            with(|a| a.add(1_i32)),
            with(|a| a.add(2_i32)),
            with(|a| a.add(1_i64)),
            with(|a| a.add(1.0_f32)),
            with(|a| a.add(None::<i32>)),
            with(|a| a.add(None::<i64>)),
            with(|a| a.add("")),
            with(|a| a.add("1")),
            with(|a| a.add("aaa")),
            with(|a| a.add("AAA")),
            with(|a| a.add(&b"aaa"[..])),
            with(|a| a.add("a").and_then(|()| a.add("bc"))),
            with(|a| a.add("ab").and_then(|()| a.add("c"))),
            with(|a| a.add("abc").and_then(|()| a.add(""))),
            with(|a| a.add(vec![1_i32, 2])),
            with(|a| a.add(vec![12_i32])),
            with(|a| a.add(sqlx::postgres::types::Oid(1))),
            with(|a| a.add(None::<&str>).and_then(|()| a.add(1_i32))),
            with(|a| a.add(1_i32).and_then(|()| a.add(None::<&str>))),
        ]
        .into_iter()
        .collect();
        samples.is_some_and(super::all_differ::<Self>)
    }

    fn argument_types(arguments: &PgArguments) -> String {
        arguments::types(arguments)
    }

    fn may_be_the_clock(arguments: &PgArguments, _written: &[u8]) -> bool {
        // A text sent as text, under its own type or in an array.
        let types = arguments::types(arguments);
        ["Text", "Varchar", "Bpchar", "Name", "Unknown", "Char", "Declare", "Custom", "Json"]
            .iter()
            .any(|name| types.contains(name))
    }

    fn is_definite(error: &sqlx::Error) -> bool {
        use sqlx::Error::*;
        match error {
            // The server answered, or nothing was ever sent to it.
            Database(_) | Encode(_) | PoolTimedOut | PoolClosed | TypeNotFound { .. } | InvalidArgument(_) => true,
            _ => false,
        }
    }

    fn is_outage(error: &sqlx::Error) -> bool {
        use sqlx::Error::*;
        match error {
            // What is full, a shutdown, an operator or a disk that ended it. Connection exceptions only where they end this one: a
            // statement with an argument too few has one as well, and so has a foreign server that is away.
            Database(error) => error.code().is_some_and(|code| match &*code {
                "53100" | "53200" | "53300" | "58000" | "58030" => true,
                code if code.starts_with("57P") => true,
                code => ["08", "53"].iter().any(|class| code.starts_with(class)) && is_fatal(&**error),
            }),
            Io(_) | Tls(_) | PoolTimedOut | WorkerCrashed => true,
            _ => false,
        }
    }

    fn code_in_words(error: &dyn DatabaseError) -> String {
        let code = error.code().unwrap_or("no code".into());
        let meaning = match &*code {
            "28P01" => Some("the password is wrong"),
            "3D000" => Some("there is no such database"),
            "53100" => Some("its disk is full"),
            "53200" => Some("it is out of memory"),
            "53300" => Some("too many connections"),
            "57P01" => Some("it is shut down, or ended the connection"),
            "57P02" => Some("one of its processes crashed"),
            "57P03" => Some("it starts up or shuts down"),
            "58030" => Some("it cannot read or write its files"),
            code if code.starts_with("08") => Some("the connection failed"),
            code if code.starts_with("28") => Some("it refuses the login"),
            code if code.starts_with("53") => Some("it is out of something"),
            _ => None,
        };
        super::in_words(code, meaning)
    }

    fn takes_no_more(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| code.starts_with("53"))
    }

    fn has_lost_transaction(_connection: &mut PgConnection) -> BoxFuture<'_, bool> {
        // Until it is told to roll back, the server refuses every statement.
        std::future::ready(false).boxed()
    }

    fn settled(pool: &sqlx::Pool<Self>) -> BoxFuture<'_, ()> {
        async move {
            tokio::time::sleep(IN_THE_PIPE).await;
            let mut moment: Option<f64> = None;
            let mut pause = Duration::from_millis(50);
            loop {
                let asked = async {
                    let now = match moment {
                        Some(then) => then,
                        None => {
                            let now = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8";
                            sqlx::query_scalar(now).persistent(false).fetch_one(pool).await?
                        }
                    };
                    moment = Some(now);
                    sqlx::query_scalar::<_, bool>(AT_WORK).bind(now).persistent(false).fetch_one(pool).await
                };
                match asked.await {
                    Ok(false) => return,
                    // Nobody can ask any more: the outcome stays unknown.
                    Err(sqlx::Error::PoolClosed) => return std::future::pending().await,
                    Ok(true) | Err(_) => tokio::time::sleep(pause).await,
                }
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
        .boxed()
    }
}
