//! Everything an application does with sqlx on its first day: it works, and nothing it changes is missed. Each row of
//! `docs/day-one.md` names its test here.

use std::time::{Duration, Instant};

use larder::{Backend, CachedPool};

use crate::support::was_hit;

/// Two tables that have nothing to do with each other.
pub const SETUP: &str = "CREATE TABLE a (id BIGINT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO a VALUES (1, 0); \
                         CREATE TABLE b (id BIGINT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO b VALUES (1, 0)";
pub const RAISE: &str = "UPDATE a SET n = n + 1 WHERE id = 1";

/// Changes a setting that answers depend on.
pub fn differ<DB: sqlx::Database>() -> &'static str {
    match DB::NAME {
        "PostgreSQL" => "SET TimeZone TO 'Asia/Tokyo'",
        "MySQL" => "SET time_zone = '+09:00'",
        _ => "PRAGMA case_sensitive_like = ON",
    }
}

/// The number in a table, and whether it came from memory.
macro_rules! read {
    ($pool:expr, $table:literal) => {
        crate::support::was_hit(
            &$pool,
            sqlx::query_scalar::<_, i64>(concat!("SELECT n FROM ", $table, " WHERE id = 1")).fetch_one(&$pool),
        )
        .await
    };
}

/// Reads until the answer comes from memory; gives the number.
macro_rules! keep {
    ($pool:expr, $table:literal) => {
        crate::day_one::keep(&$pool, || {
            sqlx::query_scalar::<_, i64>(concat!("SELECT n FROM ", $table, " WHERE id = 1")).fetch_one(&$pool)
        })
        .await
    };
}

/// Waits until every connection was given back.
macro_rules! idle {
    ($pool:expr) => {
        while $pool.num_idle() < $pool.size() as usize {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
}

mod connections;
#[cfg(feature = "postgres")]
mod copying;
mod hooks;
#[cfg(feature = "migrate")]
mod migrations;
#[cfg(feature = "postgres")]
mod raw_transactions;
mod sqlx_test;
#[cfg(feature = "postgres")]
mod third_parties;

/// Asks until the answer comes from memory.
pub async fn keep<DB, T, F>(pool: &CachedPool<DB>, ask: impl Fn() -> F) -> T
where
    DB: Backend,
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match was_hit(pool, ask()).await {
            (answer, true) => return answer,
            _ => assert!(Instant::now() < deadline, "nothing is kept: {}", pool.stats()),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Each test that the table names is there.
#[test]
fn every_row_is_shown_by_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let table = read("docs/day-one.md");
    let cells = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.trim_end_matches(" |").rsplit_once(" | "));
    let mut named = 0;
    for name in cells.flat_map(|(_, cell)| cell.split('`').skip(1).step_by(2)).filter(|name| *name != "macros") {
        let (file, rest) = name.split_once("::").unwrap_or_else(|| panic!("`{name}` is no path"));
        let text = ["tests/it/day_one", "tests/it"].map(|folder| read(&format!("{folder}/{file}.rs"))).concat();
        let test = rest.rsplit("::").next().unwrap_or(rest).trim_end_matches('*');
        assert!(text.contains(&format!("fn {test}")), "the table names `{name}`, which is not there");
        named += 1;
    }
    assert!(named > 30, "the table has {named} rows with a test");
}
