//! The connections of a pool, and who waits for them, under the names that OpenTelemetry has for that.

use std::time::Instant;

use metrics::Histogram;

use super::catalogue;
use super::counters::Level;
use super::waits::Sum;

pub(super) struct PoolGauges {
    idle: Level,
    used: Level,
    most: Level,
    pending: Level,
    wait: Histogram,
    pub waited: Sum,
}

impl PoolGauges {
    pub fn new() -> Self {
        let count = |state| Level::new(catalogue::POOL_CONNECTIONS.gauge(&[state]));
        Self {
            idle: count("idle"),
            used: count("used"),
            most: Level::new(catalogue::POOL_MOST.gauge(&[])),
            pending: Level::new(catalogue::POOL_PENDING.gauge(&[])),
            wait: catalogue::POOL_WAIT.histogram(&[]),
            waited: Sum::default(),
        }
    }

    pub fn tell(&self, connections: u32, idle: usize, most: u32) {
        let idle = i64::try_from(idle).unwrap_or(i64::MAX).min(connections.into());
        self.idle.set(idle);
        self.used.set(i64::from(connections) - idle);
        self.most.set(most.into());
    }

    /// How many are in use, and how many are idle.
    pub fn connections(&self) -> (u32, u32) {
        let count = |level: &Level| u32::try_from(level.get()).unwrap_or_default();
        (count(&self.used), count(&self.idle))
    }

    pub fn waiting(&self) -> usize {
        usize::try_from(self.pending.get()).unwrap_or_default()
    }

    pub fn wait(&self) -> Waiting<'_> {
        self.pending.add(1);
        Waiting { pool: self, since: Instant::now() }
    }
}

/// Somebody waits for a connection.
pub(crate) struct Waiting<'p> {
    pool: &'p PoolGauges,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.pending.add(-1);
        let waited = self.since.elapsed();
        self.pool.waited.add(waited);
        self.pool.wait.record(waited);
    }
}
