//! How a pool does now, beside how it did: the last third of its history beside the first.
//!
//! Thirds, so that what lies between keeps the two apart. It draws no line and predicts nothing.

use std::time::Duration;

use super::document::{Body, Cell, text};
use super::sections::percent;
use super::{ENOUGH, History};
use crate::observe::Sample;

/// Below this, a third is too few samples to be told from chance.
pub(super) const ENOUGH_SAMPLES: usize = 30;
/// Samples of a third that a time must have been measured in.
const ENOUGH_TIMES: usize = 5;

/// By minute where there are enough, else by second; empty where there are too few of both.
pub(super) fn of(history: &History) -> Body {
    let (samples, headings): (_, &'static [&'static str]) =
        match (history.minutes.len() >= ENOUGH_SAMPLES, history.seconds.len() >= ENOUGH_SAMPLES) {
            (true, _) => (&history.minutes, &["first third", "last third", "change", "by minute"]),
            (false, true) => (&history.seconds, &["first third", "last third", "change", "by second"]),
            (false, false) => return Body::Table(&[], Vec::new()),
        };
    let third = samples.len() / 3;
    let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
    let both = |figure: fn(&[Sample]) -> Option<f64>| (figure(first), figure(last));
    let length = |samples: &[Sample]| {
        let seconds = samples.iter().map(|sample| sample.length).fold(Duration::ZERO, Duration::saturating_add);
        text(humantime::format_duration(Duration::from_secs(seconds.as_secs())).to_string())
    };
    let rows = vec![
        vec![length(first), length(last), text(""), text("time looked at")],
        row("hit rate", both(hit_rate), |rate| percent(Some(rate)), points),
        row("reads a second", both(reads_per_second), |rate| format!("{rate:.1}"), share),
        row("p99 of the database, in the median of the samples", both(database_p99), time, share),
        row("callers that wait for a connection, on average", both(waiting), |number| format!("{number:.2}"), share),
    ];
    Body::Table(headings, rows)
}

fn row(
    name: &str,
    (first, last): (Option<f64>, Option<f64>),
    show: fn(f64) -> String,
    change: fn(f64, f64) -> String,
) -> Vec<Cell> {
    let shown = |value: Option<f64>| text(value.map_or_else(|| "n/a".to_owned(), show));
    let change = first.zip(last).map_or_else(|| "n/a".to_owned(), |(first, last)| change(first, last));
    vec![shown(first), shown(last), text(change), text(name)]
}

fn hit_rate(samples: &[Sample]) -> Option<f64> {
    let spared: u64 = samples.iter().map(|sample| sample.hits + sample.coalesced).sum();
    let reads = reads(samples);
    (reads >= ENOUGH).then(|| spared as f64 / reads as f64)
}

fn reads(samples: &[Sample]) -> u64 {
    samples.iter().map(|at| at.hits + at.coalesced + at.stale + at.misses + at.bypasses).sum()
}

fn reads_per_second(samples: &[Sample]) -> Option<f64> {
    let seconds: f64 = samples.iter().map(|sample| sample.length.as_secs_f64()).sum();
    (seconds > 0.0).then(|| reads(samples) as f64 / seconds)
}

/// Percentiles cannot be joined: that of a typical sample.
fn database_p99(samples: &[Sample]) -> Option<f64> {
    let times = samples.iter().filter_map(|sample| sample.database_latency);
    let mut times: Vec<f64> = times.map(|(_, p99)| p99.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    (times.len() >= ENOUGH_TIMES).then(|| times[times.len() / 2])
}

fn waiting(samples: &[Sample]) -> Option<f64> {
    let all: f64 = samples.iter().map(|sample| f64::from(sample.waiting)).sum();
    (!samples.is_empty()).then(|| all / samples.len() as f64)
}

fn time(seconds: f64) -> String {
    format!("{:.1?}", Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn points(first: f64, last: f64) -> String {
    format!("{:+.1} points", (last - first) * 100.0)
}

fn share(first: f64, last: f64) -> String {
    match first > 0.0 {
        true => format!("{:+.0} %", (last / first - 1.0) * 100.0),
        false if last > 0.0 => "from nothing".into(),
        false => "none".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn sample(at: u64, hits: u64, misses: u64, p99: Option<u64>, waiting: u32) -> Sample {
        let json = serde_json::json!({
            "at": at, "seconds": 1.0, "hits": hits, "coalesced": 0, "stale": 0, "misses": misses, "bypasses": 0, "writes": 0,
            "invalidations": 0, "rejections": 0, "database_seconds": 0.0, "saved_seconds": 0.0, "hit_seconds": null,
            "database_read_seconds": p99.map(|p99| [0.001, p99 as f64 / 1e3]), "used": 0, "idle": 0, "waiting": waiting, "entries": 0,
            "bytes": 0,
        });
        let sample: Sample = serde_json::from_value(json).unwrap();
        assert!(sample.at > SystemTime::UNIX_EPOCH);
        sample
    }

    fn told(history: &History) -> Vec<String> {
        let Body::Table(_, rows) = of(history) else { panic!("a table") };
        let shown = |cell: &Cell| match cell {
            Cell::Text(text) | Cell::Code(text) => text.clone(),
        };
        rows.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join("|")).collect()
    }

    #[test]
    fn the_ends_of_a_history_are_compared() {
        let good = |at| sample(at, 9, 1, Some(10), 0);
        let bad = |at| sample(at, 10, 10, Some(30), 2);
        // What is in the middle does not count.
        let seconds =
            (1..=10).map(good).chain((11..=20).map(|at| sample(at, 0, 99, Some(999), 99))).chain((21..=30).map(bad));
        let mut history = History { seconds: seconds.collect(), minutes: Vec::new() };
        let rows = told(&history);
        assert_eq!(rows[0], "10s|10s||time looked at");
        assert_eq!(rows[1], "90.0 %|50.0 %|-40.0 points|hit rate");
        assert_eq!(rows[2], "10.0|20.0|+100 %|reads a second");
        assert!(rows[3].starts_with("10.0ms|30.0ms|+200 %|"), "{}", rows[3]);
        assert!(rows[4].starts_with("0.00|2.00|from nothing|"), "{}", rows[4]);
        history.seconds.pop();
        assert_eq!(told(&history), Vec::<String>::new());
    }

    #[test]
    fn what_was_not_measured_is_no_zero() {
        let seconds = (1..=30).map(|at| sample(at, 0, 0, None, 0)).collect();
        let rows = told(&History { seconds, minutes: Vec::new() });
        assert!(rows[1].starts_with("n/a|n/a|n/a|") && rows[3].starts_with("n/a|n/a|n/a|"), "{rows:#?}");
        assert!(rows[2].starts_with("0.0|0.0|none|"), "{rows:#?}");
    }
}
