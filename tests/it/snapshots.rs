//! The command line around the report of a running pool: asked of the real interface, or read from a file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use larder::admin::{Access, Admin};
use larder::{BreakerOptions, CachedPool, PgPool, Report, Sessions, SqlitePool, Window};
use scraper::{Html, Selector};
use serde_json::{Value, json};

use crate::servers::Postgres;
use crate::support::larder;

const READ: &str = "to-look-at-it-all";
const SECRET: &str = "hush-4711";
const MADE: &str = include_str!("reporting/report.json");

/// The interface of these pools, at a path of its own.
async fn serve(admin: Admin) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ops/larder", listener.local_addr().unwrap());
    let router = axum::Router::new().nest("/ops/larder", admin.router());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// With the token in the environment, and something to read.
fn fed(arguments: &[&str], input: &str) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).env("LARDER_TOKEN", READ);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// What succeeds, and warns of nothing.
#[track_caller]
fn told(arguments: &[&str]) -> String {
    let (text, errors, code) = fed(arguments, "");
    assert_eq!((&*errors, code), ("", 0), "{arguments:?}: {text}");
    text
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

fn texts(page: &Html, selector: &str) -> Vec<String> {
    page.select(&Selector::parse(selector).unwrap()).map(|found| found.text().collect()).collect()
}

/// Whether a page needs nothing but itself, and holds no markup but its own.
#[track_caller]
pub fn assert_is_one_page(html: &str, sections: &[&str]) -> Html {
    let page = Html::parse_document(html);
    assert!(html.starts_with("<!DOCTYPE html>") && page.errors.is_empty(), "{:?}: {html}", page.errors);
    for element in page.select(&Selector::parse("*").unwrap()) {
        let name = element.value().name();
        let known = "html head meta title style body header main section footer h1 h2 p ol ul li table thead tbody tr th td code div figure \
            figcaption svg g text rect line polyline polygon path circle";
        assert!(known.split_whitespace().any(|known| known == name), "<{name}>: {html}");
        for (attribute, value) in element.value().attrs() {
            let loads =
                attribute.starts_with("on") || attribute == "style" || ["src", "href", "action"].contains(&attribute);
            assert!(!loads, "{attribute}={value:?}: {html}");
        }
    }
    let style = texts(&page, "style").concat();
    assert!(!style.contains("url(") && !style.contains("@import"), "{style}");
    let titles = texts(&page, "section > h2");
    for section in sections {
        assert!(titles.iter().any(|title| title == section), "{section}: {titles:?}");
    }
    for chart in page.select(&Selector::parse("svg").unwrap()) {
        let said = chart.value().attr("aria-label").expect("a chart says what it shows");
        assert!(chart.value().attr("role") == Some("img") && said.contains(": "), "{said}");
    }
    page
}

/// A pool that did a bit of everything, with values and names that are not to be seen or run.
async fn busy() -> PgPool {
    let pool = crate::support::postgres().await;
    sqlx::query("CREATE TABLE people (id INT PRIMARY KEY, name TEXT)").execute(&pool).await.unwrap();
    for id in 0..30 {
        sqlx::query("INSERT INTO people VALUES ($1, $2)").bind(id).bind(SECRET).execute(&pool).await.unwrap();
        sqlx::query("SELECT name FROM people WHERE id = $1 AND name <> $2")
            .bind(1)
            .bind(format!("{SECRET}-bound"))
            .fetch_all(&pool)
            .await
            .unwrap();
        sqlx::query(
            "SELECT id, random() AS \"<script>alert(1)</script>\" FROM people WHERE name = 'hush-4711-literal'",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        sqlx::query("SELECT id AS \"<img src=x onerror=alert(1)>|=1+1\" FROM people WHERE id = 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    }
    for _ in 0..30 {
        sqlx::query("SELECT id FROM people WHERE id = 1").fetch_all(&pool).await.unwrap();
    }
    pool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_pool_is_told_in_every_format_and_no_value_in_any() {
    let pool = busy().await;
    let other = crate::support::sqlite().await;
    let url =
        serve(Admin::new(Access::tokens(READ, "to-order-whatever")).pool("the shop/1", &pool).pool("other", &other))
            .await;
    // A few seconds, so that there are lines to draw.
    let begun = Instant::now();
    while pool.history().seconds.len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let of = |format: &str| told(&["report", "--url", &url, "--pool", "the shop/1", "--format", format]);

    let json = of("json");
    let report = Report::from_json(&json).unwrap();
    let stats = pool.stats();
    assert_eq!((report.stats.hits, report.stats.misses, &*report.backend), (stats.hits, stats.misses, "PostgreSQL"));
    let csv = of("csv");
    let rows: Vec<_> = csv::Reader::from_reader(csv.as_bytes()).into_records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), report.queries.len());
    let (terminal, markdown, html) = (of("terminal"), of("markdown"), of("html"));
    assert!(
        terminal.starts_with("PostgreSQL, ") && terminal.contains("\nWhere the database's time goes\n"),
        "{terminal}"
    );
    assert!(
        markdown.starts_with("# What the pool did\n") && markdown.contains("\n## What is not seen\n"),
        "{markdown}"
    );
    let page = assert_is_one_page(
        &html,
        &[
            "At a glance",
            "Where the database's time goes",
            "What is saved",
            "Why reads went to the database",
            "What is not seen",
        ],
    );
    assert_eq!(texts(&page, "svg").len(), 3, "{html}");
    assert!(texts(&page, "td code").iter().any(|sql| sql.contains("<script>alert(1)</script>")), "{html}");
    let history = told(&["history", "--url", &url, "--pool", "the shop/1"]);
    let past = told(&["history", "--url", &url, "--pool", "the shop/1", "--format", "json"]);
    let health = told(&["check", "health", "--url", &url]);
    assert!(health.starts_with("the shop/1: well, as of 2") && health.contains("\nother: well, as of 2"), "{health}");
    for printed in [&json, &csv, &terminal, &markdown, &html, &history, &past, &health] {
        assert!(!printed.contains("hush") && !printed.contains('\u{1b}'), "{printed}");
    }
    let rows: Vec<std::collections::HashMap<String, f64>> = csv::Reader::from_reader(history.as_bytes())
        .into_deserialize::<std::collections::HashMap<String, Option<f64>>>()
        .map(|row| row.unwrap().into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
        .collect();
    assert_eq!(rows.iter().map(|row| row["writes"]).sum::<f64>(), stats.writes as f64, "{history}");
    let past: Value = serde_json::from_str(&past).unwrap();
    assert!(past["seconds"].as_array().is_some_and(|seconds| seconds.len() >= 3), "{past}");

    // From a file and from stdin it is the same, to the letter.
    let folder = folder();
    let saved = file(&folder, "report.json", &json);
    for (format, printed) in [
        ("json", json.clone()),
        ("csv", report.csv()),
        ("terminal", report.to_string()),
        ("markdown", report.markdown()),
        ("html", report.html()),
    ] {
        assert_eq!(told(&["report", "--file", &saved, "--format", format]), printed);
        let (text, errors, code) = fed(&["report", "--file", "-", "--format", format], &json);
        assert_eq!((text == printed, code), (true, 0), "{format}: {errors}");
        let out = folder.path().join(format);
        assert_eq!(told(&["report", "--file", &saved, "--format", format, "--out", out.to_str().unwrap()]), "");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), printed);
    }
}

async fn slept(pool: &PgPool, seconds: f64) {
    sqlx::query("SELECT pg_sleep($1)").bind(seconds).fetch_all(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_planted_is_found_by_the_exit_code() {
    let pool = crate::support::postgres().await;
    sqlx::query("CREATE TABLE t (id INT)").execute(&pool).await.unwrap();
    let url = serve(Admin::new(Access::open()).pool("shop", &pool)).await;
    let folder = folder();
    let before = folder.path().join("before.json").into_os_string().into_string().unwrap();
    let judged = |rule: &str| {
        let (text, errors, code) =
            larder(&["report", "--url", &url, "--format", "json", "--baseline", &before, "--fail-on", rule]);
        assert!(
            Report::from_json(&text).unwrap().regressions.is_some(),
            "the report is printed whatever the rule says"
        );
        (errors, code)
    };
    let compared = || larder(&["check", "regression", "--url", &url, "--baseline", &before]);

    // Too little to tell: that is not to be well.
    told(&["report", "--url", &url, "--format", "json", "--out", &before]);
    let (_, errors, code) = compared();
    assert!(
        code == 1 && errors.contains("no statement has twenty calls in the baseline and twenty since"),
        "{code} {errors}"
    );
    let (errors, code) = judged("regression");
    assert!(code == 1 && errors.contains("cannot be judged: regression"), "{code} {errors}");

    for id in 0..60 {
        slept(&pool, 0.0).await;
        sqlx::query("SELECT id FROM t WHERE id = $1").bind(id % 2).fetch_all(&pool).await.unwrap();
    }
    told(&["report", "--url", &url, "--format", "json", "--out", &before]);
    // Of nothing asked since, nothing can be told, however much was before.
    let (_, errors, code) = compared();
    assert!(code == 1 && errors.contains("twenty since"), "{code} {errors}");
    larder::unit_of_work(async {}).await;
    // So many calls at once are more a second for a while, and a busy machine may be slower for one.
    let begun = Instant::now();
    loop {
        for id in 0..60 {
            slept(&pool, 0.0).await;
            sqlx::query("SELECT id FROM t WHERE id = $1").bind(id % 2).fetch_all(&pool).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (text, errors, code) = compared();
        if code == 0 {
            assert!(text.starts_with("nothing got worse, of 2 statements"), "{text}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{code} {text} {errors}");
    }
    for rule in
        ["regression", "n+1", "p99>1m", "hit-rate<10%", "bypass>90%", "database-time>1h", "rejections", "max>1h"]
    {
        assert_eq!(judged(rule), (String::new(), 0), "{rule}");
    }

    told(&["report", "--url", &url, "--format", "json", "--out", &before]);
    for _ in 0..25 {
        slept(&pool, 0.03).await;
    }
    larder::unit_of_work(async {
        for id in 100..115 {
            sqlx::query("SELECT id FROM t WHERE id = $1").bind(id).fetch_all(&pool).await.unwrap();
        }
    })
    .await;
    let (text, errors, code) = compared();
    assert!(
        code == 3 && text.starts_with("slower: before ") && text.contains("select pg_sleep"),
        "{code} {text} {errors}"
    );
    assert_eq!(errors, "");
    let (text, _, code) = larder(&["check", "regression", "--url", &url, "--baseline", &before, "--format", "json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert!(code == 3 && json["well"] == false && json["regressions"][0]["kind"] == "slower", "{json:#}");
    for (rule, told) in [
        ("regression", "failed: regression>0: slower: before "),
        ("n+1", "failed: n+1>0: 15 calls in 1 units of work"),
        ("p99>20ms", "calls: select pg_sleep"),
        ("bypass>20%", "failed: bypass>20%: "),
        ("hit-rate<99%", "failed: hit-rate<99%: "),
        ("database-time>500ms", "failed: database-time>500ms: "),
    ] {
        let (errors, code) = judged(rule);
        assert!(code == 3 && errors.contains(told), "{rule}: {code} {errors}");
    }
    // One statement is named, and not the fast one.
    assert_eq!(judged("p99>20ms").0.lines().count(), 1);
    // Each broken rule is told, and beside them one that cannot be judged.
    let (_, errors, code) =
        larder(&["report", "--url", &url, "--fail-on", "n+1", "--fail-on", "p99>20ms", "--fail-on", "stale"]);
    assert_eq!((code, errors.lines().count()), (3, 3), "{errors}");
    assert!(errors.contains("cannot be judged: stale>0: no answer from the cache was compared"), "{errors}");
    let (_, errors, code) = larder(&["report", "--url", &url, "--fail-on", "stale"]);
    assert!(code == 1 && errors.contains("cannot be judged"), "{code} {errors}");
    // The regressions are in what is printed for people.
    let html = told(&["report", "--url", &url, "--baseline", &before, "--format", "html"]);
    let page = assert_is_one_page(&html, &["What got worse", "Asked again and again (N+1)"]);
    assert!(texts(&page, "td").iter().any(|cell| cell == "slower"), "{html}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_when_the_database_dies_and_back_when_it_lives() {
    let mut server = Postgres::start();
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5));
    let pool = options.connect(&server.fresh()).await.unwrap();
    let breaker = BreakerOptions::new()
        .window(Window::Calls(10))
        .minimum_calls(5)
        .pause(Duration::from_millis(200), Duration::from_millis(400));
    let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().breaker(breaker).build().await.unwrap();
    let url = serve(Admin::new(Access::open()).pool("shop", &pool)).await;
    let ask = || sqlx::query("SELECT random()").fetch_all(&pool);
    ask().await.unwrap();
    let health = |format: &str| larder(&["check", "health", "--url", &url, "--format", format]);
    let (text, errors, code) = health("terminal");
    assert!(code == 0 && text.starts_with("shop: well, as of 2"), "{code} {text} {errors}");

    server.kill();
    let turns = async |wanted: i32| {
        let begun = Instant::now();
        loop {
            let _ = ask().await;
            let (text, errors, code) = health("terminal");
            if code == wanted {
                return text;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{code} {text} {errors}");
        }
    };
    let text = turns(3).await;
    assert!(text.starts_with("shop: breaker: that of database is "), "{text}");
    let (text, _, code) = health("json");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["well"], &json["pools"][0]["pool"]), (3, &json!(false), &json!("shop")));
    assert_eq!(json["pools"][0]["findings"][0]["kind"], "breaker", "{json:#}");
    server.restart();
    turns(0).await;

    // By hand, with a reason that plays tricks.
    pool.breaker().force_open("the disk\u{1b}[2J is changed", None);
    let (text, _, code) = health("terminal");
    assert!(
        code == 3 && text.contains("is forced open: calls are rejected by order") && text.contains("the disk"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn health_by_a_file_tells_all_that_is_not_well() {
    let folder = folder();
    let mut report: Value = serde_json::from_str(MADE).unwrap();
    report["breakers"] = json!([]);
    let health =
        |report: &Value| larder(&["check", "health", "--file", &file(&folder, "report.json", &report.to_string())]);
    let well = {
        let mut report = report.clone();
        report["stats"]["audited_stale"] = json!(0);
        report
    };
    let (text, errors, code) = health(&well);
    assert!(code == 0 && text.starts_with("well, as of "), "{code} {text} {errors}");
    let second = |waiting| {
        json!({
            "at": 1e9, "seconds": 1.0, "hits": 1, "coalesced": 0, "stale": 0, "misses": 0, "bypasses": 0, "writes": 0, "invalidations": 0,
            "rejections": 0, "database_seconds": 0.0, "saved_seconds": 0.0, "hit_seconds": null, "database_read_seconds": null, "used": 4,
            "idle": 0, "waiting": waiting, "entries": 0, "bytes": 0
        })
    };
    // Two hours by minute, in one of which an answer was stale.
    let taken = report["taken"].as_f64().unwrap();
    let minutes = |stale_ago: f64, last_ago: u32| {
        let minute = |ago: u32| {
            let mut minute = second(0);
            let ago = f64::from(ago);
            minute["at"] = json!(taken - ago * 60.0);
            minute["seconds"] = json!(60.0);
            minute["audited"] = json!(5);
            minute["audited_stale"] = json!(u64::from(ago == stale_ago));
            minute
        };
        json!({"seconds": [], "minutes": (last_ago..=120).rev().map(minute).collect::<Vec<_>>()})
    };
    let passing: Vec<_> = (0..10).map(|at| second(at % 9)).collect();
    for (path, value, found) in [
        ("/off", json!("\u{9b}2J the sessions differ"), Some("off: nothing is cached:  2J the sessions differ")),
        ("/emergencies", json!(["memory"]), Some("emergency: short of memory")),
        (
            "/feeds",
            json!([{"feed": "redis", "age_seconds": null, "is_current": false, "bound_seconds": 2.0}]),
            Some("feed: redis is behind: nothing was heard"),
        ),
        ("/feeds", json!([{"feed": "redis", "age_seconds": 0.1, "is_current": true, "bound_seconds": 2.0}]), None),
        ("/stats/audited_stale", json!(2), Some("stale: 2 of ")),
        ("/history", json!({"seconds": vec![second(3); 10], "minutes": []}), Some("waiting: callers waited")),
        ("/history", json!({"seconds": passing, "minutes": []}), None),
    ] {
        let mut report = well.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        report.pointer_mut(parent).unwrap()[name] = value;
        let (text, errors, code) = health(&report);
        match found {
            Some(found) => assert!(
                code == 3 && text.starts_with(found) && text.lines().count() == 1,
                "{path}: {code} {text} {errors}"
            ),
            None => assert_eq!(code, 0, "{path}: {text} {errors}"),
        }
    }
    // An answer that was stale is held against a pool for an hour, or for good where nothing tells when it was.
    for (history, found) in [
        (minutes(59.0, 0), Some("stale: 1 of 300 compared answers from the cache were stale within the last hour\n")),
        (minutes(61.0, 0), None),
        (
            minutes(61.0, 1),
            Some("stale: 2 of 640 compared answers from the cache were stale since the pool was built\n"),
        ),
    ] {
        let mut report = well.clone();
        report["since"] = json!(taken - 7200.0);
        report["stats"]["audited_stale"] = json!(2);
        report["history"] = history;
        let (text, errors, code) = health(&report);
        match found {
            Some(found) => assert_eq!((&*text, code), (found, 3), "{errors}"),
            None => assert!(code == 0 && text.starts_with("well, as of "), "{code} {text} {errors}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_says_what_to_do() {
    let shop = crate::support::sqlite().await;
    let url =
        serve(Admin::new(Access::tokens(READ, "to-order-whatever")).pool("shop", &shop).pool("stock", &shop)).await;
    // A server of something else, one that never answers, and one that never ends.
    let foreign = axum::Router::new()
        .route(
            "/moved/v1/reports",
            axum::routing::get(|| async { axum::response::Redirect::temporary("http://elsewhere/") }),
        )
        .route("/page/v1/reports", axum::routing::get(|| async { "<h1>hello</h1>" }))
        .route("/page/v1/reports/{pool}", axum::routing::get(|| async { "<h1>hello</h1>" }))
        .route("/slow/v1/reports", axum::routing::get(std::future::pending::<&str>))
        .route(
            "/endless/v1/reports",
            axum::routing::get(|| async {
                let parts = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'['; 1 << 16]));
                axum::body::Body::from_stream(parts)
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, foreign).await.unwrap() });
    let at = |path: &str| format!("{elsewhere}/{path}");
    let folder = folder();
    let report = shop.report().to_json();
    let good = file(&folder, "good.json", &report);
    let cut = file(&folder, "cut.json", &report[..report.len() / 2]);
    let foreign = file(&folder, "foreign.json", "{\"hello\": \"\u{9b}2J\"}");
    let binary = folder.path().join("binary").into_os_string().into_string().unwrap();
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    let newer = file(&folder, "newer.json", "{\"version\": 99, \"queries\": \"in another way\"}");
    let of_postgres = file(&folder, "postgres.json", &report.replace("\"SQLite\"", "\"PostgreSQL\""));
    let missing = folder.path().join("missing.json").into_os_string().into_string().unwrap();
    let dead = format!("http://127.0.0.1:{}/admin", crate::servers::free_port());
    let endless = [at("endless"), "--timeout".into(), "60s".into()];
    let slow = [at("slow"), "--timeout".into(), "300ms".into()];
    let url = &*url;
    for (arguments, wanted, told) in [
        (vec!["--url", url], 2, "--pool: shop, stock"),
        (vec!["--url", url, "--pool", "shpo"], 1, "there is no pool \"shpo\" here; --pool may be: shop, stock"),
        (vec!["--url", url, "--token", "guessed"], 1, "does not know this token"),
        (vec!["--url", url, "--token", ""], 1, "set LARDER_TOKEN"),
        (vec!["--url", url, "--token", "a b"], 2, "what no token can"),
        (vec!["--url", &at("page")], 1, "no interface of Larder"),
        (vec!["--url", &at("page"), "--pool", "shop"], 1, "this is no report of Larder"),
        (vec!["--url", &at("nothing")], 1, "there is no interface of Larder here"),
        (vec!["--url", &at("moved")], 1, "it answers 307"),
        (vec!["--url", &slow[0], &slow[1], &slow[2]], 1, "no answer within 300ms"),
        (vec!["--url", &endless[0], &endless[1], &endless[2]], 1, "that is no report"),
        (vec!["--url", &dead], 1, "does the application run"),
        (vec!["--url", "http://no-such-host.invalid/"], 1, "no-such-host.invalid"),
        (vec!["--url", "shop.internal"], 2, "must begin with http://"),
        (vec!["--url", "http://me:hush-4711@127.0.0.1/"], 2, "no user and no password belong there"),
        (vec!["--file", &missing], 1, "it cannot be read"),
        (vec!["--file", &cut], 1, "this is no report of Larder: EOF"),
        (vec!["--file", &foreign], 1, "missing field `version`"),
        (vec!["--file", &binary], 1, "it is not text"),
        (vec!["--file", &newer], 1, "a later release wrote this report: it is of version 99"),
        (vec!["--file", "-"], 1, "stdin: this is no report of Larder"),
    ] {
        for command in
            [&["report"][..], &["history"], &["check", "health"], &["check", "regression", "--baseline", &good]]
        {
            // All pools are checked.
            if (command == ["check", "health"]) && told.starts_with("--pool: ") {
                continue;
            }
            let (text, errors, code) = fed(&[command, &arguments].concat(), "");
            assert!(code == wanted && errors.contains(told), "{command:?} {arguments:?}: {code} {text} {errors}");
            assert!(
                text.is_empty() && !errors.contains("hush") && !errors.contains(READ),
                "{arguments:?}: {text} {errors}"
            );
            assert!(!errors.chars().any(|c| c.is_control() && c != '\n'), "{errors:?}");
        }
    }
    let file = good.as_str();
    for (arguments, wanted, told) in [
        (vec!["report"], 2, "--database-url"),
        (vec!["report", "--file", file, "--url", url], 2, "cannot be used with"),
        (vec!["report", "--file", file, "--database-url", "postgres://x"], 2, "cannot be used with"),
        (vec!["report", "--file", file, "--pool", "shop"], 2, "cannot be used with"),
        (vec!["check", "health", "--file", file, "--timeout", "1s"], 2, "cannot be used with"),
        (vec!["report", "--file", file, "--top", "3"], 2, "cannot be used with"),
        (vec!["report", "--url", url, "--explain"], 2, "cannot be used with"),
        (vec!["report", "--database-url", "postgres://x", "--pool", "shop"], 2, "cannot be used with"),
        (vec!["report", "--database-url", "postgres://x", "--fail-on", "n+1"], 2, "cannot be used with"),
        (vec!["report", "--file", file, "--fail-on", "regression"], 2, "--baseline FILE"),
        (vec!["report", "--file", file, "--fail-on", "slow"], 2, "hit-rate<80%"),
        (
            vec!["report", "--file", file, "--fail-on", "hit-rate<80%"],
            1,
            "cannot be judged: hit-rate<80%: there was no read",
        ),
        (vec!["report", "--file", file, "--baseline", &newer], 1, "it is of version 99"),
        (vec!["report", "--file", file, "--baseline", &missing], 1, "missing.json: it cannot be read"),
        (
            vec!["report", "--file", file, "--baseline", &of_postgres],
            1,
            "the baseline is of PostgreSQL and the report of SQLite",
        ),
        (vec!["check", "regression", "--file", file, "--baseline", &cut], 1, "this is no report of Larder: EOF"),
        (vec!["check", "regression", "--file", file], 2, "--baseline"),
        (vec!["check", "health"], 2, "--url"),
        (vec!["check"], 2, "health"),
        (vec!["history"], 2, "--url"),
    ] {
        let (_, errors, code) = fed(&arguments, "");
        assert!(code == wanted && errors.contains(told), "{arguments:?}: {code} {errors}");
    }
    for command in [&["report"][..], &["history"], &["check"], &["check", "health"], &["check", "regression"]] {
        let (help, _, code) = fed(&[command, &["--help"]].concat(), "");
        assert!(
            code == 0 && help.contains("Examples:") && help.contains("Exit codes:") && !help.contains(READ),
            "{help}"
        );
    }
}

/// Runs it by a shell, which may do before what it likes.
fn by_shell(script: &str, arguments: &[&str]) -> (String, i32) {
    let script = format!("{script} exec \"$0\" \"$@\"");
    let output =
        Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_larder")]).args(arguments).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap_or(-1))
}

#[test]
fn a_file_is_replaced_as_a_whole_or_left_as_it_was() {
    let folder = folder();
    let report = file(&folder, "report.json", MADE);
    let out = file(&folder, "out.html", "as it was");
    let html = ["report", "--file", &report, "--format", "html", "--out"];
    let names =
        |path: &Path| -> Vec<PathBuf> { std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let count = names(folder.path()).len();

    // No more than half a kilobyte may be written: as if the disk were full.
    let (errors, code) = by_shell("trap '' XFSZ; ulimit -f 1;", &[&html[..], &[&out]].concat());
    assert!(code == 1 && errors.contains("cannot write ") && errors.contains("as it was"), "{code} {errors}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "as it was");
    assert_eq!(names(folder.path()).len(), count, "nothing is left behind");
    let (errors, code) = by_shell("", &[&html[..], &["/dev/full"]].concat());
    assert!(code == 1 && errors.contains("cannot write /dev/full"), "{code} {errors}");
    let (errors, code) = by_shell("exec >/dev/full;", &["report", "--file", &report]);
    assert!(code == 1 && errors.contains("cannot write to stdout"), "{code} {errors}");
    for nowhere in
        [format!("{}/no/such/folder", folder.path().display()), format!("{out}/x"), folder.path().display().to_string()]
    {
        let (_, errors, code) = larder(&[&html[..], &[&nowhere]].concat());
        assert!(code == 1 && errors.contains("cannot write "), "{nowhere}: {code} {errors}");
    }

    // A link leads to where it is written, and who may read it stays as it was.
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("latest.html");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    assert_eq!(told(&[&html[..], &[link.to_str().unwrap()]].concat()), "");
    assert_is_one_page(&std::fs::read_to_string(&out).unwrap(), &["What is saved"]);
    assert!(link.is_symlink());
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o640);
    let (errors, code) = by_shell("umask 022;", &[&html[..], &[&format!("{out}.new")]].concat());
    assert_eq!((code, &*errors), (0, ""));
    assert_eq!(std::fs::metadata(format!("{out}.new")).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn what_is_printed_of_a_file_plays_no_tricks() {
    let folder = folder();
    let mut report: Value = serde_json::from_str(MADE).unwrap();
    let sly = "select \u{9b}2J\u{202e} </title></style></code><script>alert(1)</script><img src=x onerror=alert(2)>";
    report["queries"][0]["text"] = json!(sly);
    report["backend"] = json!("</title><script>alert(3)</script>\u{9b}");
    let report = file(&folder, "sly.json", &report.to_string());
    for format in ["terminal", "json", "csv", "markdown", "html"] {
        let text = told(&["report", "--file", &report, "--format", format]);
        let found = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(found, None, "{format}: {text}");
        if format == "json" {
            assert_eq!(Report::from_json(&text).unwrap().queries[0].text, sly);
        }
        if format == "html" {
            assert_is_one_page(&text, &[]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_tls_is_asked_where_its_certificate_is_known() {
    let folder = folder();
    let pool: SqlitePool = crate::support::sqlite().await;
    let root = folder.path().join("v1/reports");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("shop"), pool.report().to_json()).unwrap();
    let openssl = || Command::new("openssl");
    let [(key, certificate), (_, other)] = ["here", "other"].map(|name| {
        let [key, certificate] = ["key", "pem"].map(|kind| folder.path().join(format!("{name}.{kind}")));
        let made = openssl()
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"])
            .args(["subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .args([&key, Path::new("-out"), &certificate])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        (key, certificate)
    });
    let port = crate::servers::free_port();
    let mut server = openssl()
        .args(["s_server", "-quiet", "-WWW", "-accept", &port.to_string(), "-key"])
        .args([&key, Path::new("-cert"), &certificate])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let url = format!("https://localhost:{port}");
    let asked = |known: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        let output =
            command.args(["report", "--url", &url, "--pool", "shop"]).env("SSL_CERT_FILE", known).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap(), output.status.code())
    };
    let known = asked(&certificate);
    let unknown = asked(&other);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(known.2 == Some(0) && known.0.starts_with("SQLite, "), "{known:?}");
    assert!(unknown.2 == Some(1) && unknown.1.contains("certificate"), "{unknown:?}");
}
