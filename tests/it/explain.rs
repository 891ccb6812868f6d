//! `larder explain` tells what the analysis found, as the session reads the text.

use std::io::Write;
use std::process::{Command, Stdio};

/// What it prints for these arguments, with that on its standard input.
fn explain(arguments: &[&str], input: &str) -> (String, i32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn each_dialect_has_its_verdict() {
    for (arguments, expected) in [
        (&["--dialect", "postgres", "SELECT name FROM users WHERE id = $1"][..], "cached, if"),
        (&["--dialect", "sqlite", "SELECT name FROM users WHERE id = ?"], "cached, if"),
        (&["--dialect", "mysql", "SELECT name FROM users WHERE id = ?"], "cached, if"),
        (&["--dialect", "mysql", "DELETE a FROM users a JOIN orders b ON b.id = a.id"], "writes       users\n"),
        (&["--dialect", "mysql", "SELECT SQL_CALC_FOUND_ROWS name FROM users"], "FOUND_ROWS()"),
        (&["--dialect", "mysql", "SELECT name, @x FROM users"], "a variable of the session"),
    ] {
        let (text, code) = explain(arguments, "");
        assert!(text.contains(expected) && code == 0, "{arguments:?}: {text}");
        assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
    }
}

#[test]
fn a_text_of_mysql_is_read_as_the_session_reads_it() {
    let sql = "SELECT \"name\" FROM \"users\"";
    let reads = |arguments: &[&str], input| {
        let (text, code) = explain(&[&["--dialect", "mysql"], arguments].concat(), input);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let by_mode = reads(&["--json", "--sql-mode", "ANSI_QUOTES", sql], "");
    assert_eq!((by_mode["reads"][0].as_str(), by_mode["cacheable"].as_bool()), (Some("users"), Some(true)));
    assert_eq!(reads(&["--json", sql], "")["cacheable"], false);
    assert_eq!(reads(&["--json", "--sql-mode", "ORACLE", "SELECT name FROM users"], "")["writes_all"], true);
    assert_eq!(reads(&["--batch", "--sql-mode", "ANSI_QUOTES"], sql)["cacheable"], true);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for arguments in [&["SELECT 1"][..], &["--dialect", "oracle", "SELECT 1"], &["--dialect", "mysql"]] {
        assert_eq!(explain(arguments, "").1, 2, "{arguments:?}");
    }
}
