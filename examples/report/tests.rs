//! The program as it is called: arguments in; exit code, output and database out.

use std::path::Path;

use sqlx::Row;

use crate::database;

/// What became of a run.
struct Run {
    code: u8,
    stdout: String,
    stderr: String,
}

async fn report(arguments: &[&str]) -> Run {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = crate::start(["report"].iter().chain(arguments), &mut stdout, &mut stderr, false).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code, stdout: text(stdout), stderr: text(stderr) }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The sums of a month, all of them by the database itself, in one query.
const SUMS: &str = "
    WITH paid AS (
        SELECT o.id, c.country, coalesce(sum(CASE k.currency WHEN 'EUR' THEN i.quantity * i.price_cents ELSE
            (i.quantity * i.price_cents * (SELECT millionths FROM rates r WHERE r.currency = k.currency AND r.day <= o.ordered_on
                ORDER BY r.day DESC LIMIT 1) + 500000) / 1000000 END), 0) AS cents
        FROM orders o JOIN customers c ON c.id = o.customer_id JOIN countries k ON k.code = c.country
        JOIN order_items i ON i.order_id = o.id
        WHERE o.ordered_on LIKE '2026-02-%' AND NOT o.cancelled GROUP BY o.id
    )
    SELECT k.code, count(p.id), coalesce(sum(p.cents), 0), coalesce(sum(p.cents * k.vat_percent / (100 + k.vat_percent)), 0)
    FROM countries k LEFT JOIN paid p ON p.country = k.code GROUP BY k.code ORDER BY k.code";

async fn rows(file: &Path, sql: &'static str) -> Vec<(String, i64, i64, i64)> {
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let rows = sqlx::query(sql).fetch_all(&pool).await.unwrap();
    pool.close().await;
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

#[tokio::test]
async fn the_sums_are_those_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    database::sample(&file).await.unwrap().close().await;
    for _ in 0..2 {
        let run = report(&["--database", text(&file), "--month", "2026-02", "--format", "csv"]).await;
        assert_eq!(run.code, 0, "{}", run.stderr);
        let expected = rows(&file, SUMS).await;
        assert_eq!(expected.len(), 5);
        assert!(expected.iter().all(|(_, orders, revenue, vat)| *orders > 20 && *revenue > 0 && *vat > 0));
        assert_eq!(
            rows(&file, "SELECT country, orders, revenue_cents, vat_cents FROM month_sums WHERE month = '2026-02' ORDER BY country").await,
            expected
        );
        let of = |section: &str| {
            let lines = run.stdout.lines().filter(|line| line.starts_with(section));
            lines.map(|line| line.rsplit(',').next().unwrap().parse::<i64>().unwrap()).collect::<Vec<_>>()
        };
        let revenues: Vec<i64> = expected.iter().map(|row| row.2).collect();
        assert_eq!(of("country,"), revenues);
        for section in ["category,", "day,"] {
            assert_eq!(of(section).iter().sum::<i64>(), revenues.iter().sum::<i64>(), "{section}");
        }
        assert_eq!((of("category,").len(), of("customer,").len(), of("day,").len()), (4, 10, 28));
        assert!(of("customer,").is_sorted_by(|a, b| a >= b));
        assert!(run.stdout.contains("customer,\"Tea, Leaf & Co. "), "{}", run.stdout);
    }
}

#[tokio::test]
async fn it_reports_the_latest_month_as_markdown() {
    let run = report(&["--sample"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("# Sales in 2026-03\n\n## Countries\n\n| country | orders |"), "{}", run.stdout);
    let sample = report(&["--sample", "--month", "2026-03"]).await;
    assert_eq!(sample.stdout.matches("\n## ").count(), 4);
    assert_eq!(sample.stdout, report(&["--sample", "--month", "2026-03"]).await.stdout);
}

/// To the byte, in both formats, and with the same sums in the database. The cache spares most of the work meanwhile.
#[tokio::test]
async fn the_report_is_the_same_with_and_without_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    database::sample(&file).await.unwrap().close().await;
    let sums = "SELECT month || country, orders, revenue_cents, vat_cents FROM month_sums ORDER BY month, country";
    for format in ["markdown", "csv"] {
        let arguments = ["--database", text(&file), "--month", "2026-02", "--format", format];
        let mut outcomes = Vec::new();
        for extra in [&["--fresh"] as &[&str], &[]] {
            let output = folder.path().join("report");
            let run = report(&[&arguments, ["--output", text(&output)].as_slice(), extra].concat()).await;
            assert_eq!(run.code, 0, "{}", run.stderr);
            outcomes.push((std::fs::read(&output).unwrap(), rows(&file, sums).await));
            let mut words = run.stderr.split(' ');
            let (all, spared): (u32, u32) =
                (words.next().unwrap().parse().unwrap(), words.nth(1).unwrap().parse().unwrap());
            match extra {
                [] => assert!(spared * 10 > all * 7, "{}", run.stderr),
                _ => assert_eq!((spared, all > 2000), (0, true), "{}", run.stderr),
            }
        }
        assert!(outcomes[0].0.len() > 1000 && outcomes[0].1.len() == 5);
        assert!(outcomes[0] == outcomes[1], "{format}");
    }
}

#[tokio::test]
async fn the_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.md");
    std::fs::write(&file, "what was there").unwrap();
    let run = report(&["--sample", "--month", "2026-03", "--output", text(&file)]).await;
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), report(&["--sample", "--month", "2026-03"]).await.stdout);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (shop, report_file) = (path("shop.db"), path("report.md"));
    let pool = database::sample(&shop).await.unwrap();
    std::fs::write(&report_file, "what was there").unwrap();
    std::fs::write(path("text"), "this is no database, however long it may be").unwrap();
    std::fs::write(path("empty"), "").unwrap();

    let cases = [
        ("none.db", "report.md", "cannot open the database"),
        ("text", "report.md", "cannot open the database"),
        ("empty", "report.md", "no such table"),
        ("shop.db", "no/such/report.md", "cannot write"),
        ("shop.db", ".", "cannot write"),
    ];
    for (database, output, why) in cases {
        let (database, output) = (path(database), path(output));
        let arguments = ["--database", text(&database), "--output", text(&output)];
        let run = report(&arguments).await;
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.starts_with("report: ") && run.stderr.contains(why), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    assert!(!path("none.db").exists());

    // The sums of an earlier report outlive one that fails half-way.
    report(&["--database", text(&shop), "--month", "2026-02"]).await;
    let sums = "SELECT country, orders, revenue_cents, vat_cents FROM month_sums ORDER BY country";
    let before = rows(&shop, sums).await;
    sqlx::query("DELETE FROM rates WHERE currency = 'GBP'").execute(&pool).await.unwrap();
    let run = report(&["--database", text(&shop), "--month", "2026-02", "--output", text(&report_file)]).await;
    assert_eq!(
        (run.code, run.stderr.contains("no exchange rate from GBP on or before 2026-")),
        (1, true),
        "{}",
        run.stderr
    );
    assert_eq!(rows(&shop, sums).await, before);
    sqlx::query("DELETE FROM orders").execute(&pool).await.unwrap_err();
    sqlx::raw_sql("DELETE FROM order_items; DELETE FROM orders").execute(&pool).await.unwrap();
    let run = report(&["--database", text(&shop)]).await;
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (1, "report: there is nothing to report: the database has no orders\n")
    );
    assert_eq!(std::fs::read_to_string(&report_file).unwrap(), "what was there");
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| text(&entry.as_ref().unwrap().path()).contains(".report-"))
            .count(),
        0
    );
}

#[tokio::test]
async fn arguments_that_make_no_sense() {
    for (arguments, why) in [
        (&["--month", "2026-03"] as &[&str], "--database <FILE>"),
        (&["--sample", "--month", "March"], "a month is written like 2026-03"),
        (&["--sample", "--format", "pdf"], "possible values: markdown, csv"),
        (&["--sample", "--database", "shop.db"], "cannot be used with"),
    ] {
        let run = report(arguments).await;
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
    let help = report(&["--help"]).await;
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("--output <FILE>"), "{}", help.stdout);
}
