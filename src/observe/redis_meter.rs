//! What Redis is asked, and why it did not answer.

use std::time::Instant;

use metrics::{Counter, Gauge, Histogram};

use super::catalogue;

/// Why there was no answer of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedisFailure {
    /// No connection leads to it.
    Away,
    /// Its breaker is open.
    Spared,
    /// It took longer than it may.
    Late,
    /// The connection broke, or it objected.
    Failed,
}

impl RedisFailure {
    pub const LABELS: [&str; 4] = ["away", "spared", "late", "failed"];
}

/// Told by the connections to one Redis, which there may be some of for several pools.
pub(crate) struct RedisMeter {
    pending: Gauge,
    seconds: Histogram,
    failures: [Counter; RedisFailure::LABELS.len()],
}

impl RedisMeter {
    pub fn new() -> Self {
        Self {
            pending: catalogue::REDIS_PENDING.gauge(&[]),
            seconds: catalogue::REDIS_SECONDS.histogram(&[]),
            failures: RedisFailure::LABELS.map(|cause| catalogue::REDIS_FAILURES.counter(&[cause])),
        }
    }

    /// A question is under way until what is returned is dropped.
    pub fn asks(&self) -> AskingRedis<'_> {
        self.pending.increment(1.0);
        AskingRedis { meter: self, since: Instant::now() }
    }

    /// There was no answer.
    pub fn failed(&self, cause: RedisFailure) {
        self.failures[cause as usize].increment(1);
    }
}

/// A question to Redis under way.
pub(crate) struct AskingRedis<'m> {
    meter: &'m RedisMeter,
    since: Instant,
}

impl Drop for AskingRedis<'_> {
    fn drop(&mut self) {
        self.meter.pending.decrement(1.0);
        self.meter.seconds.record(self.since.elapsed());
    }
}
