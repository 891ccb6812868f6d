//! `larder soak`, for a short while: it finds nothing wrong, and it finds what is wrong.

use serde_json::Value;

use crate::servers::Postgres;
use crate::support::larder;

/// Runs it, and returns what it printed and whether it succeeded.
fn soak(arguments: &[&str]) -> (Value, bool) {
    let url = Postgres::shared().fresh();
    let (text, errors, code) = larder(&[&["soak", "--json", "--database-url", &url], arguments].concat());
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (report, code == 0)
}

#[test]
fn whatever_fails_no_answer_is_older_than_promised() {
    let (report, succeeded) = soak(&["--seconds", "15", "--nodes", "3", "--outsiders", "1"]);
    let runs = report["runs"].as_array().expect("runs");
    assert_eq!(
        runs.iter().map(|run| run["consistency"].as_str()).collect::<Vec<_>>(),
        [Some("bounded"), Some("strict")]
    );
    for run in runs {
        assert_eq!((&run["violations"], succeeded), (&Value::from(0), true), "{report:#}");
        assert!(run["reads_checked"].as_u64() > Some(1_000) && run["writes"].as_u64() > Some(100), "{report:#}");
        assert!(
            run["hit_rate"].as_f64() > Some(0.02) && !run["faults"].as_object().expect("faults").is_empty(),
            "{report:#}"
        );
    }
}

#[test]
fn a_rule_that_is_broken_is_found_out() {
    let (report, succeeded) = soak(&["--seconds", "5", "--calm", "--consistency", "bounded", "--break", "announce"]);
    assert!(!succeeded && report["runs"][0]["violations"].as_u64() > Some(0), "{report:#}");
}
