//! MySQL and MariaDB.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::DatabaseError;
use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlStatement, MySqlTypeInfo,
};
use sqlx::{Arguments, Executor, MySql, Row, SqlStr};

use super::{Backend, Driver, IN_THE_PIPE, Item, Request};
use crate::analysis::Dialect;
use crate::catalog::{self, Survey, Witness};
use crate::feed::Feed;
use crate::key::{Bound, TooLong};
use crate::reason::Reason;
use crate::replay::mysql::MySqlReplay;

mod arguments;
mod feed;

impl Backend for MySql {}

/// The sessions of this login that are at work, but for the one that asks: the others of a server are not shown to
/// everybody. MariaDB also tells at which statement.
const AT_WORK: &str = "SELECT * FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND \
    USER = (SELECT USER FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()) AND COMMAND NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID')";

impl Driver for MySql {
    const DIALECT: Dialect = Dialect::MySql;
    type Replay = MySqlReplay;
    const OPTIONAL_READS_ALL: bool = false;
    // A packet of which the head was read, and a statement that is being prepared, are forgotten with the future that waits.
    const LOSES_STEP: bool = true;
    const ROWS_CAN_BE_SHARED: bool = true;

    fn fetch_many<'c>(
        connection: &'c mut MySqlConnection,
        request: Request<Self>,
    ) -> BoxStream<'c, Result<Item<Self>, sqlx::Error>> {
        connection.fetch_many(request)
    }

    fn fetch_optional<'c>(
        connection: &'c mut MySqlConnection,
        request: Request<Self>,
    ) -> BoxFuture<'c, Result<Option<MySqlRow>, sqlx::Error>> {
        connection.fetch_optional(request)
    }

    fn prepare_with<'c>(
        connection: &'c mut MySqlConnection,
        sql: SqlStr,
        parameters: &'c [MySqlTypeInfo],
    ) -> BoxFuture<'c, Result<MySqlStatement, sqlx::Error>> {
        connection.prepare_with(sql, parameters)
    }

    fn describe<'c>(
        connection: &'c mut MySqlConnection,
        sql: SqlStr,
    ) -> BoxFuture<'c, Result<sqlx::Describe<Self>, sqlx::Error>> {
        connection.describe(sql)
    }

    #[cfg(feature = "migrate")]
    fn migrate<'c>(
        connection: &'c mut MySqlConnection,
        migrator: &'c sqlx::migrate::Migrator,
    ) -> BoxFuture<'c, Result<(), sqlx::migrate::MigrateError>> {
        // `run` by the name that has no `Acquire` in the way, whose future cannot be sent.
        migrator.run_direct(None, connection, false).boxed()
    }

    fn survey<'c>(
        connection: &'c mut MySqlConnection,
        _options: &'c MySqlConnectOptions,
    ) -> BoxFuture<'c, Result<Survey, sqlx::Error>> {
        catalog::mysql::survey(connection).boxed()
    }

    fn session<'c>(connection: &'c mut MySqlConnection) -> BoxFuture<'c, Result<String, sqlx::Error>> {
        catalog::mysql::session(connection).boxed()
    }

    fn is_as_it_was<'c>(connection: &'c mut MySqlConnection, session: &'c str) -> BoxFuture<'c, bool> {
        catalog::mysql::is_as_it_was(connection, session).boxed()
    }

    fn let_go(connection: &mut MySqlConnection) -> BoxFuture<'_, bool> {
        // To begin a transaction also unlocks tables.
        async move { sqlx::raw_sql("START TRANSACTION; COMMIT").execute(connection).await.is_ok() }.boxed()
    }

    const COMMITS_UNSEEN: bool = true;

    const MARKED_BEGIN: Option<&'static str> = None;

    fn witness(_connection: &mut MySqlConnection, _commit: bool) -> BoxFuture<'_, Witness> {
        std::future::ready(Witness::Nothing).boxed()
    }

    fn feed(options: &MySqlConnectOptions) -> BoxFuture<'_, Result<Box<dyn Feed>, sqlx::Error>> {
        feed::open(options).boxed()
    }

    fn outlives_connections(_options: &MySqlConnectOptions) -> bool {
        true
    }

    fn same_sessions(a: &MySqlConnectOptions, b: &MySqlConnectOptions) -> bool {
        a.get_host() == b.get_host()
            && a.get_port() == b.get_port()
            && a.get_socket() == b.get_socket()
            && a.get_username() == b.get_username()
            && a.get_database() == b.get_database()
            && a.get_charset() == b.get_charset()
            && a.get_collation() == b.get_collation()
    }

    fn keeps_prepared(connection: &MySqlConnection) -> bool {
        sqlx::Connection::cached_statements_size(connection) > 0
    }

    fn refuses(request: &Request<Self>) -> Option<Reason> {
        // Sent as text, values come as text.
        request.arguments.is_none().then_some(Reason::Unprepared)
    }

    fn write_arguments(arguments: &mut MySqlArguments, out: &mut Bound) -> Result<(), TooLong> {
        arguments::write(arguments, out)
    }

    fn arguments_are_readable() -> bool {
        fn with(
            add: impl FnOnce(&mut MySqlArguments) -> Result<(), sqlx::error::BoxDynError>,
        ) -> Option<MySqlArguments> {
            let mut arguments = MySqlArguments::default();
            add(&mut arguments).ok().map(|()| arguments)
        }
        let samples: Option<Vec<MySqlArguments>> = [
            with(|_| Ok(())),
            with(|a| a.add(1_i32)),
            with(|a| a.add(2_i32)),
            with(|a| a.add(1_u32)),
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
            with(|a| a.add(None::<&str>).and_then(|()| a.add(1_i32))),
            with(|a| a.add(1_i32).and_then(|()| a.add(None::<&str>))),
        ]
        .into_iter()
        .collect();
        samples.is_some_and(super::all_differ::<Self>)
    }

    fn argument_types(_arguments: &MySqlArguments) -> String {
        // The server is told the types with each execution, and the columns of a result come with it.
        String::new()
    }

    fn may_be_the_clock(_arguments: &MySqlArguments, written: &[u8]) -> bool {
        arguments::have_time_of_day(written)
    }

    fn is_definite(error: &sqlx::Error) -> bool {
        use sqlx::Error::*;
        match error {
            // The server answered, or nothing was ever sent to it.
            Database(_) | Encode(_) | PoolTimedOut | PoolClosed | InvalidArgument(_) => true,
            _ => false,
        }
    }

    fn is_outage(error: &sqlx::Error) -> bool {
        use sqlx::Error::*;
        match error {
            Database(error) => match error.try_downcast_ref::<MySqlDatabaseError>() {
                // Connection exceptions; what is full; a shutdown, an operator, a host that is blocked. That a statement is too large
                // for the server, or sorts too much, is the statement's own trouble.
                Some(error) => match error.number() {
                    1021 | 1037 | 1041 | 1129 | 1203 | 1226 | 1927 | 4031 => true,
                    1038 | 1153 => false,
                    _ => error.code().is_some_and(|code| code.starts_with("08")),
                },
                None => false,
            },
            Io(_) | Tls(_) | PoolTimedOut | WorkerCrashed => true,
            _ => false,
        }
    }

    fn code_in_words(error: &dyn DatabaseError) -> String {
        let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() else { return "no code".to_owned() };
        let meaning = match error.number() {
            1021 => Some("its disk is full"),
            1037 | 1041 => Some("it is out of memory"),
            1040 | 1203 => Some("too many connections"),
            1044 | 1045 | 1698 => Some("it refuses the login"),
            1049 => Some("there is no such database"),
            1053 => Some("it shuts down"),
            1129 => Some("it blocks this host: FLUSH HOSTS"),
            1226 => Some("the account has no more of something"),
            1927 => Some("the connection was ended"),
            4031 => Some("the connection was idle for too long"),
            _ => None,
        };
        super::in_words(error.number(), meaning)
    }

    fn takes_no_more(error: &sqlx::Error) -> bool {
        let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        // Too many connections, of all or of one user; no memory for one more; a host that is blocked.
        error.is_some_and(|error| matches!(error.number(), 1040 | 1041 | 1129 | 1203 | 1226))
    }

    fn has_lost_transaction(connection: &mut MySqlConnection) -> BoxFuture<'_, bool> {
        // A deadlock or a wait that took too long may have rolled it back.
        async move { !catalog::mysql::is_in_transaction(connection).await }.boxed()
    }

    fn settled(pool: &sqlx::Pool<Self>) -> BoxFuture<'_, ()> {
        async move {
            tokio::time::sleep(IN_THE_PIPE).await;
            let mut pending: Option<Vec<AtWork>> = None;
            let mut pause = Duration::from_millis(50);
            loop {
                match sqlx::query(AT_WORK).persistent(false).fetch_all(pool).await {
                    Ok(rows) => {
                        let now: Vec<AtWork> = rows.iter().map(AtWork::of).collect();
                        let pending = pending.get_or_insert_with(|| now.clone());
                        pending.retain(|then| now.contains(then));
                        if pending.is_empty() {
                            return;
                        }
                    }
                    // Nobody can ask any more: the outcome stays unknown.
                    Err(sqlx::Error::PoolClosed) => return std::future::pending().await,
                    Err(_) => {}
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
        .boxed()
    }
}

/// A session at work.
#[derive(Debug, Clone, PartialEq)]
struct AtWork {
    session: Option<u64>,
    /// Which statement it is at, where the server tells. Where it does not, the session must be seen idle, or gone.
    statement: Option<u64>,
}

impl AtWork {
    fn of(row: &MySqlRow) -> Self {
        let number = |name| row.try_get_unchecked(name).ok();
        Self { session: number("ID"), statement: number("QUERY_ID") }
    }
}
