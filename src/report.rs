//! What a pool did, told to people: what the database spends its time on, what is saved, and what could be done about the rest.
//!
//! In: what was counted. Out: a text, Markdown, or JSON.
//! It never shows a value, and advises nothing that its figures do not bear out.

use std::cmp::Reverse;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::backend::Backend;
use crate::observe::{QueryStats, Stats};
use crate::pool::CachedPool;
use crate::reason::Reason;

/// What a pool did so far, and what could be done about it: see [`CachedPool::report`].
///
/// As a text for people, by [`Report::markdown`] for documents, as JSON for machines.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// All of it in numbers.
    pub stats: Stats,
    /// The same by statement, the one first that took the database longest.
    pub queries: Vec<QueryStats>,
    /// What could be done, the one first that concerns most database time.
    pub advice: Vec<Advice>,
}

/// Something that could be done about a statement.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Advice {
    /// The statement, as in [`QueryStats::fingerprint`].
    pub fingerprint: String,
    /// Its text, without values.
    pub text: String,
    /// What is the matter.
    pub finding: String,
    /// What could be done.
    pub action: String,
    /// Database time that it concerns, in seconds: what it would save is part of it.
    pub seconds: f64,
}

/// Calls of a statement below which nothing is advised.
const ENOUGH: u64 = 20;
/// Statements that a section shows.
const SHOWN: usize = 10;

impl<DB: Backend> CachedPool<DB> {
    /// What this pool did so far by statement, what of it could be kept and is not, and what could be done about that. It rests on
    /// [statistics](crate::Builder::statistics), and asks the database nothing.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// let report = pool.report();
    /// println!("{report}");
    /// std::fs::write(std::env::temp_dir().join("report.md"), report.markdown())?;
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    pub fn report(&self) -> Report {
        Report::of(self.stats(), self.queries())
    }
}

impl Report {
    fn of(stats: Stats, queries: Vec<QueryStats>) -> Self {
        let mut advice: Vec<Advice> = queries.iter().flat_map(advise).collect();
        advice.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Self { stats, queries, advice }
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut out = format!("# What the pool did\n\n{}\n", self.summary());
        for section in self.sections() {
            let _ = write!(out, "\n## {}\n\n", section.title);
            if let Some(headings) = section.headings {
                let _ = writeln!(out, "| {} |\n|{}", headings.join(" | "), "---|".repeat(headings.len()));
                for row in &section.rows {
                    // What stands in a cell must not end it.
                    let cells: Vec<_> = row
                        .iter()
                        .map(|cell| cell.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " "))
                        .collect();
                    let _ = writeln!(out, "| {} |", cells.join(" | "));
                }
            } else {
                for row in &section.rows {
                    let _ = writeln!(out, "- {}", row.join(" "));
                }
            }
        }
        out
    }

    fn summary(&self) -> String {
        let Stats { hits, coalesced, stale, misses, bypasses, writes, database_time, saved_time, .. } = &self.stats;
        let rate = self
            .stats
            .hit_rate()
            .map_or("no reads yet".into(), |rate| format!("{:.1} % of reads from the cache", rate * 100.0));
        format!(
            "{rate}: {hits} hits, {coalesced} coalesced, {stale} stale, {misses} misses, {bypasses} bypasses; {writes} writes. The database \
             took {database_time:.1?}, and {saved_time:.1?} more were saved."
        )
    }

    fn sections(&self) -> Vec<Section> {
        let named = || self.queries.iter().filter(|query| query.fingerprint.is_some());
        let all = self.stats.database_time.as_secs_f64();
        let share = |part: f64| if all > 0.0 { format!("{:.1} %", part / all * 100.0) } else { "n/a".into() };
        let rate = |rate: Option<f64>| rate.map_or("n/a".into(), |rate| format!("{:.1} %", rate * 100.0));
        let time = |time: Duration| format!("{time:.1?}");

        let advice = self.advice.iter().take(SHOWN).enumerate().map(|(at, advice)| {
            let Advice { text, finding, action, seconds, .. } = advice;
            vec![
                format!("{}.", at + 1),
                format!("{finding} {action} ({} of database time) {}", share(*seconds), shortened(text)),
            ]
        });
        let profile = named().take(SHOWN).map(|query| {
            vec![
                share(query.database_time.as_secs_f64()),
                query.calls.to_string(),
                time(query.latency.p50),
                time(query.latency.p99),
                rate(query.hit_rate()),
                shortened(&query.text),
            ]
        });
        let mut saving: Vec<_> = named().filter(|query| !query.saved_time.is_zero()).collect();
        saving.sort_by_key(|query| Reverse(query.saved_time));
        let saving = saving.into_iter().take(SHOWN).map(|query| {
            vec![time(query.saved_time), rate(query.hit_rate()), query.hits.to_string(), shortened(&query.text)]
        });
        let reasons = [
            ("bypass", &self.stats.bypasses_by_reason),
            ("not stored", &self.stats.not_stored_by_reason),
            ("miss", &self.stats.misses_by_reason),
        ];
        let mut reasons: Vec<_> = reasons
            .into_iter()
            .flat_map(|(what, counts)| counts.iter().map(move |(reason, count)| (what, *reason, *count)))
            .collect();
        reasons.sort_by_key(|(.., count)| Reverse(*count));
        let reasons = reasons
            .into_iter()
            .map(|(what, reason, count)| vec![what.to_owned(), reason.to_string(), count.to_string()]);
        let mut churning: Vec<_> =
            named().filter(|query| query.stored >= ENOUGH && query.churn() > Some(0.0)).collect();
        churning.sort_by(|a, b| b.churn().unwrap_or(0.0).total_cmp(&a.churn().unwrap_or(0.0)));
        let churning = churning.into_iter().take(SHOWN).map(|query| {
            let used = query.hits_per_store().map_or("n/a".into(), |hits| format!("{hits:.1}"));
            vec![rate(query.churn()), used, query.stored.to_string(), shortened(&query.text)]
        });
        let tables = self.stats.invalidations_by_table.iter().map(|(table, count)| (count, table));
        let mut tables: Vec<_> = tables.collect();
        tables.sort_by_key(|(count, _)| Reverse(**count));
        let tables = tables.into_iter().take(SHOWN).map(|(count, table)| vec![count.to_string(), table.clone()]);

        let mut blind = Vec::new();
        if let Some(rest) = self.queries.iter().find(|query| query.fingerprint.is_none() && query.calls > 0) {
            blind.push(vec![format!(
                "{} calls ({} of database time) were of statements that are too many to be told apart.",
                rest.calls,
                share(rest.database_time.as_secs_f64())
            )]);
        }
        if self.queries.is_empty() && self.stats.hits + self.stats.misses + self.stats.bypasses > 0 {
            blind.push(vec!["The pool was built without statistics: nothing is known by statement.".into()]);
        }
        blind.push(vec![
            "Statements on connections and in transactions are timed, but their reads are never kept; what other programs do is not seen at all."
                .into(),
        ]);

        let sections = [
            Section::list("What could be done", advice.collect()),
            Section::table(
                "Where the database's time goes",
                &["time", "calls", "p50", "p99", "hit rate", "statement"],
                profile.collect(),
            ),
            Section::table("What is saved", &["saved", "hit rate", "hits", "statement"], saving.collect()),
            Section::table("Why reads went to the database", &["", "reason", "times"], reasons.collect()),
            Section::table(
                "Results that writes void",
                &["voided", "hits per result", "results", "statement"],
                churning.collect(),
            ),
            Section::table("Tables that void results", &["writes", "table"], tables.collect()),
            Section::list("What is not seen", blind),
        ];
        sections.into_iter().filter(|section| !section.rows.is_empty()).collect()
    }
}

/// For people, in columns.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        for section in self.sections() {
            writeln!(f, "\n{}", section.title)?;
            let headings =
                section.headings.map(|headings| headings.iter().map(ToString::to_string).collect::<Vec<_>>());
            let rows: Vec<&Vec<String>> = headings.iter().chain(&section.rows).collect();
            let columns = rows.iter().map(|row| row.len()).max().unwrap_or_default();
            let width = |column: usize| {
                rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
            };
            let widths: Vec<usize> = (0..columns).map(width).collect();
            for row in rows {
                f.write_str(" ")?;
                for (column, cell) in row.iter().enumerate() {
                    match column + 1 == columns {
                        true => write!(f, " {cell}")?,
                        false => write!(f, " {cell:>width$} ", width = widths[column])?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

struct Section {
    title: &'static str,
    headings: Option<&'static [&'static str]>,
    rows: Vec<Vec<String>>,
}

impl Section {
    fn table(title: &'static str, headings: &'static [&'static str], rows: Vec<Vec<String>>) -> Self {
        Self { title, headings: Some(headings), rows }
    }

    fn list(title: &'static str, rows: Vec<Vec<String>>) -> Self {
        Self { title, headings: None, rows }
    }
}

/// What the counts of a statement say could be done about it.
fn advise(query: &QueryStats) -> Vec<Advice> {
    let Some(fingerprint) = query.fingerprint else { return Vec::new() };
    let asked = query.misses + query.bypasses + query.writes;
    if query.calls < ENOUGH || asked == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut advise = |finding: String, action: &str, calls: u64| {
        found.push(Advice {
            fingerprint: fingerprint.to_string(),
            text: query.text.clone(),
            finding,
            action: action.to_owned(),
            seconds: query.database_time.as_secs_f64() * (calls as f64 / asked as f64).min(1.0),
        });
    };
    for (reason, count) in &query.bypasses_by_reason {
        if let Some(action) = action(*reason)
            && *count * 10 >= query.calls
        {
            advise(format!("{count} of {} calls were not kept: {reason}.", query.calls), action, *count);
        }
    }
    let too_large = query.not_stored_by_reason.get(&Reason::TooLarge).copied().unwrap_or(0);
    if too_large * 2 >= asked {
        advise(
            format!("{too_large} results were too large."),
            "Ask for fewer rows or columns, or raise max_entry_bytes for it.",
            too_large,
        );
    }
    let expired = query.misses_by_reason.get(&Reason::Expired).copied().unwrap_or(0);
    if expired * 2 >= query.misses && expired >= ENOUGH {
        advise(
            format!("{expired} of {} misses were results that had reached their time.", query.misses),
            "Nothing had been written to their tables: a longer ttl costs nothing where all writers go through Larder or are watched.",
            expired,
        );
    }
    if query.stored >= ENOUGH && query.churn() >= Some(0.8) && query.hits_per_store() < Some(0.5) {
        advise(
            format!(
                "Of {} results {:.0} % were voided by writes before they were used.",
                query.stored,
                query.churn().unwrap_or(0.0) * 100.0
            ),
            "To keep it hardly pays: say `never` for it, or split off the columns that are written all the time.",
            query.misses,
        );
    }
    found
}

/// What makes a statement cacheable that is not for this reason, where the application has the choice.
fn action(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::VolatileFunction | Reason::SpecialDate => {
            "Bind the time or number it computes as a parameter, as coarse as will do: results are kept by parameter."
        }
        Reason::Unprepared => "Send it by sqlx::query instead of raw_sql.",
        Reason::NotPersistent => "Leave out persistent(false).",
        Reason::RowSecurity => "Name a scope for each who may see something else: pool.scoped(..).",
        Reason::UnknownFunction | Reason::UserFunction => {
            "Declare the function IMMUTABLE or STABLE if it is, in SQL so that it can be followed: see larder explain."
        }
        Reason::UserCast | Reason::UserOperator => "Declare what it calls IMMUTABLE if it is: see larder doctor.",
        Reason::Transaction | Reason::Connection => {
            "Ask it through the pool, if it need not see what this transaction or connection wrote."
        }
        Reason::SessionChanged | Reason::SessionHook => {
            "Set the session once, in the options of the connections: see docs/day-one.md."
        }
        Reason::Variable => "Bind the variable as a parameter.",
        Reason::SeveralStatements => "Send one statement at a time.",
        Reason::KeyTooLarge => "Bind fewer or shorter arguments.",
        _ => return None,
    })
}

/// As much of a text as a line has room for.
fn shortened(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
