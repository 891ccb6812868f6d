//! What a report tells, in which order; not how it looks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::document::{Body, Cell, Section, code, text};
use super::{Advice, ENOUGH, FLOOR, Figures, Report, about, shortened, trends};
use crate::observe::{QueryStats, Stats};
use crate::reason::Reason;

/// Rows that a section shows.
const SHOWN: usize = 10;
/// What is to be done first.
const FIRST: usize = 3;

fn sql(query: &QueryStats) -> Cell {
    match query.fingerprint {
        Some(_) => code(shortened(&query.text)),
        // No statement, but all that have no row of their own.
        None => text(&query.text),
    }
}

fn time(time: Duration) -> Cell {
    text(format!("{time:.1?}"))
}

fn rate(rate: Option<f64>) -> Cell {
    text(percent(rate))
}

pub(super) fn percent(rate: Option<f64>) -> String {
    rate.map_or("n/a".into(), |rate| format!("{:.1} %", rate * 100.0))
}

fn number(number: impl ToString) -> Cell {
    text(number.to_string())
}

impl Report {
    /// The first lines.
    pub(super) fn summary(&self) -> String {
        let Stats { hits, coalesced, stale, misses, bypasses, writes, saved_time, .. } = &self.stats;
        let rate = match self.stats.hit_rate() {
            Some(rate) => format!("{} of reads from the cache", percent(Some(rate))),
            None => "No reads yet".to_owned(),
        };
        let over = self.taken.duration_since(self.since).unwrap_or_default().as_secs();
        format!(
            "{}, {}: {rate}: {hits} hits, {coalesced} coalesced, {stale} stale, {misses} misses, {bypasses} bypasses; {writes} writes. \
             The database took {:.1?}, and {saved_time:.1?} more were saved.",
            self.backend,
            humantime::format_duration(Duration::from_secs(over)),
            self.database_time(),
        )
    }

    pub(super) fn sections(&self) -> Vec<Section> {
        let queries = || self.queries.iter();
        let section = Section::new;
        let top = |title, body| Section::new(title, body).at_most(SHOWN);
        let sections = [
            section("What to do first", Body::Numbered(self.advice.iter().take(FIRST).map(advised).collect())),
            top("What got worse", self.got_worse()),
            section("Trends", trends::of(&self.history)),
            top("Where the database's time goes", self.profile()),
            top("What is saved", {
                let mut saving: Vec<_> = queries().filter(|query| !query.saved_time.is_zero()).collect();
                saving.sort_by_key(|query| Reverse(query.saved_time));
                let row = |query: &QueryStats| {
                    vec![time(query.saved_time), rate(query.hit_rate()), number(query.hits), sql(query)]
                };
                Body::Table(&["saved", "hit rate", "hits", "statement"], saving.into_iter().map(row).collect())
            }),
            top("What could live longer", self.opportunities()),
            section("Why reads went to the database", self.reasons()),
            top("Results that writes void", {
                let mut churning: Vec<_> =
                    queries().filter(|query| query.stored >= ENOUGH && query.churn() > Some(0.0)).collect();
                churning.sort_by(|a, b| b.churn().unwrap_or(0.0).total_cmp(&a.churn().unwrap_or(0.0)));
                let row = |query: &QueryStats| {
                    let uses = (query.hits + query.coalesced) as f64 / query.stored.max(1) as f64;
                    vec![rate(query.churn()), text(format!("{uses:.1}")), number(query.stored), sql(query)]
                };
                let headings = &["found voided", "uses of each", "results", "statement"];
                Body::Table(headings, churning.into_iter().map(row).collect())
            }),
            top("Tables that void results", {
                let mut tables: Vec<_> = self.stats.invalidations_by_table.iter().collect();
                tables.sort_by_key(|(_, count)| Reverse(**count));
                let row = |(table, count): (&String, &u64)| vec![number(count), code(table)];
                Body::Table(&["writes", "table"], tables.into_iter().map(row).collect())
            }),
            top("Was it right", self.audited()),
            top("Asked again and again (N+1)", {
                let mut asking: Vec<_> =
                    queries().filter_map(|query| Some((query, query.n_plus_one.as_ref()?))).collect();
                asking.sort_by_key(|(_, n_plus_one)| Reverse(n_plus_one.calls));
                let rows = asking.into_iter().map(|(query, n_plus_one)| {
                    let site = n_plus_one.call_site.clone().map_or_else(|| text("n/a"), code);
                    vec![number(n_plus_one.units), number(n_plus_one.calls), number(n_plus_one.most), site, sql(query)]
                });
                Body::Table(&["units of work", "calls", "at most", "where", "statement"], rows.collect())
            }),
            section("What calls waited for", self.waits()),
            top("What else could be done", Body::Points(self.advice.iter().skip(FIRST).map(advised).collect())),
            section(
                "What is not seen",
                Body::Points(self.blind_spots().into_iter().map(|spot| vec![text(spot)]).collect()),
            ),
        ];
        sections.into_iter().filter(|section| !section.body.is_empty()).collect()
    }

    fn profile(&self) -> Body {
        let row = |query: &QueryStats| {
            let taken = |of: Duration| if query.timed == 0 { text("n/a") } else { time(of) };
            vec![
                rate(self.share(query.database_time.as_secs_f64())),
                number(query.calls),
                taken(query.latency.p50),
                taken(query.latency.p95),
                taken(query.latency.p99),
                taken(query.latency.max),
                number(query.rows_from_database),
                rate(query.hit_rate()),
                sql(query),
            ]
        };
        // Of the others, what has no name is worth a row if it is heavy.
        let weighs = |query: &&QueryStats| {
            query.fingerprint.is_some() || self.share(query.database_time.as_secs_f64()) >= Some(FLOOR)
        };
        let headings = &["time", "calls", "p50", "p95", "p99", "max", "rows", "hit rate", "statement"];
        Body::Table(headings, self.queries.iter().filter(weighs).map(row).collect())
    }

    fn opportunities(&self) -> Body {
        let rows = self.advice.iter().filter_map(|advice| Some((advice, advice.ttl?))).map(|(advice, ttl)| {
            vec![
                text(humantime::format_duration(ttl.ttl).to_string()),
                rate(Some(ttl.hit_rate)),
                text(format!("about {}", percent(Some(ttl.predicted_hit_rate)))),
                text(format!("{:.3}", ttl.reads_per_second)),
                text(ttl.seconds_between_writes.map_or("none seen".into(), |seconds| format!("{seconds:.1} s"))),
                text(format!("about {}", ttl.distinct_parameters)),
                code(shortened(&advice.text)),
            ]
        });
        let headings =
            &["ttl", "hit rate", "then", "reads/s of each", "between writes", "sets of arguments", "statement"];
        Body::Table(headings, rows.collect())
    }

    fn reasons(&self) -> Body {
        let of = |counts: fn(&QueryStats) -> &BTreeMap<Reason, u64>, reason: &Reason| {
            let about = |query: &QueryStats| counts(query).get(reason).map_or(0.0, |count| about(query, *count));
            self.share(self.queries.iter().map(about).sum())
        };
        let Stats { bypasses_by_reason, misses_by_reason, not_stored_by_reason, .. } = &self.stats;
        let bypasses = bypasses_by_reason
            .iter()
            .map(|(reason, count)| ("bypass", reason, count, of(|query| &query.bypasses_by_reason, reason)));
        let misses = misses_by_reason
            .iter()
            .map(|(reason, count)| ("miss", reason, count, of(|query| &query.misses_by_reason, reason)));
        // Those were misses already, or refreshes.
        let not_stored = not_stored_by_reason.iter().map(|(reason, count)| ("not stored", reason, count, None));
        let mut all: Vec<_> = bypasses.chain(misses).chain(not_stored).collect();
        all.sort_by(|a, b| b.3.unwrap_or(0.0).total_cmp(&a.3.unwrap_or(0.0)).then(b.2.cmp(a.2)));
        let row = |(what, reason, count, share): (&str, &Reason, &u64, Option<f64>)| {
            let share = share.map_or("n/a".into(), |share| format!("about {}", percent(Some(share))));
            vec![text(share), text(what), number(count), code(reason.label())]
        };
        Body::Table(&["time", "", "times", "reason"], all.into_iter().map(row).collect())
    }

    /// By table, the ones first of which most was stale.
    fn audited(&self) -> Body {
        let Stats { audited_by_table, audited_stale_by_table, .. } = &self.stats;
        let of = |counts: &BTreeMap<String, u64>, table: &String| counts.get(table).copied().unwrap_or(0);
        let tables: BTreeSet<_> = audited_by_table.keys().chain(audited_stale_by_table.keys()).collect();
        let mut tables: Vec<_> = tables
            .into_iter()
            .map(|table| (of(audited_stale_by_table, table), of(audited_by_table, table), table))
            .collect();
        tables.sort_by_key(|(stale, audited, _)| Reverse((*stale, *audited)));
        let row = |(stale, audited, table): (u64, u64, &String)| {
            let share = (audited > 0).then(|| stale as f64 / audited as f64);
            vec![number(audited), number(stale), rate(share), code(table)]
        };
        Body::Table(&["audited", "stale", "rate", "table"], tables.into_iter().map(row).collect())
    }

    fn waits(&self) -> Body {
        let waits = self.stats.waits.named();
        let all: f64 = waits.iter().map(|(_, waited)| waited.time.as_secs_f64()).sum();
        let rows = waits.into_iter().filter(|(_, waited)| waited.times > 0).map(|(what, waited)| {
            let share = (all > 0.0).then(|| waited.time.as_secs_f64() / all);
            vec![rate(share), time(waited.time), number(waited.times), text(what)]
        });
        Body::Table(&["share", "together", "times", "for"], rows.collect())
    }

    fn got_worse(&self) -> Body {
        let figures = |figures: &Figures| {
            format!(
                "{:.2} calls/s, mean {:.1?}, p99 {:.1?}, hit rate {}",
                figures.calls_per_second,
                figures.mean,
                figures.p99,
                percent(figures.hit_rate)
            )
        };
        let worse = self.regressions.as_deref();
        if worse.is_some_and(<[_]>::is_empty) {
            return Body::Points(vec![vec![text("Nothing that the figures bear out.")]]);
        }
        let rows = worse.unwrap_or_default().iter().map(|regression| {
            let before = regression.before.as_ref().map_or("n/a".into(), figures);
            vec![
                text(regression.kind.label()),
                text(before),
                text(figures(&regression.after)),
                code(shortened(&regression.text)),
            ]
        });
        Body::Table(&["what", "before", "after", "statement"], rows.collect())
    }

    fn blind_spots(&self) -> Vec<String> {
        let mut blind = Vec::new();
        if let Some(rest) = self.queries.iter().find(|query| query.fingerprint.is_none() && query.calls > 0) {
            blind.push(format!(
                "{} calls ({} of database time) were of statements that are too many to be told apart.",
                rest.calls,
                percent(self.share(rest.database_time.as_secs_f64()))
            ));
        }
        let reads = self.stats.hits + self.stats.misses + self.stats.bypasses;
        if self.queries.is_empty() && reads > 0 {
            blind.push("The pool was built without statistics: nothing is known by statement.".into());
        }
        if self.regressions.is_none() {
            blind.push("How it was before: no earlier report was given to compare with.".into());
        }
        if trends::of(&self.history).is_empty() {
            blind.push(format!(
                "How it changes over time: that takes {} samples, by minute or by second.",
                trends::ENOUGH_SAMPLES
            ));
        }
        if self.stats.audited == 0 && self.stats.hits > 0 {
            blind.push(
                "Whether answers from the cache were right: none was compared with the database's (Builder::audit)."
                    .into(),
            );
        }
        blind.push("Statements that are asked again and again, outside of larder::unit_of_work.".into());
        blind.push(
            "Database time by reason is an estimate: each call of a statement counts as if all took the same.".into(),
        );
        blind.push(
            "Statements on connections and in transactions are timed, but their reads are never kept; what other programs do is not seen \
             at all."
                .into(),
        );
        blind
    }
}

fn advised(advice: &Advice) -> Vec<Cell> {
    let Advice { finding, action, share, confidence, .. } = advice;
    let sentence = format!(
        "{finding} {action} (About {} of database time; confidence: {}.)",
        percent(Some(*share)),
        confidence.label()
    );
    match advice.fingerprint {
        Some(_) => vec![text(sentence), code(shortened(&advice.text))],
        None => vec![text(sentence)],
    }
}
