//! What is asked of a breaker.

use std::time::Duration;

use super::BreakerState;

/// Over what a breaker judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The last calls, so many.
    Calls(u32),
    /// Those of the last time, to a tenth of it.
    Time(Duration),
}

/// When a breaker opens, and how it closes again.
///
/// Counted are calls that went to the database, or to Redis. A failure is one that tells of trouble there: no connection for
/// whatever reason, a server that shuts down or has no room, no answer in time. What a caller did wrong (syntax, constraints, rows that are not there, serialization)
/// is none.
///
/// ```
/// use std::time::Duration;
/// use larder::{BreakerOptions, Window};
///
/// let options = BreakerOptions::new()
///     .window(Window::Time(Duration::from_secs(30)))
///     .minimum_calls(50)
///     .failure_rate(0.3)
///     .slow_calls(Duration::from_secs(2), 0.8);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "options do nothing until a pool is built with them"]
pub struct BreakerOptions {
    pub(crate) window: Window,
    pub(crate) minimum_calls: u32,
    pub(crate) failure_rate: f64,
    pub(crate) slow: Option<(Duration, f64)>,
    pub(crate) pause: (Duration, Duration),
    pub(crate) probes: u32,
    pub(crate) disabled: bool,
}

impl BreakerOptions {
    /// Opens when half of at least 20 calls within 10 seconds failed, for a second at first and no more than 30, and closes when 3
    /// probes were answered.
    pub fn new() -> Self {
        Self {
            window: Window::Time(Duration::from_secs(10)),
            minimum_calls: 20,
            failure_rate: 0.5,
            slow: None,
            pause: (Duration::from_secs(1), Duration::from_secs(30)),
            probes: 3,
            disabled: false,
        }
    }

    /// Never opens.
    pub fn disabled() -> Self {
        Self { disabled: true, ..Self::new() }
    }

    /// The state that a breaker has at first.
    pub(crate) fn begins_as(&self) -> BreakerState {
        if self.disabled { BreakerState::Disabled } else { BreakerState::Closed }
    }

    /// Over what it judges.
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Of fewer calls it thinks nothing.
    pub fn minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls.max(1);
        self
    }

    /// The share of calls, above 0 and up to 1, that have to fail.
    pub fn failure_rate(mut self, share: f64) -> Self {
        self.failure_rate = to_a_share(share);
        self
    }

    /// Opens as well when this share of calls took longer than `time`. The wait for a connection does not count. Not by default.
    pub fn slow_calls(mut self, time: Duration, share: f64) -> Self {
        self.slow = Some((time, to_a_share(share)));
        self
    }

    /// For how long it opens: at first, and at most; each time twice as long as before, and up to half of it by chance.
    pub fn pause(mut self, first: Duration, most: Duration) -> Self {
        self.pause = (first, most.max(first));
        self
    }

    /// When the pause is over, so many calls are let through at a time, and one more each second while they do not end: one that
    /// never does must not decide for all. When as many were answered, it closes, and when one fails, it opens again.
    pub fn probes(mut self, calls: u32) -> Self {
        self.probes = calls.max(1);
        self
    }
}

/// Above 0 and up to 1: with none or more than all it would never close, or never open.
fn to_a_share(share: f64) -> f64 {
    if share > 0.0 { share.min(1.0) } else { f64::MIN_POSITIVE }
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self::new()
    }
}
