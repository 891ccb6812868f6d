//! Counts what the pool does, for `pool.stats()` and for the `metrics` facade.
//!
//! In: what happened and why. Out: numbers.
//! It never sees SQL or values in a label, and never changes what happens.

mod catalogue;
mod stats;

pub(crate) use stats::Counters;
pub use stats::Stats;
