//! What calls waited for: a connection, the load of another, Redis, and the database itself.
//!
//! In: when a wait begins and ends. Out: how many there were, and how long they were together.
//! It never counts a wait before it is over.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::nanos;
use crate::json::seconds;

/// How often something was waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Waited {
    /// Waits that are over, those included that took no time.
    pub times: u64,
    /// How long they were together. As JSON, in seconds.
    #[serde(rename = "seconds", with = "seconds")]
    pub time: Duration,
}

/// What calls waited for. Several calls may wait at the same time, so that the sums can be longer than the pool is old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Waits {
    /// A connection of the pool, be it a new one.
    pub connection: Waited,
    /// The load of another that was under way.
    pub load: Waited,
    /// What Redis knows: results and what others wrote. Writes that wait for it are not counted.
    pub redis: Waited,
    /// The database, for reads. Nothing without [statistics](crate::Builder::statistics).
    pub reads: Waited,
    /// The database, for writes. Nothing without [statistics](crate::Builder::statistics).
    pub writes: Waited,
}

impl Waits {
    /// All of it, by name.
    pub(crate) fn named(&self) -> [(&'static str, Waited); 5] {
        [
            ("a connection", self.connection),
            ("the load of another", self.load),
            ("Redis", self.redis),
            ("the database, reads", self.reads),
            ("the database, writes", self.writes),
        ]
    }
}

/// The sum of waits for one thing.
#[derive(Debug, Default)]
pub(super) struct Sum {
    times: AtomicU64,
    nanos: AtomicU64,
}

impl Sum {
    pub fn add(&self, time: Duration) {
        self.times.fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos(time), Relaxed);
    }

    pub fn get(&self) -> Waited {
        Waited { times: self.times.load(Relaxed), time: Duration::from_nanos(self.nanos.load(Relaxed)) }
    }

    /// Counts from now until what is returned is dropped.
    pub fn begin(&self) -> Wait<'_> {
        Wait { sum: self, since: Instant::now() }
    }
}

/// Somebody waits.
#[must_use = "the wait is over when it is dropped"]
pub(crate) struct Wait<'s> {
    sum: &'s Sum,
    since: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.sum.add(self.since.elapsed());
    }
}
