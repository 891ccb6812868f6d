//! `larder demo` as a user runs it: what it prints, how it ends, and that it leaves nothing behind.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{MariaDb, Postgres};

/// The command, with a folder of its own for temporary files.
fn demo(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("demo").args(arguments).env("TMPDIR", folder.path()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[track_caller]
fn assert_empty(folder: &tempfile::TempDir) {
    let left: Vec<_> = folder.path().read_dir().unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks the object that `--json` prints.
#[track_caller]
fn assert_complete(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("stdout holds one object and nothing else");
    for side in ["direct", "cached"] {
        for key in ["ops_per_s", "p50_us", "p95_us", "p99_us"] {
            assert!(report[side][key].as_f64().is_some_and(|number| number > 0.0), "{side}.{key}: {report:#}");
            assert!(report["classes"]["lookup"][side][key].is_number(), "{side}.{key}: {report:#}");
        }
    }
    let hit_rate = report["cached"]["hit_rate"].as_f64().unwrap();
    assert!(hit_rate > 0.05 && hit_rate < 1.0, "some reads repeat and some do not: {report:#}");
    assert!(report["speedup"].is_number());
    assert!(report["checked"].as_u64().unwrap() > 100);
    assert_eq!(report["mismatches"], 0);
}

/// Schemas of the demo that a database holds.
fn schemas(server: &Postgres, database: &str) -> String {
    server.psql(database, "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'larder%'")
}

#[test]
fn on_sqlite_it_prints_one_object_and_removes_its_file() {
    let folder = folder();
    let output = demo(&folder, &["--seconds", "1", "--rows", "2000", "--json"]).output().unwrap();
    assert_complete(&output);
    assert_empty(&folder);
}

#[test]
fn on_postgres_it_touches_only_its_own_schema() {
    let (server, folder) = (Postgres::shared(), folder());
    let database = server.create_database();
    server.psql(&database, "CREATE TABLE orders (id int); INSERT INTO orders VALUES (7)");
    let url = server.url(&database);
    let output =
        demo(&folder, &["--database-url", &url, "--seconds", "1", "--rows", "2000", "--json"]).output().unwrap();
    assert_complete(&output);
    assert_eq!(schemas(server, &database), "");
    assert_eq!(server.psql(&database, "SELECT id FROM orders"), "7");
    assert_empty(&folder);
}

/// Databases of the demo that a server holds.
fn databases(server: &MariaDb) -> String {
    server.mysql("", "SHOW DATABASES LIKE 'larder%'")
}

#[test]
fn on_mysql_it_touches_only_its_own_database() {
    // One of its own, since others may be in the shared one.
    let (server, folder) = (MariaDb::start(), folder());
    let database = server.create_database();
    server.mysql(&database, "CREATE TABLE orders (id int); INSERT INTO orders VALUES (7)");
    let url = server.url(&database);
    let output =
        demo(&folder, &["--database-url", &url, "--seconds", "1", "--rows", "2000", "--json"]).output().unwrap();
    assert_complete(&output);
    assert_eq!(databases(&server), "");
    assert_eq!(server.mysql(&database, "SELECT id FROM orders"), "7");
    assert_empty(&folder);

    let mut child = demo(&folder, &["--database-url", &url, "--seconds", "60", "--rows", "2000"]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert!(databases(&server).starts_with("larder_demo_"));
    crate::servers::signal("INT", &[child.id()]).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(databases(&server), "");
    assert_empty(&folder);
}

#[test]
fn the_table_is_for_people_and_keep_keeps() {
    let folder = folder();
    let arguments = ["--seconds", "1", "--rows", "500", "--writes-per-second", "0", "--keep"];
    let output = demo(&folder, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    for word in ["lookups", "joins", "lists", "aggregates", "reports", "all reads", "hit rate", " 0 wrong"] {
        assert!(text.contains(word), "`{word}` is missing in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
    let kept = stderr(&output).lines().find_map(|line| Some(line.strip_prefix("Kept: ")?.to_owned())).unwrap();
    assert!(std::path::Path::new(&kept).is_file());
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for arguments in [
        &["--seconds", "soon"][..],
        &["--seconds", "0"],
        &["--rows", "-1"],
        &["--database-url", "oracle://localhost/shop"],
        &["--database-url", "mysql://localhost:port/shop"],
        &["--database-url", "postgres://localhost:port/shop"],
        &["--nonsense"],
    ] {
        let output = demo(&folder(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("error: "), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_database_that_cannot_be_reached_is_a_failure() {
    // Taken, so that nobody answers there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Postgres::shared();
    for (url, expected) in [
        (format!("postgres://me@{closed}/shop"), "refused"),
        (format!("postgres://me@{}/shop", silent.local_addr().unwrap()), "no answer for 10s"),
        (server.url("no_such_database"), "database \"no_such_database\" does not exist"),
        (format!("mysql://me@{closed}/shop"), "refused"),
        (MariaDb::shared().url("no_such_database"), "Unknown database 'no_such_database'"),
    ] {
        let output = demo(&folder(), &["--database-url", &url]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{url}: {}", stderr(&output));
    }
}

/// Ctrl-C in the middle of a run, where connections are in use and rows are being written.
#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let server = Postgres::shared();
    let database = server.create_database();
    let url = server.url(&database);
    for place in [&[][..], &["--database-url", &url]] {
        let folder = folder();
        let arguments = [place, &["--seconds", "60", "--rows", "2000"]].concat();
        let mut child = demo(&folder, &arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(4));
        if !place.is_empty() {
            assert!(schemas(server, &database).starts_with("larder_demo_"));
        }
        crate::servers::signal("INT", &[child.id()]).unwrap();
        let begun = Instant::now();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130));
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_empty(&folder);
    }
    assert_eq!(schemas(server, &database), "");
}

#[test]
fn a_server_that_dies_is_a_failure_and_no_hang() {
    let (mut server, folder) = (Postgres::start(), folder());
    let url = server.fresh();
    let child = demo(&folder, &["--database-url", &url, "--seconds", "60", "--rows", "2000"]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    server.kill();
    let begun = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("error: "), "{}", stderr(&output));
    assert!(begun.elapsed() < Duration::from_secs(40));
}
