//! `larder report` on a database that is used without Larder.

use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::servers::{MariaDb, Postgres};
use crate::support::larder;

fn report(arguments: &[&str]) -> (String, String, bool) {
    let (text, errors, code) = larder(&[&["report"], arguments].concat());
    (text, errors, code == 0)
}

const SETUP: &str =
    "CREATE TABLE items (id INT PRIMARY KEY, n BIGINT); CREATE TABLE busy (id INT PRIMARY KEY, n BIGINT);
    INSERT INTO items VALUES (1, 0); INSERT INTO busy VALUES (1, 0)";
const WORK: [(&str, usize); 4] = [
    ("SELECT n FROM items WHERE id = 1", 400),
    ("SELECT n FROM busy WHERE id = 1", 100),
    ("UPDATE busy SET n = n + 1 WHERE id = 1", 100),
    ("SELECT n, pg_backend_pid() FROM items WHERE id = 1", 50),
];

/// However a server spells it.
fn spelled(sql: &str) -> String {
    sql.replace('`', "").to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ").replace(" (", "(")
}

/// What is said of the statement that holds this.
fn statement<'v>(report: &'v Value, part: &str) -> &'v Value {
    let mut statements = report["statements"].as_array().expect("statements").iter();
    let found = statements.find(|one| one["statement"].as_str().is_some_and(|sql| spelled(sql).contains(part)));
    found.unwrap_or_else(|| panic!("no {part} in {report:#}"))
}

fn check(url: &str, unkept: &str) {
    let (text, errors, succeeded) = report(&["--database-url", url, "--format", "json"]);
    assert!(succeeded, "{errors}");
    let told: Value = serde_json::from_str(&text).unwrap();
    let [items, busy, update, other] =
        ["select n from items where id", "from busy", "update busy", unkept].map(|part| statement(&told, part));
    assert!(items["calls"] == 400.0 && busy["calls"] == 100.0, "{told:#}");
    assert_eq!(
        (&items["kept"], &busy["kept"], &update["kept"], &other["kept"]),
        (&true.into(), &true.into(), &false.into(), &false.into())
    );
    assert_eq!(
        (update["reason"].as_str(), other["reason"].as_str()),
        (Some("write"), Some("volatile_function")),
        "{other:#}"
    );
    let saved = |one: &Value| one["saved_seconds_at_most"].as_f64().unwrap() / one["seconds"].as_f64().unwrap();
    // As many writes as reads: half of the reads at least have to be loaded.
    assert!(saved(items) > 0.9 && saved(busy) > 0.2 && saved(busy) <= 0.51, "{} {}", saved(items), saved(busy));
    assert!(told["saved_seconds_at_most"].as_f64() <= told["kept_seconds"].as_f64());

    let (text, _, _) = report(&["--database-url", url]);
    assert!(
        text.contains("of database time within") && text.contains("not kept: ") && !text.contains('\u{1b}'),
        "{text}"
    );
    let (text, _, _) = report(&["--database-url", url, "--format", "markdown", "--top", "3"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 4, "{text}");
    let (text, _, _) = report(&["--database-url", url, "--format", "csv"]);
    let line = text.lines().find(|line| spelled(line).contains("from busy")).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(line.split(',').nth(3), Some("true"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let mut server = Postgres::start();
    let name = server.create_database();
    let url = server.url(&name);
    let (_, errors, succeeded) = report(&["--database-url", &url]);
    assert!(!succeeded && errors.contains("CREATE EXTENSION pg_stat_statements"), "{errors}");
    server.psql(&name, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'");
    server.restart();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE EXTENSION pg_stat_statements").execute(&pool).await.unwrap();
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    for (sql, times) in WORK {
        for _ in 0..times {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
    }
    check(&url, "pg_backend_pid");
}

#[test]
fn mariadb() {
    let server = MariaDb::start_with(&["--performance-schema=ON"]);
    let name = server.create_database();
    let url = server.url(&name);
    crate::support::alone(async {
        let pool = sqlx::MySqlPool::connect(&url).await.unwrap();
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for (sql, times) in WORK {
            let sql = sql.replace("pg_backend_pid", "connection_id");
            for _ in 0..times {
                // Prepared, MariaDB would not count it by its text.
                sqlx::raw_sql(AssertSqlSafe(&*sql)).execute(&pool).await.unwrap();
            }
        }
        // Counted for a second at least.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        check(&url, "connection_id");
    });
    let (_, errors, succeeded) = report(&["--database-url", &MariaDb::shared().fresh()]);
    assert!(!succeeded && errors.contains("performance_schema=ON"), "{errors}");
    let (_, errors, succeeded) = report(&["--database-url", "sqlite:x.db"]);
    assert!(!succeeded && errors.contains("larder explain"), "{errors}");
}
