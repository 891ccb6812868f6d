//! Lesson 5: nothing happens without a reason that can be read: in numbers, and for one statement in a sentence.
//!
//! `cargo run --example 05_stats_and_reasons`

use larder::{Reason, SqlitePool, Stats};

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = SqlitePool::connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE visits (id INTEGER PRIMARY KEY, page TEXT, day TEXT)").execute(&pool).await?;
    sqlx::query("CREATE VIEW pages AS SELECT DISTINCT page FROM visits").execute(&pool).await?;
    sqlx::query("INSERT INTO visits (page, day) VALUES ('home', '2026-01-31')").execute(&pool).await?;

    // Read twice each. Those that are not kept bypass the cache, each time, for a reason.
    let statements = [
        ("SELECT page FROM visits ORDER BY id", None),
        ("SELECT count(*) FROM visits WHERE day = '2026-01-31'", None),
        ("SELECT 1", Some(Reason::NoTables)),
        ("SELECT page FROM visits ORDER BY random() LIMIT 1", Some(Reason::VolatileFunction)),
        ("SELECT count(*) FROM visits WHERE day = date('now')", Some(Reason::SpecialDate)),
        // A view: it rests on the table behind it.
        ("SELECT page FROM pages", None),
        ("SELECT name FROM sqlite_master", Some(Reason::System)),
    ];
    for (sql, reason) in statements {
        let before = pool.stats();
        for _ in 0..2 {
            sqlx::query(sql).fetch_all(&pool).await?;
        }
        let after = pool.stats();
        match reason {
            None => {
                println!("kept                                  {sql}");
                assert_eq!((after.misses - before.misses, after.hits - before.hits), (1, 1));
            }
            Some(reason) => {
                println!("not kept: {:<26}  {sql}", reason.label());
                let bypasses = |stats: &Stats| stats.bypasses_by_reason.get(&reason).copied().unwrap_or_default();
                assert_eq!(bypasses(&after) - bypasses(&before), 2, "{after}");
            }
        }
    }
    sqlx::query("DELETE FROM visits WHERE page = 'nowhere'").execute(&pool).await?;
    sqlx::query("SELECT page FROM visits ORDER BY id").fetch_all(&pool).await?;
    assert_eq!(pool.stats().misses_by_reason[&Reason::Invalidated], 1);
    println!(
        "\nAll of it, as `pool.stats()` tells it; with a `metrics` recorder, dashboards have the same:\n{}",
        pool.stats()
    );
    let queries = pool.queries();
    let pages = queries.iter().find(|query| query.text == "select page from visits order by id").expect("it was asked");
    println!("And for one statement, as `pool.queries()` tells it:\n{pages}\n");
    assert_eq!((pages.calls, pages.hits, pages.misses), (3, 1, 2));
    println!("Why one statement is not kept: cargo run --features cli -- explain --dialect sqlite \"SELECT ..\"");
    // All of it for people, with what could be done.
    println!("\n{}", pool.report());
    Ok(())
}
