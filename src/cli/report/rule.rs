//! When a report makes a command fail: a figure and a limit, as `p99>50ms`.
//!
//! In: a text, and a report. Out: what breaks the rule, or that it cannot be told. Not to know is never to be well.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::report::{ENOUGH, shortened};
use crate::wording::plain;
use crate::{QueryStats, Report};

/// A figure that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    Regression,
    NPlusOne,
    Stale,
    Rejections,
    HitRate,
    Bypass,
    P50,
    P95,
    P99,
    Max,
    DatabaseTime,
}

/// What a limit is written as.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Count(u64),
    /// Between 0 and 1.
    Share(f64),
    Time(Duration),
}

/// Fails if the figure is beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    figure: Figure,
    limit: Limit,
}

/// What came of a rule.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Kept,
    /// What breaks it, a sentence each.
    Broken(Vec<String>),
    /// Why it cannot be told.
    Unknown(String),
}

/// How each is written, and an example.
const FIGURES: [(Figure, &str, &str); 11] = [
    (Figure::Regression, "regression", "regression"),
    (Figure::NPlusOne, "n+1", "n+1"),
    (Figure::Stale, "stale", "stale"),
    (Figure::Rejections, "rejections", "rejections>0"),
    (Figure::HitRate, "hit-rate", "hit-rate<80%"),
    (Figure::Bypass, "bypass", "bypass>20%"),
    (Figure::P50, "p50", "p50>5ms"),
    (Figure::P95, "p95", "p95>20ms"),
    (Figure::P99, "p99", "p99>50ms"),
    (Figure::Max, "max", "max>2s"),
    (Figure::DatabaseTime, "database-time", "database-time>10s"),
];

/// Statements that are named for one rule.
const NAMED: usize = 10;

impl Figure {
    fn name(self) -> &'static str {
        FIGURES.iter().find(|(figure, ..)| *figure == self).map_or("", |(_, name, _)| name)
    }

    /// Which side of the limit is the bad one.
    fn sign(self) -> char {
        if self == Self::HitRate { '<' } else { '>' }
    }

    fn limit(self, written: &str) -> Result<Limit, String> {
        match self {
            Self::Regression | Self::NPlusOne | Self::Stale | Self::Rejections => {
                written.parse().map(Limit::Count).map_err(|_| "a count, such as 0".into())
            }
            Self::HitRate | Self::Bypass => {
                let percent = written.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
                percent.map(|percent| Limit::Share(percent / 100.0)).ok_or_else(|| "a share, such as 20%".into())
            }
            Self::P50 | Self::P95 | Self::P99 | Self::Max | Self::DatabaseTime => {
                humantime::parse_duration(written).map(Limit::Time).map_err(|_| "a time, such as 50ms or 2s".into())
            }
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, rest) = text.split_at(text.find(['<', '>', '=', ' ']).unwrap_or(text.len()));
        let Some((figure, ..)) = FIGURES.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name)) else {
            let examples: Vec<_> = FIGURES.iter().map(|(.., example)| *example).collect();
            return Err(format!("a rule is one of these, with a limit of yours: {}", examples.join(", ")));
        };
        let figure = *figure;
        let rest = rest.trim();
        let of_count = matches!(figure, Figure::Regression | Figure::NPlusOne | Figure::Stale | Figure::Rejections);
        if rest.is_empty() && of_count {
            return Ok(Self { figure, limit: Limit::Count(0) });
        }
        let sign = figure.sign();
        let Some(written) = rest.strip_prefix(sign) else {
            let example = FIGURES.iter().find(|(known, ..)| *known == figure).map_or("", |(.., example)| example);
            let example = if example.contains(sign) { example.to_owned() } else { format!("{example}{sign}0") };
            return Err(format!("{name} fails by {sign} and a limit, as in {example}"));
        };
        match figure.limit(written.trim()) {
            Ok(limit) => Ok(Self { figure, limit }),
            Err(wanted) => Err(format!("behind {name}{sign} belongs {wanted}")),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.figure.name(), self.figure.sign())?;
        match self.limit {
            Limit::Count(count) => write!(f, "{count}"),
            Limit::Share(share) => write!(f, "{}%", share * 100.0),
            Limit::Time(time) => write!(f, "{}", humantime::format_duration(time)),
        }
    }
}

impl Rule {
    /// Whether it needs an earlier report.
    pub fn needs_baseline(&self) -> bool {
        self.figure == Figure::Regression
    }

    pub fn judge(&self, report: &Report, baseline: Option<&Report>) -> Verdict {
        let stats = &report.stats;
        let reads = stats.hits + stats.coalesced + stats.stale + stats.misses + stats.bypasses;
        let by_statement = !report.queries.is_empty() || (reads == 0 && stats.writes == 0);
        let unknown = |why: &str| Verdict::Unknown(format!("{self}: {why}"));
        if !by_statement
            && !matches!(self.figure, Figure::Stale | Figure::Rejections | Figure::HitRate | Figure::Bypass)
        {
            return unknown("the pool was built without statistics");
        }
        match (self.figure, self.limit) {
            (Figure::Regression, Limit::Count(limit)) => {
                let Some(baseline) = baseline else { return unknown("no --baseline to compare with") };
                let worse: Vec<String> = report.regressions(baseline).iter().map(told).collect();
                match worse.is_empty() && report.comparable(baseline) == 0 {
                    true => unknown(NOTHING_TO_COMPARE),
                    false => self.counted(worse, limit),
                }
            }
            (Figure::NPlusOne, Limit::Count(limit)) => {
                let asking = report.queries.iter().filter_map(|query| {
                    let found = query.n_plus_one.as_ref().filter(|found| found.units > 0)?;
                    let site = found.call_site.as_ref().map_or(String::new(), |site| format!(", at {}", plain(site)));
                    let (calls, units) = (found.calls, found.units);
                    Some(format!("{calls} calls in {units} units of work{site}: {}", statement(query)))
                });
                let asking: Vec<String> = asking.collect();
                match asking.is_empty() && stats.units_of_work == 0 {
                    true => unknown("no unit of work has ended (larder::unit_of_work)"),
                    false => self.counted(asking, limit),
                }
            }
            (Figure::Stale, Limit::Count(limit)) => match (stats.audited, stats.hits) {
                (0, 1..) => unknown("no answer from the cache was compared with the database's (Builder::audit)"),
                _ => self.one(stats.audited_stale > limit, || {
                    format!("{} of {} compared answers were stale", stats.audited_stale, stats.audited)
                }),
            },
            (Figure::Rejections, Limit::Count(limit)) => {
                let rejected: u64 = report.breakers.iter().map(|breaker| breaker.rejected).sum();
                match report.breakers.is_empty() {
                    true => unknown("the report tells of no breaker"),
                    false => self.one(rejected > limit, || format!("breakers rejected {rejected} calls")),
                }
            }
            (Figure::HitRate, Limit::Share(limit)) => match stats.hit_rate() {
                None => unknown("there was no read"),
                Some(rate) => self.one(rate < limit, || format!("{} of {reads} reads", percent(rate))),
            },
            (Figure::Bypass, Limit::Share(limit)) => match reads {
                0 => unknown("there was no read"),
                _ => {
                    let rate = stats.bypasses as f64 / reads as f64;
                    self.one(rate > limit, || format!("{} of {reads} reads", percent(rate)))
                }
            },
            (Figure::DatabaseTime, Limit::Time(limit)) => {
                let taken = stats.database_time;
                self.one(taken > limit, || format!("{taken:.1?}"))
            }
            (figure, Limit::Time(limit)) => {
                let of = |query: &QueryStats| match figure {
                    Figure::P50 => query.latency.p50,
                    Figure::P95 => query.latency.p95,
                    Figure::Max => query.latency.max,
                    _ => query.latency.p99,
                };
                let often: Vec<_> = report.queries.iter().filter(|query| query.timed >= ENOUGH).collect();
                if often.is_empty() {
                    return unknown("no statement took the database's time twenty times");
                }
                let slow = often.into_iter().filter(|query| of(query) > limit);
                let slow: Vec<_> = slow
                    .map(|query| format!("{:.1?} in {} calls: {}", of(query), query.calls, statement(query)))
                    .collect();
                self.counted(slow, 0)
            }
            // No rule is made of these.
            (_, Limit::Count(_) | Limit::Share(_)) => unknown("the limit does not fit the figure"),
        }
    }

    fn one(&self, is_broken: bool, what: impl FnOnce() -> String) -> Verdict {
        if is_broken { Verdict::Broken(vec![format!("{self}: {}", what())]) } else { Verdict::Kept }
    }

    fn counted(&self, found: Vec<String>, limit: u64) -> Verdict {
        if found.len() as u64 <= limit {
            return Verdict::Kept;
        }
        let more = found.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("{self}: and {more} more"));
        Verdict::Broken(found.into_iter().take(NAMED).map(|one| format!("{self}: {one}")).chain(more).collect())
    }
}

/// Why nothing is said of two reports.
pub(in crate::cli) const NOTHING_TO_COMPARE: &str =
    "no statement has twenty calls in the baseline and twenty since, so that nothing can be told";

/// A regression as a line.
pub(in crate::cli) fn told(worse: &crate::Regression) -> String {
    let figures = |of: &crate::Figures| {
        let rate = of.hit_rate.map_or_else(|| "n/a".to_owned(), percent);
        format!("{:.2} calls/s, mean {:.1?}, p99 {:.1?}, hit rate {rate}", of.calls_per_second, of.mean, of.p99)
    };
    let before = worse.before.as_ref().map_or_else(|| "n/a".to_owned(), figures);
    let text = shortened(&plain(&worse.text));
    format!("{}: before {before}; now {}: {text}", worse.kind.label(), figures(&worse.after))
}

fn statement(query: &QueryStats) -> String {
    shortened(&plain(&query.text))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for (written, rule) in [
            ("regression", "regression>0"),
            ("n+1", "n+1>0"),
            ("N+1 > 3", "n+1>3"),
            ("stale", "stale>0"),
            ("rejections>5", "rejections>5"),
            ("hit-rate<80%", "hit-rate<80%"),
            ("hit-rate < 99.5 %", "hit-rate<99.5%"),
            ("p99>50ms", "p99>50ms"),
            (" p50 > 1s 500ms ", "p50>1s 500ms"),
            ("database-time>10s", "database-time>10s"),
        ] {
            assert_eq!(written.parse::<Rule>().map(|rule| rule.to_string()), Ok(rule.into()), "{written}");
        }
        for (_, _, example) in FIGURES {
            assert!(example.parse::<Rule>().is_ok(), "{example}");
        }
    }

    #[test]
    fn what_is_no_rule_is_told_what_is_one() {
        for (written, told) in [
            ("", "one of these"),
            ("slow", "p99>50ms"),
            ("p99", "p99 fails by > and a limit, as in p99>50ms"),
            ("p99<50ms", "p99 fails by >"),
            ("p99>50", "a time, such as 50ms"),
            ("hit-rate>80%", "hit-rate fails by <"),
            ("hit-rate<80", "a share, such as 20%"),
            ("hit-rate<180%", "a share"),
            ("hit-rate<NaN%", "a share"),
            ("rejections>-1", "a count"),
            ("n+1=0", "as in n+1>0"),
            ("p99>50ms;", "a time"),
        ] {
            let why = written.parse::<Rule>().unwrap_err();
            assert!(why.contains(told), "{written}: {why}");
        }
    }

    /// A report made by hand in which each figure is known.
    fn made() -> Report {
        Report::from_json(include_str!("../../../tests/it/reporting/report.json")).unwrap()
    }

    #[test]
    fn what_was_not_measured_is_not_well() {
        type Case = (&'static str, fn(&mut Report), &'static str);
        let cases: [Case; 11] = [
            ("n+1", |report| report.stats.units_of_work = 0, "no unit of work"),
            ("p99>1h", |report| report.queries.iter_mut().for_each(|query| query.timed = 19), "twenty times"),
            ("max>1h", |report| report.queries.iter_mut().for_each(|query| query.timed = 0), "twenty times"),
            ("p50>1h", |report| report.queries.clear(), "without statistics"),
            ("database-time>1h", |report| report.queries.clear(), "without statistics"),
            ("stale", |report| report.stats.audited = 0, "Builder::audit"),
            ("rejections", |report| report.breakers.clear(), "no breaker"),
            ("hit-rate<1%", |report| report.stats = crate::Stats::default(), "no read"),
            ("bypass>99%", |report| report.stats = crate::Stats::default(), "no read"),
            ("regression", |_| (), "no --baseline"),
            ("regression>3", |report| report.queries.clear(), "without statistics"),
        ];
        for (rule, change, told) in cases {
            let mut report = made();
            // What was measured in the rest does not tell of this.
            report.queries.iter_mut().for_each(|query| query.n_plus_one = None);
            change(&mut report);
            match rule.parse::<Rule>().unwrap().judge(&report, None) {
                Verdict::Unknown(why) => {
                    assert!(why.starts_with(rule.trim_end_matches(">0")) && why.contains(told), "{why}")
                }
                Verdict::Kept => panic!("{rule} is kept where nothing is known"),
                Verdict::Broken(why) => panic!("{rule}: {why:?}"),
            }
        }
    }

    #[test]
    fn a_limit_is_kept_up_to_it_and_broken_beyond() {
        let judged = |rule: &str, change: fn(&mut Report)| {
            let mut report = made();
            change(&mut report);
            match rule.parse::<Rule>().unwrap().judge(&report, None) {
                Verdict::Kept => Vec::new(),
                Verdict::Broken(why) => why,
                Verdict::Unknown(why) => panic!("{why}"),
            }
        };
        let as_made: fn(&mut Report) = |_| ();
        assert_eq!(judged("n+1>1", as_made), Vec::<String>::new());
        assert!(judged("n+1", as_made)[0].contains("6000 calls in 120 units of work"));
        assert_eq!(judged("max>500ms", as_made), Vec::<String>::new());
        assert_eq!(judged("max>499ms", as_made).len(), 1);
        // Of what was called too seldom to tell, nothing is said.
        let seldom: fn(&mut Report) = |report| report.queries[0].timed = 19;
        assert_eq!(judged("max>499ms", seldom), Vec::<String>::new());
        let stale = judged("stale", as_made);
        assert_eq!(stale.len(), 1, "{stale:?}");
    }
}
