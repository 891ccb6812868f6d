//! Every metric there is: name, kind, unit, labels and their values.
//!
//! A series that can occur is published at zero when a pool is built, so that a dashboard can tell "never" from "not
//! there". `docs/metrics.md` is written from this table.

use metrics::{Counter, Gauge, Histogram, Label, Unit};

use super::{Audit, Feed, PoolTimeout, Tier, removal};
use crate::guard::{BreakerState, Pressure};
use crate::reason::{Place, Reason};
use crate::rejected::Guard;

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution. Exporters make quantiles or buckets of it, a sum and a count.
    Histogram,
}

use MetricKind as Kind;

/// Values of a label.
#[derive(Debug, Clone, Copy)]
enum Values {
    Are(&'static [&'static str]),
    /// Every reason that may be given there.
    Reasons(Place),
}

use Values::{Are, Reasons};

/// A metric that Larder tells the recorder of the `metrics` facade: see [`metrics()`](crate::metrics()).
#[derive(Debug)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    /// What is published at zero: groups of values, one set for each label.
    series: &'static [&'static [Values]],
    /// Whether a pool without statistics publishes it.
    always: bool,
    what: &'static str,
}

/// The labels of every value of a type.
macro_rules! labels {
    ($of:ty) => {{
        let mut labels = [""; <$of>::ALL.len()];
        let mut at = 0;
        while at < labels.len() {
            labels[at] = <$of>::ALL[at].label();
            at += 1;
        }
        labels
    }};
}

const NONE: Values = Are(&[""]);
const HERE: Values = Are(&["local"]);
const CACHED: Values = Are(&labels!(Tier));
const FEED: Values = Are(&labels!(Feed));
const BACKEND: Values = Are(&["database", "redis"]);
const STATES: [&str; BreakerState::ALL.len()] = labels!(BreakerState);
const GUARDS: [&str; Guard::ALL.len()] = labels!(Guard);
const KEPT: Values = Are(&[Tier::Memory.label()]);

/// What a table's name is replaced with where all tables are meant.
pub(super) const ALL_TABLES: &str = "*";
/// The same for tables beyond those that have a series of their own.
pub(super) const OTHER_TABLES: &str = "other";

pub static REQUESTS: Metric = Metric {
    name: "larder_requests_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["outcome", "reason", "tier"],
    series: &[
        &[Are(&["hit"]), NONE, CACHED],
        &[Are(&["coalesced", "stale"]), NONE, KEPT],
        &[Are(&["miss"]), Reasons(Place::Miss), NONE],
        &[Are(&["bypass"]), Reasons(Place::Bypass), NONE],
    ],
    always: true,
    what: "Reads by what became of them, and the tier that answered or the reason why none did.",
};

pub static REQUEST_SECONDS: Metric = Metric {
    name: "larder_request_seconds",
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    labels: &["tier"],
    series: &[&[Are(&["database"])]],
    always: false,
    what: "How long reads waited for the database, without the wait for a connection. Hits are not timed: two looks at \
           the clock would be a good part of what they take.",
};

pub static DATABASE_TIME: Metric = Metric {
    name: "larder_database_microseconds_total",
    kind: Kind::Counter,
    unit: Unit::Microseconds,
    labels: &[],
    series: &[&[]],
    always: false,
    what: "Time that reads and writes waited for the database, without the wait for a connection.",
};

// In microseconds, since counters of the facade are whole numbers and a hit saves far less than a second. A gauge could hold
// seconds, but exporters would not take it for a sum that only grows.
pub static SAVED_TIME: Metric = Metric {
    name: "larder_saved_microseconds_total",
    kind: Kind::Counter,
    unit: Unit::Microseconds,
    labels: &[],
    series: &[&[]],
    always: false,
    what: "Database time saved: for each hit and each coalesced read, what the load of its result took.",
};

pub static REFRESHES: Metric = Metric {
    name: "larder_refreshes_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Results replaced in the background before their time was over.",
};

pub static WRITES: Metric = Metric {
    name: "larder_writes_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Statements that wrote, or may have.",
};

pub static STORES: Metric = Metric {
    name: "larder_stores_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["reason"],
    series: &[&[NONE], &[Reasons(Place::NotStored)]],
    always: true,
    what: "Loaded results: kept if there is no reason, else not kept for that reason.",
};

pub static REMOVALS: Metric = Metric {
    name: "larder_removals_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["cause"],
    series: &[&[Are(&removal::LABELS)]],
    always: true,
    what: "Entries that left the memory. An invalidated entry leaves when it is replaced, expires or is in the way.",
};

pub static ENTRIES: Metric = Metric {
    name: "larder_entries",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["tier"],
    series: &[&[KEPT]],
    always: true,
    what: "Entries kept by all pools, decoded values among them; those included that are no longer valid but have not \
           left yet.",
};

pub static BYTES: Metric = Metric {
    name: "larder_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &["tier"],
    series: &[&[KEPT]],
    always: true,
    what: "Bytes that these entries take.",
};

pub static INVALIDATIONS: Metric = Metric {
    name: "larder_invalidations_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["origin", "reason"],
    series: &[&[HERE, Reasons(Place::Invalidation)]],
    always: true,
    what: "Writes and commits that voided cached results, each counted once.",
};

// Apart from the reasons: together they would be seven times as many series, and a sum of them no number of writes.
pub static TABLE_INVALIDATIONS: Metric = Metric {
    name: "larder_table_invalidations_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["origin", "table"],
    series: &[&[HERE, Are(&[ALL_TABLES, OTHER_TABLES])]],
    always: true,
    what: "The same by table, under its full name: a write to two tables counts for both. `*` stands for all tables at \
           once, `other` for those beyond the first 200 that are written.",
};

pub static QUERIES: Metric = Metric {
    name: "larder_queries",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: false,
    what: "Statements that have a record of their own in the statistics of all pools.",
};

pub static FEEDS: Metric = Metric {
    name: "larder_feeds",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["feed", "state"],
    series: &[&[FEED, Are(&["current", "behind"])]],
    always: true,
    what: "Pools that hear of what others write, through Redis or from the triggers of `larder watch`; those behind have not \
           for longer than promised, and answer nothing from memory without asking. Told once a second, as the next four.",
};

pub static FEED_LAG: Metric = Metric {
    name: "larder_feed_lag_seconds",
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    labels: &["feed"],
    series: &[&[FEED]],
    always: true,
    what: "How long ago the last look at what others write began that was answered: no answer from memory is staler than \
           this, or than the bound.",
};

pub static UNPUBLISHED: Metric = Metric {
    name: "larder_unpublished_tables",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Tables that were written here of which other nodes could not be told yet.",
};

pub static CONNECTIONS: Metric = Metric {
    name: "larder_redis_connections",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Connections to Redis, summed over pools; none while it does not answer.",
};

pub static REPLICAS: Metric = Metric {
    name: "larder_redis_replicas",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Replicas that the primary of Redis said it had, summed over pools.",
};

pub static REDIS_PENDING: Metric = Metric {
    name: "larder_redis_pending_requests",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Questions to Redis that are not answered yet. Connections are shared: a question waits for no other.",
};

pub static REDIS_SECONDS: Metric = Metric {
    name: "larder_redis_seconds",
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "How long Redis took to answer, or was waited for in vain.",
};

pub static REDIS_FAILURES: Metric = Metric {
    name: "larder_redis_failures_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["cause"],
    series: &[&[Are(&["away", "spared", "late", "failed"])]],
    always: true,
    what: "Questions to Redis without an answer: no connection leads there, its breaker is open, it took too long, or the connection broke \
           or it objected.",
};

pub static BREAKERS: Metric = Metric {
    name: "larder_breakers",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["backend", "state"],
    series: &[&[BACKEND, Are(&STATES)]],
    always: true,
    what: "Breakers by the state that they are in.",
};

pub static TRANSITIONS: Metric = Metric {
    name: "larder_breaker_transitions_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["backend", "from", "to"],
    series: &[&[BACKEND, Are(&STATES), Are(&STATES)]],
    always: true,
    what: "How often breakers went from one state to another.",
};

pub static REJECTIONS: Metric = Metric {
    name: "larder_rejections_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["guard"],
    series: &[&[Are(&GUARDS)]],
    always: true,
    what: "Calls that were not made, by what refused them.",
};

pub static EMERGENCIES: Metric = Metric {
    name: "larder_emergencies",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["pressure"],
    series: &[&[Are(&labels!(Pressure))]],
    always: true,
    what: "Pools that shed work for want of connections or of memory.",
};

pub static POOL_TIMEOUTS: Metric = Metric {
    name: "larder_pool_timeouts_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["cause"],
    series: &[&[Are(&PoolTimeout::LABELS)]],
    always: true,
    what: "Waits for a connection of the pool that ended without one: no new connection can be made; at least half of the connections are at \
           statements, that run for a second and longer or are too many; or most are held by callers that ask nothing.",
};

pub static POOL_CONNECTIONS: Metric = Metric {
    name: "db.client.connection.count",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["db.client.connection.state"],
    series: &[&[Are(&["idle", "used"])]],
    always: true,
    what: "Connections of the pools, told once a second. This name and the next three are OpenTelemetry's.",
};

pub static POOL_MOST: Metric = Metric {
    name: "db.client.connection.max",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Connections that the pools may have.",
};

pub static POOL_PENDING: Metric = Metric {
    name: "db.client.connection.pending_requests",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "Who waits for a connection of a pool.",
};

pub static POOL_WAIT: Metric = Metric {
    name: "db.client.connection.wait_time",
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    labels: &[],
    series: &[&[]],
    always: true,
    what: "How long callers waited for a connection, whether they got one or not; `larder_request_seconds` is what came after.",
};

pub static AUDITS: Metric = Metric {
    name: "larder_audits_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["outcome"],
    series: &[&[Are(&[Audit::Good.label(), Audit::Stale.label(), Audit::Undecided.label()])]],
    always: true,
    what: "Answers from the cache that the database was asked for again. Undecided are those whose tables were written meanwhile, or whose \
           rows came in another order.",
};

pub static STALE_TABLES: Metric = Metric {
    name: "larder_audit_stale_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["table"],
    series: &[&[Are(&[ALL_TABLES, OTHER_TABLES])]],
    always: true,
    what: "Those that were stale, by the tables that they rest on: somebody writes to one of them who is not seen.",
};

static ALL: [&Metric; 32] = [
    &REQUESTS,
    &REQUEST_SECONDS,
    &DATABASE_TIME,
    &SAVED_TIME,
    &REFRESHES,
    &WRITES,
    &STORES,
    &REMOVALS,
    &ENTRIES,
    &BYTES,
    &INVALIDATIONS,
    &TABLE_INVALIDATIONS,
    &QUERIES,
    &FEEDS,
    &FEED_LAG,
    &UNPUBLISHED,
    &CONNECTIONS,
    &REPLICAS,
    &REDIS_PENDING,
    &REDIS_SECONDS,
    &REDIS_FAILURES,
    &BREAKERS,
    &TRANSITIONS,
    &REJECTIONS,
    &EMERGENCIES,
    &POOL_TIMEOUTS,
    &POOL_CONNECTIONS,
    &POOL_MOST,
    &POOL_PENDING,
    &POOL_WAIT,
    &AUDITS,
    &STALE_TABLES,
];

/// Every metric there is, to make dashboards and alerts from, or to check that theirs exist.
///
/// ```
/// let names: Vec<&str> = larder::metrics().map(|metric| metric.name()).collect();
/// assert!(names.contains(&"larder_requests_total"));
/// ```
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    ALL.into_iter()
}

/// Tells the recorder what each metric means, and publishes all at zero.
pub(super) fn publish(statistics: bool) {
    for metric in ALL.iter().filter(|metric| metric.always || statistics) {
        metric.describe();
        for values in metric.zeros() {
            match metric.kind {
                // Nothing is set: another pool may have counted before.
                Kind::Counter => metric.counter(&values).increment(0),
                Kind::Gauge => metric.gauge(&values).increment(0.0),
                Kind::Histogram => drop(metric.histogram(&values)),
            }
        }
    }
}

impl Values {
    fn all(self) -> Vec<&'static str> {
        match self {
            Are(values) => values.to_vec(),
            Reasons(place) => {
                Reason::ALL.iter().filter(|reason| reason.occurs(place)).map(|reason| reason.label()).collect()
            }
        }
    }
}

impl Metric {
    /// Its name in the facade.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How it moves.
    pub const fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Its unit, in words: `count`, `seconds`, `microseconds` or `bytes`.
    pub fn unit(&self) -> &'static str {
        self.unit.as_str()
    }

    /// The names of its labels.
    pub const fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// What it counts, in a sentence or two.
    pub const fn description(&self) -> &'static str {
        self.what
    }

    /// The series that are published at zero when a pool is built: for each the values of the labels, in their order. Tables that are
    /// written later get series of their own.
    pub fn series(&self) -> Vec<Vec<&'static str>> {
        self.zeros()
    }

    pub(super) fn counter(&self, values: &[&'static str]) -> Counter {
        metrics::counter!(self.name, self.labelled(values.iter().copied().map(Into::into)))
    }

    /// For a value that is not known beforehand, in the label that grows: the last one.
    pub(super) fn grown(&self, values: &[&'static str], last: String) -> Counter {
        let values = values.iter().copied().map(metrics::SharedString::from);
        metrics::counter!(self.name, self.labelled(values.chain([last.into()])))
    }

    pub(super) fn gauge(&self, values: &[&'static str]) -> Gauge {
        metrics::gauge!(self.name, self.labelled(values.iter().copied().map(Into::into)))
    }

    pub(super) fn histogram(&self, values: &[&'static str]) -> Histogram {
        metrics::histogram!(self.name, self.labelled(values.iter().copied().map(Into::into)))
    }

    fn labelled(&self, values: impl Iterator<Item = metrics::SharedString>) -> Vec<Label> {
        self.labels.iter().zip(values).map(|(label, value)| Label::new(*label, value)).collect()
    }

    fn describe(&self) {
        let unit = self.unit;
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, unit, self.what),
            Kind::Gauge => metrics::describe_gauge!(self.name, unit, self.what),
            Kind::Histogram => metrics::describe_histogram!(self.name, unit, self.what),
        }
    }

    /// The values of each series that is published at zero.
    fn zeros(&self) -> Vec<Vec<&'static str>> {
        let product = |sets: &&[Values]| {
            sets.iter().fold(vec![Vec::new()], |series: Vec<Vec<&'static str>>, values| {
                let longer = |begun: &Vec<&'static str>| {
                    let begun = begun.clone();
                    values.all().into_iter().map(move |value| [begun.clone(), vec![value]].concat())
                };
                series.iter().flat_map(longer).collect()
            })
        };
        self.series.iter().flat_map(product).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn every_series_has_a_value_for_every_label() {
        for metric in ALL {
            let zeros = metric.zeros();
            assert!(!zeros.is_empty(), "{}", metric.name);
            assert!(zeros.iter().all(|values| values.len() == metric.labels.len()), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            let mut unique = zeros.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), zeros.len(), "{}: a series twice", metric.name);
        }
    }

    #[test]
    fn reasons_are_published_where_they_occur() {
        let zeros = REQUESTS.zeros();
        for (outcome, reason, is_there) in [
            ("miss", "absent", true),
            ("miss", "manual", false),
            ("miss", "", false),
            ("bypass", "absent", false),
            ("bypass", "locks", true),
            ("bypass", "unfaithful", true),
        ] {
            assert_eq!(zeros.contains(&vec![outcome, reason, ""]), is_there, "{outcome} {reason}");
        }
        assert!(STORES.zeros().contains(&vec!["unfaithful"]) && !STORES.zeros().contains(&vec!["absent"]));
    }

    /// `BLESS=1 cargo test --lib metrics_are_documented` writes the page anew.
    #[test]
    fn metrics_are_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let page = page();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).is_ok_and(|text| text == page),
            "docs/metrics.md is not up to date:\n{page}"
        );
    }

    fn page() -> String {
        let mut page = String::from(INTRODUCTION);
        for metric in ALL {
            let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let always = if metric.always { "" } else { " \\*" };
            let (name, unit, what) = (metric.name, metric.unit.as_str(), metric.what);
            writeln!(page, "| `{name}`{always} | {kind} | {unit} | {labels} | {what} |").unwrap();
        }
        page += "\n\\* Not published by a pool that was built with `statistics(false)`.\n\n## Series\n\n";
        for metric in ALL.iter().filter(|metric| !metric.labels.is_empty()) {
            writeln!(page, "`{}`:\n", metric.name).unwrap();
            for sets in metric.series {
                let labels = metric.labels.iter().zip(*sets).map(|(label, values)| {
                    let values: Vec<_> = values.all().iter().map(|value| format!("`{value}`")).collect();
                    format!("{label} {}", if values == ["``"] { "empty".to_owned() } else { values.join(", ") })
                });
                writeln!(page, "- {}", labels.collect::<Vec<_>>().join("; ")).unwrap();
            }
            page.push('\n');
        }
        page.truncate(page.trim_end().len());
        page + "\n"
    }

    const INTRODUCTION: &str = "# Metrics

Larder tells them to the recorder of the `metrics` facade that is installed when a pool is built.
Every series listed under \"Series\" is published at zero then; tables get theirs when they are first written. No label holds
SQL or a value. Pools of one process add up in the same series. What a reason means is said at
`Reason` in the documentation of the crate. What happened to a single statement is told by
`pool.queries()`, not by metrics.

This page is written from `src/observe/catalogue.rs` by its test.

| metric | kind | unit | labels | what it counts |
|---|---|---|---|---|
";
}
