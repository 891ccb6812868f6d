//! `larder explain` tells what the analysis found, as the session reads the text.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::larder;

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
        (
            &["--dialect", "mysql", "DELETE a FROM users a JOIN orders b ON b.id = a.id"],
            "writes       users (delete)\n",
        ),
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

const SHOP: &str = "CREATE TABLE orders (id INT PRIMARY KEY, total INT); CREATE TABLE audit_log (id INT);
    CREATE VIEW order_totals AS SELECT sum(total) AS total FROM orders;";

/// What a view hides and a trigger does, on each database; nothing is run.
fn what_the_database_adds(url: &str, schema: &str) {
    let explain = |sql: &str| {
        let (text, errors, code) = larder(&["explain", "--database-url", url, sql]);
        assert_eq!((code, errors.as_str()), (0, ""), "{text}");
        assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
        text
    };
    let read = explain("SELECT total FROM order_totals");
    assert!(read.starts_with("cached\n"), "{read}");
    assert!(read.contains(&format!("rests on     {schema}.orders: through view order_totals\n")), "{read}");
    let written = explain("INSERT INTO orders VALUES (1, 1)");
    assert!(
        written.contains(&format!("{schema}.audit_log: through trigger orders_audit of {schema}.orders\n")),
        "{written}"
    );
    assert!(written.contains(&format!("{schema}.orders\n")), "{written}");
    let refused = explain("SELECT total FROM nowhere");
    assert!(
        refused.starts_with("not cached\n") && refused.contains("because      No table called nowhere"),
        "{refused}"
    );
    assert!(refused.contains("help         "), "{refused}");
    let (json, _, code) = larder(&["explain", "--json", "--database-url", url, "SELECT total FROM order_totals"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["rests_on"][0]["through"].as_str(), code), (Some("view order_totals"), 0));
    let (table, _, code) = larder(&["doctor", "--database-url", url]);
    assert!(code == 0 && table.contains("Reads that are not kept") && table.contains("clock_view"), "{table}");
    let (json, _, code) = larder(&["doctor", "--json", "--database-url", url]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let limits = json.as_array().unwrap();
    let about = |name: &str| limits.iter().find(|limit| limit["name"].as_str().unwrap().ends_with(name)).cloned();
    assert_eq!(about("clock_view").unwrap()["kind"], "reads", "{json}");
    assert!(about("orders").is_none() && code == 0, "{json}");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn on_sqlite() {
    let file = crate::support::file();
    let url = format!("sqlite:{}", file.display());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(SHOP).execute(&pool).await.unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER orders_audit AFTER INSERT ON orders BEGIN INSERT INTO audit_log VALUES (new.id); END;
        CREATE VIEW clock_view AS SELECT date('now') AS today, id FROM orders",
    )
    .execute(&pool)
    .await
    .unwrap();
    what_the_database_adds(&url, "main");
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, 0, "nothing is run");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn on_postgres() {
    let url = crate::servers::Postgres::shared().fresh();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(SHOP).execute(&pool).await.unwrap();
    sqlx::raw_sql("CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit_log VALUES (new.id); RETURN NULL; END $$;
        CREATE TRIGGER orders_audit AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION audit();
        CREATE VIEW clock_view AS SELECT now() AS today, id FROM orders;
        CREATE FUNCTION volatile_one() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
        CREATE TABLE secrets (id int); ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
        CREATE FUNCTION anything() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT 1'; RETURN NULL; END $$;
        CREATE TABLE dynamic (id int); CREATE TRIGGER d AFTER INSERT ON dynamic EXECUTE FUNCTION anything()")
    .execute(&pool).await.unwrap();
    what_the_database_adds(&url, "public");
    let (text, _, _) = larder(&["doctor", "--database-url", &url]);
    for expected in [
        "under a scope",
        "public.secrets has row-level security",
        "public.dynamic: trigger d of public.dynamic",
        "Functions that are not followed",
        "volatile_one: ",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("audit: ") && !text.contains("query_to_xml"), "they are not for queries to call: {text}");
    let (text, _, _) = larder(&["explain", "--database-url", &url, "SELECT id FROM secrets"]);
    assert!(text.starts_with("cached only under a scope"), "{text}");
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn on_mariadb() {
    let url = crate::servers::MariaDb::shared().fresh();
    let pool = sqlx::MySqlPool::connect(&url).await.unwrap();
    sqlx::raw_sql(SHOP).execute(&pool).await.unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER orders_audit AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit_log VALUES (new.id)",
    )
    .execute(&pool)
    .await
    .unwrap();
    sqlx::raw_sql("CREATE VIEW clock_view AS SELECT now() AS today, id FROM orders").execute(&pool).await.unwrap();
    let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&pool).await.unwrap();
    what_the_database_adds(&url, &database);
}

#[test]
fn a_database_that_is_not_there_is_an_error_that_says_so() {
    for command in [&["explain", "SELECT 1"][..], &["doctor"]] {
        for (url, code) in [
            ("postgres://nobody@127.0.0.1:1/x", 1),
            ("mysql://nobody@127.0.0.1:1/x", 1),
            ("oracle://x", 2),
            ("sqlite:not/there.db", 1),
        ] {
            let (out, errors, ended) = larder(&[command, &["--database-url", url]].concat());
            assert!(
                ended == code && out.is_empty() && errors.starts_with("error: "),
                "{command:?} {url}: {ended} {errors}"
            );
        }
    }
    let (_, errors, code) = larder(&["doctor"]);
    assert!(code == 2 && errors.contains("--database-url"), "{errors}");
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for arguments in [&["SELECT 1"][..], &["--dialect", "oracle", "SELECT 1"], &["--dialect", "mysql"]] {
        assert_eq!(explain(arguments, "").1, 2, "{arguments:?}");
    }
}
