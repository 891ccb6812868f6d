//! What it takes to know a large schema: `cargo bench --bench catalog`.
//!
//! 10,000 tables and 2,000 views on a private PostgreSQL, with foreign keys, triggers, functions and partitions between them. Memory is
//! what was asked of the allocator.

use std::time::{Duration, Instant};

use larder::{CachedPool, Sessions};
use peak_alloc::PeakAlloc;
use sqlx::AssertSqlSafe;

#[path = "../tests/it/servers/mod.rs"]
mod servers;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const TABLES: usize = 9_900;
const VIEWS: usize = 2_000;

/// The statements that make the schema, in parts that each take few enough locks.
fn schema() -> Vec<String> {
    let mut statements = vec![String::from("CREATE TABLE p (id int, name text) PARTITION BY RANGE (id)")];
    statements.extend((0..99).map(|i| format!("CREATE TABLE p{i} PARTITION OF p FOR VALUES FROM ({i}) TO ({i} + 1)")));
    for i in 0..10 {
        let body = format!("BEGIN INSERT INTO t{i} VALUES (1); RETURN NULL; END");
        statements.push(format!("CREATE FUNCTION f{i}() RETURNS trigger LANGUAGE plpgsql AS '{body}'"));
    }
    for i in 0..TABLES {
        let refers = if i % 10 > 0 { format!(" REFERENCES t{} ON DELETE CASCADE", i - 1) } else { String::new() };
        let columns = "name text, price numeric, made timestamptz";
        statements.push(format!("CREATE TABLE t{i} (id int PRIMARY KEY, parent int{refers}, {columns})"));
        if i % 50 == 0 {
            let f = i / 50 % 10;
            statements.push(format!("CREATE TRIGGER g AFTER INSERT ON t{i} FOR EACH ROW EXECUTE FUNCTION f{f}()"));
        }
    }
    for i in 0..VIEWS {
        let other = if i % 4 > 0 { format!("v{}", i - 1) } else { String::from("p") };
        let query = format!("SELECT a.id, b.name, a.price * 2 AS price FROM t{i} a JOIN {other} b ON a.id = b.id");
        statements.push(format!("CREATE VIEW v{i} AS {query}"));
    }
    statements.chunks(200).map(|part| part.join("; ")).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::main]
async fn main() {
    let server = servers::Postgres::start();
    let url = server.url(&server.create_database());
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let begun = Instant::now();
    for part in schema() {
        sqlx::raw_sql(AssertSqlSafe(part)).execute(&pool).await.unwrap();
    }
    println!("made 10,000 tables and 2,000 views in {:.1?}", begun.elapsed());

    let plain = |number: usize| format!("SELECT name FROM t{number} WHERE id = 1");
    let before = ALLOCATED.current_usage();
    let begun = Instant::now();
    let cached = CachedPool::builder(pool.clone(), Sessions::Uniform).sole_writer().schema_interval(Duration::ZERO);
    let cached = cached.build().await.unwrap();
    println!("first look: {:.1?}", begun.elapsed());
    println!("memory: {:.1} MiB", (ALLOCATED.current_usage() - before) as f64 / f64::from(1 << 20));

    let mut looks = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        cached.reload().await.unwrap();
        looks.push(begun.elapsed());
    }
    println!("a look again, nothing changed: {:.1?} (median of 9)", median(looks));

    let mut first = Vec::new();
    for number in 0..2000 {
        let sql = format!("SELECT price FROM v{number} WHERE id = 1");
        let begun = Instant::now();
        let explanation = cached.explain(&sql).await.unwrap();
        first.push(begun.elapsed());
        assert!(explanation.reads.is_ok(), "{sql}: {:?}", explanation.reads);
    }
    println!("what a read of a view rests on: {:.1?} (median of 2,000, each asked for the first time)", median(first));
    for round in ["for the first time", "again"] {
        let mut times = Vec::new();
        for number in (0..9900).step_by(10) {
            let sql = format!("DELETE FROM t{number} WHERE id = 1");
            let begun = Instant::now();
            cached.explain(&sql).await.unwrap();
            times.push(begun.elapsed());
        }
        println!("what a DELETE that cascades over ten tables changes, {round}: {:.1?} (median of 990)", median(times));
    }
    println!("memory after that: {:.1} MiB", (ALLOCATED.current_usage() - before) as f64 / f64::from(1 << 20));

    // Hits go on while the schema is looked at.
    let hit = async || {
        let begun = Instant::now();
        sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(plain(5))).fetch_optional(&cached).await.unwrap();
        begun.elapsed()
    };
    for _ in 0..100 {
        hit().await;
    }
    let mut alone = Vec::new();
    for _ in 0..5000 {
        alone.push(hit().await);
    }
    let looking = cached.clone();
    let looked = tokio::spawn(async move {
        for _ in 0..5 {
            looking.reload().await.unwrap();
        }
    });
    let (mut beside, hits) = (Vec::new(), cached.stats().hits);
    while !looked.is_finished() {
        beside.push(hit().await);
        tokio::task::yield_now().await;
    }
    let (asked, answered) = (beside.len() as u64, cached.stats().hits - hits);
    println!(
        "a hit: {:.1?}; while the schema is looked at: {:.1?} ({answered} of {asked} were hits)",
        median(alone),
        median(beside)
    );
}
