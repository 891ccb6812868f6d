//! `larder soak`, for a short while: it finds nothing wrong, and it finds what is wrong.

use std::process::Command;

use serde_json::Value;

use crate::servers::Postgres;

/// Runs it, and returns what it printed and whether it succeeded.
fn soak(arguments: &[&str]) -> (Value, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["soak", "--json", "--database-url", &Postgres::shared().fresh()])
        .args(arguments)
        .output()
        .expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (report, output.status.success())
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
