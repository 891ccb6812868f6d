//! What got worse between two reports, by statement.
//!
//! Two reports of one run of a pool are told by when it was built: what the earlier one counted is then taken off the later one, so that
//! old times do not hide new ones. Only percentiles cannot be taken apart: those are of the whole run.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ENOUGH, FLOOR, Report};
use crate::analysis::Fingerprint;
use crate::json::seconds;
use crate::observe::QueryStats;

/// Times as long as before: from here on it is told.
pub(super) const SLOWER: f64 = 1.5;
/// And by so much.
pub(super) const SLOWER_BY: Duration = Duration::from_millis(1);
/// Calls from which on the slowest of a hundred is more than chance.
const FOR_P99: u64 = 1_000;
/// Hits fewer by this share of all reads.
pub(super) const FEWER_HITS: f64 = 0.10;
/// Times as many calls a second as before.
pub(super) const MORE_CALLS: f64 = 3.0;
/// A new statement is told if it is among so many that take the database longest.
pub(super) const HEAVIEST: usize = 10;

/// Something that got worse for one statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Regression {
    /// What got worse.
    pub kind: RegressionKind,
    /// The statement, as in [`QueryStats::fingerprint`].
    pub fingerprint: Fingerprint,
    /// Its text, without values.
    pub text: String,
    /// How it was; `None`: it was not there, or had no row of its own.
    pub before: Option<Figures>,
    /// How it is.
    pub after: Figures,
}

/// What got worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RegressionKind {
    /// A call takes the database half as long again on average, and a millisecond more, or longer.
    Slower,
    /// The same of the slowest of a hundred calls, of a thousand or more on both sides.
    SlowerAtWorst,
    /// Ten reads of a hundred, or more, are no longer answered from the cache.
    FewerHits,
    /// There are three times as many calls a second, which take a hundredth of database time, or more.
    MoreCalls,
    /// It is new, and among the ten that take the database longest.
    New,
    /// Something that a later release knows.
    #[serde(other)]
    Other,
}

impl RegressionKind {
    /// In words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::SlowerAtWorst => "slower at worst",
            Self::FewerHits => "fewer hits",
            Self::MoreCalls => "more calls",
            Self::New => "new",
            Self::Other => "other",
        }
    }
}

/// How a statement did over a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Figures {
    /// Calls.
    pub calls: u64,
    /// Calls a second.
    pub calls_per_second: f64,
    /// What a call took that asked the database, on average. As JSON, in seconds.
    #[serde(rename = "mean_seconds", with = "seconds")]
    pub mean: Duration,
    /// What 99 of a hundred such calls took at most, since the pool was built. As JSON, in seconds.
    #[serde(rename = "p99_seconds", with = "seconds")]
    pub p99: Duration,
    /// The share of reads answered from the cache; `None`: there were none.
    pub hit_rate: Option<f64>,
    /// Time that it took the database. As JSON, in seconds.
    #[serde(rename = "database_seconds", with = "seconds")]
    pub database_time: Duration,
    /// Calls for which the database took its time.
    asked: u64,
    reads: u64,
    spared: u64,
}

impl Figures {
    fn of(query: &QueryStats, seconds: f64) -> Self {
        let (reads, spared) = (query.calls.saturating_sub(query.writes), query.hits + query.coalesced);
        let counts = (query.calls, query.timed, reads, spared);
        Self::made_of(counts, query.database_time, query.latency.p99, seconds)
    }

    fn made_of(
        (calls, asked, reads, spared): (u64, u64, u64, u64),
        database_time: Duration,
        p99: Duration,
        seconds: f64,
    ) -> Self {
        Self {
            calls,
            calls_per_second: calls as f64 / seconds.max(1e-3),
            mean: database_time.div_f64(asked.max(1) as f64),
            p99,
            hit_rate: (reads > 0).then(|| spared as f64 / reads as f64),
            database_time,
            asked,
            reads,
            spared,
        }
    }

    /// Without what was counted before. `None`: more was counted then, by a record that was given up since.
    fn without(&self, earlier: &Self, seconds: f64) -> Option<Self> {
        let counts = (
            self.calls.checked_sub(earlier.calls)?,
            self.asked.checked_sub(earlier.asked)?,
            self.reads.checked_sub(earlier.reads)?,
            self.spared.checked_sub(earlier.spared)?,
        );
        let time = self.database_time.checked_sub(earlier.database_time)?;
        Some(Self::made_of(counts, time, self.p99, seconds))
    }
}

impl Report {
    /// What got worse since `baseline`, an earlier report of the same application: what takes most database time first.
    ///
    /// Of statements with twenty calls or more on both sides. Where both reports are of one run of a pool, what was counted before
    /// the first is left out of the second, but for percentiles.
    pub fn regressions(&self, baseline: &Self) -> Vec<Regression> {
        let mut all = self.beside(baseline);
        all.sort_by_key(|(.., after)| std::cmp::Reverse(after.database_time));
        let taken: Duration =
            all.iter().map(|(.., after)| after.database_time).fold(Duration::ZERO, Duration::saturating_add);
        let weighs = |after: &Figures| after.database_time >= taken.mul_f64(FLOOR) && !after.database_time.is_zero();

        let mut worse = Vec::new();
        for (at, (query, fingerprint, before, after)) in all.into_iter().enumerate() {
            let kinds = match &before {
                None if at < HEAVIEST && after.calls >= ENOUGH && weighs(&after) => vec![RegressionKind::New],
                None => Vec::new(),
                Some(before) => kinds(before, &after, weighs(&after)),
            };
            let text = &query.text;
            worse.extend(kinds.into_iter().map(|kind| Regression {
                kind,
                fingerprint,
                text: text.clone(),
                before,
                after,
            }));
        }
        worse
    }

    /// Each statement with its figures then, if it was known, and since then or at all.
    fn beside(&self, baseline: &Self) -> Vec<(&QueryStats, Fingerprint, Option<Figures>, Figures)> {
        let lasted = |report: &Self| report.taken.duration_since(report.since).unwrap_or_default().as_secs_f64();
        let same_run = self.since == baseline.since && self.backend == baseline.backend && self.taken >= baseline.taken;
        let (then, now) = (lasted(baseline), lasted(self));
        let known: HashMap<Fingerprint, Figures> =
            baseline.queries.iter().filter_map(|query| Some((query.fingerprint?, Figures::of(query, then)))).collect();
        let figures = |query: &QueryStats, before: Option<&Figures>| {
            let all = Figures::of(query, now);
            let later = before.filter(|_| same_run).and_then(|before| all.without(before, now - then));
            later.unwrap_or(all)
        };
        let named = self.queries.iter().filter_map(|query| Some((query, query.fingerprint?)));
        named
            .map(|(query, fingerprint)| {
                let before = known.get(&fingerprint).copied();
                (query, fingerprint, before, figures(query, before.as_ref()))
            })
            .collect()
    }
}

impl Report {
    /// How many statements have twenty calls that asked the database, or twenty reads, in `baseline` and since: where there are none,
    /// that nothing got worse says nothing.
    pub fn comparable(&self, baseline: &Self) -> usize {
        let beside = self.beside(baseline);
        let is_known = |(.., before, after): &&(_, _, Option<Figures>, Figures)| {
            before.is_some_and(|before| judged_by(&before, after).contains(&true))
        };
        beside.iter().filter(is_known).count()
    }
}

/// Whether there are calls enough on both sides to judge by those that asked the database, and by reads.
fn judged_by(before: &Figures, after: &Figures) -> [bool; 2] {
    let both = |number: fn(&Figures) -> u64| number(before) >= ENOUGH && number(after) >= ENOUGH;
    [both(|figures| figures.asked), both(|figures| figures.reads)]
}

fn kinds(before: &Figures, after: &Figures, weighs: bool) -> Vec<RegressionKind> {
    let slower = |before: Duration, after: Duration| {
        after >= before.mul_f64(SLOWER) && after.saturating_sub(before) >= SLOWER_BY
    };
    let [by_asked, by_reads] = judged_by(before, after);
    let mut kinds = Vec::new();
    if by_asked {
        kinds.extend(slower(before.mean, after.mean).then_some(RegressionKind::Slower));
        let worst = before.asked.min(after.asked) >= FOR_P99 && slower(before.p99, after.p99);
        kinds.extend(worst.then_some(RegressionKind::SlowerAtWorst));
    }
    if let (Some(was), Some(is), true) = (before.hit_rate, after.hit_rate, by_reads)
        // Shares of whole calls: what is ten of a hundred is not to fail for the last bit.
        && was - is >= FEWER_HITS - 1e-9
    {
        kinds.push(RegressionKind::FewerHits);
    }
    let enough = before.calls >= ENOUGH && after.calls >= ENOUGH;
    if enough && after.calls_per_second >= before.calls_per_second * MORE_CALLS && weighs {
        kinds.push(RegressionKind::MoreCalls);
    }
    kinds
}
