//! What the user of a pool said of it, once and for all.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::guard::{BreakerOptions, EmergencyOptions};
use crate::rules::Rules;
#[cfg(feature = "redis")]
use crate::tier::RedisOptions;

pub(crate) const DEFAULT_MAX_BYTES: u64 = 64 << 20;

/// See the methods of [`Builder`](crate::Builder) of the same names.
#[derive(Debug)]
pub(crate) struct Settings {
    pub rules: Rules,
    pub max_bytes: u64,
    pub statistics: bool,
    pub watch_bound: Duration,
    pub breaker: BreakerOptions,
    /// Loads at a time, and how long one may wait for others to end.
    pub limit_loads: Option<(usize, Duration)>,
    /// Reads of one scope that go to the database: each second, and at once.
    pub limit_rate: Option<(NonZeroU32, NonZeroU32)>,
    pub read_timeout: Option<Duration>,
    pub emergency: EmergencyOptions,
    /// The share of answers from the cache that are looked into.
    pub audit: f64,
    #[cfg(feature = "redis")]
    pub redis: Option<RedisOptions>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            max_bytes: DEFAULT_MAX_BYTES,
            statistics: true,
            watch_bound: Duration::from_secs(1),
            breaker: BreakerOptions::new(),
            limit_loads: None,
            limit_rate: None,
            read_timeout: None,
            emergency: EmergencyOptions::default(),
            audit: 0.0,
            #[cfg(feature = "redis")]
            redis: None,
        }
    }
}
