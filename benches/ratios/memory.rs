//! The memory that a kept result takes, by what the system says the process holds.

use std::hint::black_box;

use larder::{CachedPool, QueryExt, Sessions};
use sqlx::AssertSqlSafe;

use crate::wanted;

const ENTRIES: i64 = 60_000;
/// Bytes of the text in each row.
const PAYLOAD: usize = 1024;

pub async fn measure(url: &str) {
    let name = "memory of an entry of 1 KiB";
    if !wanted(name) {
        return;
    }
    if resident().is_none() {
        println!("{name:<44} not measured: only Linux tells in /proc what a process holds");
        return;
    }
    let pool = sqlx::SqlitePool::connect(url).await.unwrap();
    let fill = format!(
        "CREATE TABLE papers (id INTEGER PRIMARY KEY, body TEXT);
         WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {})
         INSERT INTO papers SELECT i, substr(i || printf('%0{PAYLOAD}d', i), 1, {PAYLOAD}) FROM s",
        2 * ENTRIES
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&pool).await.unwrap();
    let cached = CachedPool::builder(pool, Sessions::Uniform).sole_writer().max_bytes(4 << 30).build().await.unwrap();
    let read = |id: i64| sqlx::query_scalar::<_, String>("SELECT body FROM papers WHERE id = $1").bind(id);
    // What every process has that ever asked: buffers, the page caches of SQLite, threads.
    for id in 0..2_000 {
        black_box(read(id).fetch_one(&cached.fresh()).await.unwrap());
    }
    cached.clear();
    black_box(read(0).fetch_one(&cached).await.unwrap());
    let per_entry = |before: (usize, larder::Stats), what: &str| {
        let stats = cached.stats();
        let entries = (stats.entries - before.1.entries) as f64;
        let bytes = (resident().unwrap_or_default() as f64 - before.0 as f64) / entries;
        let counted = (stats.bytes - before.1.bytes) as f64 / entries;
        println!(
            "{:<44} {bytes:>7.0} bytes, {counted:.0} counted   ratio to the text {:>6.2}",
            format!("{name}{what}"),
            bytes / PAYLOAD as f64
        );
    };
    let before = (resident().unwrap_or_default(), cached.stats());
    for id in 1..=ENTRIES {
        black_box(read(id).fetch_one(&cached).await.unwrap());
    }
    per_entry(before, "");
    let before = (resident().unwrap_or_default(), cached.stats());
    for id in 1..=ENTRIES {
        black_box(read(id).cached(&cached).fetch_one().await.unwrap());
    }
    per_entry(before, ", its value besides");
}

/// Bytes of memory that the process holds.
fn resident() -> Option<usize> {
    let pages: usize = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
