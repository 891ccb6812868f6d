//! How long results of a statement should live, by how often they are read and written.
//!
//! Reads at random times (Poisson, λ a second for each set of arguments) of a result that lives L on average: each life begins with a
//! miss, λL hits follow, and so λL / (1 + λL) of the reads are hits. That is the renewal argument for caches by time to live: Jung,
//! Berger and Balakrishnan, "Modeling TTL-based Internet Caches", INFOCOM 2003. With writes at random times, µ a second, and a time
//! to live of T, L = (1 - exp(-µT)) / µ, which comes to T without writes and to 1/µ without a time to live.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json::seconds;
use crate::observe::QueryStats;
use crate::reason::Reason;

/// A time to live that fits how often results of a statement are read and written, and the figures that it rests on.
///
/// It takes reads and writes to come at random times, equally often for all sets of arguments; where some are asked for more often than
/// others, the hit rate is better than predicted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SuggestedTtl {
    /// The time to live. As JSON, in seconds.
    #[serde(rename = "seconds", with = "seconds")]
    pub ttl: Duration,
    /// Reads a second for each set of arguments.
    pub reads_per_second: f64,
    /// Sets of arguments, estimated.
    pub distinct_parameters: u64,
    /// Seconds between writes of what a result rests on; `None`: no write was met.
    pub seconds_between_writes: Option<f64>,
    /// The share of reads answered from the cache, so far.
    pub hit_rate: f64,
    /// What it would be, about.
    pub predicted_hit_rate: f64,
}

/// The suggestion reaches this share of the hits that would be had without any time to live.
const OF_WHAT_WRITES_ALLOW: f64 = 0.95;
/// Reads that have to become hits for it to be worth saying.
const WORTH_SAYING: f64 = 0.05;

/// In seconds: what people set. None is longer than a day, for the sake of writers that nobody thought of.
const USUAL: [u64; 17] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400];

/// What would fit, if it is known, and better than what is.
pub(super) fn suggest(query: &QueryStats) -> Option<SuggestedTtl> {
    let spared = query.hits + query.coalesced;
    let reads = spared + query.stale + query.misses;
    let seconds = query.last_seen.duration_since(query.first_seen).ok()?.as_secs_f64();
    if reads == 0 || seconds <= 0.0 {
        return None;
    }
    let sets = query.distinct_parameters.max(1);
    let hit_rate = spared as f64 / reads as f64;
    let lambda = reads as f64 / seconds / sets as f64;
    let voided = query.misses_by_reason.get(&Reason::Invalidated).copied().unwrap_or(0);
    // A result was there for as large a share of the time as reads found one: only then could a write be met.
    let there = hit_rate * seconds * sets as f64;
    let mu = match voided {
        0 => 0.0,
        _ if there <= 0.0 => return None,
        _ => voided as f64 / there,
    };
    let (ttl, predicted_hit_rate) = fitting(lambda, mu);
    let better = predicted_hit_rate - hit_rate >= WORTH_SAYING;
    better.then_some(SuggestedTtl {
        ttl,
        reads_per_second: lambda,
        distinct_parameters: sets,
        seconds_between_writes: (mu > 0.0).then(|| 1.0 / mu),
        hit_rate,
        predicted_hit_rate,
    })
}

/// A time to live, and the hit rate that goes with it.
fn fitting(lambda: f64, mu: f64) -> (Duration, f64) {
    let life = |ttl: f64| if mu * ttl < 1e-9 { ttl } else { -(-mu * ttl).exp_m1() / mu };
    let rate = |life: f64| lambda * life / (1.0 + lambda * life);
    let target = OF_WHAT_WRITES_ALLOW * lambda / (lambda + mu);
    let enough = |ttl: &u64| rate(life(*ttl as f64)) >= target;
    let ttl = USUAL.into_iter().find(enough).unwrap_or(USUAL[USUAL.len() - 1]);
    (Duration::from_secs(ttl), rate(life(ttl as f64)))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// The share of hits when it is played through.
    fn played(lambda: f64, mu: f64, ttl: f64) -> f64 {
        let mut random = StdRng::seed_from_u64(7);
        let mut after = |rate: f64| if rate > 0.0 { -random.random::<f64>().ln() / rate } else { f64::INFINITY };
        let (mut now, mut ends, mut hits) = (0.0, 0.0, 0);
        for _ in 0..100_000 {
            now += after(lambda);
            if now < ends {
                hits += 1;
            } else {
                ends = now + after(mu).min(ttl);
            }
        }
        f64::from(hits) / 100_000.0
    }

    #[test]
    fn what_is_predicted_comes_true() {
        for (lambda, mu) in [(10.0, 0.0), (1.0, 0.01), (0.2, 0.05), (0.01, 0.0), (2.0, 1.0)] {
            let (ttl, predicted) = fitting(lambda, mu);
            let found = played(lambda, mu, ttl.as_secs_f64());
            assert!((found - predicted).abs() < 0.02, "λ {lambda} µ {mu}: {ttl:?}: {found} for {predicted}");
            let most = played(lambda, mu, f64::INFINITY);
            assert!(found >= most * 0.93, "λ {lambda} µ {mu}: {ttl:?}: {found} of {most}");
        }
    }

    #[test]
    fn it_is_a_time_that_people_set_and_no_longer_than_a_day() {
        assert_eq!(fitting(1.0, 0.0).0, Duration::from_secs(30));
        assert_eq!(fitting(1_000.0, 0.0).0, Duration::from_secs(1));
        assert_eq!(fitting(1e-6, 0.0).0, Duration::from_secs(86_400));
        assert!(fitting(1e-6, 0.0).1 < 0.1);
    }
}
