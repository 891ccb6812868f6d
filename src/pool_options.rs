//! The options of a pool, with the methods of sqlx's own.
//!
//! In: limits and hooks. Out: a pool that knows whether its hooks make connections differ from each other.
//! It never takes a hook's word for it: what a hook did to a new connection is read from the connection.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection;
use sqlx::pool::PoolConnectionMetadata;

use crate::analysis::Dialect;
use crate::backend::{Backend, Driver, Options};
use crate::builder::{Builder, Sessions};
use crate::inner::{Inner, is_first_or_like_it};
use crate::pool::CachedPool;
use crate::reason::Reason;

/// [`PoolOptions`] for PostgreSQL.
#[cfg(feature = "postgres")]
pub type PgPoolOptions = PoolOptions<sqlx::Postgres>;

/// [`PoolOptions`] for MySQL and MariaDB.
#[cfg(feature = "mysql")]
pub type MySqlPoolOptions = PoolOptions<sqlx::MySql>;

/// [`PoolOptions`] for SQLite.
#[cfg(feature = "sqlite")]
pub type SqlitePoolOptions = PoolOptions<sqlx::Sqlite>;

type AfterConnect<DB> = dyn Fn(&mut <DB as sqlx::Database>::Connection, PoolConnectionMetadata) -> BoxFuture<'_, Result<(), sqlx::Error>>
    + Send
    + Sync;

/// Options for a [`CachedPool`], with the methods and the defaults of [`sqlx::pool::PoolOptions`].
///
/// Results are shared between connections, so that these must not differ from each other. The settings of each new
/// connection (role, schemas, time zone and whatever else changes an answer) are read after `after_connect` ran, for one
/// round trip per connection; the first that differs ends caching, with [`Reason::SessionChanged`]. `before_acquire` and
/// `after_release` may change a connection each time, and nobody looks each time: a pool with one of them caches nothing,
/// with [`Reason::SessionHook`], unless [`PoolOptions::sessions`] says that it may.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use larder::sqlite::SqlitePoolOptions;
///
/// let pool = SqlitePoolOptions::new()
///     .max_connections(1)
///     .after_connect(|connection, _| Box::pin(async move {
///         sqlx::query("PRAGMA cache_size = -8000").execute(connection).await.map(drop)
///     }))
///     .connect("sqlite::memory:")
///     .await?;
/// # assert_eq!(pool.options().get_max_connections(), 1);
/// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
/// ```
pub struct PoolOptions<DB: Backend> {
    options: sqlx::pool::PoolOptions<DB>,
    after_connect: Option<Arc<AfterConnect<DB>>>,
    /// The hook that may change a connection each time it is used.
    hook: Option<&'static str>,
    sessions: Option<Sessions>,
}

impl<DB: Backend> PoolOptions<DB> {
    /// The defaults of sqlx.
    pub fn new() -> Self {
        Self { options: sqlx::pool::PoolOptions::new(), after_connect: None, hook: None, sessions: None }
    }

    fn map(self, set: impl FnOnce(sqlx::pool::PoolOptions<DB>) -> sqlx::pool::PoolOptions<DB>) -> Self {
        Self { options: set(self.options), ..self }
    }

    /// Says that all connections look alike whatever the hooks do, so that nothing needs to be compared.
    pub fn sessions(self, sessions: Sessions) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// Most connections that the pool keeps.
    pub fn max_connections(self, max: u32) -> Self {
        self.map(|options| options.max_connections(max))
    }

    /// Most connections that the pool keeps.
    pub fn get_max_connections(&self) -> u32 {
        self.options.get_max_connections()
    }

    /// Fewest connections that the pool keeps.
    pub fn min_connections(self, min: u32) -> Self {
        self.map(|options| options.min_connections(min))
    }

    /// Fewest connections that the pool keeps.
    pub fn get_min_connections(&self) -> u32 {
        self.options.get_min_connections()
    }

    /// The level at which the time is logged that it takes to get a connection.
    pub fn acquire_time_level(self, level: log::LevelFilter) -> Self {
        self.map(|options| options.acquire_time_level(level))
    }

    /// The level at which it is logged that it took too long to get a connection.
    pub fn acquire_slow_level(self, level: log::LevelFilter) -> Self {
        self.map(|options| options.acquire_slow_level(level))
    }

    /// How long it may take to get a connection before that is logged.
    pub fn acquire_slow_threshold(self, threshold: Duration) -> Self {
        self.map(|options| options.acquire_slow_threshold(threshold))
    }

    /// How long it may take to get a connection before that is logged.
    pub fn get_acquire_slow_threshold(&self) -> Duration {
        self.options.get_acquire_slow_threshold()
    }

    /// How long to wait for a connection before that is an error.
    pub fn acquire_timeout(self, timeout: Duration) -> Self {
        self.map(|options| options.acquire_timeout(timeout))
    }

    /// How long to wait for a connection before that is an error.
    pub fn get_acquire_timeout(&self) -> Duration {
        self.options.get_acquire_timeout()
    }

    /// How long a connection is used at most; `None`: for ever.
    pub fn max_lifetime(self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.map(|options| options.max_lifetime(lifetime))
    }

    /// How long a connection is used at most; `None`: for ever.
    pub fn get_max_lifetime(&self) -> Option<Duration> {
        self.options.get_max_lifetime()
    }

    /// How long a connection may be idle before it is closed; `None`: for ever.
    pub fn idle_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.map(|options| options.idle_timeout(timeout))
    }

    /// How long a connection may be idle before it is closed; `None`: for ever.
    pub fn get_idle_timeout(&self) -> Option<Duration> {
        self.options.get_idle_timeout()
    }

    /// Whether a connection is asked for a sign of life before it is used again.
    pub fn test_before_acquire(self, test: bool) -> Self {
        self.map(|options| options.test_before_acquire(test))
    }

    /// Whether a connection is asked for a sign of life before it is used again.
    pub fn get_test_before_acquire(&self) -> bool {
        self.options.get_test_before_acquire()
    }

    /// Does something on each new connection. Its settings are read afterwards; see [`PoolOptions`].
    pub fn after_connect<F>(self, callback: F) -> Self
    where
        for<'c> F: Fn(&'c mut DB::Connection, PoolConnectionMetadata) -> BoxFuture<'c, Result<(), sqlx::Error>>
            + 'static
            + Send
            + Sync,
    {
        Self { after_connect: Some(Arc::new(callback)), ..self }
    }

    /// Does something on a connection before it is used again. Nothing is cached then; see [`PoolOptions`].
    pub fn before_acquire<F>(self, callback: F) -> Self
    where
        for<'c> F: Fn(&'c mut DB::Connection, PoolConnectionMetadata) -> BoxFuture<'c, Result<bool, sqlx::Error>>
            + 'static
            + Send
            + Sync,
    {
        Self { hook: Some("before_acquire"), ..self }.map(|options| options.before_acquire(callback))
    }

    /// Does something on a connection before it is given back. Nothing is cached then; see [`PoolOptions`].
    pub fn after_release<F>(self, callback: F) -> Self
    where
        for<'c> F: Fn(&'c mut DB::Connection, PoolConnectionMetadata) -> BoxFuture<'c, Result<bool, sqlx::Error>>
            + 'static
            + Send
            + Sync,
    {
        Self { hook: Some("after_release"), ..self }.map(|options| options.after_release(callback))
    }

    /// Connects, and looks at the database.
    ///
    /// # Errors
    /// Those of [`sqlx::pool::PoolOptions::connect`].
    pub async fn connect(self, url: &str) -> Result<CachedPool<DB>, sqlx::Error> {
        self.connect_with(url.parse()?).await
    }

    /// Connects with options.
    ///
    /// # Errors
    /// Those of [`sqlx::pool::PoolOptions::connect_with`].
    pub async fn connect_with(self, options: Options<DB>) -> Result<CachedPool<DB>, sqlx::Error> {
        let (pool, watch) = self.watched();
        Builder::over(pool.connect_with(options).await?, watch).build().await
    }

    /// Makes a pool that connects when it is first used. See [`CachedPool::connect_lazy`].
    ///
    /// # Errors
    /// The URL cannot be parsed.
    pub fn connect_lazy(self, url: &str) -> Result<CachedPool<DB>, sqlx::Error> {
        Ok(self.connect_lazy_with(url.parse()?))
    }

    /// Makes a pool that connects when it is first used, with options. See [`CachedPool::connect_lazy`].
    pub fn connect_lazy_with(self, options: Options<DB>) -> CachedPool<DB> {
        self.builder(options).build_lazy()
    }

    /// Begins to build a pool whose results have limits of their own; it connects when it is built.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), sqlx::Error> {
    /// let pool = larder::PgPoolOptions::new()
    ///     .max_connections(50)
    ///     .builder("postgres:///shop".parse()?)
    ///     .sole_writer()
    ///     .build()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn builder(self, options: Options<DB>) -> Builder<DB> {
        let (pool, watch) = self.watched();
        Builder::over(pool.connect_lazy_with(options), watch)
    }

    /// sqlx's options, with a hook that compares connections where that has to be done.
    fn watched(self) -> (sqlx::pool::PoolOptions<DB>, Option<Arc<SessionWatch<DB>>>) {
        let Self { options, after_connect, hook, sessions } = self;
        if let Some(Sessions::Uniform) = sessions {
            let options = match after_connect {
                Some(callback) => options.after_connect(move |connection, meta| callback(connection, meta)),
                None => options,
            };
            return (options, None);
        }
        let watch =
            Arc::new(SessionWatch { hook, inner: OnceLock::new(), session: Arc::default(), differ: OnceLock::new() });
        if after_connect.is_none() && DB::DIALECT == Dialect::Sqlite {
            // Made with the same options, and there is no server with a mind of its own.
            return (options, Some(watch));
        }
        let seen = watch.clone();
        let options = options.after_connect(move |connection, meta| {
            let (watch, callback) = (seen.clone(), after_connect.clone());
            Box::pin(async move {
                if let Some(callback) = callback {
                    callback(connection, meta).await?;
                }
                watch.see(connection).await;
                Ok(())
            })
        });
        (options, Some(watch))
    }
}

/// Compares the connections of a pool with each other when they are made.
#[derive(Debug)]
pub(crate) struct SessionWatch<DB: Driver> {
    /// The hook that may make them differ later.
    hook: Option<&'static str>,
    /// The pool, once it is there: its first connections are made before.
    inner: OnceLock<Weak<Inner<DB>>>,
    /// The settings of the first connection.
    pub session: Arc<OnceLock<Box<str>>>,
    /// Set once one differs from the first.
    differ: OnceLock<()>,
}

impl<DB: Driver> SessionWatch<DB> {
    async fn see(&self, connection: &mut DB::Connection) {
        let alike = match DB::session(connection).await {
            Ok(session) => is_first_or_like_it(&self.session, &session),
            // A connection that is dead does no harm.
            Err(_) => connection.ping().await.is_err(),
        };
        if !alike {
            let _ = self.differ.set(());
            if let Some(inner) = self.inner.get().and_then(Weak::upgrade) {
                Self::differ(&inner);
            }
        }
    }

    fn differ(inner: &Inner<DB>) {
        inner.turn_off_elsewhere(
            "a new connection had other settings than the first one: let after_connect treat all alike, or open a pool \
             for each kind",
        );
    }

    /// Tells the pool what was seen, and whom to tell what will be.
    pub fn tell(&self, inner: &Arc<Inner<DB>>) {
        let _ = self.inner.set(Arc::downgrade(inner));
        if self.differ.get().is_some() {
            Self::differ(inner);
        }
        if let Some(hook) = self.hook {
            let sentence = format!(
                "the hook {hook} may change a connection each time: say .sessions(Sessions::Uniform) if it leaves \
                 settings alone"
            );
            inner.turn_off(Reason::SessionHook, &sentence);
        }
    }
}

impl<DB: Backend> Clone for PoolOptions<DB> {
    fn clone(&self) -> Self {
        let Self { options, after_connect, hook, sessions } = self;
        Self { options: options.clone(), after_connect: after_connect.clone(), hook: *hook, sessions: *sessions }
    }
}

impl<DB: Backend> Default for PoolOptions<DB> {
    fn default() -> Self {
        Self::new()
    }
}

impl<DB: Backend> fmt::Debug for PoolOptions<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions")
            .field("options", &self.options)
            .field("hook", &self.hook)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}
