//! The rules as Prometheus reads them, and the tests of them as promtool does.
//!
//! Written as text: a writer of YAML would take the comments, and put expressions on one line.

use std::fmt::Write;

use super::alerts::{Alert, Case, HIT_RATIO, NODE, READS, SAVED};
use super::names::{name, series};
use crate::catalogue::{REQUESTS, SAVED_TIME};

const HEAD: &str = "# Written by `larder monitoring`, which overwrites changes only with --force.\n\
                    # To test the rules: promtool test rules larder.rules.test.yml\n";

/// What is worked out once, for alerts that look back and for dashboards of weeks: name, expression, what it is.
pub(super) fn recorded() -> [(&'static str, String, &'static str); 3] {
    let reads = name(&REQUESTS);
    let spared = series(&REQUESTS, r#"outcome=~"hit|coalesced""#);
    let saved = name(&SAVED_TIME);
    [
        (READS, format!("sum by (job) (rate({reads}[5m]))"), "Reads per second."),
        (
            HIT_RATIO,
            format!("sum by (job) (rate({spared}[5m]))\n/ sum by (job) (rate({reads}[5m]))"),
            "Hits and coalesced reads as a share of all reads, as pool.stats() has it.",
        ),
        (SAVED, format!("sum by (job) (rate({saved}[5m])) / 1e6"), "Seconds of database time saved in each second."),
    ]
}

/// `larder.rules.yml`.
pub(super) fn rules(alerts: &[Alert], docs: &str) -> String {
    let mut text = format!("{HEAD}groups:\n  - name: larder.recorded\n    rules:\n");
    for (name, expression, what) in recorded() {
        text += &format!("      # {what}\n      - record: {name}\n        expr: |\n{}", block(&expression, 10));
    }
    text += "  - name: larder.alerts\n    rules:\n";
    for alert in alerts {
        text += &format!(
            "      # {}\n      - alert: {}\n        expr: |\n{}        for: {}\n        labels:\n          severity: {}\n        annotations:\n",
            alert.threshold,
            alert.name,
            block(&alert.expression, 10),
            alert.lasts,
            alert.severity.label(),
        );
        for (key, value) in annotations(alert, docs) {
            text += &format!("          {key}: {}\n", quoted(&value));
        }
    }
    text
}

fn annotations(alert: &Alert, docs: &str) -> [(&'static str, String); 3] {
    [
        ("summary", alert.summary.to_owned()),
        ("description", alert.action.to_owned()),
        ("runbook_url", format!("{docs}#{}", alert.name.to_lowercase())),
    ]
}

/// `larder.rules.test.yml`: each alert in series in which it fires, and in some in which it must not.
pub(super) fn tests(alerts: &[Alert], docs: &str) -> String {
    let mut text = format!("{HEAD}rule_files:\n  - larder.rules.yml\nevaluation_interval: 1m\ntests:\n");
    for alert in alerts {
        for (case, fires) in [(&alert.fires, true), (&alert.quiet, false)] {
            let does = if fires { "fires" } else { "stays quiet" };
            text += &format!("  - name: {} {does}\n    interval: 1m\n    input_series:\n", alert.name);
            for (series, values) in &case.series {
                text += &format!("      - series: '{series}'\n        values: \"{values}\"\n");
            }
            text += &format!(
                "    alert_rule_test:\n      - eval_time: {}\n        alertname: {}\n        exp_alerts:",
                case.at, alert.name
            );
            text += &if fires { expected(alert, case, docs) } else { " []\n".to_owned() };
        }
    }
    text
}

/// The alert that promtool is to see, word by word.
fn expected(alert: &Alert, case: &Case, docs: &str) -> String {
    let of = NODE.iter().filter(|(label, _)| case.of_node || *label == "job");
    let labels: Vec<_> = of.chain(case.labels).copied().collect();
    let mut text = format!("\n          - exp_labels:\n              severity: {}\n", alert.severity.label());
    labels.iter().for_each(|(label, value)| text += &format!("              {label}: {}\n", quoted(value)));
    text += "            exp_annotations:\n";
    for (key, value) in annotations(alert, docs) {
        text += &format!("              {key}: {}\n", quoted(&shown(&value, &labels, case.value)));
    }
    text
}

/// What a template of Prometheus shows.
fn shown(template: &str, labels: &[(&str, &str)], value: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, inside)) = rest.split_once("{{") {
        let (inside, after) = inside.split_once("}}").unwrap_or((inside, ""));
        let label = inside.trim().strip_prefix("$labels.");
        let known = label.and_then(|label| labels.iter().find(|(name, _)| *name == label));
        let _ = write!(text, "{before}{}", known.map_or(value, |(_, value)| value));
        rest = after;
    }
    text + rest
}

/// Lines of a block of YAML, so far from the left.
fn block(text: &str, indent: usize) -> String {
    text.lines().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// A text of JSON is one of YAML.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
