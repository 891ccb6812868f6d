//! What Larder costs and saves, each figure against sqlx alone in the same run, in turn: `cargo bench`.
//!
//! `cargo bench -- hit` runs the groups whose names hold "hit". Figures are medians and 99th percentiles in microseconds;
//! the ratio is that of the medians, larder to sqlx. A private PostgreSQL and a private MariaDB are started for it.

use std::future::Future;
use std::hint::black_box;
use std::time::{Duration, Instant};

use larder::{CachedPool, MySqlPool, PgPool, QueryExt, Sessions, SqlitePool};
use sqlx::AssertSqlSafe;

mod mixed;
#[path = "../../tests/it/servers/mod.rs"]
mod servers;
mod statistics;
mod threads;
mod typed;

#[derive(sqlx::FromRow)]
#[allow(dead_code)]
struct Row {
    id: i64,
    name: Option<String>,
    active: Option<bool>,
    score: Option<f64>,
}

/// The statements, as a database wants them.
#[derive(Clone, Copy)]
struct Texts {
    rows: &'static str,
    update: &'static str,
}

const NUMBERED: Texts = Texts {
    rows: "SELECT id, name, active, score FROM things WHERE id BETWEEN $1 AND $2 ORDER BY id",
    update: "UPDATE things SET score = $1 WHERE id = $2",
};
const UNNUMBERED: Texts = Texts {
    rows: "SELECT id, name, active, score FROM things WHERE id BETWEEN ? AND ? ORDER BY id",
    update: "UPDATE things SET score = ? WHERE id = ?",
};

/// Durations of one kind of operation, in nanoseconds.
#[derive(Default)]
struct Sample(Vec<u64>);

impl Sample {
    fn quantile(&mut self, q: f64) -> f64 {
        self.0.sort_unstable();
        self.0[((self.0.len() - 1) as f64 * q) as usize] as f64 / 1e3
    }
}

/// Runs both in turn, in blocks, so that a slow moment of the machine hits both alike.
async fn compare<A, B, FA, FB>(what: &str, per_block: usize, mut straight: A, mut cached: B)
where
    A: FnMut(usize) -> FA,
    B: FnMut(usize) -> FB,
    FA: Future<Output = ()>,
    FB: Future<Output = ()>,
{
    let (mut a, mut b) = (Sample::default(), Sample::default());
    for block in 0..21 {
        for i in 0..per_block {
            let start = Instant::now();
            straight(block * per_block + i).await;
            if block > 0 {
                a.0.push(start.elapsed().as_nanos() as u64);
            }
        }
        for i in 0..per_block {
            let start = Instant::now();
            cached(block * per_block + i).await;
            if block > 0 {
                b.0.push(start.elapsed().as_nanos() as u64);
            }
        }
    }
    let (pa, pb) = (a.quantile(0.5), b.quantile(0.5));
    println!(
        "{what:<44} sqlx {pa:>9.2} (p99 {:>9.2})   larder {pb:>9.2} (p99 {:>9.2})   ratio {:>7.3}   {:>+8.2} µs",
        a.quantile(0.99),
        b.quantile(0.99),
        pb / pa,
        pb - pa
    );
}

fn wanted(name: &str) -> bool {
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()))
}

macro_rules! measure {
    ($database:literal, $straight:expr, $cached:expr, $texts:expr) => {{
        let (straight, cached, texts): (_, _, Texts) = ($straight, $cached, $texts);
        for n in [1_i64, 10, 100, 1000] {
            let name = format!("{} hit, {n} rows of 4 columns", $database);
            if !wanted(&name) {
                continue;
            }
            let read = || sqlx::query_as::<_, Row>(texts.rows).bind(1_i64).bind(n);
            read().fetch_all(cached).await.unwrap();
            let before = cached.stats().hits;
            compare(
                &name,
                (2000 / n as usize).clamp(20, 500),
                async |_| drop(black_box(read().fetch_all(straight).await.unwrap())),
                async |_| drop(black_box(read().fetch_all(cached).await.unwrap())),
            )
            .await;
            assert!(cached.stats().hits > before, "{name} was not answered from memory:\n{}", cached.stats());
        }
        for n in [1_i64, 10, 100] {
            let name = format!("{} typed hit, {n} rows of 4 columns", $database);
            if !wanted(&name) {
                continue;
            }
            let read = || sqlx::query_as::<_, Row>(texts.rows).bind(1_i64).bind(n);
            let value = read().cached(cached).fetch_all().await.unwrap();
            let bare = typed::Bare::with(value);
            let before = cached.stats().hits;
            typed::against_bare(
                &name,
                || bare.get(1, n),
                async || drop(black_box(read().cached(cached).fetch_all().await.unwrap())),
                // What anybody pays who uses sqlx at all.
                || drop(black_box(read())),
            )
            .await;
            assert!(cached.stats().hits > before, "{name} was not answered from memory:\n{}", cached.stats());
        }
        let name = concat!($database, " miss, 1 row");
        if wanted(name) {
            let read = |i: usize| sqlx::query_as::<_, Row>(texts.rows).bind(i as i64).bind(i as i64);
            compare(
                name,
                300,
                async |i| drop(black_box(read(i).fetch_all(straight).await.unwrap())),
                async |i| drop(black_box(read(i).fetch_all(cached).await.unwrap())),
            )
            .await;
        }
        let name = concat!($database, " flat out, 8 tasks, 1 row");
        if wanted(name) {
            let read =
                move |i: usize| sqlx::query_as::<_, Row>(texts.rows).bind((i % 1000) as i64).bind((i % 1000) as i64);
            let fresh = cached.fresh();
            let mut rates = [const { Vec::new() }; 3];
            for _ in 0..5 {
                rates[0].push(flat_out!(straight, read));
                rates[1].push(flat_out!(fresh, read));
                rates[2].push(flat_out!(cached, read));
            }
            let [direct, misses, hits] = rates.map(|mut rates| {
                rates.sort_by(f64::total_cmp);
                rates[2]
            });
            println!(
                "{name:<44} sqlx {direct:>9.0}/s   fresh {misses:>9.0}/s ({:.2}x)   hits {hits:>9.0}/s ({:.2}x)",
                misses / direct,
                hits / direct
            );
        }
        for writes in [0, 1, 10, 100] {
            let name = format!("{} mixed, {writes} of 10,000 write", $database);
            if wanted(&name) {
                mixed::measure!(name, straight, cached, writes, texts);
            }
        }
        let name = concat!($database, " rejected by the breaker, 1 row");
        if wanted(name) {
            let read = |i: usize| sqlx::query_as::<_, Row>(texts.rows).bind(-1 - i as i64).bind(0_i64);
            cached.breaker().force_open("to see what it takes", None);
            compare(
                name,
                300,
                async |i| drop(black_box(read(i).fetch_all(straight).await.unwrap())),
                async |i| drop(black_box(read(i).fetch_all(cached).await.err().expect("it is rejected"))),
            )
            .await;
            cached.breaker().release();
        }
        let name = concat!($database, " write, 1 row");
        if wanted(name) {
            let write = |i: usize| sqlx::query(texts.update).bind(i as f64).bind((i % 1000) as i64 + 1);
            compare(
                name,
                100,
                async |i| _ = black_box(write(i).execute(straight).await.unwrap()),
                async |i| _ = black_box(write(i).execute(cached).await.unwrap()),
            )
            .await;
        }
    }};
}

/// Operations per second of 8 tasks that ask as fast as they can.
macro_rules! flat_out {
    ($pool:expr, $read:expr) => {{
        let start = Instant::now();
        let length = Duration::from_millis(700);
        let tasks: Vec<_> = (0..8_usize)
            .map(|task| {
                let pool = $pool.clone();
                tokio::spawn(async move {
                    let mut done = 0_usize;
                    while start.elapsed() < length {
                        $read(task + 8 * done).fetch_all(&pool).await.unwrap();
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.unwrap();
        }
        done as f64 / start.elapsed().as_secs_f64()
    }};
}

/// To drop what rests on a table, with one entry and with a million.
async fn invalidation(url: &str) {
    const ENTRIES: usize = 1_000_000;
    let name = "invalidation with 1 and with 1,000,000 entries";
    if !wanted(name) {
        return;
    }
    let build = async || {
        let pool = sqlx::SqlitePool::connect(url).await.unwrap();
        CachedPool::builder(pool, Sessions::Uniform).sole_writer().max_bytes(4 << 30).build().await.unwrap()
    };
    // Each on its own versions would be another comparison: both pools are on one database, and so share them.
    let (one, many) = (build().await, build().await);
    let read = |i: usize| sqlx::query_scalar::<_, i64>("SELECT id FROM things WHERE id = $1").bind(i as i64);
    read(1).fetch_optional(&one).await.unwrap();
    eprintln!("filling the cache with {ENTRIES} entries ...");
    let fillers: Vec<_> = (0..8)
        .map(|part| {
            let many = many.clone();
            tokio::spawn(async move {
                for i in (part..ENTRIES).step_by(8) {
                    read(i).fetch_optional(&many).await.unwrap();
                }
            })
        })
        .collect();
    for filler in fillers {
        filler.await.unwrap();
    }
    println!("entries: {} and {}", one.stats().entries, many.stats().entries);
    assert_eq!((one.stats().entries, many.stats().entries), (1, ENTRIES as u64));
    let (mut with_one, mut with_many) = (Sample::default(), Sample::default());
    for _ in 0..1000 {
        for (pool, sample) in [(&one, &mut with_one), (&many, &mut with_many)] {
            let start = Instant::now();
            pool.invalidate(["things"]);
            sample.0.push(start.elapsed().as_nanos() as u64);
        }
    }
    let (a, b) = (with_one.quantile(0.5), with_many.quantile(0.5));
    println!("{name:<44} with 1 {a:>7.3}   with 1,000,000 {b:>7.3}   ratio {:>7.3}", b / a);
}

#[tokio::main]
async fn main() {
    // On a worker of the runtime, as the handlers of an application are.
    tokio::spawn(run()).await.unwrap();
}

async fn run() {
    println!("microseconds, medians and 99th percentiles of blocks run in turn; ratio of medians, larder to sqlx");
    let postgres = servers::Postgres::shared();
    let url = postgres.socket_url(&postgres.create_database());
    let straight = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT, active BOOLEAN, score FLOAT8);
         INSERT INTO things SELECT i, CASE WHEN i % 7 > 0 THEN 'name ' || i END, CASE WHEN i % 5 > 0 THEN i % 2 = 0 END,
         i * 1.5 FROM generate_series(1, 20000) i; ANALYZE things",
    )
    .execute(&straight)
    .await
    .unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    let cached: PgPool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap();
    measure!("postgres", &straight, &cached, NUMBERED);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    let off: PgPool =
        CachedPool::builder(pool, Sessions::Uniform).sole_writer().statistics(false).build().await.unwrap();
    statistics::measure!("postgres", &off, &cached, NUMBERED);
    threads::measure(&url);

    let mariadb = servers::MariaDb::shared();
    let url = mariadb.socket_url(&mariadb.create_database());
    let pool = || sqlx::mysql::MySqlPoolOptions::new().max_connections(4).connect(&url);
    let straight = pool().await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE things (id BIGINT PRIMARY KEY, name VARCHAR(40), active BOOLEAN, score DOUBLE);
         INSERT INTO things SELECT seq, IF(seq % 7 > 0, CONCAT('name ', seq), NULL), IF(seq % 5 > 0, seq % 2, NULL),
         seq * 1.5 FROM seq_1_to_20000; ANALYZE TABLE things",
    )
    .execute(&straight)
    .await
    .unwrap();
    let cached: MySqlPool =
        CachedPool::builder(pool().await.unwrap(), Sessions::Uniform).sole_writer().build().await.unwrap();
    measure!("mysql", &straight, &cached, UNNUMBERED);
    let builder = CachedPool::builder(pool().await.unwrap(), Sessions::Uniform);
    let off: MySqlPool = builder.sole_writer().statistics(false).build().await.unwrap();
    statistics::measure!("mysql", &off, &cached, UNNUMBERED);

    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("bench.db").display());
    let options = || {
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
        options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(20))
    };
    let pool = || sqlx::sqlite::SqlitePoolOptions::new().max_connections(4).connect_with(options());
    let straight = pool().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, name VARCHAR(40), active BOOLEAN, score DOUBLE);
         WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 20000)
         INSERT INTO things SELECT i, CASE WHEN i % 7 > 0 THEN 'name ' || i END, CASE WHEN i % 5 > 0 THEN i % 2 END,
         i * 1.5 FROM s",
    ))
    .execute(&straight)
    .await
    .unwrap();
    let cached: SqlitePool =
        CachedPool::builder(pool().await.unwrap(), Sessions::Uniform).sole_writer().build().await.unwrap();
    measure!("sqlite", &straight, &cached, NUMBERED);
    let builder = CachedPool::builder(pool().await.unwrap(), Sessions::Uniform);
    let off: SqlitePool = builder.sole_writer().statistics(false).build().await.unwrap();
    statistics::measure!("sqlite", &off, &cached, NUMBERED);
    invalidation(&url).await;
}
