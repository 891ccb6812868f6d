//! What a pool did lately, second by second, and minute by minute for a day.
//!
//! A bounded number of samples of fixed size: 900 seconds and 1,440 minutes, some 560 kB for a pool that lived that long.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::json::{seconds, since_1970, to_the_millisecond};

/// What a pool did within one second or one minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sample {
    /// When it ended. As JSON, in seconds since 1970.
    #[serde(with = "since_1970")]
    pub at: SystemTime,
    /// How long it was.
    #[serde(rename = "seconds", with = "seconds")]
    pub length: Duration,
    /// Reads answered from the cache.
    pub hits: u64,
    /// Reads answered by the load of another.
    pub coalesced: u64,
    /// Reads answered by an older result, since the database was out of reach.
    pub stale: u64,
    /// Reads that could have been answered from the cache, and were not.
    pub misses: u64,
    /// Reads that are not cached.
    pub bypasses: u64,
    /// Statements that wrote.
    pub writes: u64,
    /// Writes that voided results.
    pub invalidations: u64,
    /// Calls that were not made, whoever refused them.
    pub rejections: u64,
    /// Answers from the cache that were compared with the database's.
    #[serde(default)]
    pub audited: u64,
    /// Those of them that were stale.
    #[serde(default)]
    pub audited_stale: u64,
    /// Time that the database was waited for.
    #[serde(rename = "database_seconds", with = "seconds")]
    pub database_time: Duration,
    /// Time of the database that was saved.
    #[serde(rename = "saved_seconds", with = "seconds")]
    pub saved_time: Duration,
    /// How long a hit took: half of those that were timed, and all but a hundredth of them; one of 256 is. `None`: none was.
    #[serde(rename = "hit_seconds", with = "pair")]
    pub hit_latency: Option<(Duration, Duration)>,
    /// How long the database took for a read: half of them, and all but a hundredth. `None`: it was asked nothing.
    #[serde(rename = "database_read_seconds", with = "pair")]
    pub database_latency: Option<(Duration, Duration)>,
    /// Connections that were in use at the end.
    pub used: u32,
    /// Connections that were idle at the end.
    pub idle: u32,
    /// Callers that waited for a connection at the end.
    pub waiting: u32,
    /// Results in memory at the end.
    pub entries: u64,
    /// Bytes that they took.
    pub bytes: u64,
}

impl Sample {
    /// Hits and coalesced reads as a share of all reads; `None` where there was none.
    pub fn hit_rate(&self) -> Option<f64> {
        let spared = self.hits + self.coalesced;
        let all = spared + self.stale + self.misses + self.bypasses;
        (all > 0).then(|| spared as f64 / all as f64)
    }

    /// So many a second.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64().max(1e-3)
    }
}

/// Two durations, or none, in seconds.
mod pair {
    use std::time::Duration;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub fn serialize<S: Serializer>(times: &Option<(Duration, Duration)>, serializer: S) -> Result<S::Ok, S::Error> {
        times.map(|(p50, p99)| [p50.as_secs_f64(), p99.as_secs_f64()]).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<(Duration, Duration)>, D::Error> {
        let Some([p50, p99]) = Option::<[f64; 2]>::deserialize(deserializer)? else { return Ok(None) };
        let time = |seconds| Duration::try_from_secs_f64(seconds).map_err(D::Error::custom);
        Ok(Some((time(p50)?, time(p99)?)))
    }
}

/// What a pool did lately: see [`CachedPool::history`](crate::CachedPool::history).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// The last quarter of an hour, by second, the oldest first.
    pub seconds: Vec<Sample>,
    /// The last day, by minute, the oldest first.
    pub minutes: Vec<Sample>,
}

impl History {
    /// The samples of a day as comma-separated values: by minute, and by second where there is no minute yet. Times are in seconds.
    pub fn csv(&self) -> String {
        let mut out = String::from(
            "at,seconds,hits,coalesced,stale,misses,bypasses,writes,invalidations,rejections,database_seconds,saved_seconds,\
             hit_p50_seconds,hit_p99_seconds,database_p50_seconds,database_p99_seconds,used,idle,waiting,entries,bytes,\
             audited,audited_stale\n",
        );
        for sample in self.samples() {
            let at = sample.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            // Numbers alone: nothing to quote. What was not measured is empty, not zero.
            let pair = |times: Option<(Duration, Duration)>| match times {
                Some((p50, p99)) => format!("{},{}", p50.as_secs_f64(), p99.as_secs_f64()),
                None => ",".to_owned(),
            };
            let Sample { hits, coalesced, stale, misses, bypasses, writes, invalidations, rejections, .. } = sample;
            let Sample { used, idle, waiting, entries, bytes, audited, audited_stale, .. } = sample;
            let (length, database, saved) =
                (sample.length.as_secs_f64(), sample.database_time.as_secs_f64(), sample.saved_time.as_secs_f64());
            let (hit, asked) = (pair(sample.hit_latency), pair(sample.database_latency));
            out.push_str(&format!(
                "{at:.3},{length:.3},{hits},{coalesced},{stale},{misses},{bypasses},{writes},{invalidations},{rejections},\
                 {database},{saved},{hit},{asked},{used},{idle},{waiting},{entries},{bytes},{audited},{audited_stale}\n"
            ));
        }
        out
    }

    /// By minute, and by second where there is no minute yet.
    fn samples(&self) -> impl Iterator<Item = &Sample> {
        let last = self.minutes.last().map(|minute| minute.at);
        let newer = self.seconds.iter().filter(move |second| last.is_none_or(|last| second.at > last));
        self.minutes.iter().chain(newer)
    }

    /// How many answers from the cache were compared with the database's from `begin` to `end`, and how many of them were stale. `None`: the
    /// samples do not reach so far back, or ended long before.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn audited(&self, begin: SystemTime, end: SystemTime) -> Option<(u64, u64)> {
        let first = self.samples().next()?;
        let last = self.samples().last()?;
        let reaches = first.at.checked_sub(first.length)? <= begin && last.at.checked_add(BEHIND)? >= end;
        let within = || self.samples().filter(|sample| sample.at > begin);
        let sum = |count: fn(&Sample) -> u64| within().map(count).fold(0, u64::saturating_add);
        reaches.then(|| (sum(|sample| sample.audited), sum(|sample| sample.audited_stale)))
    }
}

/// A sample is made each second: after so long without one, nothing is known of the time since.
const BEHIND: Duration = Duration::from_secs(10);

/// What was counted since a pool was built.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub hits: u64,
    pub coalesced: u64,
    pub stale: u64,
    pub misses: u64,
    pub bypasses: u64,
    pub writes: u64,
    pub invalidations: u64,
    pub rejections: u64,
    pub audited: u64,
    pub audited_stale: u64,
    pub database_time: Duration,
    pub saved_time: Duration,
}

/// What is so at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Now {
    pub used: u32,
    pub idle: u32,
    pub waiting: u32,
    pub entries: u64,
    pub bytes: u64,
}

const SECONDS: usize = 15 * 60;
const MINUTES: usize = 24 * 60;

/// What one pool did lately.
#[derive(Debug)]
pub(super) struct Recent {
    times: Mutex<Times>,
    past: Mutex<Past>,
}

/// How long hits and reads of the database took since the last sample.
#[derive(Debug)]
struct Times {
    hits: Histogram<u32>,
    database: Histogram<u32>,
}

#[derive(Debug)]
struct Past {
    seconds: VecDeque<Sample>,
    minutes: VecDeque<Sample>,
    /// When the last second and the last minute ended, and what was counted by then.
    second: (Instant, Totals),
    minute: (Instant, Totals),
    /// The times of this minute so far.
    times: Times,
}

impl Times {
    fn new() -> Self {
        Self { hits: histogram(), database: histogram() }
    }

    fn latencies(&self) -> [Option<(Duration, Duration)>; 2] {
        let at = |times: &Histogram<u32>, share| Duration::from_nanos(times.value_at_quantile(share));
        [&self.hits, &self.database].map(|times| (!times.is_empty()).then(|| (at(times, 0.5), at(times, 0.99))))
    }
}

/// From a nanosecond to an hour, to a tenth.
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 1).expect("the bounds are in order")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recent {
    pub fn new() -> Self {
        let begun = (Instant::now(), Totals::default());
        let past = Past {
            seconds: VecDeque::new(),
            minutes: VecDeque::new(),
            second: begun,
            minute: begun,
            times: Times::new(),
        };
        Self { times: Mutex::new(Times::new()), past: Mutex::new(past) }
    }

    /// A hit took from `begun` until now.
    pub fn hit(&self, begun: Instant) {
        lock(&self.times).hits.saturating_record(super::nanos(begun.elapsed()).max(1));
    }

    /// A read took the database that long.
    pub fn asked(&self, time: Duration) {
        lock(&self.times).database.saturating_record(super::nanos(time).max(1));
    }

    /// A second is over.
    pub fn tick(&self, totals: Totals, now: Now, at: Instant) {
        let times = std::mem::replace(&mut *lock(&self.times), Times::new());
        let mut past = lock(&self.past);
        let second = sample(past.second, at, totals, now, &times);
        push(&mut past.seconds, second, SECONDS);
        past.second = (at, totals);
        let same_bounds = "the histograms have the same bounds";
        past.times.hits.add(&times.hits).expect(same_bounds);
        past.times.database.add(&times.database).expect(same_bounds);
        if at.saturating_duration_since(past.minute.0) >= Duration::from_secs(60) {
            let times = std::mem::replace(&mut past.times, Times::new());
            let minute = sample(past.minute, at, totals, now, &times);
            push(&mut past.minutes, minute, MINUTES);
            past.minute = (at, totals);
        }
    }

    pub fn snapshot(&self) -> History {
        let past = lock(&self.past);
        History { seconds: past.seconds.iter().cloned().collect(), minutes: past.minutes.iter().cloned().collect() }
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample, most: usize) {
    if samples.len() >= most {
        samples.pop_front();
    }
    samples.push_back(sample);
}

fn sample((since, before): (Instant, Totals), at: Instant, totals: Totals, now: Now, times: &Times) -> Sample {
    let [hit_latency, database_latency] = times.latencies();
    Sample {
        at: to_the_millisecond(SystemTime::now()),
        length: at.saturating_duration_since(since),
        hits: totals.hits - before.hits,
        coalesced: totals.coalesced - before.coalesced,
        stale: totals.stale - before.stale,
        misses: totals.misses - before.misses,
        bypasses: totals.bypasses - before.bypasses,
        writes: totals.writes - before.writes,
        invalidations: totals.invalidations - before.invalidations,
        rejections: totals.rejections - before.rejections,
        audited: totals.audited - before.audited,
        audited_stale: totals.audited_stale - before.audited_stale,
        database_time: totals.database_time.saturating_sub(before.database_time),
        saved_time: totals.saved_time.saturating_sub(before.saved_time),
        hit_latency,
        database_latency,
        used: now.used,
        idle: now.idle,
        waiting: now.waiting,
        entries: now.entries,
        bytes: now.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_stays_small() {
        let recent = Recent::new();
        let (mut totals, begun) = (Totals::default(), Instant::now());
        // A day and a quarter of an hour.
        let last = 24 * 3600 + 900_u64;
        for n in 1..=last {
            totals.hits += 2;
            if n + 600 > last {
                recent.asked(Duration::from_millis(1 + n % 100));
            }
            recent.tick(totals, Now { used: 3, ..Now::default() }, begun + Duration::from_secs(n));
        }
        let history = recent.snapshot();
        assert_eq!((history.seconds.len(), history.minutes.len()), (SECONDS, MINUTES));
        let (second, minute) = (&history.seconds[SECONDS - 1], &history.minutes[MINUTES - 1]);
        assert_eq!((second.hits, second.used, minute.hits, minute.used), (2, 3, 120, 3));
        assert_eq!((minute.length, second.length), (Duration::from_secs(60), Duration::from_secs(1)));
        assert_eq!((second.hit_latency, second.hit_rate()), (None, Some(1.0)));
        let (p50, _) = second.database_latency.unwrap();
        let exact = Duration::from_millis(1 + last % 100);
        assert!(p50 >= exact.mul_f64(0.9) && p50 <= exact.mul_f64(1.1), "{p50:?} for {exact:?}");
        assert!(history.minutes[0].database_latency.is_none(), "nothing was asked then: that is no zero");
        assert!(size_of::<Sample>() * (SECONDS + MINUTES) < 600_000, "{}", size_of::<Sample>());
        let csv = history.csv();
        let mut lines = csv.lines();
        let columns = lines.next().unwrap().split(',').count();
        assert!(lines.all(|line| line.split(',').count() == columns));
    }
}
