//! What it takes to share results through Redis: `cargo bench --bench through_redis --features redis`.
//!
//! Everything on one machine: a private PostgreSQL, a private Redis, and nodes in processes of their own. Each figure stands beside
//! what it is held against, measured by turns in the same run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, Script, cmd};
use larder::{CachedPool, PgPool, RedisOptions, Sessions};
use rustix::time::{ClockId, clock_gettime};
use sqlx::Row;

#[path = "../tests/it/servers/mod.rs"]
mod servers;

const NODE: &str = "LARDER_BENCH_NODE";

#[tokio::main]
async fn main() {
    if let Ok(urls) = std::env::var(NODE) {
        return node(&urls).await;
    }
    codecs();
    let postgres = servers::Postgres::start();
    let redis = servers::Redis::start();
    let url = postgres.url(&postgres.create_database());
    let plain = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE items (id INT PRIMARY KEY, name TEXT, price INT8, made TIMESTAMPTZ DEFAULT now());
         INSERT INTO items SELECT i, 'item ' || i, i FROM generate_series(1, 20000) i;
         CREATE TABLE signal (id INT PRIMARY KEY, n INT8); INSERT INTO signal VALUES (1, 0)",
    )
    .execute(&plain)
    .await
    .unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let bare = client.get_multiplexed_async_connection().await.unwrap();
    // Without room in memory, every hit is one of Redis.
    let pool = pool(&url, &redis.url(), |builder| builder.max_bytes(1)).await;
    hits(&pool, &bare).await;
    tasks(&pool, &bare).await;
    writes(&plain, &pool, &bare).await;
    drop(pool);
    polls(&bare).await;
    invalidation(&url, &redis.url()).await;
}

async fn pool(
    url: &str,
    redis: &str,
    with: impl FnOnce(larder::Builder<sqlx::Postgres>) -> larder::Builder<sqlx::Postgres>,
) -> PgPool {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect(url).await.unwrap();
    // A short lease: nothing is kept for as long after the start.
    let options = RedisOptions::new(redis).lease(Duration::from_millis(500)).timeout(Duration::from_secs(1));
    let pool = with(CachedPool::builder(pool, Sessions::Uniform).ttl(Duration::from_secs(3600)).redis(options));
    let pool = pool.build().await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    pool
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn percentile(times: &[Duration], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

/// Results of one size. Without room in memory one leaves it again, but only after some others came.
const RESULTS: i32 = 300;

/// Reads that many rows, one result after the other by `turn`.
async fn read(pool: &PgPool, rows: i32, turn: i32) {
    let first = 1 + turn % RESULTS;
    let sql = "SELECT id, name, price, made FROM items WHERE id BETWEEN $1 AND $2";
    let read = sqlx::query(sql).bind(first).bind(first + rows - 1).fetch_all(pool).await.unwrap();
    assert_eq!(read.len(), rows as usize);
}

/// Has all of them in Redis, and nothing else.
async fn fill(pool: &PgPool, bare: &MultiplexedConnection, rows: i32) {
    let _: () = cmd("FLUSHALL").query_async(&mut bare.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for turn in 0..RESULTS {
        read(pool, rows, turn).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    in_redis(pool);
}

/// Hits there so far. What has no room in memory leaves it with this look.
fn in_redis(pool: &PgPool) -> u64 {
    pool.stats().hits_by_tier.get(&larder::Tier::Redis).copied().unwrap_or(0)
}

/// The entry that was written last, as bytes.
async fn an_entry(bare: &MultiplexedConnection) -> Vec<u8> {
    let mut bare = bare.clone();
    let keys: Vec<Vec<u8>> = cmd("KEYS").arg("larder:e:*").query_async(&mut bare).await.unwrap();
    keys[0].clone()
}

async fn hits(pool: &PgPool, bare: &MultiplexedConnection) {
    println!("\nhit in Redis against a bare GET of the same bytes; µs, medians of 2000 by turns");
    for rows in [1, 10, 100, 1000] {
        fill(pool, bare, rows).await;
        let key = an_entry(bare).await;
        let before = in_redis(pool);
        let (mut hits, mut gets) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for turn in 0..2_000 {
            let begun = Instant::now();
            read(pool, rows, turn).await;
            hits.push(begun.elapsed());
            let begun = Instant::now();
            let got: Vec<u8> = cmd("GET").arg(&key).query_async(&mut bare.clone()).await.unwrap();
            gets.push(begun.elapsed());
            bytes = got.len();
        }
        assert!(in_redis(pool) - before > 1_900, "{}", pool.stats());
        let (hit, get) = (median(hits), median(gets));
        println!("{rows:>5} rows, {bytes:>6} bytes: {hit:.1} against {get:.1}, ratio {:.2}", hit / get);
    }
}

async fn tasks(pool: &PgPool, bare: &MultiplexedConnection) {
    println!("\nmany tasks at once, 10 rows: per second");
    fill(pool, bare, 10).await;
    let key = an_entry(bare).await;
    for tasks in [64, 256] {
        let each = 20_000 / tasks;
        let before = in_redis(pool);
        let begun = Instant::now();
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for turn in 0..each {
                        read(&pool, 10, task * 7 + turn).await;
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        let hits = f64::from(tasks * each) / begun.elapsed().as_secs_f64();
        let share = (in_redis(pool) - before) as f64 / f64::from(tasks * each);
        let begun = Instant::now();
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let (mut bare, key) = (bare.clone(), key.clone());
                tokio::spawn(async move {
                    for _ in 0..each {
                        let _: Vec<u8> = cmd("GET").arg(&key).query_async(&mut bare).await.unwrap();
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        let gets = f64::from(tasks * each) / begun.elapsed().as_secs_f64();
        println!(
            "{tasks:>5} tasks: {hits:.0} hits ({:.0} % in Redis) against {gets:.0} GETs, ratio {:.2}",
            share * 100.0,
            gets / hits
        );
    }
}

async fn writes(plain: &sqlx::PgPool, pool: &PgPool, bare: &MultiplexedConnection) {
    let sql = "UPDATE items SET price = price + 1 WHERE id = $1";
    let (mut shared, mut straight, mut trips) = (Vec::new(), Vec::new(), Vec::new());
    for id in 1..1_000_i32 {
        let begun = Instant::now();
        sqlx::query(sql).bind(id).execute(pool).await.unwrap();
        shared.push(begun.elapsed());
        let begun = Instant::now();
        sqlx::query(sql).bind(id + 10_000).execute(plain).await.unwrap();
        straight.push(begun.elapsed());
        let begun = Instant::now();
        for _ in 0..2 {
            let _: String = cmd("PING").query_async(&mut bare.clone()).await.unwrap();
        }
        trips.push(begun.elapsed());
    }
    let (shared, straight, trips) = (median(shared), median(straight), median(trips));
    println!(
        "\nwrite: {shared:.1} µs; through sqlx {straight:.1}, two round trips to Redis {trips:.1}; ratio to both {:.2}",
        shared / (straight + trips)
    );
}

async fn polls(bare: &MultiplexedConnection) {
    println!("\npoll of 10,000 tables; µs, medians");
    let mut bare = bare.clone();
    let script = Script::new(include_str!("../src/versions/protocol.lua"));
    let mut call = async |operation: &str, arguments: &[String]| -> (Vec<redis::Value>, Duration) {
        let begun = Instant::now();
        let mut call = script.key("larder:{bench}:v");
        call.arg("larder:{bench}:feed").arg(operation).arg("0123456789abcdef0123456789abcdef").arg("here").arg(1_000);
        call.arg(arguments);
        let answer: Vec<redis::Value> = call.invoke_async(&mut bare).await.unwrap();
        (answer, begun.elapsed())
    };
    let finish = |from: usize, to: usize| -> Vec<String> {
        ["0".to_owned()].into_iter().chain((from..to).map(|n| format!(":public.table_{n}"))).collect()
    };
    let seq = |answer: &[redis::Value]| match answer[1] {
        redis::Value::Int(seq) => seq,
        _ => unreachable!("a number"),
    };
    call("read", &[]).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for part in 0..10 {
        call("finish", &finish(part * 1000, (part + 1) * 1000)).await;
    }
    let epoch = "0123456789abcdef0123456789abcdef".to_owned();
    for changed in [0, 1, 10, 100, 1000] {
        let mut times = Vec::new();
        for round in 0..200 {
            let before = seq(&call("read", &[]).await.0);
            if changed > 0 {
                call("finish", &finish(round * 10, round * 10 + changed)).await;
            }
            times.push(call("poll", &[epoch.clone(), before.to_string()]).await.1);
        }
        println!("{changed:>5} changed since: {:.1}", median(times));
    }
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A node that tells when it sees which number.
async fn node(urls: &str) {
    let (url, redis) = urls.split_once(' ').unwrap();
    let pool = pool(url, redis, |builder| builder).await;
    let mut last = 0;
    loop {
        let row = sqlx::query("SELECT n FROM signal WHERE id = $1").bind(1).fetch_one(&pool).await.unwrap();
        let n: i64 = row.get(0);
        if n != last {
            println!("{n} {}", now().as_nanos());
            last = n;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

async fn invalidation(url: &str, redis: &str) {
    const WRITES: i64 = 200;
    for nodes in [1, 8] {
        let mut processes: Vec<_> = (0..nodes)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .env(NODE, format!("{url} {redis}"))
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let readers: Vec<_> = processes
            .iter_mut()
            .map(|process| {
                let output = BufReader::new(process.stdout.take().unwrap());
                std::thread::spawn(move || -> Vec<(i64, Duration)> {
                    let lines = output.lines().map_while(Result::ok);
                    let seen = lines.filter_map(|line| {
                        let (n, at) = line.split_once(' ')?;
                        Some((n.parse().ok()?, Duration::from_nanos(at.parse().ok()?)))
                    });
                    seen.collect()
                })
            })
            .collect();
        let pool = pool(url, redis, |builder| builder).await;
        sqlx::query("UPDATE signal SET n = 0").execute(&pool).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut told = Vec::new();
        for n in 1..=WRITES {
            sqlx::query("UPDATE signal SET n = $1").bind(n).execute(&pool).await.unwrap();
            told.push(now());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        processes.iter_mut().for_each(|process| drop((process.kill(), process.wait())));
        let mut late: Vec<Duration> = readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap())
            .filter_map(|(n, at)| Some(at.saturating_sub(*told.get(usize::try_from(n).ok()?.checked_sub(1)?)?)))
            .collect();
        late.sort_unstable();
        println!(
            "\ninvalidation to {nodes} nodes: seen after the write had returned by p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms ({} times)",
            percentile(&late, 0.5),
            percentile(&late, 0.99),
            percentile(&late, 1.0),
            late.len()
        );
    }
}

/// Rows as a shop has them, and bytes that cannot be compressed.
fn codecs() {
    use std::fmt::Write;
    println!("compression of rows; size in % of it, µs to write and to read");
    for kib in [1, 2, 8, 64, 512] {
        let mut rows = String::new();
        for id in 0.. {
            if rows.len() >= kib << 10 {
                break;
            }
            let _ = write!(
                rows,
                "\0\0\0\x04{:04}\0\0\0\x12product number {id}\0\0\0\x08{:08}2026-11-{:02} 1{}:00:00",
                id * 7,
                id * 1299 % 99_999,
                id % 30,
                id % 9
            );
        }
        let rows = rows.as_bytes();
        let rounds = (1 << 20) / rows.len() + 5;
        let timed = |work: &mut dyn FnMut() -> usize| {
            let mut times = Vec::new();
            let mut size = 0;
            for _ in 0..rounds {
                let begun = Instant::now();
                size = work();
                times.push(begun.elapsed());
            }
            (size, median(times))
        };
        let lz4 = lz4_flex::block::compress(rows);
        let (lz4_size, lz4_write) = timed(&mut || lz4_flex::block::compress(rows).len());
        let (_, lz4_read) = timed(&mut || lz4_flex::block::decompress(&lz4, rows.len()).unwrap().len());
        let zstd = zstd::bulk::compress(rows, 1).unwrap();
        let (zstd_size, zstd_write) = timed(&mut || zstd::bulk::compress(rows, 1).unwrap().len());
        let (_, zstd_read) = timed(&mut || zstd::bulk::decompress(&zstd, rows.len()).unwrap().len());
        let (_, seal) = timed(&mut || blake3::hash(rows).as_bytes().len());
        let share = |size: usize| size as f64 / rows.len() as f64 * 100.0;
        println!(
            "{kib:>5} KiB: lz4 {:.0} % {lz4_write:.1} {lz4_read:.1}; zstd 1 {:.0} % {zstd_write:.1} {zstd_read:.1}; checksum {seal:.1}",
            share(lz4_size),
            share(zstd_size)
        );
    }
}
