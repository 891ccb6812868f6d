//! Numbers by chance, so that those who began together do not go on together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Between 0 and 1.
pub(crate) fn dice() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// Up to half of it less.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + dice() / 2.0)
}
