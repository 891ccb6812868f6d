//! No expression may name what is not in the catalogue, and what is committed is what would be written.

use std::collections::BTreeSet;

use serde_json::Value;

use super::alerts::{JOB, alerts};
use super::{Monitoring, rules};
use crate::{Metric, MetricKind, metrics};

/// What Prometheus has besides what Larder tells.
const OWN: [&str; 2] = ["up", "ALERTS"];
/// Labels that it adds, or that its alerts have.
const ADDED: [&str; 5] = ["job", "instance", "alertname", "alertstate", "severity"];
/// Of a summary of metrics-exporter-prometheus.
const QUANTILES: [&str; 7] = ["0", "0.5", "0.9", "0.95", "0.99", "0.999", "1"];

/// What the committed kit is made with.
fn kit() -> Monitoring {
    Monitoring {
        out: concat!(env!("CARGO_MANIFEST_DIR"), "/examples/monitoring").into(),
        scrape_target: Vec::new(),
        scrape_name: vec![("app".into(), 8080)],
        docs_url: "docs/monitoring.md".into(),
        force: true,
    }
}

/// Writes the files anew with `BLESS=1`.
fn compare(files: Vec<(std::path::PathBuf, String)>) {
    for (path, text) in files {
        if std::env::var_os("BLESS").is_some() {
            super::write(&path, &text).unwrap();
        }
        let is_there = std::fs::read_to_string(&path).is_ok_and(|there| there == text);
        assert!(is_there, "{} is not up to date: BLESS=1 cargo test --lib monitoring", path.display());
    }
}

#[test]
fn the_committed_kit_is_what_would_be_written() {
    let kit = kit();
    compare(kit.files().into_iter().map(|(path, text)| (kit.out.join(path), text)).collect());
}

#[test]
fn every_alert_is_documented() {
    let mut page = include_str!("files/monitoring.md").to_owned();
    for alert in alerts() {
        let text = |text: &str| {
            // What a template shows is a word in a page.
            let parts = text.split("{{").map(|part| {
                part.split_once("}}").map_or(part.to_owned(), |(inside, rest)| {
                    let word = inside.trim().trim_start_matches("$labels.").trim_start_matches('$');
                    format!("<{}>{rest}", word.split(' ').next().unwrap_or_default())
                })
            });
            parts.collect::<String>().replace(['<', '>'], "`")
        };
        page += &format!(
            "\n### {}\n\n{} {}: {}.\n\n```promql\n{}\n```\n\n{}\n\n*Why then:* {}\n",
            alert.name,
            match alert.severity.label() {
                "page" => "Page",
                _ => "Ticket",
            },
            if alert.lasts == "0m" { "at once".to_owned() } else { format!("after {}", alert.lasts) },
            text(alert.summary),
            alert.expression,
            text(alert.action),
            alert.threshold,
        );
    }
    compare(vec![(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md").into(), page)]);
}

/// Every expression there is: of rules, alerts and panels.
fn expressions() -> Vec<String> {
    let mut all: Vec<String> = alerts().into_iter().map(|alert| alert.expression).collect();
    all.extend(rules::recorded().into_iter().map(|(_, expression, _)| expression));
    for dashboard in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().into_iter().flatten();
            all.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
        }
    }
    all
}

fn dashboards() -> Vec<Value> {
    let files = kit().files();
    let dashboards = files.iter().filter(|(path, _)| path.ends_with(".json"));
    dashboards.map(|(_, text)| serde_json::from_str(text).unwrap()).collect()
}

#[test]
fn expressions_name_only_what_is_in_the_catalogue() {
    let all = expressions();
    assert!(all.len() > 60, "{}", all.len());
    for expression in &all {
        assert_eq!(faults(expression), Vec::<String>::new(), "{expression}");
    }
    for alert in alerts() {
        for (series, _) in alert.fires.series.iter().chain(&alert.quiet.series).filter(|(series, _)| series != "other")
        {
            assert_eq!(faults(series), Vec::<String>::new(), "{}", alert.name);
        }
    }
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let all = expressions().join("\n");
    for metric in metrics() {
        assert!(all.contains(&super::names::name(metric)), "{}", metric.name());
    }
}

#[test]
fn what_drifted_is_found() {
    for (expression, fault) in [
        ("sum(rate(larder_request_total[5m]))", "larder_request_total"),
        ("larder_breakers{status=\"open\"} > 0", "status"),
        ("larder_breakers{state=\"opened\"}", "opened"),
        ("larder_breakers{state=~\"open|halfopen\"}", "halfopen"),
        ("sum by (reason) (larder_breakers)", "reason"),
        ("larder_entries_sum", "larder_entries_sum"),
        ("larder_feed_lag_seconds_bucket", "larder_feed_lag_seconds_bucket"),
        ("larder_request_seconds{quantile=\"0.75\"}", "0.75"),
        ("larder_entries{quantile=\"0.5\"}", "quantile"),
        ("up unless on (job, table) larder_entries", "table"),
    ] {
        let found = faults(expression);
        assert!(found.len() == 1 && found[0].contains(fault), "{expression}: {found:?}");
    }
    assert_eq!(
        faults("sum by (state) (rate(larder_breakers{state!=\"open\"}[$__rate_interval])) / 1e6 offset 1d"),
        [""; 0]
    );
}

#[test]
fn panels_say_what_they_show_and_do_not_overlap() {
    for dashboard in dashboards() {
        let panels = dashboard["panels"].as_array().unwrap();
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel:#}");
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{panel:#}");
            for x in place("x")..place("x") + place("w") {
                assert!((place("y")..place("y") + place("h")).all(|y| taken.insert((x, y))), "{panel:#}");
            }
            if panel["type"] != "row" {
                assert!(panel["description"].as_str().unwrap().len() > 20, "{panel:#}");
                assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty());
                assert_eq!(panel["datasource"]["uid"], "${datasource}");
                assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel:#}");
            }
        }
        assert!(panels.len() > 10 && dashboard["schemaVersion"].as_u64() >= Some(39));
    }
}

/// In a Prometheus that watches much else, too.
#[test]
fn all_jobs_are_those_of_larder() {
    for dashboard in dashboards() {
        let choices = dashboard["templating"]["list"].as_array().unwrap();
        let choice = |name: &str| choices.iter().find(|choice| choice["name"] == name).unwrap();
        assert_eq!(choice("job")["allValue"], Value::Null, "all would be any job, of whatever");
        assert!(choice("job")["definition"].as_str().unwrap().starts_with("label_values(larder_"));
        assert_eq!(choice("instance")["allValue"], ".+");
    }
}

/// The metric that a name of Prometheus stands for, and whether it is the histogram itself.
fn metric(name: &str) -> Option<(&'static Metric, bool)> {
    metrics().find_map(|metric| {
        let (own, is_histogram) = (super::names::name(metric), metric.kind() == MetricKind::Histogram);
        let is_part = is_histogram && (name == format!("{own}_sum") || name == format!("{own}_count"));
        (name == own || is_part).then_some((metric, is_histogram && name == own))
    })
}

/// What in an expression is not in the catalogue.
fn faults(expression: &str) -> Vec<String> {
    let tokens = tokens(expression);
    let recorded = rules::recorded();
    let mut faults = Vec::new();
    let mut labels: BTreeSet<String> = ADDED.map(str::to_owned).into();
    // Labels by which is grouped or matched.
    let mut grouped = Vec::new();
    let mut current: Option<(&Metric, bool)> = None;
    let mut at = 0;
    while at < tokens.len() {
        let token = &*tokens[at];
        let next = tokens.get(at + 1).map_or("", |token| token);
        at += 1;
        if ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&token) && next == "(" {
            let end = at + tokens[at..].iter().position(|token| token == ")").unwrap();
            grouped.extend(tokens[at + 1..end].iter().filter(|token| *token != ",").cloned());
            at = end;
        } else if token == "{" {
            let end = at + tokens[at..].iter().position(|token| token == "}").unwrap();
            for matcher in tokens[at..end].split(|token| token == ",") {
                let (label, operator, value) = (&*matcher[0], &*matcher[1], matcher.last().unwrap().trim_matches('"'));
                match current {
                    _ if label == "job" || label == "instance" => {}
                    Some((metric, is_histogram)) => {
                        let place = metric.labels().iter().position(|known| known.replace('.', "_") == label);
                        let known: Vec<&str> = match place {
                            Some(place) => metric.series().iter().map(|values| values[place]).collect(),
                            None if label == "quantile" && is_histogram => QUANTILES.to_vec(),
                            None => {
                                faults.push(format!("{} has no label {label}", metric.name()));
                                continue;
                            }
                        };
                        let values = if operator.contains('~') { value.split('|').collect() } else { vec![value] };
                        let unknown = values.iter().filter(|value| !value.is_empty() && !known.contains(value));
                        faults.extend(unknown.map(|value| format!("{}: {label} is never {value}", metric.name())));
                    }
                    None => assert!(ADDED.contains(&label), "{expression}: {label}"),
                }
            }
            at = end + 1;
        } else if is_name(token) && !["(", "by", "without"].contains(&next) {
            let is_word = ["and", "or", "unless", "offset", "bool", "by", "on"].contains(&token);
            let is_own = OWN.contains(&token) || recorded.iter().any(|(name, ..)| *name == token);
            current = metric(token);
            match current {
                Some((metric, _)) => labels.extend(metric.labels().iter().map(|label| label.replace('.', "_"))),
                None if is_word || is_own => {}
                None => faults.push(format!("no metric is called {token}")),
            }
        }
    }
    faults.extend(
        grouped.into_iter().filter(|label| !labels.contains(label)).map(|label| format!("no label is called {label}")),
    );
    faults
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Names with what belongs to them, strings, numbers and durations, operators.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || "_:.$".contains(c);
        let length = match first {
            '"' => rest[1..].find('"').unwrap() + 2,
            _ if is_inside(first) => rest.find(|c| !is_inside(c)).unwrap_or(rest.len()),
            '=' | '!' | '<' | '>' => rest.find(|c| !"=!<>~".contains(c)).unwrap(),
            _ => 1,
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn targets_are_host_and_port() {
    for good in ["localhost:9000", "10.0.0.7:1", "[::1]:9000", "shop-1.internal:65535"] {
        assert!(super::address(good).is_ok(), "{good}");
    }
    for bad in [
        "localhost",
        ":9000",
        "a:0",
        "a:70000",
        "a b:9000",
        "::1:9000",
        "a\":9000",
        "http://a:9000",
        "[a]:9000",
        "a:9000/x",
    ] {
        assert!(super::address(bad).is_err(), "{bad}");
    }
}

#[test]
fn nodes_are_found_as_they_were_given() {
    let scrapes = Monitoring { scrape_target: vec![("a".into(), 1), ("[::1]".into(), 2)], ..kit() }.scrapes();
    let read: Value = serde_saphyr::from_str(&scrapes).unwrap();
    let job = &read["scrape_configs"][0];
    assert_eq!(job["job_name"], JOB);
    assert_eq!(job["static_configs"][0]["targets"], serde_json::json!(["a:1", "[::1]:2"]));
    assert_eq!(job["dns_sd_configs"][0]["names"], serde_json::json!(["app"]));
    let usual = Monitoring { scrape_name: Vec::new(), ..kit() }.scrapes();
    let read: Value = serde_saphyr::from_str(&usual).unwrap();
    assert_eq!(read["scrape_configs"][0]["static_configs"][0]["targets"][0], "localhost:9000");
}

#[test]
fn alerts_link_to_where_the_docs_are() {
    let files = Monitoring { docs_url: "https://docs.example/monitoring".into(), ..kit() }.files();
    for (_, text) in files.iter().filter(|(path, _)| path.contains("larder.rules")) {
        assert!(text.contains("runbook_url: \"https://docs.example/monitoring#larderbreakeropen\""));
    }
    for bad in ["a b", "a#b", "{{ $value }}", "a\nb", "\""] {
        assert!(super::link(bad).is_err(), "{bad}");
    }
}
