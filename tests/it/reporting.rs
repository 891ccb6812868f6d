//! `pool.report()` finds what was planted, and shows no value.

use std::time::Duration;

use larder::{NotAReport, Policy, QueryExt, RegressionKind, Report};

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
        advised("count(*)", "A ttl of ");
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

/// A report made by hand, with texts that mean something to a terminal, to Markdown and to spreadsheets.
const MADE: &str = include_str!("reporting/report.json");

fn made() -> Report {
    Report::from_json(MADE).unwrap()
}

/// What is committed under this name, which `BLESS=1` writes anew.
#[track_caller]
fn assert_as_it_was(name: &str, printed: &str) {
    let path = format!("{}/tests/it/reporting/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, printed).unwrap();
    }
    assert_eq!(
        printed,
        std::fs::read_to_string(&path).unwrap(),
        "{name} is not as it was: if that is meant, run with BLESS=1"
    );
}

/// The same pool when it was an hour younger, and all was better.
fn an_hour_before() -> Report {
    let mut report = made();
    report.since -= Duration::from_secs(86_400);
    report.taken -= Duration::from_secs(86_400);
    report.queries.retain(|query| query.text != "=hyperlink(?)");
    for query in &mut report.queries {
        match query.fingerprint.map(|fingerprint| fingerprint.0) {
            // Ten milliseconds each, and now thirty.
            Some(0xa5) => query.database_time /= 3,
            Some(0xa3) => query.hits += 5_000,
            Some(0xa2) => {
                query.bypasses /= 10;
                query.timed /= 10;
                query.database_time /= 10;
            }
            _ => {}
        }
        query.calls = query.hits + query.coalesced + query.stale + query.misses + query.bypasses + query.writes;
    }
    report
}

#[test]
fn what_is_printed_is_as_it_was() {
    let report = made();
    assert_as_it_was("report.txt", &report.to_string());
    assert_as_it_was("report.md", &report.markdown());
    assert_as_it_was("report.csv", &report.csv());
    assert_as_it_was("against.txt", &report.against(&an_hour_before()).to_string());
}

#[test]
fn nothing_printed_plays_tricks() {
    let report = made().against(&an_hour_before());
    for printed in [report.to_string(), report.markdown(), report.csv()] {
        let sly = printed.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(sly, None, "{printed}");
    }
    // As JSON they are escaped, and come back.
    assert!(!report.to_json().contains('\u{1b}'));
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
}

#[test]
fn markdown_reads_as_it_was_meant() {
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    let report = made().against(&an_hour_before());
    let markdown = report.markdown();
    let (mut cells, mut columns, mut tables, mut first, mut codes) = (0, 0, 0, None, Vec::new());
    for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Table(sides)) => (columns, tables) = (sides.len(), tables + 1),
            Event::Start(Tag::TableHead | Tag::TableRow) => cells = 0,
            Event::Start(Tag::TableCell) => cells += 1,
            Event::End(TagEnd::TableHead | TagEnd::TableRow) => assert_eq!(cells, columns, "{markdown}"),
            Event::Start(Tag::List(Some(number))) => first = first.or(Some(number)),
            Event::Code(code) => codes.push(code.to_string()),
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Link { .. } | Tag::Image { .. } | Tag::CodeBlock(_)) => {
                panic!("{event:?}: {markdown}");
            }
            Event::Html(html) | Event::InlineHtml(html) => panic!("{html}: {markdown}"),
            _ => {}
        }
    }
    assert!(tables >= 8 && first == Some(1), "{tables} tables: {markdown}");
    for sql in ["select id, now() from `orders` where a || b = ?", "shop.\"a|b`c\"", "volatile_function"] {
        assert!(codes.iter().any(|code| code == sql), "{sql}: {codes:#?}");
    }
    // What could play tricks became blanks.
    let sly = "select * from \"a|b\" where \"*c*_d_<e> [31m \" = ? and `f``g` = ?";
    assert!(codes.iter().any(|code| code == sly), "{codes:#?}");
}

#[test]
fn csv_reads_as_it_was_meant() {
    let report = made();
    let csv = report.csv();
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let headings = rows.headers().unwrap().clone();
    let at = |name: &str| headings.iter().position(|heading| heading == name).unwrap();
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), report.queries.len());
    for (row, query) in rows.iter().zip(&report.queries) {
        let number = |name| row[at(name)].parse::<f64>().unwrap();
        assert_eq!(&row[at("fingerprint")], query.fingerprint.map(|name| name.to_string()).unwrap_or_default());
        assert_eq!(number("calls"), query.calls as f64);
        assert_eq!(number("database_seconds"), query.database_time.as_secs_f64());
        assert_eq!(number("p99_seconds"), query.latency.p99.as_secs_f64());
        assert_eq!(number("n_plus_one_units"), query.n_plus_one.as_ref().map_or(0, |found| found.units) as f64);
        assert!(!row.iter().any(|cell| cell.starts_with(['=', '+', '-', '@'])), "{row:?}");
        assert_eq!(row[at("hit_rate")].parse().ok(), query.hit_rate());
    }
    assert!(rows.iter().any(|row| &row[at("statement")] == "'=hyperlink(?)"));
}

#[test]
fn regressions_are_told_with_before_and_after() {
    let (report, before) = (made(), an_hour_before());
    let worse = report.regressions(&before);
    let of = |name: u64, kind| {
        let found = worse.iter().find(|worse| worse.fingerprint.0 == name && worse.kind == kind);
        found.unwrap_or_else(|| panic!("{name:x} {kind:?}: {worse:#?}"))
    };
    let slower = of(0xa5, RegressionKind::Slower);
    let times = (slower.before.unwrap().mean.as_secs_f64(), slower.after.mean.as_secs_f64());
    assert!((times.0 - 1.0 / 30.0).abs() < 1e-6 && (times.1 - 0.1).abs() < 1e-6, "{times:?}");
    let hits = of(0xa3, RegressionKind::FewerHits);
    assert_eq!(hits.after.hit_rate, Some(0.5));
    assert!(hits.before.unwrap().hit_rate > Some(0.66));
    let calls = of(0xa2, RegressionKind::MoreCalls);
    assert!((calls.after.calls_per_second / calls.before.unwrap().calls_per_second - 10.0).abs() < 1e-6);
    assert_eq!(of(0xa6, RegressionKind::New).before, None);
    assert_eq!(worse.len(), 4, "{worse:#?}");
    assert_eq!(report.regressions(&report), []);
    // With too few calls nothing can be told.
    let mut few = before;
    few.queries
        .iter_mut()
        .for_each(|query| (query.misses, query.bypasses, query.writes, query.calls, query.timed) = (5, 5, 5, 15, 15));
    let kinds: Vec<_> = report.regressions(&few).iter().map(|worse| worse.kind).collect();
    assert_eq!(kinds, [RegressionKind::New]);
}

#[test]
fn the_slowest_of_a_hundred_are_compared_where_there_are_enough() {
    let (before, mut report) = (made(), made());
    let of = |report: &mut Report, timed, p99| {
        let query = &mut report.queries[0];
        (query.timed, query.latency.p99) = (timed, p99);
        query.fingerprint.unwrap()
    };
    // Of another run, so that nothing is taken off.
    report.since += Duration::from_secs(1);
    let kinds = |then: u64, now: u64, millis: u64| {
        let (mut before, mut report) = (before.clone(), report.clone());
        of(&mut before, then, Duration::from_millis(60));
        let name = of(&mut report, now, Duration::from_millis(millis));
        // As long on average as before.
        report.queries[0].database_time = before.queries[0].database_time.mul_f64(now as f64 / then as f64);
        let worse = report.regressions(&before);
        worse.iter().filter(|worse| worse.fingerprint == name).map(|worse| worse.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(1_000, 1_000, 90), [RegressionKind::SlowerAtWorst]);
    assert_eq!(kinds(1_000, 1_000, 89), []);
    assert_eq!(kinds(1_000, 999, 500), []);
    assert_eq!(kinds(999, 1_000, 500), []);
}

/// A statement that takes the database as long as it is told, in some unit of its own.
fn dawdling(backend: &str) -> (&'static str, i64) {
    match backend {
        "PostgreSQL" => ("SELECT id, pg_sleep($1 / 1000.0) FROM items WHERE id = 1", 20),
        "MySQL" => ("SELECT id, SLEEP(? / 1000.0) FROM items WHERE id = 1", 20),
        _ => (
            "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < $1) SELECT count(*), random() FROM s, items",
            150_000,
        ),
    }
}

on_each! {
    async fn a_planted_regression_is_found(pool) {
        sqlx::query("CREATE TABLE items (id BIGINT PRIMARY KEY)").execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO items VALUES (1)").execute(&pool).await.unwrap();
        let (sql, long) = dawdling(<Db as sqlx::Database>::NAME);
        let ask = async |how_long: i64| drop(sqlx::query(sql).bind(how_long).fetch_all(&pool).await.unwrap());
        let read = async |pool: &Pool| drop(sqlx::query(spell("SELECT id FROM items WHERE id = $1")).bind(1_i64).fetch_all(pool).await.unwrap());
        for _ in 0..200 {
            ask(0).await;
            read(&pool).await;
        }
        let before = Report::from_json(&pool.report().to_json()).unwrap();
        assert_eq!(pool.report().regressions(&before), []);
        for _ in 0..25 {
            ask(long).await;
            read(&pool.fresh()).await;
        }
        let report = pool.report();
        let worse = report.regressions(&before);
        let slower = worse.iter().find(|worse| worse.kind == RegressionKind::Slower).unwrap_or_else(|| panic!("{worse:#?}"));
        assert_eq!(worse[0].fingerprint, slower.fingerprint);
        // Only what came after the first report is looked at, or 200 fast calls would hide 25 slow ones.
        assert_eq!((slower.before.unwrap().calls, slower.after.calls), (200, 25));
        assert!(slower.after.mean >= slower.before.unwrap().mean + Duration::from_millis(5), "{slower:?}");
        let fewer = worse.iter().find(|worse| worse.kind == RegressionKind::FewerHits).unwrap_or_else(|| panic!("{worse:#?}"));
        assert_eq!((fewer.after.hit_rate, fewer.before.unwrap().hit_rate > Some(0.9)), (Some(0.0), true));
        // It is the slow one as well that the database spends its time on.
        assert_eq!(report.queries[0].fingerprint, Some(slower.fingerprint));
        let markdown = report.against(&before).markdown();
        let section = markdown.split("\n## ").find(|section| section.starts_with("What got worse")).unwrap();
        assert!(section.contains("| slower |") && section.contains("| fewer hits |"), "{section}");
        let profile = markdown.split("\n## ").find(|section| section.starts_with("Where the database")).unwrap();
        let first = profile.lines().find(|line| line.starts_with("| ") && line.contains(" % |")).unwrap();
        assert!(first.contains(&slower.text[..12]), "{first}");
    }

    async fn a_planted_n_plus_one_is_found_where_it_is(pool) {
        sqlx::query("CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT)").execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&pool).await.unwrap();
        let name = |id: i64| sqlx::query_scalar::<_, Option<String>>(spell("SELECT name FROM items WHERE id = $1")).bind(id);
        let few = || sqlx::query("SELECT count(*) FROM items");
        // Nobody named a unit.
        for id in 0..30 {
            name(id).fetch_optional(&pool).await.unwrap();
        }
        assert!(pool.queries().iter().all(|query| query.n_plus_one.is_none()));
        let mut line = 0;
        for _ in 0..3 {
            larder::unit_of_work(async {
                for id in 0..12 {
                    line = line!() + 1;
                    name(id).fetch_optional(&pool).await.unwrap();
                }
                for _ in 0..9 {
                    few().fetch_all(&pool).await.unwrap();
                }
            })
            .await;
        }
        // As shared values, and in a transaction.
        larder::unit_of_work(async {
            for _ in 0..20 {
                sqlx::query_scalar::<_, i64>("SELECT id FROM items WHERE name = 'a'").cached(&pool).fetch_one().await.unwrap();
            }
            let mut tx = pool.begin().await.unwrap();
            for id in 2..13_i64 {
                sqlx::query(spell("INSERT INTO items VALUES ($1, 'b')")).bind(id).execute(&mut *tx).await.unwrap();
            }
            tx.commit().await.unwrap();
        })
        .await;
        let report = pool.report();
        let of = |text: &str| {
            let query = report.queries.iter().find(|query| query.text.starts_with(text));
            query.unwrap_or_else(|| panic!("{text}: {report}")).n_plus_one.clone()
        };
        assert_eq!(of("select count"), None);
        for (text, units, calls, most) in
            [("select name", 3, 36, 12), ("select id", 1, 20, 20), ("insert into items", 1, 11, 11)]
        {
            let found = of(text).unwrap_or_else(|| panic!("{text}: {report}"));
            assert_eq!((found.units, found.calls, found.most), (units, calls, most), "{text}");
            let site = found.call_site.expect("the stack can be walked here");
            if lines_are_known() {
                let line = if text == "select name" { line.to_string() } else { String::new() };
                assert!(site.contains(&format!("tests/it/reporting.rs:{line}")), "{text}: {site}");
            } else {
                assert!(site.contains("reporting::a_planted_n_plus_one_is_found_where_it_is"), "{text}: {site}");
            }
        }
        let text = report.to_string();
        assert!(text.contains("Asked again and again") && text.contains("reporting"), "{text}");
    }

    async fn the_same_from_several_places_is_none(pool) {
        sqlx::query("CREATE TABLE items (id BIGINT PRIMARY KEY)").execute(&pool).await.unwrap();
        async fn here(pool: &Pool) {
            sqlx::query("SELECT id FROM items").fetch_all(pool).await.unwrap();
        }
        async fn there(pool: &Pool) {
            sqlx::query("SELECT id FROM items").fetch_all(pool).await.unwrap();
        }
        for _ in 0..3 {
            larder::unit_of_work(async {
                for _ in 0..6 {
                    here(&pool).await;
                }
                for _ in 0..6 {
                    there(&pool).await;
                }
            })
            .await;
            assert!(pool.queries().iter().all(|query| query.n_plus_one.is_none()));
        }
    }

    async fn one_unit_does_not_speak_for_others(pool) {
        async fn here(pool: &Pool, sql: &'static str) {
            sqlx::query(sql).fetch_all(pool).await.unwrap();
        }
        async fn there(pool: &Pool, sql: &'static str) {
            sqlx::query(sql).fetch_all(pool).await.unwrap();
        }
        // Each asks so often in the one place, then in the other.
        let units = async |sql: &'static str, count: usize, calls: [usize; 2]| {
            for _ in 0..count {
                larder::unit_of_work(async {
                    for _ in 0..calls[0] {
                        here(&pool, sql).await;
                    }
                    for _ in 0..calls[1] {
                        there(&pool, sql).await;
                    }
                })
                .await;
            }
        };
        sqlx::query("CREATE TABLE items (id BIGINT PRIMARY KEY)").execute(&pool).await.unwrap();
        // What was asked a few times each uses up the looks, so that nobody looks at what comes next.
        units("SELECT id FROM items", 20, [5, 0]).await;
        units("SELECT id FROM items", 3, [6, 6]).await;
        units("SELECT id AS a FROM items", 3, [12, 0]).await;
        units("SELECT id AS a FROM items", 1, [6, 6]).await;
        units("SELECT id AS b FROM items", 3, [6, 6]).await;
        units("SELECT id AS b FROM items", 1, [12, 0]).await;
        // More than are looked at: the same share of the others counts.
        units("SELECT id AS c FROM items", 100, [12, 0]).await;
        let found: Vec<_> = pool.queries().into_iter().filter(|query| query.text.starts_with("select id")).collect();
        let of = |text: &str| {
            let query = found.iter().find(|query| query.text.starts_with(text)).unwrap_or_else(|| panic!("{found:#?}"));
            query.n_plus_one.as_ref().map(|found| (found.units, found.calls, found.most))
        };
        assert_eq!(of("select id from"), None);
        assert_eq!(of("select id as a"), Some((3, 36, 12)));
        assert_eq!(of("select id as b"), Some((1, 12, 12)));
        assert_eq!(of("select id as c"), Some((100, 1200, 12)));
    }

    async fn waits_and_parameters_are_counted(pool) {
        sqlx::query("CREATE TABLE items (id BIGINT PRIMARY KEY)").execute(&pool).await.unwrap();
        for id in 0..60_i64 {
            sqlx::query(spell("SELECT id FROM items WHERE id = $1")).bind(id % 20).fetch_all(&pool).await.unwrap();
        }
        let asked: Vec<_> = (0..4).map(|_| sqlx::query("SELECT sum(id) FROM items").fetch_one(&pool)).collect();
        futures::future::join_all(asked).await;
        let report = pool.report();
        let query = report.queries.iter().find(|query| query.text.contains("where id = ?")).unwrap();
        // With a standard error of 9 %.
        assert!((13..=27).contains(&query.distinct_parameters), "{query:?}");
        let waits = report.stats.waits;
        assert_eq!(waits.reads.time + waits.writes.time, report.stats.database_time);
        assert!(waits.connection.times >= 21 && waits.reads.times >= 21 && waits.writes.times >= 1, "{waits:?}");
        assert_eq!((waits.load.times, waits.redis.times), (report.stats.coalesced, 0));
        let text = report.to_string();
        for what in ["a connection", "the database, reads", "the database, writes"] {
            assert!(text.split("What calls waited for").nth(1).unwrap().contains(what), "{text}");
        }
    }
}

/// Whether the test program was built with lines.
fn lines_are_known() -> bool {
    let mut known = false;
    backtrace::trace(|frame| {
        // The standard library always has them.
        backtrace::resolve_frame(frame, |symbol| {
            known |= symbol.filename().is_some_and(|file| file.ends_with("reporting.rs"))
        });
        !known
    });
    known
}
