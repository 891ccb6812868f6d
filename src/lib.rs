//! A pool for sqlx that answers reads from memory and never gives a wrong answer.
//!
//! Put [`PgPool`], [`MySqlPool`] or [`SqlitePool`] where your application has sqlx's, and its reads are kept and its writes invalidate.
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use larder::SqlitePool;
//!
//! let pool = SqlitePool::connect("sqlite::memory:").await?;
//! sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").execute(&pool).await?;
//! sqlx::query("INSERT INTO users VALUES (1, 'Ada')").execute(&pool).await?;
//!
//! let name = || sqlx::query_scalar::<_, String>("SELECT name FROM users WHERE id = $1").bind(1);
//! assert_eq!(name().fetch_one(&pool).await?, "Ada"); // a miss: asked, and kept
//! assert_eq!(name().fetch_one(&pool).await?, "Ada"); // a hit
//!
//! let mut tx = pool.begin().await?;
//! sqlx::query("UPDATE users SET name = 'Grace' WHERE id = 1").execute(&mut *tx).await?;
//! assert_eq!(name().fetch_one(&pool).await?, "Ada"); // still a hit: nothing was committed
//! tx.commit().await?;
//! assert_eq!(name().fetch_one(&pool).await?, "Grace"); // a miss: users were written
//!
//! assert_eq!(pool.stats().hits, 2);
//! # Ok::<_, sqlx::Error>(()) }).unwrap(); }
//! ```
//!
//! # Words
//!
//! | word | what it means here |
//! |---|---|
//! | hit, miss, bypass | a read answered from memory; a read that could have been; one that cannot be kept |
//! | coalesced | a read answered by another request's load of the same |
//! | stale | given out though it may be wrong by now, during an outage and by a policy that allows it |
//! | [`Policy`] | how long results of a query live, and what else is asked of them |
//! | due | good, but to be replaced in the background: its soft time to live is over, or its end is near |
//! | value | what an application made of rows, kept with them: [`QueryExt::cached`] |
//! | [`Reason`] | why a read missed or bypassed, a result was not stored, entries were invalidated |
//! | normal form, fingerprint | the statement without comments and superfluous blanks; its name in statistics |
//! | cell, version, stamp | what a write changes as a whole; how often it did; the versions that a result rests on |
//! | arm, finish | a write announces itself before it is sent, and says when its outcome is definite |
//! | in flight | between the two: nothing that rests on such a cell is given out or stored |
//! | flight, load | requests that wait for the same query; that query |
//! | replay | to turn stored bytes back into sqlx's rows |
//! | gate | what of the catalog is known: only what could be followed to its tables passes |
//! | widen | to add what the text does not say: the tables behind a view, what a trigger or a foreign key changes |
//! | limit | what in a database keeps results from being kept, or writes from dropping little |
//! | opaque | a connection or statement whose writes cannot be told |
//! | lent raw | handed out as sqlx's own connection, so that what happens on it is not seen |
//! | witness | the database itself, asked at a commit which tables the transaction wrote |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The words.
mod chance;
mod entry;
#[cfg(feature = "redis")]
#[doc(hidden)]
pub mod faults;
mod json;
mod key;
mod policy;
mod reason;
mod recency;
mod rejected;
mod stamp;
mod wording;

// The rooms.
pub mod analysis;
mod backend;
mod catalog;
mod feed;
mod flight;
mod guard;
mod observe;
mod plan;
mod replay;
mod rules;
mod tier;
mod versions;
pub mod watch;

// The corridors, and what they run through.
mod follow;
mod inner;
mod ledger;
mod read;
mod sampling;
mod write;

#[cfg(test)]
mod interleavings;

// The public face.
mod builder;
#[cfg(feature = "html")]
mod chart;
pub mod config;
mod connection;
#[cfg(feature = "postgres")]
mod copy;
mod explanation;
#[cfg(feature = "migrate")]
mod migrate;
#[cfg(feature = "mysql")]
pub mod mysql;
mod operations;
mod pool;
mod pool_options;
#[cfg(feature = "postgres")]
pub mod postgres;
mod query_ext;
mod report;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod transaction;

// The visitors.
#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use backend::Backend;
pub use builder::{Builder, Sessions};
pub use catalog::{Limit, LimitKind};
pub use config::{Config, ConfigError, Profile};
pub use connection::{CachedConnection, PoolConnection};
pub use explanation::{Changes, Dependency, Explanation};
pub use guard::{
    Breaker, BreakerOptions, BreakerState, BreakerStatus, EmergencyOptions, Forced, Pressure, Transition, Window,
};
// The metrics by their names in code, for the monitoring kit.
#[doc(hidden)]
pub use observe::catalogue;
pub use observe::{
    Event, EventKind, History, Latency, Metric, MetricKind, NPlusOne, QueryStats, Sample, Stats, Tier, Waited, Waits,
    metrics, unit_of_work,
};
pub use operations::FeedStatus;
pub use policy::Policy;
pub use pool::{CachedPool, CachedPool as Pool};
#[cfg(feature = "redis")]
pub use pool::{NotAToken, Token};
pub use pool_options::PoolOptions;
pub use query_ext::{Cached, QueryExt, Typed};
pub use reason::{Reason, Refusal};
pub use rejected::{Guard, Rejected};
pub use report::{
    Advice, AdviceKind, Confidence, Figures, NotAReport, Regression, RegressionKind, Report, SuggestedTtl,
};
#[cfg(feature = "redis")]
pub use tier::{Consistency, RedisOptions};
pub use transaction::Transaction;

#[cfg(feature = "mysql")]
pub use mysql::{MySqlConnection, MySqlPool, MySqlPoolOptions, MySqlTransaction};
#[cfg(feature = "postgres")]
pub use postgres::{PgConnection, PgPool, PgPoolOptions, PgTransaction};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteTransaction};
