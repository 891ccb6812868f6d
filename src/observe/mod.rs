//! Counts what the pool does, for `pool.stats()`, for `pool.queries()` and for the `metrics` facade.
//!
//! In: what happened, to which statement and why. Out: numbers.
//! It never sees a value, puts no SQL in a label, and never changes what happens.
//!
//! | file | question |
//! |---|---|
//! | `catalogue` | which metrics are there? |
//! | `audit` | was an answer right? |
//! | `counters`, `by_table` | what did the pool do? |
//! | `queries`, `record` | what did it do for each statement? |
//! | `breaker_gauges` | what do breakers do? |
//! | `events` | what should somebody on call know of? |
//! | `history` | what did the pool do lately? |
//! | `feed` | how far has it heard of what others write? |
//! | `pool_gauges` | who waits for connections? |
//! | `redis_meter` | what is Redis asked, and why did it not answer? |
//! | `unit` | what does one unit of work ask again and again? |
//! | `waits` | what did calls wait for, and how long? |
//! | `pool_timeout` | why did it wait for a connection in vain? |
//! | `metered` | how long did it wait for the database? |
//! | `striped` | how do threads count without waiting for each other? |
//! | `stats`, `query_stats` | how is that told? |

mod audit;
mod breaker_gauges;
mod by_table;
#[doc(hidden)]
pub mod catalogue;
mod counters;
mod events;
mod feed;
mod history;
mod metered;
mod pool_gauges;
mod pool_timeout;
mod queries;
mod query_stats;
mod record;
#[cfg(feature = "redis")]
mod redis_meter;
mod removal;
mod stats;
mod striped;
mod tier;
mod unit;
mod waits;

pub(crate) use audit::Audit;
pub(crate) use breaker_gauges::BreakerGauges;
pub use catalogue::{Metric, MetricKind, metrics};
pub(crate) use counters::Counters;
pub use events::{Event, EventKind};
pub(crate) use feed::Feed;
pub use history::{History, Sample};
pub(crate) use metered::{Metered, Sent};
pub(crate) use pool_timeout::PoolTimeout;
pub(crate) use queries::{Queries, Subject};
pub use query_stats::{Latency, NPlusOne, QueryStats};
#[cfg(feature = "redis")]
pub(crate) use redis_meter::{RedisFailure, RedisMeter};
pub use stats::Stats;
pub use tier::Tier;
pub use unit::unit_of_work;
pub use waits::{Waited, Waits};

use std::time::Duration;

/// A duration in nanoseconds; what does not fit lasted 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
