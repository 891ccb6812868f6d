//! The dashboard for everybody: is it well, and what does it bring?

use serde_json::Value;

use super::dashboard::{Panel, dashboard, increase, of, quantile, rate, up};
use crate::catalogue::{AUDITS, BREAKERS, DATABASE_TIME, FEEDS, REQUEST_SECONDS, REQUESTS, SAVED_TIME};

pub(super) fn overview() -> Value {
    let hits = || rate(&REQUESTS, r#"outcome=~"hit|coalesced""#);
    let reads = || rate(&REQUESTS, "");
    let seconds = |metric| format!("sum({}) / 1e6", rate(metric, ""));
    let rows = [
        ("Is it well?", vec![
            Panel::number("Nodes", "percentunit", "The share of nodes that Prometheus reaches.")
                .of(format!("sum({}) / count({})", up(), up()), "nodes")
                .below("red")
                .from(0.5, "orange")
                .from(1.0, "green"),
            Panel::number("Breaker", "short", "Open: the database of at least one node is in trouble, and is spared. By hand: somebody, or the options, keep it from opening.")
                .of(
                    format!(
                        "2 * (sum({}) > bool 0) + (sum({}) > bool 0)",
                        of(&BREAKERS, r#"backend="database", state=~"open|half_open|forced_open""#),
                        of(&BREAKERS, r#"backend="database", state=~"forced_closed|disabled""#)
                    ),
                    "state",
                )
                .word(0.0, 0.0, "closed")
                .word(1.0, 1.0, "by hand")
                .word(2.0, 3.0, "open")
                .from(1.0, "orange")
                .from(2.0, "red"),
            Panel::number("Feeds behind", "short", "Pools that do not hear in time what others write: they ask the database for everything.")
                .of(format!("sum({})", of(&FEEDS, r#"state="behind""#)), "behind")
                .from(1.0, "red"),
            Panel::number("Wrong answers", "short", "Answers that audits found wrong in the time shown. Without Builder::audit nothing is looked into.")
                // No number where none was looked into: a zero would be a promise.
                .of(
                    format!(
                        "sum({}) and sum({}) > 0",
                        increase(&AUDITS, r#"outcome="stale""#),
                        increase(&AUDITS, "")
                    ),
                    "stale",
                )
                .nothing("not audited")
                .from(0.5, "red"),
            Panel::number("Hit rate", "percentunit", "Hits and coalesced reads as a share of all reads. What is good depends on the application; a fall is what to look for.")
                .of(format!("sum({}) / sum({})", hits(), reads()), "hit rate")
                .nothing("no reads"),
            Panel::number("Saved", "none", "Seconds of database time that hits save in each second: about so many connections are not needed.")
                .of(seconds(&SAVED_TIME), "saved"),
        ]),
        ("What does it bring?", vec![
            Panel::areas("Reads", "reqps", "All reads by what became of them: hit, coalesced (with another's load), stale (an outage, by a policy), miss, bypass (cannot be kept).")
                .of(format!("sum by (outcome) ({})", reads()), "{{outcome}}"),
            Panel::lines("Hit rate", "percentunit", "By node. A fall after a new version or at a time of day is explained by the engineering dashboard.")
                .of(
                    format!("sum by (instance) ({}) / sum by (instance) ({})", hits(), reads()),
                    "{{instance}}",
                ),
            Panel::areas("Database time", "s", "Seconds of database time in each second: spent, and saved by hits. Together it is what the database would have to do without a cache.")
                .of(seconds(&DATABASE_TIME), "spent")
                .of(seconds(&SAVED_TIME), "saved"),
            Panel::lines("What a read of the database takes", "s", "Of the node where it takes longest, without the wait for a connection. Hits are not in it.")
                .of(quantile(&REQUEST_SECONDS, "0.5", ""), "p50")
                .of(quantile(&REQUEST_SECONDS, "0.99", ""), "p99")
                .from(1.0, "red"),
        ]),
        ("What is the matter?", vec![
            Panel::table("Alerts", "Alerts of Larder that fire. docs/monitoring.md says of each what to do.")
                .of(r#"max by (alertname, severity, instance) (ALERTS{alertname=~"Larder.+", alertstate="firing"})"#.into(), ""),
        ]),
    ];
    dashboard("larder-overview", "Larder: overview", "Is it well, and what does it bring?", &rows)
}
