//! What those who operate an application see of a pool, and what they may do to it.
//!
//! In: a pool. Out: its state, its past, and orders. The page and the interface of `admin` show the same.
//! It never shows a value, an address or a password.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, IntoArguments};

use crate::analysis::Kind;
use crate::backend::{Backend, Request};
use crate::explanation::Changes;
#[cfg(feature = "redis")]
use crate::guard::Transition;
use crate::guard::{Breaker, BreakerStatus, Pressure};
use crate::observe::{Event, EventKind, Feed, History};
use crate::pool::CachedPool;
use crate::reason::{Reason, Refusal};

/// How far a pool has heard of what others write: see [`CachedPool::feeds`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FeedStatus {
    /// Where it hears of that: `redis` from other nodes, `triggers` from those of `larder watch`.
    pub feed: String,
    /// How long ago the last look began that was answered; `None`: none was yet. As JSON, in seconds.
    #[serde(rename = "age_seconds")]
    pub age: Option<f64>,
    /// Whether that is soon enough. If not, nothing is answered from memory without asking.
    pub is_current: bool,
    /// What is soon enough, in seconds.
    #[serde(rename = "bound_seconds")]
    pub bound: f64,
}

impl<DB: Backend> CachedPool<DB> {
    /// The breaker before the database: what it sees and does, and orders by hand.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use larder::{BreakerState, SqlitePool};
    ///
    /// let pool = SqlitePool::connect("sqlite::memory:").await?;
    /// pool.breaker().force_open("the disk is being changed", Some(Duration::from_secs(600)));
    /// assert_eq!(pool.breaker().status().state, BreakerState::ForcedOpen);
    /// pool.breaker().release();
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    pub fn breaker(&self) -> &Breaker {
        &self.inner.gatehouse.breaker
    }

    /// The breaker before the Redis that this pool shares results through, once it is known which database they are of. It is the same
    /// for all pools of this process on that database.
    #[cfg(feature = "redis")]
    pub fn redis_breaker(&self) -> Option<&Breaker> {
        self.inner.node().map(|node| &**node.breaker())
    }

    /// What all breakers of this pool see and do.
    pub fn breakers(&self) -> Vec<BreakerStatus> {
        #[cfg(feature = "redis")]
        let of_redis = self.redis_breaker().map(Breaker::status);
        #[cfg(not(feature = "redis"))]
        let of_redis = None;
        [self.breaker().status()].into_iter().chain(of_redis).collect()
    }

    /// What there is too little of, so that work is shed: see [`Builder::emergency`](crate::Builder::emergency).
    pub fn emergencies(&self) -> Vec<Pressure> {
        Pressure::ALL.into_iter().filter(|pressure| self.inner.is_short_of(*pressure)).collect()
    }

    /// The last things that happened, up to 200 of a kind, that somebody on call would want to know of, the oldest first: breakers that turned,
    /// emergencies, everything dropped, answers found stale.
    pub fn events(&self) -> Vec<Event> {
        #[cfg_attr(not(feature = "redis"), expect(unused_mut, reason = "those of Redis are added"))]
        let mut events = self.inner.counters.events();
        #[cfg(feature = "redis")]
        if let Some(breaker) = self.redis_breaker() {
            let turns = breaker.status().transitions.into_iter();
            let of_redis =
                |turn: Transition| Event { at: turn.at, kind: EventKind::Breaker, text: format!("redis: {turn}") };
            events.extend(turns.map(of_redis));
            events.sort_by_key(|event| event.at);
        }
        events
    }

    /// What this pool did lately: by second for a quarter of an hour, by minute for a day.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// std::fs::write(std::env::temp_dir().join("larder.csv"), pool.history().csv())?;
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    pub fn history(&self) -> History {
        self.inner.counters.history()
    }

    /// Why nothing is cached, if that is so.
    pub fn off(&self) -> Option<Refusal> {
        let known = self.inner.known();
        self.inner.off().or_else(|| known.as_ref()?.refusal.as_ref()).cloned()
    }

    /// How many callers wait for a connection.
    pub fn waiting(&self) -> usize {
        self.inner.counters.waiting()
    }

    /// How far this pool has heard of what others write, wherever it has to.
    pub fn feeds(&self) -> Vec<FeedStatus> {
        let status = |feed: Feed, age: Option<Duration>, is_current, bound: Duration| FeedStatus {
            feed: feed.label().to_owned(),
            age: age.map(|age| age.as_secs_f64()),
            is_current,
            bound: bound.as_secs_f64(),
        };
        let mut feeds = Vec::new();
        #[cfg(feature = "redis")]
        if let Some(node) = self.inner.node() {
            feeds.push(status(Feed::Redis, node.age(), node.is_current(), node.hears_within()));
        }
        if self.inner.known().is_some_and(|known| known.gate.is_watched()) {
            let watch = &self.inner.watch;
            feeds.push(status(Feed::Triggers, watch.age(), watch.is_current(), watch.bound()));
        }
        feeds
    }

    /// The full names of all tables and views that are known. The database is looked at if it was not yet.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`], where the database has to be looked at.
    pub async fn tables(&self) -> Result<Vec<String>, sqlx::Error> {
        Ok(self.inner.learn().await?.map(|known| known.gate.names()).unwrap_or_default())
    }

    /// What this pool was told to do, name by name, without secrets.
    pub fn configuration(&self) -> Vec<(&'static str, String)> {
        let (settings, options) = (&self.inner.settings, self.inner.pool.options());
        let mut said = vec![
            ("max_bytes", settings.max_bytes.to_string()),
            ("statistics", settings.statistics.to_string()),
            ("policy", format!("{:?}", settings.rules.pool)),
            ("rules_for_tables", settings.rules.tables.len().to_string()),
            ("rules_for_queries", settings.rules.queries.len().to_string()),
            ("watch_bound", format!("{:?}", settings.watch_bound)),
            ("breaker", format!("{:?}", settings.breaker)),
            ("limit_loads", format!("{:?}", settings.limit_loads)),
            ("limit_rate", format!("{:?}", settings.limit_rate)),
            ("read_timeout", format!("{:?}", settings.read_timeout)),
            ("emergency", format!("{:?}", settings.emergency)),
            ("audit", settings.audit.to_string()),
            ("max_connections", options.get_max_connections().to_string()),
            ("min_connections", options.get_min_connections().to_string()),
            ("acquire_timeout", format!("{:?}", options.get_acquire_timeout())),
        ];
        #[cfg(feature = "redis")]
        said.push(("redis", settings.redis.as_ref().map_or("none".into(), |redis| format!("{redis:?}"))));
        said.sort_unstable();
        said
    }

    /// Takes down what somebody ordered, for [`CachedPool::events`].
    pub fn note(&self, what: impl Into<String>) {
        self.inner.counters.event(EventKind::Operator, what);
    }

    /// Runs a read that has no parameters so that its result is kept, as before the first visitors come. Whether it is: one that is too
    /// large is not.
    ///
    /// # Errors
    /// Those of the read, and [`sqlx::Error::Configuration`] for a statement whose result would not be kept, with the reason.
    pub async fn warm(&self, sql: &str) -> Result<bool, sqlx::Error>
    where
        DB::Arguments: IntoArguments<DB>,
    {
        let explanation = self.explain(sql).await?;
        let refuse = |sentence: String| Err(sqlx::Error::Configuration(sentence.into()));
        match (&explanation.reads, &explanation.writes, &explanation.scope) {
            (Err(Refusal { sentence, .. }), ..) => return refuse(sentence.clone()),
            (Ok(_), Changes::Nothing, None) if explanation.facts.kind == Kind::Read => {}
            (_, _, Some(why)) => return refuse(format!("its result is kept only under a scope: {why}")),
            _ => return refuse(format!("{}: it does more than read", Reason::NotARead)),
        }
        let is_kept = Arc::new(AtomicBool::new(false));
        let kept = is_kept.clone();
        let request = Request::take(sqlx::query::<DB>(AssertSqlSafe(sql.to_owned())));
        let mut items = self.run(request, move |_| kept.store(true, Relaxed));
        while items.try_next().await?.is_some() {}
        Ok(is_kept.load(Relaxed))
    }
}
