//! What somebody is to be told of, when, and what they should do then.
//!
//! Counters that are compared with zero are those that a pool publishes at zero when it is built: `increase` does not see the first
//! count of a series that begins with it.

use super::names::{name, series};
use crate::catalogue::{
    AUDITS, BREAKERS, CONNECTIONS, EMERGENCIES, FEEDS, POOL_MOST, POOL_PENDING, POOL_TIMEOUTS, REJECTIONS, REMOVALS,
    REQUESTS, STORES, TRANSITIONS, UNPUBLISHED,
};

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Somebody, now.
    Page,
    /// Whoever works on it next.
    Ticket,
}

impl Severity {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// One alert.
#[derive(Debug)]
pub(super) struct Alert {
    pub name: &'static str,
    pub expression: String,
    /// For how long it has to be so.
    pub lasts: &'static str,
    pub severity: Severity,
    /// What is the matter; may hold `{{ $labels.x }}` and `{{ $value }}`.
    pub summary: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Why this threshold and this time, in one line.
    pub threshold: &'static str,
    pub fires: Case,
    pub quiet: Case,
}

/// Series in which it fires, or does not.
#[derive(Debug)]
pub(super) struct Case {
    /// Each with its samples as promtool writes them: `0+10x30` begins with 0 and adds 10, thirty times.
    pub series: Vec<(String, &'static str)>,
    /// When it is looked at. In a quiet case that is while what would have to last is so, but for too short a time.
    pub at: &'static str,
    /// Labels of the alert that fires then, besides those of a node.
    pub labels: &'static [(&'static str, &'static str)],
    /// What `{{ $value .. }}` shows.
    pub value: &'static str,
    /// Whether it is about a node, not about all of them.
    pub of_node: bool,
}

/// The only node of the cases.
pub(super) const NODE: [(&str, &str); 2] = [("job", JOB), ("instance", "10.0.0.7:8080")];
/// What Prometheus calls the nodes.
pub(super) const JOB: &str = "larder";

fn case<const N: usize>(at: &'static str, series: [(String, &'static str); N]) -> Case {
    Case { series: series.into(), at, labels: &[], value: "", of_node: true }
}

impl Case {
    fn with(self, labels: &'static [(&'static str, &'static str)]) -> Self {
        Self { labels, ..self }
    }

    fn shows(self, value: &'static str) -> Self {
        Self { value, ..self }
    }

    fn of_all_nodes(self) -> Self {
        Self { of_node: false, ..self }
    }
}

/// Reads of all nodes per second.
pub(super) const READS: &str = "job:larder_reads:rate5m";
/// The share of them that the cache answered.
pub(super) const HIT_RATIO: &str = "job:larder_hit_ratio:rate5m";
/// Seconds of database time that are saved in a second.
pub(super) const SAVED: &str = "job:larder_saved_seconds:rate5m";

/// All of them, the worst first.
pub(super) fn alerts() -> Vec<Alert> {
    let node = NODE.map(|(label, value)| format!("{label}=\"{value}\"")).join(", ");
    let at = |metric, labels: &str| match labels {
        "" => series(metric, &node),
        _ => series(metric, &format!("{node}, {labels}")),
    };
    let up = || format!("up{{{node}}}");
    let by_node = |what: &str| format!("sum by (job, instance) ({what})");
    let by = |label: &str, what: &str| format!("sum by (job, instance, {label}) ({what})");
    let hit = r#"outcome="hit", reason="", tier="memory""#;
    let miss = r#"outcome="miss", reason="absent", tier="""#;
    let changed = r#"outcome="bypass", reason="session_changed", tier="""#;

    vec![
        Alert {
            name: "LarderGaveStaleAnswers",
            expression: format!("{} > 0", by_node(&format!("increase({}[1h])", series(&AUDITS, r#"outcome="stale""#)))),
            lasts: "0m",
            severity: Severity::Page,
            summary: "{{ $labels.instance }}: audits found answers from the cache that were wrong",
            action: "Somebody writes to the database who is not seen. Which tables: larder_audit_stale_total by table, or \
                     audited_stale of pool.stats(). Until the writer is found, keep these tables out (never_cache in larder.toml, or a \
                     short ttl); then have the tables watched: larder watch install. docs/watch.md says what is not seen.",
            threshold: "One wrong answer is one too many. Needs Builder::audit; without it nothing is looked into.",
            fires: case("20m", [(at(&AUDITS, r#"outcome="stale""#), "0x10 1x30")]),
            quiet: case(
                "20m",
                [
                    (at(&AUDITS, r#"outcome="stale""#), "0x40"),
                    (at(&AUDITS, r#"outcome="good""#), "0+5x40"),
                    (at(&AUDITS, r#"outcome="undecided""#), "0+1x40"),
                ],
            ),
        },
        Alert {
            name: "LarderTargetDown",
            expression: format!("up{{job=\"{JOB}\"}} == 0"),
            lasts: "2m",
            severity: Severity::Page,
            summary: "{{ $labels.instance }} cannot be scraped",
            action: "See whether the process runs and serves /metrics: curl its address. Nothing is known of this node meanwhile, and no \
                     other alert about it can fire.",
            threshold: "Two minutes are longer than a restart or a scrape that was lost.",
            fires: case("10m", [(up(), "1x3 0x20")]),
            quiet: case("5m", [(up(), "1x3 0x1 1x20")]),
        },
        Alert {
            name: "LarderNoTargets",
            expression: format!("absent(up{{job=\"{JOB}\"}})"),
            lasts: "5m",
            severity: Severity::Page,
            summary: "Prometheus knows no node of {{ $labels.job }}",
            action: "Nothing is watched. See whether any node runs, and whether Prometheus finds them: Status, Target health; the name or \
                     addresses in prometheus.yml.",
            threshold: "A node that is gone altogether is no target that is down; five minutes are longer than a new version takes.",
            fires: case("10m", [("other".into(), "1x20")]).of_all_nodes(),
            quiet: case("10m", [(up(), "0x20")]),
        },
        Alert {
            name: "LarderBreakerOpen",
            expression: format!(
                "{} > 0",
                by_node(&series(&BREAKERS, r#"backend="database", state=~"open|half_open""#))
            ),
            lasts: "1m",
            severity: Severity::Page,
            summary: "{{ $labels.instance }}: the breaker before the database is open",
            action: "Look at the database first: is it up, can it be reached, is it full or slow? Reads are answered from memory and \
                     Redis; all else is rejected. pool.breaker() and the log (target larder::guard) tell the cause. It closes by itself \
                     when the database answers; do not force it closed while it does not.",
            threshold: "A pause is 30 s (and up to half more by chance) at most: after a minute a probe has failed, too.",
            fires: case(
                "10m",
                [
                    (at(&BREAKERS, r#"backend="database", state="open""#), "0x3 1 1 0 1 1 0 1x20"),
                    (at(&BREAKERS, r#"backend="database", state="half_open""#), "0x3 0 0 1 0 0 1 0x20"),
                ],
            ),
            quiet: case(
                "9m",
                [
                    (at(&BREAKERS, r#"backend="database", state="open""#), "0x8 1 0x20"),
                    (at(&BREAKERS, r#"backend="database", state="closed""#), "1x8 0 1x20"),
                    (at(&BREAKERS, r#"backend="database", state="forced_open""#), "0x30"),
                ],
            ),
        },
        Alert {
            name: "LarderUnpublishedTables",
            expression: format!("{} > 0", by_node(&name(&UNPUBLISHED))),
            lasts: "2m",
            severity: Severity::Page,
            summary: "{{ $labels.instance }}: other nodes could not be told of writes to {{ $value }} tables",
            action: "This node writes and cannot reach Redis; nodes that can may still give out what they had of these tables, until it \
                     is told or its time to live is over. Bring Redis back for this node, or take its traffic away. What could not be \
                     told is told first when Redis answers.",
            threshold: "A reconnection takes seconds; two minutes are no hiccup.",
            fires: case("10m", [(at(&UNPUBLISHED, ""), "0x2 3x20")]).shows("3"),
            quiet: case("8m", [(at(&UNPUBLISHED, ""), "0x6 2x1 0x20")]),
        },
        Alert {
            name: "LarderFeedBehind",
            expression: format!("{} > 0", by("feed", &series(&FEEDS, r#"state="behind""#))),
            lasts: "5m",
            severity: Severity::Page,
            summary: "{{ $labels.instance }}: does not hear in time what others write ({{ $labels.feed }})",
            action: "Answers stay right, but reads go to the database, which gets the whole load. redis: is Redis up, reachable and \
                     quick? A Redis that lost its data is waited for one lease. triggers: does the pool get its connection, and is \
                     larder watch status well?",
            threshold: "Longer than a lease (30 s) after a restart of Redis; five minutes of full load are worth a look.",
            fires: case("15m", [(at(&FEEDS, r#"feed="redis", state="behind""#), "0x3 1x20")])
                .with(&[("feed", "redis")]),
            quiet: case(
                "12m",
                [
                    (at(&FEEDS, r#"feed="redis", state="behind""#), "0x8 1x3 0x20"),
                    (at(&FEEDS, r#"feed="redis", state="current""#), "1x8 0x3 1x20"),
                    (at(&FEEDS, r#"feed="triggers", state="behind""#), "0x40"),
                ],
            ),
        },
        Alert {
            name: "LarderRedisUnreachable",
            expression: format!(
                "{} == 0\nand on (job, instance)\n{} > 0",
                by_node(&name(&CONNECTIONS)),
                by_node(&series(&FEEDS, r#"feed="redis""#))
            ),
            lasts: "2m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: no connection to Redis, though it is set up",
            action: "Check address, password and TLS of this node's RedisOptions, then Redis itself (PING, memory, maxclients). The \
                     log says what was answered. It comes back by itself.",
            threshold: "It is tried again every two seconds or sooner. Nodes without Redis have no feed of that name and are left alone.",
            fires: case(
                "10m",
                [
                    (at(&CONNECTIONS, ""), "4x2 0x20"),
                    (at(&FEEDS, r#"feed="redis", state="behind""#), "0x2 1x20"),
                    (at(&FEEDS, r#"feed="redis", state="current""#), "1x2 0x20"),
                ],
            )
            .shows("0"),
            quiet: case(
                "10m",
                [
                    (at(&CONNECTIONS, ""), "0x20"),
                    (at(&FEEDS, r#"feed="redis", state="behind""#), "0x20"),
                    (at(&FEEDS, r#"feed="redis", state="current""#), "0x20"),
                    (at(&FEEDS, r#"feed="triggers", state="current""#), "1x20"),
                ],
            ),
        },
        Alert {
            name: "LarderCallsRejected",
            expression: format!("{} > 0", by("guard", &format!("increase({}[5m])", name(&REJECTIONS)))),
            lasts: "5m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: calls are rejected ({{ $labels.guard }})",
            action: "breaker: see LarderBreakerOpen. load_limit: more results are loaded at a time than limit_loads allows; find what is \
                     slow or missed so often (pool.queries()), then raise the limit. consistency: strict writes are refused while Redis is \
                     out of reach; bring Redis back.",
            threshold: "A single burst is forgotten by then; what goes on is not.",
            fires: case("15m", [(at(&REJECTIONS, r#"guard="load_limit""#), "0x2 0+3x30")])
                .with(&[("guard", "load_limit")]),
            quiet: case(
                "8m",
                [
                    (at(&REJECTIONS, r#"guard="load_limit""#), "0x4 7x30"),
                    (at(&REJECTIONS, r#"guard="breaker""#), "0x40"),
                    (at(&REJECTIONS, r#"guard="consistency""#), "0x40"),
                ],
            ),
        },
        Alert {
            name: "LarderRedisBreakerOpen",
            expression: format!("{} > 0", by_node(&series(&BREAKERS, r#"backend="redis", state=~"open|half_open""#))),
            lasts: "2m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: the breaker before Redis is open",
            action: "See whether Redis is up, can be reached from this node, and answers within RedisOptions::timeout. Reads go to the \
                     database meanwhile, and what is written is told to other nodes when it is closed again: LarderUnpublishedTables pages \
                     if that takes too long.",
            threshold: "A pause is 5 s (and up to half more by chance) at most: after two minutes many probes have failed.",
            fires: case("10m", [(at(&BREAKERS, r#"backend="redis", state="open""#), "0x3 1x30")]),
            quiet: case(
                "9m",
                [
                    (at(&BREAKERS, r#"backend="redis", state="open""#), "0x8 1 0x20"),
                    (at(&BREAKERS, r#"backend="redis", state="closed""#), "1x8 0 1x20"),
                ],
            ),
        },
        Alert {
            name: "LarderEmergency",
            expression: format!("{} > 0", by("pressure", &name(&EMERGENCIES))),
            lasts: "2m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }} sheds work: it is short of {{ $labels.pressure }}",
            action: "database: more callers wait for a connection than Builder::emergency allows; see what the connections are busy with, \
                     and the report's heaviest statements. memory: the machine or the container is nearly full, and nothing is kept \
                     meanwhile; give it more, or lower max_bytes. It ends by itself.",
            threshold: "It begins after three seconds and ends after five: two minutes are no passing peak.",
            fires: case("10m", [(at(&EMERGENCIES, r#"pressure="memory""#), "0x3 1x30")])
                .with(&[("pressure", "memory")]),
            quiet: case("9m", [(at(&EMERGENCIES, r#"pressure="memory""#), "0x8 1 0x20")]),
        },
        Alert {
            name: "LarderBreakerForced",
            expression: format!(
                "{} > 0",
                by("backend, state", &series(&BREAKERS, r#"state=~"forced_open|forced_closed""#))
            ),
            lasts: "1h",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: the {{ $labels.backend }} breaker is {{ $labels.state }} by hand for more than an hour",
            action: "Somebody gave an order and may have forgotten it: pool.breakers() has the reason. pool.breaker().release(), or that of \
                     pool.redis_breaker(), lets it decide by itself again.",
            threshold: "Orders are for incidents. disabled is left out: it may be so by the options.",
            fires: case("90m", [(at(&BREAKERS, r#"backend="redis", state="forced_closed""#), "0x5 1x100")])
                .with(&[("backend", "redis"), ("state", "forced_closed")]),
            quiet: case(
                "95m",
                [
                    // One after the other, each for less than an hour.
                    (at(&BREAKERS, r#"backend="database", state="forced_closed""#), "0x20 1x49 0x40"),
                    (at(&BREAKERS, r#"backend="redis", state="forced_closed""#), "0x70 1x40"),
                    (at(&BREAKERS, r#"backend="database", state="disabled""#), "1x110"),
                ],
            ),
        },
        Alert {
            name: "LarderBreakerFlaps",
            expression: format!(
                "{} > 5",
                by("backend", &format!("increase({}[1h])", series(&TRANSITIONS, r#"from="closed", to="open""#)))
            ),
            lasts: "0m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: the {{ $labels.backend }} breaker opened {{ $value | printf \"%.0f\" }} times within an hour",
            action: "What it stands before is at its limit: well enough to close the breaker, not to keep it closed. Look for what is slow \
                     at those moments; spare a database (Builder::limit_loads), give Redis more time (RedisOptions::timeout) if the way \
                     to it is long, or widen the window if calls fail that are harmless.",
            threshold: "One opening is an incident, more than five an hour are a pattern.",
            fires: case(
                "60m",
                [
                    (at(&TRANSITIONS, r#"backend="redis", from="closed", to="open""#), "0x9 1x9 2x9 3x9 4x9 6x9 8x20"),
                    (at(&TRANSITIONS, r#"backend="database", from="closed", to="open""#), "0x20 1x20 2x30"),
                ],
            )
            .with(&[("backend", "redis")])
            .shows("8"),
            quiet: case(
                "60m",
                [
                    // More than five only together.
                    (at(&TRANSITIONS, r#"backend="database", from="closed", to="open""#), "0x9 1x9 2x9 3x9 4x40"),
                    (at(&TRANSITIONS, r#"backend="redis", from="closed", to="open""#), "0x9 1x9 2x9 3x9 4x40"),
                ],
            ),
        },
        Alert {
            name: "LarderPoolTimeouts",
            expression: format!("{} > 0", by("cause", &format!("increase({}[5m])", name(&POOL_TIMEOUTS)))),
            lasts: "0m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: callers waited in vain for a connection ({{ $labels.cause }})",
            action: "cannot_connect: the database takes no connections: down, full, or the password is wrong. slow_queries: statements \
                     take long, or wait for each other's locks: look at database time by statement (pool.report()). backlog: none \
                     takes long, but there are more than the connections can do: look for what is asked too often, then think of \
                     max_connections. leak_suspected: callers keep connections and ask nothing: a transaction over a call to somebody \
                     else, or a leak.",
            threshold: "Each is an error that a user saw.",
            fires: case("10m", [(at(&POOL_TIMEOUTS, r#"cause="leak_suspected""#), "0x3 0+1x20")])
                .with(&[("cause", "leak_suspected")]),
            quiet: case(
                "10m",
                [
                    (at(&POOL_TIMEOUTS, r#"cause="leak_suspected""#), "3x20"),
                    (at(&POOL_TIMEOUTS, r#"cause="slow_queries""#), "0x20"),
                    (at(&POOL_TIMEOUTS, r#"cause="backlog""#), "0x20"),
                    (at(&POOL_TIMEOUTS, r#"cause="cannot_connect""#), "0x20"),
                ],
            ),
        },
        Alert {
            name: "LarderCallersWait",
            expression: format!("{} > {}", by_node(&name(&POOL_PENDING)), by_node(&name(&POOL_MOST))),
            lasts: "5m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: {{ $value }} callers wait for a connection",
            action: "More callers wait than there are connections. See whether connections are in use (panel Connections of the \
                     operations dashboard), what the database does, and whether hits went down; then think of max_connections.",
            threshold: "A queue as long as the pool doubles the time of each call; in five minutes a peak would have gone.",
            fires: case("15m", [(at(&POOL_PENDING, ""), "0x3 25x20"), (at(&POOL_MOST, ""), "10x30")]).shows("25"),
            quiet: case("13m", [(at(&POOL_PENDING, ""), "6x10 25x2 6x20"), (at(&POOL_MOST, ""), "10x40")]),
        },
        Alert {
            name: "LarderGaveOutdatedAnswers",
            expression: format!(
                "{} > 0",
                by_node(&format!("increase({}[5m])", series(&REQUESTS, r#"outcome="stale""#)))
            ),
            lasts: "0m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: answers are given out beyond their time, as stale_if_error allows",
            action: "The database does not answer: see LarderBreakerOpen. If nobody may see such answers, take stale_if_error from the \
                     policy of the tables concerned.",
            threshold: "It is allowed by a policy, but should be known each time.",
            fires: case("10m", [(at(&REQUESTS, r#"outcome="stale", reason="", tier="memory""#), "0x6 0+2x20")]),
            quiet: case(
                "10m",
                [
                    (at(&REQUESTS, r#"outcome="stale", reason="", tier="memory""#), "40x20"),
                    (at(&REQUESTS, hit), "0+100x20"),
                ],
            ),
        },
        Alert {
            name: "LarderCacheOff",
            expression: format!(
                "{}\n/ on (job, instance) group_left ()\n{} > 0.5",
                by(
                    "reason",
                    &format!(
                        "rate({}[10m])",
                        series(
                            &REQUESTS,
                            r#"outcome="bypass", reason=~"session_unseen|session_changed|session_hook|replica|read_uncommitted|replay_off|unwatched""#
                        )
                    )
                ),
                by_node(&format!("rate({}[10m])", name(&REQUESTS))),
            ),
            lasts: "10m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: {{ $value | humanizePercentage }} of the reads bypass the cache ({{ $labels.reason }})",
            action: "Something keeps the whole pool from caching, not single statements. session_changed, session_hook: a SET or a hook \
                     without Sessions::Uniform. session_unseen: looking at the database failed, the log says why. replica, \
                     read_uncommitted: the URL leads elsewhere than meant. unwatched: see LarderFeedBehind. replay_off: the self-test \
                     failed, the log says how.",
            threshold: "Reasons of this kind are near 0 or near 100 %; a half is neither.",
            fires: case("40m", [(at(&REQUESTS, hit), "0+20x40"), (at(&REQUESTS, changed), "0+80x40")])
                .with(&[("reason", "session_changed")])
                .shows("80%"),
            quiet: case(
                "40m",
                [
                    (at(&REQUESTS, hit), "0+80x40"),
                    (at(&REQUESTS, changed), "0+20x40"),
                    // One statement after another decides that, not the pool.
                    (at(&REQUESTS, r#"outcome="bypass", reason="locks", tier="""#), "0+900x40"),
                ],
            ),
        },
        Alert {
            name: "LarderHitRatioCollapsed",
            expression: format!(
                "{HIT_RATIO} < 0.5 * ({HIT_RATIO} offset 1d)\nand on (job) {READS} > 1\nand on (job) ({READS} offset 1d) > 1"
            ),
            lasts: "15m",
            severity: Severity::Ticket,
            summary: "{{ $labels.job }}: {{ $value | humanizePercentage }} of the reads hit, less than half of yesterday's share",
            action: "The engineering dashboard tells what changed: misses by reason (invalidated: a new writer, see invalidations by \
                     table; expired: a shorter ttl), bypasses by reason (a new version with other statements), removals by size (too \
                     little memory). pool.report() names the statements.",
            threshold: "Against the same hour of yesterday, so that nights do not count; below one read per second a ratio says nothing.",
            fires: case(
                "1500m",
                [(at(&REQUESTS, hit), "0+540x1440 777600+120x100"), (at(&REQUESTS, miss), "0+60x1440 86400+480x100")],
            )
            .of_all_nodes()
            .shows("20%"),
            quiet: case(
                "1500m",
                [(at(&REQUESTS, hit), "0+540x1440 777600+360x100"), (at(&REQUESTS, miss), "0+60x1440 86400+240x100")],
            )
            .of_all_nodes(),
        },
        Alert {
            name: "LarderEvictionsHigh",
            expression: format!(
                "{}\n/ {} > 0.5\nand on (job, instance) {} > 1",
                by_node(&format!("rate({}[15m])", series(&REMOVALS, r#"cause="size""#))),
                by_node(&format!("rate({}[15m])", series(&STORES, r#"reason="""#))),
                by_node(&format!("rate({}[15m])", series(&REMOVALS, r#"cause="size""#))),
            ),
            lasts: "30m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }}: {{ $value | humanizePercentage }} of what is stored makes something else leave for want of room",
            action: "The memory is too small for what is read: raise max_bytes, or keep out what is large and hardly asked for again \
                     (pool.report() names it, never_cache and max_entry_bytes keep it out).",
            threshold: "Some leave in any full cache; when every second one does, most leave before they are asked for again.",
            fires: case(
                "90m",
                [(at(&REMOVALS, r#"cause="size""#), "0+540x90"), (at(&STORES, r#"reason="""#), "0+600x90")],
            )
            .shows("90%"),
            quiet: case(
                "90m",
                [
                    (at(&REMOVALS, r#"cause="size""#), "0+120x90"),
                    (at(&REMOVALS, r#"cause="expired""#), "0+480x90"),
                    (at(&STORES, r#"reason="""#), "0+600x90"),
                ],
            ),
        },
        Alert {
            name: "LarderTellsNothing",
            expression: format!("up{{job=\"{JOB}\"}} == 1\nunless on (job, instance) {}", by_node(&name(&REQUESTS))),
            lasts: "10m",
            severity: Severity::Ticket,
            summary: "{{ $labels.instance }} is scraped, but has no metrics of Larder",
            action: "Install the recorder of the metrics facade before the pool is built: what is built earlier tells nothing.",
            threshold: "All series are there as soon as a pool is built; ten minutes leave time to start.",
            fires: case("15m", [(up(), "1x20")]).shows("1"),
            quiet: case("15m", [(up(), "1x20"), (at(&REQUESTS, hit), "0x20")]),
        },
    ]
}
