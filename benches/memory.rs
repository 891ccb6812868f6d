//! The memory that a kept result takes, and that of the statistics of many statements: `cargo bench --bench memory`.
//!
//! `cargo bench --bench memory -- statements` measures the latter alone.
//! Counted are the bytes that were asked of the allocator. What it adds to round them up depends on the allocator.

use std::hint::black_box;

use larder::{CachedPool, Policy, QueryExt, Sessions, SqlitePool};
use peak_alloc::PeakAlloc;
use sqlx::AssertSqlSafe;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const ENTRIES: i64 = 50_000;

/// What is held now.
struct Held {
    allocated: usize,
    stats: larder::Stats,
}

impl Held {
    fn by(pool: &SqlitePool) -> Self {
        // First, since it lets the cache do what it put off.
        let stats = pool.stats();
        Self { allocated: ALLOCATED.current_usage(), stats }
    }

    fn print_growth(&self, before: &Self, what: &str, payload: usize) {
        let entries = ENTRIES as f64;
        let ratio = |bytes: f64| format!("{bytes:>7.0} ({:.2})", bytes / payload as f64);
        let each = |now: usize, then: usize| ratio((now as f64 - then as f64) / entries);
        println!(
            "{what:<44} allocated {}   weighed {}",
            each(self.allocated, before.allocated),
            ratio((self.stats.bytes - before.stats.bytes) as f64 / entries)
        );
    }
}

/// What the statistics of so many different statements take, none of which is ever asked again, beside a pool without statistics.
async fn statements() {
    const MARKS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
    println!("\nMB of memory after so many different statements, and of these held by statistics");
    let mut held = [[0.0; MARKS.len()]; 2];
    for (statistics, held) in [false, true].into_iter().zip(&mut held) {
        let options = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
        let pool = options.connect("sqlite::memory:").await.unwrap();
        sqlx::query("CREATE TABLE papers (id INTEGER PRIMARY KEY, body TEXT)").execute(&pool).await.unwrap();
        let builder = CachedPool::builder(pool, Sessions::Uniform).sole_writer().statistics(statistics);
        // No results: their memory has a bound of its own.
        let pool = builder.policy(Policy::never()).build().await.unwrap();
        let before = ALLOCATED.current_usage();
        let mut n = 0;
        for (mark, held) in MARKS.into_iter().zip(held) {
            while n < mark {
                let sql = format!(
                    "SELECT body AS c{n} FROM papers WHERE id = $1 AND body <> 'a text as long as those of others are'"
                );
                black_box(sqlx::query(AssertSqlSafe(sql)).bind(1_i64).fetch_optional(&pool).await.unwrap());
                n += 1;
            }
            *held = (ALLOCATED.current_usage() as f64 - before as f64) / 1e6;
        }
        if statistics {
            let rows = pool.queries();
            let calls: u64 = rows.iter().map(|row| row.calls).sum();
            println!("{} rows, which tell of all {calls} calls", rows.len());
            assert!(calls == n && rows.len() <= 5_001);
        }
    }
    for (at, mark) in MARKS.into_iter().enumerate() {
        println!("{mark:>9} statements   {:>8.1}   statistics {:>8.1}", held[1][at], held[1][at] - held[0][at]);
    }
}

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == "statements") {
        return statements().await;
    }
    println!("bytes for each of {ENTRIES} entries, and in brackets their ratio to the text in each");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("bench.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let fill = format!(
        "CREATE TABLE papers (id INTEGER PRIMARY KEY, body TEXT);
         WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {ENTRIES})
         INSERT INTO papers SELECT i, substr(i || printf('%04096d', i), 1, 4096) FROM s"
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&pool).await.unwrap();
    for payload in [64, 1024, 4096] {
        let builder = CachedPool::builder(pool.clone(), Sessions::Uniform).sole_writer().max_bytes(4 << 30);
        let cached = builder.build().await.unwrap();
        let read = |id: i64| {
            let sql = "SELECT substr(body, 1, $2) FROM papers WHERE id = $1";
            sqlx::query_scalar::<_, String>(sql).bind(id).bind(payload as i64)
        };
        // What there is besides: connections, the plan, the columns.
        black_box(read(0).cached(&cached).fetch_one().await.unwrap());
        let empty = Held::by(&cached);
        for id in 1..=ENTRIES {
            black_box(read(id).fetch_one(&cached).await.unwrap());
        }
        let rows = Held::by(&cached);
        rows.print_growth(&empty, &format!("rows, {payload} bytes of text"), payload);
        for id in 1..=ENTRIES {
            black_box(read(id).cached(&cached).fetch_one().await.unwrap());
        }
        Held::by(&cached).print_growth(&rows, &format!("their values besides, {payload} bytes"), payload);
    }
    statements().await;
}
