//! How a pool is built over one of sqlx's.
//!
//! In: an sqlx pool, and what the user says of it and of its results. Out: a [`CachedPool`].
//! It never makes connections differ from each other, nor takes it for granted that they do not: the user says it, or they
//! are compared.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::config::{Config, InForce};
use crate::follow;
use crate::guard::{BreakerOptions, EmergencyOptions};
use crate::inner::{Inner, Settings};
use crate::policy::Policy;
use crate::pool::CachedPool;
use crate::pool_options::SessionWatch;
use crate::sampling;
#[cfg(feature = "redis")]
use crate::tier::RedisOptions;

/// What the user says about the connections of a pool that he brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sessions {
    /// All connections look alike: no hook of the pool gives some of them another role, schema, tenant or setting than
    /// others. Only then may one connection's results answer another's queries.
    Uniform,
}

/// Builds a [`CachedPool`] over an sqlx pool.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<DB: Backend> {
    pool: sqlx::Pool<DB>,
    settings: Settings,
    sole_writer: bool,
    schema_interval: Duration,
    measures_all: bool,
    /// Where connections are compared with each other when they are made.
    sessions: Option<Arc<SessionWatch<DB>>>,
}

pub(crate) const DEFAULT_SCHEMA_INTERVAL: Duration = Duration::from_secs(60);

impl<DB: Backend> Builder<DB> {
    pub(crate) fn over(pool: sqlx::Pool<DB>, sessions: Option<Arc<SessionWatch<DB>>>) -> Self {
        Self {
            pool,
            settings: Settings::default(),
            sole_writer: false,
            schema_interval: DEFAULT_SCHEMA_INTERVAL,
            measures_all: false,
            sessions,
        }
    }

    /// How results are kept where nothing narrower is said. Laid over what was said before.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.rules.pool = policy.over(&self.settings.rules.pool);
        self
    }

    /// What a configuration says, laid over what was said before; what is said afterwards is laid over it.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use larder::{CachedPool, Config, Sessions};
    ///
    /// let sqlx_pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
    /// let pool = CachedPool::builder(sqlx_pool, Sessions::Uniform).config(Config::load()?).build().await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap(); }
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        let InForce { rules, max_bytes, sole_writer, statistics } = config.in_force();
        self.settings.rules.lay(rules);
        self.settings.max_bytes = max_bytes.unwrap_or(self.settings.max_bytes);
        self.sole_writer = sole_writer.unwrap_or(self.sole_writer);
        self.settings.statistics = statistics.unwrap_or(self.settings.statistics);
        self
    }

    /// How long a result may be given out after its query was begun; 10 seconds by default, and without end for a
    /// [`Builder::sole_writer`]. Writes through a pool of this process are seen at once; those of others after this time.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.policy(Policy::ttl(ttl))
    }

    /// Says that nobody but the pools of this process ever writes to the database, so that results are good until one of
    /// them writes.
    pub fn sole_writer(mut self) -> Self {
        self.sole_writer = true;
        self
    }

    /// Most bytes of memory that results may take; 64 MiB by default.
    ///
    /// Rows of small results that are asked for all the time are made ahead, and take an eighth of that besides, but never
    /// more than 16 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_bytes = bytes;
        self
    }

    /// Most bytes of one result; 1 MiB by default. A larger one is streamed through and not kept.
    pub fn max_entry_bytes(self, bytes: usize) -> Self {
        self.policy(Policy::default().max_entry_bytes(bytes))
    }

    /// Whether to count by statement, for [`CachedPool::queries`], and to measure the time that the database takes and
    /// that hits save; yes by default. Without, [`CachedPool::stats`] and the metrics still count events.
    pub fn statistics(mut self, on: bool) -> Self {
        self.settings.statistics = on;
        self
    }

    /// How often the schema is looked at for what other programs changed in it, such as a trigger or somebody's rights; a minute by
    /// default, never with zero. A look that takes long is taken less often, so that it costs at most a hundredth of the time.
    ///
    /// Schema changes through the pool are seen at once. See also [`CachedPool::reload`].
    pub fn schema_interval(mut self, interval: Duration) -> Self {
        self.schema_interval = interval;
        self
    }

    /// Asks PostgreSQL at the end of each transaction which tables it wrote, and drops what rests on those as well as on the ones
    /// that are known from the statements; no by default. Where it cannot tell, as after a schema change, everything is dropped. One
    /// round trip more per transaction, for those who want a second witness. Of no effect on other databases.
    pub fn measure_transactions(mut self, on: bool) -> Self {
        self.measures_all = on;
        self
    }

    /// Within what time it is heard what other programs write to tables watched by `larder watch install`; a second by default. It
    /// is looked for four times as often. While that fails for longer, nothing is given out from memory. Zero: not at all.
    ///
    /// Of no effect where no table is watched.
    pub fn watch_bound(mut self, bound: Duration) -> Self {
        self.settings.watch_bound = bound;
        self
    }

    /// When the breaker before the database opens; [`BreakerOptions::new`] by default. While it is open, reads are answered from what
    /// is kept, also beyond its time where [`Policy::stale_if_error`] allows it; all else fails at once with [`Rejected`](crate::Rejected).
    pub fn breaker(mut self, options: BreakerOptions) -> Self {
        self.settings.breaker = options;
        self
    }

    /// Asks the database again for this share of the answers from the cache, from 0 to 1, and compares: a measure of how often they are
    /// wrong, as where somebody writes who is not seen. None by default. One at a time, and none while somebody waits for a connection.
    ///
    /// It counts in [`Stats::audited`](crate::Stats::audited) and in metrics, and tells of each that was stale as an event of `tracing`. What is
    /// written just then is not held against it. Values of [`QueryExt::cached`](crate::QueryExt::cached) are not looked into.
    pub fn audit(mut self, share: f64) -> Self {
        self.settings.audit = share.clamp(0.0, 1.0);
        self
    }

    /// Loads at most so many results at a time; one more waits for that long and fails then with [`Rejected`](crate::Rejected). One that
    /// takes longer than a minute gives up its place: it may never end. As many as there are connections, by default.
    pub fn limit_loads(mut self, most: usize, wait: Duration) -> Self {
        self.settings.limit_loads = Some((most, wait));
        self
    }

    /// Lets reads of one scope (see [`CachedPool::scoped`]; those without one are one as well) go to the database `per_second`
    /// times, and `burst` of them at once; one more fails with [`Rejected`](crate::Rejected), which says when to come again, or is answered by
    /// [`Policy::stale_if_error`]. So that one tenant cannot take the database from all others. What is answered from the cache does not
    /// count. No limit by default.
    pub fn limit_rate(mut self, per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        self.settings.limit_rate = Some((per_second, burst));
        self
    }

    /// How long the database may take for a read through the pool, from the statement to the last row that is awaited. One that takes
    /// longer fails with an [`sqlx::Error::Io`] of the kind [`TimedOut`](std::io::ErrorKind::TimedOut), counts as a failure for the breaker, and its
    /// connection is closed. Without end by default.
    ///
    /// What the server goes on with after that, its own `statement_timeout` ends. Writes are left to that alone: one that is given up may
    /// still be done.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.settings.read_timeout = Some(timeout);
        self
    }

    /// When to shed work rather than fall over. It begins and ends by itself. Never, by default.
    ///
    /// In any emergency, nothing is replaced in the background before its time is over, and no answer is looked into by
    /// [`Builder::audit`]. With too many waiting for connections, reads that would go to the database are answered by a result that
    /// [`Policy::stale_if_error`] allows, or fail with [`Rejected`](crate::Rejected) while the queue is full. With too little memory, what is kept is dropped at the
    /// beginning and nothing is kept until the end. Writes are never shed.
    ///
    /// ```
    /// use larder::EmergencyOptions;
    ///
    /// let options = EmergencyOptions::new().waiting(200).memory(0.9);
    /// ```
    pub fn emergency(mut self, options: EmergencyOptions) -> Self {
        self.settings.emergency = options;
        self
    }

    /// Shares results, and what was written, with all nodes of an application through Redis or Valkey: by its URL, or by
    /// [`RedisOptions`]. Of PostgreSQL, MySQL and MariaDB.
    ///
    /// All pools of a process on one database are one node: the first that looks at it says how. One that asks for something else, such as
    /// another [`Consistency`](crate::Consistency), is refused by [`Builder::build`], and caches nothing if it was built lazily.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use larder::{CachedPool, Sessions};
    ///
    /// let pool = sqlx::PgPool::connect("postgres://localhost/shop").await?;
    /// let pool = CachedPool::builder(pool, Sessions::Uniform).redis("redis://127.0.0.1/").build().await?;
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    #[cfg(feature = "redis")]
    pub fn redis(mut self, options: impl Into<RedisOptions>) -> Self {
        self.settings.redis = Some(options.into());
        self
    }

    /// Looks at the database, and builds the pool.
    ///
    /// A database that cannot be understood makes a pool that works and caches nothing; [`CachedPool::stats`] and the log
    /// say why.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`], and [`sqlx::Error::Configuration`] for options that make no sense or that contradict those of
    /// another pool.
    pub async fn build(self) -> Result<CachedPool<DB>, sqlx::Error> {
        #[cfg(feature = "redis")]
        if let Some(options) = &self.settings.redis {
            if DB::DIALECT == crate::analysis::Dialect::Sqlite {
                let sentence = "a file of SQLite is on one machine: nothing of it can be shared through Redis";
                return Err(sqlx::Error::Configuration(sentence.into()));
            }
            crate::tier::Redis::check(options).map_err(|why| sqlx::Error::Configuration(why.into()))?;
        }
        let pool = self.build_lazy();
        let rooms = pool.rooms();
        if rooms.learn().await?.is_some_and(|known| known.gate.is_watched()) {
            rooms.watch.ready().await;
        }
        #[cfg(feature = "redis")]
        if let Some(why) = rooms.contradiction() {
            return Err(sqlx::Error::Configuration(why.into()));
        }
        Ok(pool)
    }

    /// Builds the pool without connecting. See [`CachedPool::connect_lazy`].
    pub fn build_lazy(mut self) -> CachedPool<DB> {
        // What the pool leaves open has to be told, so that it counts against what is said of single tables.
        let usual = match self.sole_writer {
            true => Policy::usual().with_ttl(Duration::MAX),
            false => Policy::usual(),
        };
        self.settings.rules.pool = self.settings.rules.pool.over(&usual);
        let session = self.sessions.as_ref().map(|sessions| sessions.session.clone()).unwrap_or_default();
        let inner = Inner::new(self.pool, self.settings, session);
        if let Some(sessions) = self.sessions {
            sessions.tell(&inner);
        }
        if self.measures_all {
            inner.measure_all();
        }
        #[cfg(feature = "redis")]
        inner.watch_place();
        inner.watch_schema(self.schema_interval);
        inner.watch_recovery();
        sampling::start(&inner);
        if !inner.watch.bound().is_zero() {
            follow::start(&inner);
        }
        CachedPool::new(inner)
    }
}
