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
//! | `feed` | how far has it heard of what others write? |
//! | `pool_gauges` | who waits for connections? |
//! | `pool_timeout` | why did it wait for a connection in vain? |
//! | `metered` | how long did it wait for the database? |
//! | `stats`, `query_stats` | how is that told? |

mod audit;
mod by_table;
#[doc(hidden)]
pub mod catalogue;
mod counters;
mod feed;
mod metered;
mod pool_gauges;
mod pool_timeout;
mod queries;
mod query_stats;
mod record;
mod removal;
mod stats;
mod tier;

pub(crate) use audit::Audit;
pub use catalogue::{Metric, MetricKind, metrics};
pub(crate) use counters::Counters;
pub(crate) use feed::Feed;
pub(crate) use metered::{Metered, Sent};
pub(crate) use pool_timeout::PoolTimeout;
pub(crate) use queries::{Queries, Subject};
pub use query_stats::{Latency, QueryStats};
pub use stats::Stats;
pub use tier::Tier;

use std::time::Duration;

/// A duration in nanoseconds; what does not fit lasted 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
