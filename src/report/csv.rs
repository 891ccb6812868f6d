//! The profile as CSV (RFC 4180): a row for each statement, with all that was counted of it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Report;
use crate::observe::QueryStats;
use crate::reason::Reason;
use crate::wording::plain;

const HEADINGS: [&str; 36] = [
    "fingerprint",
    "statement",
    "calls",
    "hits",
    "coalesced",
    "stale",
    "misses",
    "bypasses",
    "writes",
    "refreshes",
    "stored",
    "stored_bytes",
    "hit_rate",
    "churn",
    "distinct_parameters",
    "database_seconds",
    "database_share",
    "recent_seconds",
    "recent_timed",
    "p50_seconds",
    "p95_seconds",
    "p99_seconds",
    "max_seconds",
    "saved_seconds",
    "rows_from_cache",
    "bytes_from_cache",
    "rows_from_database",
    "misses_by_reason",
    "bypasses_by_reason",
    "not_stored_by_reason",
    "n_plus_one_units",
    "n_plus_one_calls",
    "n_plus_one_most",
    "n_plus_one_call_site",
    "first_seen",
    "last_seen",
];

impl Report {
    /// A row for each statement, with headings, as CSV. Times are in seconds, moments in seconds since 1970; what is not known is empty. A
    /// text that a spreadsheet would take for a formula begins with a `'`.
    pub fn csv(&self) -> String {
        let mut out = csv::Writer::from_writer(Vec::new());
        // Nothing fails that is written to memory, and all rows are of the same length.
        let _ = out.write_record(HEADINGS);
        for query in &self.queries {
            let _ = out.write_record(self.row(query));
        }
        out.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn row(&self, query: &QueryStats) -> [String; 36] {
        let or_empty = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
        let seconds = |time: std::time::Duration| time.as_secs_f64().to_string();
        let moment = |time: SystemTime| seconds(time.duration_since(UNIX_EPOCH).unwrap_or_default());
        let taken = |time| if query.timed == 0 { String::new() } else { seconds(time) };
        let n_plus_one = query.n_plus_one.as_ref();
        let repeated = |number: fn(&crate::observe::NPlusOne) -> u64| n_plus_one.map(number).unwrap_or(0).to_string();
        [
            query.fingerprint.map_or_else(String::new, |fingerprint| fingerprint.to_string()),
            cell(&query.text),
            query.calls.to_string(),
            query.hits.to_string(),
            query.coalesced.to_string(),
            query.stale.to_string(),
            query.misses.to_string(),
            query.bypasses.to_string(),
            query.writes.to_string(),
            query.refreshes.to_string(),
            query.stored.to_string(),
            query.stored_bytes.to_string(),
            or_empty(query.hit_rate()),
            or_empty(query.churn()),
            query.distinct_parameters.to_string(),
            seconds(query.database_time),
            or_empty(self.share(query.database_time.as_secs_f64())),
            seconds(query.recent_time),
            query.recent_timed.to_string(),
            taken(query.latency.p50),
            taken(query.latency.p95),
            taken(query.latency.p99),
            taken(query.latency.max),
            seconds(query.saved_time),
            query.rows_from_cache.to_string(),
            query.bytes_from_cache.to_string(),
            query.rows_from_database.to_string(),
            by_reason(&query.misses_by_reason),
            by_reason(&query.bypasses_by_reason),
            by_reason(&query.not_stored_by_reason),
            repeated(|n_plus_one| n_plus_one.units),
            repeated(|n_plus_one| n_plus_one.calls),
            repeated(|n_plus_one| n_plus_one.most),
            cell(n_plus_one.and_then(|n_plus_one| n_plus_one.call_site.as_deref()).unwrap_or_default()),
            moment(query.first_seen),
            moment(query.last_seen),
        ]
    }
}

fn by_reason(counts: &BTreeMap<Reason, u64>) -> String {
    counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join("; ")
}

/// A text that no spreadsheet runs.
fn cell(text: &str) -> String {
    let text = plain(text);
    match text.trim_start().starts_with(['=', '+', '-', '@']) {
        true => format!("'{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@sum(a)", "\t=1", " =1"] {
            assert!(cell(text).starts_with('\''), "{text:?}");
        }
        assert_eq!(cell("select a = -1, \"b\""), "select a = -1, \"b\"");
    }
}
