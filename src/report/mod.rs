//! What a pool did, told to people: what the database spends its time on, what is saved, and what could be done about the rest.
//!
//! In: what was counted, and perhaps an earlier report. Out: a text, Markdown, JSON, or a table as CSV.
//! It never shows a value, and advises nothing that its figures do not bear out.
//!
//! | file | question |
//! |---|---|
//! | `advice` | what could be done? |
//! | `ttl` | how long should results live? |
//! | `regressions` | what got worse? |
//! | `trends` | how does it change over time? |
//! | `sections` | what is told, in which order? |
//! | `document` | what is it made of? |
//! | `text`, `markdown`, `csv`, `html` | how does it look? |

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::guard::{BreakerStatus, Pressure};
use crate::json::{since_1970, to_the_millisecond};
use crate::observe::{History, QueryStats, Stats};
use crate::operations::FeedStatus;
use crate::pool::CachedPool;
use crate::wording::{self, is_sly};

mod advice;
mod csv;
pub(crate) mod document;
#[cfg(feature = "html")]
pub(crate) mod html;
pub(crate) mod markdown;
mod regressions;
mod sections;
mod text;
mod trends;
mod ttl;

pub use advice::{Advice, AdviceKind, Confidence};
pub use regressions::{Figures, Regression, RegressionKind};
pub use ttl::SuggestedTtl;

/// What a pool did so far, and what could be done about it: see [`CachedPool::report`].
///
/// As a text for people, by [`Report::markdown`] for documents, by [`Report::to_json`] and [`Report::csv`] for machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// How it is written as JSON; it grows when what was written before can no longer be read.
    pub version: u32,
    /// The release of Larder that made it.
    pub release: String,
    /// What sqlx calls the database: `PostgreSQL`, `MySQL` or `SQLite`.
    pub backend: String,
    /// When the pool was built.
    #[serde(with = "since_1970")]
    pub since: SystemTime,
    /// When the report was made.
    #[serde(with = "since_1970")]
    pub taken: SystemTime,
    /// All of it in numbers.
    pub stats: Stats,
    /// The same by statement, the one first that took the database longest.
    pub queries: Vec<QueryStats>,
    /// Its breakers.
    #[serde(default)]
    pub breakers: Vec<BreakerStatus>,
    /// What it was short of.
    #[serde(default)]
    pub emergencies: Vec<Pressure>,
    /// How far it had heard of what others write.
    #[serde(default)]
    pub feeds: Vec<FeedStatus>,
    /// Why nothing was cached, if that was so.
    #[serde(default)]
    pub off: Option<String>,
    /// What it did lately.
    #[serde(default)]
    pub history: History,
    /// What could be done, the one first that concerns most database time.
    pub advice: Vec<Advice>,
    /// What got worse since an earlier report, if it was compared with one: see [`Report::against`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regressions: Option<Vec<Regression>>,
}

/// The version that is written.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a text is not taken for a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAReport {
    /// It is not the JSON of a report, or not all of it.
    #[error("this is no report of Larder: {0}")]
    Unreadable(String),
    /// A later release wrote it, in a way that this one cannot read.
    #[error("a later release wrote this report: it is of version {0}, and this release reads up to {VERSION}")]
    TooNew(u32),
}

/// Calls below which nothing is said of a statement.
pub(crate) const ENOUGH: u64 = 20;
/// The share of database time below which nothing is advised.
const FLOOR: f64 = 0.01;

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
        // By statement first: what happens meanwhile is then in the sums at least.
        let queries = self.queries();
        let mut report = Report {
            version: VERSION,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            backend: DB::NAME.to_owned(),
            since: self.rooms().counters.since,
            taken: to_the_millisecond(SystemTime::now()),
            stats: self.stats(),
            queries,
            breakers: self.breakers(),
            emergencies: self.emergencies(),
            feeds: self.feeds(),
            off: self.off().map(|refusal| refusal.sentence),
            history: self.history(),
            advice: Vec::new(),
            regressions: None,
        };
        report.advice = advice::of(&report);
        report
    }
}

impl Report {
    /// As JSON, which [`Report::from_json`] reads back.
    pub fn to_json(&self) -> String {
        // Numbers, texts and maps by text: there is nothing in it that could not be written.
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        // JSON escapes the oldest control characters alone; of the others, which are within texts only, a terminal knows some as well.
        let is_told_as_it_is = |c: char| c == '\n' || !is_sly(c);
        match json.chars().all(is_told_as_it_is) {
            true => json,
            false => json.chars().fold(String::new(), |mut out, c| {
                match is_told_as_it_is(c) {
                    true => out.push(c),
                    false => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                }
                out
            }),
        }
    }

    /// Reads what [`Report::to_json`] wrote, be it by another release: what this one does not know is left out.
    ///
    /// # Errors
    /// It is no report, is cut off, or was written in a way that this release cannot read.
    pub fn from_json(json: &str) -> Result<Self, NotAReport> {
        // The version first, so that it is told instead of what is missing because of it.
        let Versioned { version } =
            serde_json::from_str(json).map_err(|why| NotAReport::Unreadable(why.to_string()))?;
        if version > VERSION {
            return Err(NotAReport::TooNew(version));
        }
        serde_json::from_str(json).map_err(|why| NotAReport::Unreadable(why.to_string()))
    }

    /// The same with what got worse since `baseline`, in all that is printed of it.
    ///
    /// ```no_run
    /// # fn f(pool: larder::Pool<sqlx::Sqlite>) -> Result<(), Box<dyn std::error::Error>> {
    /// let before = larder::Report::from_json(&std::fs::read_to_string("before.json")?)?;
    /// println!("{}", pool.report().against(&before));
    /// # Ok(()) }
    /// ```
    pub fn against(mut self, baseline: &Self) -> Self {
        self.regressions = Some(self.regressions(baseline));
        self
    }

    /// Time that the database took. Sums and statements are counted at different moments: the larger is at least what the other saw.
    fn database_time(&self) -> Duration {
        let by_query =
            self.queries.iter().map(|query| query.database_time).fold(Duration::ZERO, Duration::saturating_add);
        by_query.max(self.stats.database_time)
    }

    /// A part of the database's time, between 0 and 1. `None`: it took none.
    fn share(&self, seconds: f64) -> Option<f64> {
        let all = self.database_time().as_secs_f64();
        (all > 0.0).then(|| (seconds / all).clamp(0.0, 1.0))
    }
}

/// Calls that asked the database, refreshes included.
fn asked(query: &QueryStats) -> u64 {
    query.misses + query.bypasses + query.writes + query.refreshes
}

/// Database time of so many of them, in seconds, as if all took the same: about.
fn about(query: &QueryStats, calls: u64) -> f64 {
    let asked = asked(query).max(1);
    query.database_time.as_secs_f64() * (calls as f64 / asked as f64).min(1.0)
}

/// As much of a statement as a line has room for.
pub(crate) fn shortened(text: &str) -> String {
    wording::shortened(text, 120)
}
