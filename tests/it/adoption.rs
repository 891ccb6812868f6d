//! `larder report` on a database that is used without Larder.

use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::servers::{MariaDb, Postgres};
use crate::support::larder;

fn report(arguments: &[&str]) -> (String, String, bool) {
    let (text, errors, code) = larder(&[&["report"], arguments].concat());
    (text, errors, code == 0)
}

/// The report as JSON.
fn told(arguments: &[&str]) -> Value {
    let (text, errors, succeeded) = report(&[arguments, &["--format", "json"]].concat());
    assert!(succeeded, "{errors}");
    serde_json::from_str(&text).expect("it is JSON")
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

fn find<'v>(report: &'v Value, part: &str) -> Option<&'v Value> {
    let mut statements = report["statements"].as_array().expect("statements").iter();
    statements.find(|one| one["statement"].as_str().is_some_and(|sql| spelled(sql).contains(part)))
}

/// What is said of the statement that holds this.
fn statement<'v>(report: &'v Value, part: &str) -> &'v Value {
    find(report, part).unwrap_or_else(|| panic!("no {part} in {report:#}"))
}

/// The blind spot that says this.
fn blind_spot<'v>(report: &'v Value, part: &str) -> &'v str {
    let mut spots = report["blind_spots"].as_array().expect("blind spots").iter().filter_map(Value::as_str);
    spots.find(|spot| spot.contains(part)).unwrap_or_else(|| panic!("no {part} in {:#}", report["blind_spots"]))
}

fn saved(one: &Value) -> f64 {
    one["saved_seconds_estimate"].as_f64().expect("an estimate") / one["seconds"].as_f64().expect("seconds")
}

fn check(url: &str, unkept: &str) {
    let told = told(&["--database-url", url]);
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
    // As many writes as reads: half of the reads at least have to be loaded.
    assert!(saved(items) > 0.9 && saved(busy) > 0.2 && saved(busy) <= 0.51, "{} {}", saved(items), saved(busy));
    assert!(told["saved_seconds_estimate"].as_f64() <= told["kept_seconds"].as_f64());
    assert!(told["assumption"].as_str().is_some_and(|text| text.contains("one set of parameters")), "{told:#}");

    let (text, _, _) = report(&["--database-url", url]);
    for part in ["of database time within", "An estimated ", "The estimate supposes", "not kept: ", "Blind spots"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains("t most") && !text.contains("EXPLAIN"), "{text}");
    let (text, _, _) = report(&["--database-url", url, "--format", "markdown", "--top", "3"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 4, "{text}");
    assert!(text.lines().any(|line| line.starts_with("and ") && line.ends_with(" more: JSON has them all")), "{text}");
    let rows = rows(url);
    let row = rows.iter().find(|row| spelled(&row["statement"]).contains("from busy")).expect("a row");
    assert_eq!((&*row["kept"], &*row["calls"]), ("true", "100"), "{row:?}");
    assert!(row["saved_seconds_estimate"].parse::<f64>().is_ok(), "{row:?}");
    assert!(rows.len() >= told["statements"].as_array().map_or(0, Vec::len), "{rows:?}");
}

/// The report as CSV.
fn rows(url: &str) -> Vec<std::collections::HashMap<String, String>> {
    let (text, errors, _) = report(&["--database-url", url, "--format", "csv"]);
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    csv.deserialize().map(|row| row.unwrap_or_else(|error| panic!("{error}: {text} {errors}"))).collect()
}

/// A server that keeps statistics, and a database on it.
async fn watched_postgres() -> (Postgres, String, String, sqlx::PgPool) {
    let mut server = Postgres::start();
    let name = server.create_database();
    server.psql(&name, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'");
    server.restart();
    server.psql(&name, "CREATE EXTENSION pg_stat_statements");
    let url = server.url(&name);
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    (server, name, url, pool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let (_, errors, succeeded) = report(&["--database-url", &Postgres::shared().fresh()]);
    assert!(!succeeded && errors.contains("CREATE EXTENSION pg_stat_statements"), "{errors}");
    let (mut server, name, url, pool) = watched_postgres().await;
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    for (sql, times) in WORK {
        for _ in 0..times {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
    }
    check(&url, "pg_backend_pid");

    // What Larder and this command asked is left out, and told; what writes by a system column is a write all the same.
    sqlx::query("DELETE FROM items WHERE ctid = '(7,7)'").execute(&pool).await.unwrap();
    sqlx::query("SELECT ctid FROM items").execute(&pool).await.unwrap();
    let all = told(&["--database-url", &url]);
    assert_eq!(statement(&all, "delete from items")["reason"], "write");
    assert_eq!(statement(&all, "select ctid from items")["reason"], "system");
    assert!(find(&all, "pg_stat_statements where").is_none() && find(&all, "known_extension").is_none(), "{all:#}");
    blind_spot(&all, "left out, since they only ask the server about itself");
    let written = statement(&all, "select n from items where id")["writes_per_second"].as_f64().unwrap();
    let counted = all["counted_over_seconds"].as_f64().unwrap();
    assert!((written * counted).round() >= 1.0, "the deletion counts: {all:#}");

    // Other users' statements are not taken for statements.
    server.psql(&name, "CREATE USER guest");
    let guest = url.replace("postgres@", "guest@");
    let hidden = told(&["--database-url", &guest]);
    assert!(find(&hidden, "insufficient").is_none() && find(&hidden, "from items").is_none(), "{hidden:#}");
    let spot = blind_spot(&hidden, "GRANT pg_read_all_stats TO guest");
    let calls: f64 = spot.split(' ').next().unwrap().parse().unwrap();
    assert!(calls >= 650.0 && hidden["unseen"][0]["seconds"].as_f64() > Some(0.0), "{hidden:#}");
    server.psql(&name, "GRANT pg_read_all_stats TO guest");
    assert_eq!(statement(&told(&["--database-url", &guest]), "from busy")["calls"], 100.0);

    // What the server forgot is told.
    server.psql(&name, "ALTER SYSTEM SET pg_stat_statements.max = 100");
    server.psql(&name, "ALTER SYSTEM SET pg_stat_statements.track = 'all'");
    pool.close().await;
    server.restart();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    for at in 0..150 {
        let sql = format!("SELECT n{} FROM items WHERE id = 1", " + n".repeat(at));
        sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(&pool).await.unwrap();
    }
    let all = told(&["--database-url", &url]);
    blind_spot(&all, "raise pg_stat_statements.max");
    blind_spot(&all, "counted twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_cannot_break_the_page_or_the_terminal() {
    let (_server, _, url, pool) = watched_postgres().await;
    let name = "a|b*_<i>`\n\r\u{1b}[31m\u{9b}2J,\u{202e}\u{2066}\"";
    let quoted = name.replace('"', "\"\"");
    let sql = format!(
        "CREATE TABLE \"{quoted}\" (id INT); CREATE FUNCTION \"{quoted}\"() RETURNS INT LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    for sql in [format!("SELECT id FROM \"{quoted}\""), format!("SELECT \"{quoted}\"() FROM \"{quoted}\"")] {
        sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    }
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_clean = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n' || turns(c));
    for format in ["terminal", "html", "json", "csv", "markdown"] {
        let (text, errors, succeeded) = report(&["--database-url", &url, "--format", format, "--explain"]);
        if format == "html" {
            let page =
                crate::snapshots::assert_is_one_page(&text, &["At a glance", "The heaviest statements", "Blind spots"]);
            let shown = page.root_element().text().collect::<String>();
            assert!(shown.contains("a|b*_<i>`"), "{shown}");
        }
        assert!(succeeded && is_clean(&text) && is_clean(&errors), "{text:?} {errors:?}");
        assert!(text.contains("2J"), "the name is there: {text}");
    }
    let (text, _, _) = report(&["--database-url", &url, "--format", "markdown"]);
    assert!(text.contains(r"a\|b\*\_\<i\>\`") && !text.contains("<i>"), "{text}");
    let cells = |line: &str| line.replace(r"\\", "").replace(r"\|", "").matches('|').count();
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| cells(line) == 7), "{text}");
    let row = rows(&url).into_iter().find(|row| row["statement"].starts_with("select id from")).expect("a row");
    assert!(row["statement"].contains("a|b*_<i>`"), "{row:?}");
}

const SCAN: &str = "SELECT id FROM big WHERE n = 5";
const SEEK: &str = "SELECT id FROM big WHERE v = 5";

/// The plans are told, and the hints are where they belong.
fn check_plans(url: &str) {
    assert!(statement(&told(&["--database-url", url]), "from big where n")["plan"].is_null(), "only on request");
    let told = told(&["--database-url", url, "--explain"]);
    let plan = |part: &str| &statement(&told, part)["plan"];
    let hints = |part: &str| plan(part)["hints"].as_array().expect("hints").clone();
    let scan = hints("from big where n");
    let hint = scan[0].as_str().unwrap();
    assert!(hint.starts_with("heuristic: ") && hint.contains("(n) may help"), "{hint}");
    assert!(plan("from big where n")["rows_estimate"].as_f64() > Some(0.0), "{told:#}");
    assert!(hints("from big where v").is_empty(), "{told:#}");
    let sort = hints("from big order by");
    assert!(sort[0].as_str().unwrap().contains("rows are sorted"), "{sort:?}");
    // No plan is asked for what may do more than read.
    assert!(plan("select noted").is_null() && plan("delete from big").is_null(), "{told:#}");
    let (text, _, _) = report(&["--database-url", url, "--explain", "--explain-top", "1"]);
    assert_eq!(text.matches("estimated cost").count() + text.matches("not explained").count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_plans_give_hints_and_run_nothing() {
    let (server, name, url, pool) = watched_postgres().await;
    let sql = "CREATE TABLE big (id INT PRIMARY KEY, n INT, v INT, s TEXT); CREATE INDEX ON big (v);
        INSERT INTO big SELECT i, i % 1000, i % 1000, i FROM generate_series(1, 20000) i; ANALYZE big;
        CREATE TABLE notes (at INT);
        CREATE FUNCTION noted() RETURNS INT LANGUAGE plpgsql AS 'BEGIN INSERT INTO notes VALUES (1); RETURN 1; END'";
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    for sql in [SCAN, SEEK, "SELECT n FROM big ORDER BY s", "SELECT noted()", "DELETE FROM big WHERE id = 0"] {
        sqlx::query(sql).execute(&pool).await.unwrap();
    }
    // Its type stands before a literal, which the server has replaced: nothing to plan, and no end of the report.
    sqlx::query("SELECT interval '1 day' FROM big").execute(&pool).await.unwrap();
    check_plans(&url);
    let told = told(&["--database-url", &url, "--explain"]);
    assert!(statement(&told, "select interval")["plan"]["error"].is_string(), "{told:#}");
    assert_eq!(server.psql(&name, "SELECT count(*) FROM notes"), "1");
    // A table that is locked is not waited for.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE big").execute(&mut *lock).await.unwrap();
    let locked = self::told(&["--database-url", &url, "--explain"]);
    let error = statement(&locked, "from big where n")["plan"]["error"].as_str().unwrap();
    assert!(error.contains("lock timeout"), "{error}");
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

        // Lists of values, which the server writes as `(...)`, and what is too long for it.
        let long = |sql: &str| format!("{sql} WHERE id = 0{}", " OR (n = 1 AND busy.n = 2)".repeat(150));
        for sql in [
            "CREATE TABLE lists (a INT, b INT)",
            "INSERT INTO lists VALUES (1, 2)",
            "INSERT INTO lists (a, b) VALUES (1, 2), (3, 4)",
            "SELECT a FROM lists WHERE b IN (1, 2, 3)",
            &long("SELECT n FROM busy"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        }
        let written = |told: &Value| {
            let seconds = told["counted_over_seconds"].as_f64().unwrap();
            (statement(told, "select n from items where id")["writes_per_second"].as_f64().unwrap() * seconds).round()
        };
        let all = told(&["--database-url", &url]);
        assert_eq!(statement(&all, "from lists where b in(?)")["kept"], true, "{all:#}");
        assert_eq!(statement(&all, "insert into lists values(?)")["reason"], "write");
        assert_eq!(statement(&all, "insert into lists( a , b ) values(?)")["reason"], "write");
        let cut = statement(&all, "from busy where id = ? or");
        assert_eq!((&cut["kept"], cut["reason"].as_str()), (&false.into(), Some("cut_off")));
        assert!(all["cut_off_seconds"].as_f64() > Some(0.0), "{all:#}");
        blind_spot(&all, "performance_schema_max_digest_length");
        blind_spot(&all, "Prepared statements");
        let before = written(&all);
        // A read that was cut off is no write. What else was cut off could be one of anything.
        sqlx::raw_sql(AssertSqlSafe(long("UPDATE busy SET n = 1"))).execute(&pool).await.unwrap();
        assert_eq!(written(&told(&["--database-url", &url])), before + 1.0);
    });
    server.mysql("", &format!("CREATE USER guest@'127.0.0.1'; GRANT ALL ON {name}.* TO guest@'127.0.0.1'"));
    let (_, errors, succeeded) = report(&["--database-url", &server.url_of("guest", &name)]);
    assert!(!succeeded && errors.contains("GRANT SELECT ON performance_schema.* TO 'guest'@'127.0.0.1'"), "{errors}");
    let (_, errors, succeeded) = report(&["--database-url", &MariaDb::shared().fresh()]);
    assert!(!succeeded && errors.contains("performance_schema=ON"), "{errors}");
}

#[test]
fn statements_that_mariadb_had_no_room_for_are_told() {
    let server = MariaDb::start_with(&["--performance-schema=ON", "--performance-schema-digests-size=5"]);
    let url = server.url(&server.create_database());
    crate::support::alone(async {
        let pool = sqlx::MySqlPool::connect(&url).await.unwrap();
        for at in 0..20 {
            let sql = format!("SELECT 1{}", " + 1".repeat(at));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        }
        let told = told(&["--database-url", &url]);
        let spot = blind_spot(&told, "raise performance_schema_digests_size");
        assert!(spot.split(' ').next().unwrap().parse::<f64>().unwrap() >= 15.0, "{spot}");
    });
}

#[test]
fn mariadb_plans_give_hints_and_run_nothing() {
    let server = MariaDb::start_with(&["--performance-schema=ON"]);
    let name = server.create_database();
    let url = server.url(&name);
    crate::support::alone(async {
        let pool = sqlx::MySqlPool::connect(&url).await.unwrap();
        for sql in [
            "CREATE TABLE big (id INT PRIMARY KEY, n INT, v INT, s VARCHAR(20), KEY (v))",
            "INSERT INTO big SELECT seq, seq % 1000, seq % 1000, seq FROM seq_1_to_20000",
            "ANALYZE TABLE big",
            "CREATE TABLE notes (at INT)",
            "CREATE FUNCTION noted() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO notes VALUES (1); RETURN 1; END",
            SCAN,
            SEEK,
            "SELECT COUNT(*) FROM big a JOIN big b ON b.n = a.v WHERE a.id = 1",
            "SELECT n FROM big ORDER BY s",
            "SELECT noted()",
            "DELETE FROM big WHERE id = 0",
            "SELECT id FROM big WHERE (id, n) IN ((1, 2), (3, 4)) LIMIT 1",
        ] {
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        }
        check_plans(&url);
        let told = told(&["--database-url", &url, "--explain"]);
        // How long the lists are, a digest does not tell.
        assert!(statement(&told, "where( id , n )")["plan"]["error"].is_string(), "{told:#}");
        // Whatever the alias: the table is named.
        let joined = &statement(&told, "from big a join big b")["plan"]["hints"];
        assert!(joined.to_string().contains("an index on big (n) may help"), "{joined}");
        assert_eq!(server.mysql(&name, "SELECT COUNT(*) FROM notes"), "1");
    });
}

#[test]
fn wrong_arguments_say_what_to_do() {
    for (arguments, told) in [
        (&[][..], "--database-url"),
        (&["--database-url", "sqlite:x.db"], "larder explain"),
        (&["--database-url", "http://x"], "must begin with postgres://"),
        (&["--ttl", "5s"], "--database-url"),
        (&["--database-url", "postgres://x", "--explain-top", "5"], "--explain"),
    ] {
        let (_, errors, code) = larder(&[&["report"], arguments].concat());
        assert!(code == 2 && errors.contains(told), "{arguments:?}: {code} {errors}");
    }
    let (_, errors, code) = larder(&["report", "--database-url", "postgres://nobody@127.0.0.1:1/x"]);
    assert!(code == 1 && errors.contains("cannot be asked"), "{code} {errors}");
    let (help, _, code) = larder(&["report", "--help"]);
    assert!(code == 0 && help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
}
