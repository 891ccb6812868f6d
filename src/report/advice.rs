//! What could be done: rules from figures to sentences.
//!
//! A statement is advised on only if it was called often enough, and if what is said concerns a hundredth of the database's time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ttl::{self, SuggestedTtl};
use super::{ENOUGH, FLOOR, Report, about, asked};
use crate::analysis::Fingerprint;
use crate::observe::QueryStats;
use crate::reason::Reason;

/// Something that could be done about a statement, or about the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Advice {
    /// What sort of thing it is.
    pub kind: AdviceKind,
    /// The statement; `None`: it is about the whole pool.
    pub fingerprint: Option<Fingerprint>,
    /// Its text, without values; empty where it is about the whole pool.
    pub text: String,
    /// The reason that was counted, if there is one.
    #[serde(default, deserialize_with = "known_reason")]
    pub reason: Option<Reason>,
    /// What is the matter.
    pub finding: String,
    /// What could be done.
    pub action: String,
    /// How far the figures bear it out.
    pub confidence: Confidence,
    /// Database time that it concerns, in seconds, about: what it would save is part of it.
    pub seconds: f64,
    /// That as a share of all database time, between 0 and 1.
    pub share: f64,
    /// The time to live that is suggested, with the figures behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<SuggestedTtl>,
}

/// A reason, or `None` for one that another release knows.
fn known_reason<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|label| Reason::of_label(&label)))
}

/// What sort of thing could be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdviceKind {
    /// Let results live longer.
    Ttl,
    /// Give the cache more memory.
    Memory,
    /// Let larger results in.
    Admission,
    /// Ask once instead of again and again.
    Batching,
    /// Look whether an index is missing.
    Index,
    /// Ask in another way.
    Rewrite,
    /// Do not keep it.
    Never,
    /// Set up the pool or the database in another way.
    Setup,
    /// Something that a later release knows.
    #[serde(other)]
    Other,
}

/// How far figures bear something out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A rule of thumb, or few calls.
    Low,
    /// A hundred calls, or a prediction.
    Medium,
    /// A thousand calls that were counted for just this.
    High,
}

impl Confidence {
    fn of(calls: u64) -> Self {
        match calls {
            1_000.. => Self::High,
            100.. => Self::Medium,
            _ => Self::Low,
        }
    }

    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What the whole pool is refused for, whatever the statement.
const OF_THE_POOL: [Reason; 9] = [
    Reason::SessionUnseen,
    Reason::SessionChanged,
    Reason::SessionHook,
    Reason::Replica,
    Reason::ReadUncommitted,
    Reason::PrivateDatabase,
    Reason::ReplayOff,
    Reason::ArgumentsUnreadable,
    Reason::Unwatched,
];

/// A statement is slow from here on, if half of its calls take as long.
const SLOW: std::time::Duration = std::time::Duration::from_millis(50);
/// Rows for each call that are few for a slow statement.
const FEW_ROWS: u64 = 10;

/// What the figures of a report bear out, most database time first.
pub(super) fn of(report: &Report) -> Vec<Advice> {
    let mut found = Found { report, advice: Vec::new() };
    for query in report.queries.iter().filter(|query| query.calls >= ENOUGH) {
        if let (Some(_), 1..) = (query.fingerprint, asked(query)) {
            found.not_cached(query);
            found.not_stored(query);
            found.expired(query);
            found.churning(query);
            found.repeated(query);
            found.slow(query);
        }
    }
    found.of_the_pool();
    found.crowded();
    let mut advice = found.advice;
    advice.retain(|advice| advice.share >= FLOOR);
    advice.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    advice
}

struct Found<'r> {
    report: &'r Report,
    advice: Vec<Advice>,
}

impl Found<'_> {
    fn add(
        &mut self,
        query: Option<&QueryStats>,
        kind: AdviceKind,
        (finding, action): (String, String),
        confidence: Confidence,
        seconds: f64,
    ) -> &mut Advice {
        self.advice.push(Advice {
            kind,
            fingerprint: query.and_then(|query| query.fingerprint),
            text: query.map(|query| query.text.clone()).unwrap_or_default(),
            reason: None,
            finding,
            action,
            confidence,
            seconds,
            share: self.report.share(seconds).unwrap_or(0.0),
            ttl: None,
        });
        let last = self.advice.len() - 1;
        &mut self.advice[last]
    }

    fn not_cached(&mut self, query: &QueryStats) {
        let asked = asked(query);
        for (reason, count) in &query.bypasses_by_reason {
            let Some((kind, action)) = action(*reason, &self.report.backend) else { continue };
            if OF_THE_POOL.contains(reason) || count * 10 < asked {
                continue;
            }
            let finding = format!("{count} of {asked} calls that asked the database could not be kept: {reason}.");
            let seconds = about(query, *count);
            self.add(Some(query), kind, (finding, action.to_owned()), Confidence::of(*count), seconds).reason =
                Some(*reason);
        }
    }

    fn not_stored(&mut self, query: &QueryStats) {
        let loads = query.misses + query.refreshes;
        for (reason, kind, what, action) in [
            (
                Reason::TooLarge,
                AdviceKind::Admission,
                "were too large to be kept",
                "Ask for fewer rows or columns, or raise max_entry_bytes for it.",
            ),
            (
                Reason::WrittenMeanwhile,
                AdviceKind::Rewrite,
                "were not kept, since their tables were written while they were loaded",
                "Make it faster, or split it so that the tables that are written all the time are asked for themselves: a result is kept \
                 only if nothing was written while it was loaded.",
            ),
        ] {
            let count = query.not_stored_by_reason.get(&reason).copied().unwrap_or(0);
            if count < ENOUGH || count * 2 < loads {
                continue;
            }
            let finding = format!("{count} of {loads} loaded results {what}.");
            let seconds = about(query, count);
            self.add(Some(query), kind, (finding, action.to_owned()), Confidence::of(count), seconds).reason =
                Some(reason);
        }
    }

    fn expired(&mut self, query: &QueryStats) {
        let expired = query.misses_by_reason.get(&Reason::Expired).copied().unwrap_or(0);
        if expired < ENOUGH || expired * 2 < query.misses {
            return;
        }
        let Some(ttl) = ttl::suggest(query) else { return };
        let writes = match ttl.seconds_between_writes {
            Some(seconds) => format!("a write of what they rest on about every {}", rough(seconds)),
            None => "no write of what they rest on".to_owned(),
        };
        let finding = format!(
            "{expired} of {} misses were results that had reached their time, with {:.3} reads a second for each of about {} sets of \
             arguments, and {writes}.",
            query.misses, ttl.reads_per_second, ttl.distinct_parameters
        );
        let action = format!(
            "A ttl of {} would answer about {:.0} % of its reads from the cache, instead of {:.0} %: only where all who write go through \
             Larder or are watched, since what others write is then seen that much later.",
            humantime::format_duration(ttl.ttl),
            ttl.predicted_hit_rate * 100.0,
            ttl.hit_rate * 100.0
        );
        let confidence = Confidence::of(expired).min(Confidence::Medium);
        let advice = self.add(Some(query), AdviceKind::Ttl, (finding, action), confidence, about(query, expired));
        advice.reason = Some(Reason::Expired);
        advice.ttl = Some(ttl);
    }

    fn churning(&mut self, query: &QueryStats) {
        let uses = query.hits + query.coalesced;
        if query.stored < ENOUGH || query.churn() < Some(0.8) || uses * 2 >= query.stored {
            return;
        }
        let finding = format!(
            "Of {} kept results {:.0} % were found voided by a write when they were next asked for, and a result was used {:.1} times.",
            query.stored,
            query.churn().unwrap_or(0.0) * 100.0,
            uses as f64 / query.stored as f64
        );
        let action =
            "To keep it hardly pays: say `never` for it, or split off the columns that are written all the time."
                .to_owned();
        let seconds = about(query, query.misses);
        let confidence = Confidence::of(query.stored);
        self.add(Some(query), AdviceKind::Never, (finding, action), confidence, seconds).reason =
            Some(Reason::Invalidated);
    }

    fn repeated(&mut self, query: &QueryStats) {
        let Some(n_plus_one) = &query.n_plus_one else { return };
        let each = n_plus_one.calls as f64 / n_plus_one.units.max(1) as f64;
        let site = n_plus_one.call_site.as_ref().map_or(String::new(), |site| format!(", at {site}"));
        let finding = format!(
            "{} units of work asked it {each:.0} times each, and {} times at most{site}.",
            n_plus_one.units, n_plus_one.most
        );
        let action = match query.writes {
            0 => "Ask once for all: by a list of arguments, or a join.",
            _ => "Write all rows by one statement, or by a few.",
        };
        let share = (n_plus_one.calls as f64 / query.calls.max(1) as f64).min(1.0);
        let seconds = query.database_time.as_secs_f64() * share;
        let confidence = Confidence::of(n_plus_one.calls);
        self.add(Some(query), AdviceKind::Batching, (finding, action.to_owned()), confidence, seconds);
    }

    fn slow(&mut self, query: &QueryStats) {
        let reads = query.misses + query.bypasses;
        if query.writes > 0 || reads < ENOUGH || query.latency.p50 < SLOW {
            return;
        }
        let rows = query.rows_from_database / asked(query).max(1);
        if rows > FEW_ROWS {
            return;
        }
        let finding = format!(
            "Half of its calls take the database {:.1?} or longer, for about {rows} rows each.",
            query.latency.p50
        );
        let action = "A rule of thumb: what is slow and gives few rows may look through many. EXPLAIN tells whether an index is missing; \
             what sums up many rows is slow without one missing."
            .to_owned();
        let seconds = query.database_time.as_secs_f64();
        self.add(Some(query), AdviceKind::Index, (finding, action), Confidence::Low, seconds);
    }

    /// Once, whatever number of statements it hits.
    fn of_the_pool(&mut self) {
        let mut all: BTreeMap<Reason, (u64, f64)> = BTreeMap::new();
        let mut reads = 0;
        for query in &self.report.queries {
            reads += query.misses + query.bypasses;
            for (reason, count) in query.bypasses_by_reason.iter().filter(|(reason, _)| OF_THE_POOL.contains(reason)) {
                let (calls, seconds) = all.entry(*reason).or_default();
                *calls += count;
                *seconds += about(query, *count);
            }
        }
        for (reason, (count, seconds)) in all {
            let Some((kind, action)) = action(reason, &self.report.backend) else { continue };
            if count >= ENOUGH && count * 10 >= reads {
                let finding = format!(
                    "{count} of {reads} reads that asked the database, whatever the statement, could not be kept: {reason}."
                );
                self.add(None, kind, (finding, action.to_owned()), Confidence::of(count), seconds).reason =
                    Some(reason);
            }
        }
    }

    /// Results that had to go for lack of room.
    fn crowded(&mut self) {
        let stats = &self.report.stats;
        let evicted = stats.removals_by_cause.get("size").copied().unwrap_or(0);
        if evicted < ENOUGH || evicted * 10 < stats.stored || stats.hit_rate() < Some(0.2) {
            return;
        }
        let absent = |query: &QueryStats| query.misses_by_reason.get(&Reason::Absent).copied().unwrap_or(0);
        let misses: u64 = self.report.queries.iter().map(absent).sum();
        let seconds: f64 = self.report.queries.iter().map(|query| about(query, absent(query))).sum();
        let finding = format!(
            "{evicted} of {} kept results had to go, or did not get in, for lack of room; {} bytes are held.",
            stats.stored, stats.bytes
        );
        let action = "Raise max_bytes, if the machine has the memory.".to_owned();
        // Of what was not there, no more can have been pushed out.
        let seconds = seconds * (evicted as f64 / misses.max(1) as f64).min(1.0);
        let confidence = Confidence::of(evicted).min(Confidence::Medium);
        self.add(None, AdviceKind::Memory, (finding, action), confidence, seconds);
    }
}

/// To the second above a minute.
fn rough(seconds: f64) -> String {
    let time = std::time::Duration::try_from_secs_f64(seconds).unwrap_or(std::time::Duration::MAX);
    match time.as_secs() {
        0..60 => format!("{time:.1?}"),
        seconds => humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string(),
    }
}

/// What can be done about a reason where the application has the choice.
fn action(reason: Reason, backend: &str) -> Option<(AdviceKind, &'static str)> {
    use AdviceKind::{Rewrite, Setup};
    let postgres = backend == "PostgreSQL";
    Some(match reason {
        Reason::VolatileFunction | Reason::SpecialDate => (
            Rewrite,
            "Bind the time or number it computes as a parameter, as coarse as will do: results are kept by parameter.",
        ),
        Reason::Unprepared => (Rewrite, "Send it by sqlx::query instead of raw_sql."),
        Reason::NotPersistent => {
            (Rewrite, "Leave out persistent(false), and let the connections keep prepared statements.")
        }
        Reason::RowSecurity if postgres => {
            (Rewrite, "Name a scope for each who may see something else: pool.scoped(..).")
        }
        Reason::UnknownFunction | Reason::UserFunction if postgres => (
            Setup,
            "Declare the function IMMUTABLE or STABLE if it is, in SQL so that it can be followed: see larder explain.",
        ),
        Reason::UnknownFunction | Reason::UserFunction => (
            Rewrite,
            "Compute in the application what the function computes, or spell it out in the statement: see larder explain.",
        ),
        Reason::UserCast | Reason::UserOperator if postgres => {
            (Setup, "Declare what it calls IMMUTABLE if it is: see larder doctor.")
        }
        Reason::Transaction | Reason::Connection => {
            (Rewrite, "Ask it through the pool, if it need not see what this transaction or connection wrote.")
        }
        Reason::Variable => (Rewrite, "Bind the variable as a parameter."),
        Reason::SeveralStatements => (Rewrite, "Send one statement at a time."),
        Reason::KeyTooLarge => (Rewrite, "Bind fewer or shorter arguments."),
        Reason::SessionChanged | Reason::SessionHook => {
            (Setup, "Set the session once, in the options of the connections: see docs/day-one.md.")
        }
        Reason::SessionUnseen => (
            Setup,
            "Build the pool with build() instead of lazily, so that the database is looked at before the first read.",
        ),
        Reason::Replica => (Setup, "Connect to the primary: a replica may be behind the writes that are seen here."),
        Reason::ReadUncommitted => (Setup, "Leave out PRAGMA read_uncommitted: what is not committed may not be kept."),
        Reason::PrivateDatabase => (Setup, "Use a file, or memory that the connections share."),
        Reason::ReplayOff => {
            (Setup, "See what the log says of replay when the pool is built: results cannot be given back here.")
        }
        Reason::ArgumentsUnreadable => (Setup, "Use the release of sqlx that this release of Larder is tested with."),
        Reason::Unwatched => {
            (Setup, "See why nothing is heard of what others write: larder watch status, or a longer watch_bound.")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report made by hand. `BLESS=1` writes the advice for it anew.
    const MADE: &str = include_str!("../../tests/it/reporting/report.json");

    fn made() -> Report {
        Report::from_json(MADE).unwrap()
    }

    #[test]
    fn what_is_advised_is_as_it_was() {
        let mut report = made();
        let advice = of(&report);
        if std::env::var_os("BLESS").is_some() {
            report.advice = advice;
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/reporting/report.json");
            std::fs::write(path, report.to_json() + "\n").unwrap();
            return;
        }
        assert_eq!(advice, report.advice);
    }

    #[test]
    fn each_figure_is_advised_on_for_what_it_is() {
        let found = of(&made());
        let kinds = |fingerprint: u64| {
            let of_it = found.iter().filter(|advice| advice.fingerprint == Some(Fingerprint(fingerprint)));
            of_it.map(|advice| advice.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(0xa1), [AdviceKind::Ttl]);
        assert_eq!(kinds(0xa2), [AdviceKind::Rewrite]);
        assert_eq!(kinds(0xa3), [AdviceKind::Batching]);
        assert_eq!(kinds(0xa4), [AdviceKind::Never]);
        assert_eq!(kinds(0xa5), [AdviceKind::Admission]);
        assert_eq!(kinds(0xa6), [AdviceKind::Index]);
        assert_eq!(kinds(0xaa), [AdviceKind::Rewrite]);
        // Less than a hundredth of database time.
        assert_eq!(kinds(0xab), []);
        let of_the_pool: Vec<_> = found.iter().filter(|advice| advice.fingerprint.is_none()).collect();
        let mut kinds: Vec<_> = of_the_pool.iter().map(|advice| (advice.kind, advice.reason)).collect();
        kinds.sort();
        assert_eq!(kinds, [(AdviceKind::Memory, None), (AdviceKind::Setup, Some(Reason::SessionUnseen))]);
        let unseen = of_the_pool.iter().find(|advice| advice.reason.is_some()).unwrap();
        assert!(unseen.finding.starts_with("6000 of ") && (unseen.seconds - 12.0).abs() < 1e-9, "{unseen:?}");
        assert!(found.is_sorted_by(|a, b| a.seconds >= b.seconds));
    }

    #[test]
    fn a_refusal_counts_against_calls_that_asked_the_database() {
        let mut report = made();
        let query = report.queries.iter_mut().find(|query| query.fingerprint == Some(Fingerprint(0xa2))).unwrap();
        // A hundred times as many hits do not hide it, and refreshes took their part of the time.
        (query.hits, query.calls, query.refreshes) = (400_000, 404_000, 4_000);
        let advice = of(&report);
        let found = advice.iter().find(|advice| advice.fingerprint == Some(Fingerprint(0xa2))).unwrap();
        assert!((found.seconds - 20.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn nothing_is_said_of_immutable_functions_where_there_are_none() {
        let mut report = made();
        let query = report.queries.iter_mut().find(|query| query.fingerprint == Some(Fingerprint(0xa2))).unwrap();
        query.bypasses_by_reason = [(Reason::UnknownFunction, 4_000)].into();
        assert!(of(&report).iter().any(|advice| advice.action.contains("IMMUTABLE")));
        report.backend = "MySQL".into();
        let advice = of(&report);
        assert!(advice.iter().any(|advice| advice.reason == Some(Reason::UnknownFunction)));
        assert!(!advice.iter().any(|advice| advice.action.contains("IMMUTABLE")), "{advice:#?}");
    }

    #[test]
    fn no_share_is_more_than_all() {
        let mut report = made();
        // Taken a moment before, it knows less than the statements do.
        report.stats.database_time = std::time::Duration::from_secs(1);
        assert!(of(&report).iter().all(|advice| (0.0..=1.0).contains(&advice.share)));
    }
}
