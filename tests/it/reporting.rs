//! `pool.report()` finds what was planted, and shows no value.

use std::time::Duration;

use larder::{NotAReport, Policy, Report};

on_each! {
    async fn what_was_planted_is_found(pool) {
        sqlx::query(spell("CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT)")).execute(&pool).await.unwrap();
        sqlx::query("CREATE TABLE busy (id BIGINT PRIMARY KEY, n BIGINT)").execute(&pool).await.unwrap();
        for id in 0..30 {
            let insert = spell("INSERT INTO items VALUES ($1, $2)");
            sqlx::query(insert).bind(id).bind("hush-".repeat(40)).execute(&pool).await.unwrap();
        }
        sqlx::query("INSERT INTO busy VALUES (1, 0)").execute(&pool).await.unwrap();
        let empty = pool.with(Policy::ttl(Duration::from_millis(1)));
        let small = pool.with(Policy::default().max_entry_bytes(100));
        for n in 0..40_i64 {
            // Good as it is.
            sqlx::query(spell("SELECT name FROM items WHERE id = $1")).bind(1_i64).fetch_all(&pool).await.unwrap();
            // Volatile, too large, written all the time, dead before it is asked for again.
            sqlx::query(spell("SELECT name, random() AS r FROM items WHERE id = $1")).bind(n).fetch_all(&pool).await.unwrap();
            sqlx::query("SELECT id, name FROM items ORDER BY id").fetch_all(&small).await.unwrap();
            sqlx::query("SELECT n FROM busy WHERE id = 1").fetch_all(&pool).await.unwrap();
            sqlx::query("UPDATE busy SET n = n + 1").execute(&pool).await.unwrap();
            sqlx::query("SELECT count(*) AS n FROM items").fetch_all(&empty).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let report = pool.report();
        let advised = |text: &str, about: &str| {
            let found = report.advice.iter().find(|advice| advice.text.contains(text) && advice.action.contains(about));
            assert!(found.is_some(), "{text}: {about}: {:#?}", report.advice);
        };
        advised("name, ra", "Bind the time or number");
        advised("order by id", "raise max_entry_bytes");
        advised("from busy", "hardly pays");
        advised("count(*)", "a longer ttl");
        assert!(!report.advice.iter().any(|advice| advice.text.contains("select name from items")), "{:#?}", report.advice);
        assert!(report.advice.is_sorted_by(|a, b| a.seconds >= b.seconds));

        let text = report.to_string();
        for section in ["What to do first", "Where the database's time goes", "What is saved", "Why reads went", "What is not seen"] {
            assert!(text.contains(section) && report.markdown().contains(&format!("## {section}")), "{section}: {text}");
        }
        assert!(text.contains("volatile_function") && text.lines().count() > 30, "{text}");
        let json = serde_json::to_string(&report).unwrap();
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["stats"]["hits"], report.stats.hits);
        assert!(back["queries"][0]["latency"]["p99"].is_f64() && back["advice"][0]["seconds"].is_f64(), "{back}");
        for printed in [text, report.markdown(), json] {
            assert!(!printed.contains("hush") && !printed.contains('\u{1b}'), "{printed}");
        }
        for line in report.markdown().lines().filter(|line| line.starts_with('|')) {
            assert!(line.ends_with('|'), "{line}");
        }
    }
}

#[tokio::test]
async fn a_report_comes_back_from_json_as_it_was() {
    let pool = crate::support::sqlite().await;
    sqlx::query("CREATE TABLE t (id INTEGER)").execute(&pool).await.unwrap();
    for id in 0..30 {
        sqlx::query("SELECT * FROM t WHERE id = $1").bind(id % 7).fetch_all(&pool).await.unwrap();
        sqlx::query("SELECT *, random() FROM t").fetch_all(&pool).await.unwrap();
    }
    let report = pool.report();
    assert!(report.taken >= report.since && report.backend == "SQLite", "{report:?}");
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
    // As another release may have written it.
    let mut json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    json["queries"][0]["bypasses_by_reason"]["full_moon"] = 3.into();
    json["stats"]["misses_by_reason"]["full_moon"] = 3.into();
    json["stats"]["moons"] = 1.into();
    json["moons"] = 1.into();
    assert_eq!(Report::from_json(&json.to_string()).unwrap(), report);
    json["version"] = 7.into();
    let why = Report::from_json(&json.to_string()).unwrap_err();
    assert!(matches!(why, NotAReport::TooNew(7)) && why.to_string().contains("version 7"), "{why}");
    let cut = &report.to_json()[..200];
    for (text, about) in [("", "EOF"), ("[]", "invalid"), ("{}", "missing field `version`"), (cut, "EOF")] {
        let why = Report::from_json(text).unwrap_err().to_string();
        assert!(why.starts_with("this is no report of Larder: ") && why.contains(about), "{why}");
    }
}
