//! What a pool shows and does, of whatever database it is.

use futures_util::future::{BoxFuture, FutureExt};
use sqlx::IntoArguments;

use crate::{
    Backend, Breaker, BreakerStatus, CachedPool, Event, Explanation, FeedStatus, History, Pressure, QueryStats,
    Refusal, Report, Stats,
};

/// A pool without its types.
pub(super) trait Operated: Send + Sync {
    fn backend(&self) -> &'static str;
    fn stats(&self) -> Stats;
    fn queries(&self) -> Vec<QueryStats>;
    fn report(&self) -> Report;
    fn history(&self) -> History;
    fn events(&self) -> Vec<Event>;
    fn breakers(&self) -> Vec<BreakerStatus>;
    fn breaker(&self, backend: &str) -> Option<&Breaker>;
    fn emergencies(&self) -> Vec<Pressure>;
    fn feeds(&self) -> Vec<FeedStatus>;
    fn off(&self) -> Option<Refusal>;
    fn connections(&self) -> Connections;
    fn configuration(&self) -> Vec<(&'static str, String)>;
    fn note(&self, what: String);
    fn clear(&self);
    fn invalidate(&self, tables: &[String]);
    fn invalidate_tags(&self, tags: &[String]);
    fn closed(&self) -> BoxFuture<'static, ()>;
    fn tables(&self) -> BoxFuture<'_, Result<Vec<String>, sqlx::Error>>;
    fn explain<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Explanation, sqlx::Error>>;
    fn warm<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<bool, sqlx::Error>>;
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Connections {
    pub used: u32,
    pub idle: u32,
    pub most: u32,
    pub waiting: usize,
    pub is_closed: bool,
}

impl<DB: Backend> Operated for CachedPool<DB>
where
    DB::Arguments: IntoArguments<DB>,
{
    fn backend(&self) -> &'static str {
        DB::NAME
    }

    fn stats(&self) -> Stats {
        Self::stats(self)
    }

    fn queries(&self) -> Vec<QueryStats> {
        Self::queries(self)
    }

    fn report(&self) -> Report {
        Self::report(self)
    }

    fn history(&self) -> History {
        Self::history(self)
    }

    fn events(&self) -> Vec<Event> {
        Self::events(self)
    }

    fn breakers(&self) -> Vec<BreakerStatus> {
        Self::breakers(self)
    }

    fn breaker(&self, backend: &str) -> Option<&Breaker> {
        match backend {
            "database" => Some(Self::breaker(self)),
            #[cfg(feature = "redis")]
            "redis" => self.redis_breaker(),
            _ => None,
        }
    }

    fn emergencies(&self) -> Vec<Pressure> {
        Self::emergencies(self)
    }

    fn feeds(&self) -> Vec<FeedStatus> {
        Self::feeds(self)
    }

    fn off(&self) -> Option<Refusal> {
        Self::off(self)
    }

    fn connections(&self) -> Connections {
        let (all, idle) = (self.size(), u32::try_from(self.num_idle()).unwrap_or(u32::MAX));
        Connections {
            used: all.saturating_sub(idle),
            idle,
            most: self.options().get_max_connections(),
            waiting: self.waiting(),
            is_closed: self.is_closed(),
        }
    }

    fn configuration(&self) -> Vec<(&'static str, String)> {
        Self::configuration(self)
    }

    fn note(&self, what: String) {
        Self::note(self, what);
    }

    fn clear(&self) {
        Self::clear(self);
    }

    fn invalidate(&self, tables: &[String]) {
        Self::invalidate(self, tables);
    }

    fn invalidate_tags(&self, tags: &[String]) {
        Self::invalidate_tags(self, tags);
    }

    fn closed(&self) -> BoxFuture<'static, ()> {
        self.close_event().boxed()
    }

    fn tables(&self) -> BoxFuture<'_, Result<Vec<String>, sqlx::Error>> {
        Self::tables(self).boxed()
    }

    fn explain<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Explanation, sqlx::Error>> {
        Self::explain(self, sql).boxed()
    }

    fn warm<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
        Self::warm(self, sql).boxed()
    }
}
