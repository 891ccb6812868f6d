//! One node of a soak, in a process of its own.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use rand::RngExt;
use sqlx::{AssertSqlSafe, Row};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::checker::{Checker, Event};
use super::{Promise, ROWS, TABLES, lock};
use crate::cli::Failure;
use crate::faults::{self, Rule};
use crate::{CachedPool, Consistency, PgPool, RedisOptions, Sessions};

/// One node of a soak.
#[derive(Debug, Args)]
pub(crate) struct Node {
    #[arg(long)]
    database_url: String,
    #[arg(long)]
    redis_url: String,
    #[arg(long, value_enum)]
    consistency: Promise,
    #[arg(long)]
    bound: u64,
    #[arg(long)]
    lease: u64,
    #[arg(long)]
    writes_per_second: u32,
    #[arg(long)]
    readers: u32,
    #[arg(long, default_value_t = 0)]
    dies: u32,
    #[arg(long, value_enum)]
    r#break: Option<Rule>,
}

/// The one clock that all processes of this machine share, in nanoseconds.
pub(super) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn tell(event: Event) {
    // The other end may be gone, and this process with it soon.
    let _ = writeln!(std::io::stdout().lock(), "{event}");
}

impl Node {
    /// Runs it until it is told to end.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(rule) = self.r#break {
            faults::break_rule(rule);
        }
        faults::die_before_finish(self.dies);
        let consistency = match self.consistency {
            Promise::Bounded => Consistency::Bounded(Duration::from_millis(self.bound)),
            Promise::Strict => Consistency::Strict,
        };
        let redis = RedisOptions::new(&self.redis_url)
            .consistency(consistency)
            .lease(Duration::from_millis(self.lease))
            .timeout(Duration::from_millis(100));
        let failed = |error: sqlx::Error| Failure::failed(format!("the database cannot be used: {error}"));
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(8)
            .connect(&self.database_url)
            .await
            .map_err(failed)?;
        let builder = CachedPool::builder(pool, Sessions::Uniform).ttl(Duration::MAX).redis(redis);
        // Of no effect where no triggers tell of writes.
        let builder = builder.watch_bound(Duration::from_millis(self.bound));
        let pool = builder.build().await.map_err(failed)?;
        let busy = Arc::new(AtomicBool::new(true));
        let readers = (0..self.readers).map(|_| tokio::spawn(read_all_the_time(pool.clone(), busy.clone())));
        let pause = Duration::from_secs_f64(1.0 / f64::from(self.writes_per_second.max(1)));
        let writers =
            (self.writes_per_second > 0).then(|| tokio::spawn(write_now_and_then(pool.clone(), busy.clone(), pause)));
        let mut tasks: Vec<_> = readers.collect();
        tasks.extend(writers);
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match &*line {
                "stop" => {
                    busy.store(false, SeqCst);
                    for task in tasks.drain(..) {
                        let _ = task.await;
                    }
                }
                "check" => check(&pool).await,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A read that takes this long is not repeated at once.
const NEVER_MIND: Duration = Duration::from_millis(20);

async fn read_all_the_time(pool: PgPool, busy: Arc<AtomicBool>) {
    static COUNTED: AtomicU64 = AtomicU64::new(0);
    while busy.load(SeqCst) {
        let (table, id) = (rand::rng().random_range(0..TABLES), rand::rng().random_range(0..ROWS));
        // Some read two tables at once.
        let other = (rand::rng().random_range(0..4) == 0).then(|| (table + 1) % TABLES);
        let sql = match other {
            None => format!("SELECT n FROM larder_soak.t{table} WHERE id = $1"),
            Some(other) => format!(
                "SELECT a.n, b.n FROM larder_soak.t{table} a JOIN larder_soak.t{other} b ON a.id = b.id WHERE a.id = $1"
            ),
        };
        let asked = now();
        let answer = sqlx::query(AssertSqlSafe(sql)).bind(id as i32).fetch_one(&pool).await;
        let answered = now();
        match answer {
            Ok(row) => {
                for (at, table) in [Some(table), other].into_iter().flatten().enumerate() {
                    let n = row.get::<i64, _>(at) as u64;
                    tell(Event::Read { row: table * ROWS + id, n, asked, answered });
                }
            }
            Err(_) => tokio::time::sleep(NEVER_MIND).await,
        }
        if COUNTED.fetch_add(1, SeqCst).is_multiple_of(1_000) {
            count(&pool);
        }
        // Faster than this is of no use to whoever has to check it.
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    count(&pool);
}

fn count(pool: &PgPool) {
    let stats = pool.stats();
    let hits = stats.hits + stats.coalesced;
    tell(Event::Counted { hits, reads: hits + stats.misses + stats.bypasses });
}

async fn write_now_and_then(pool: PgPool, busy: Arc<AtomicBool>, pause: Duration) {
    while busy.load(SeqCst) {
        let pause = pause.mul_f64(rand::rng().random_range(0.1..1.9));
        tokio::time::sleep(pause).await;
        let pool = pool.clone();
        // Each by itself: one that is held up does not hold up others.
        tokio::spawn(async move {
            let (table, id) = (rand::rng().random_range(0..TABLES), rand::rng().random_range(0..ROWS));
            let kind = rand::rng().random_range(0..3);
            let written = match kind {
                0 => write_two(&pool, table, id).await,
                _ => write_one(&pool, table, id).await,
            };
            let at = now();
            let Ok(written) = written else { return };
            let unpublished = pool.unpublished() > 0;
            for (row, n) in &written {
                let (row, n) = (*row, *n);
                tell(if unpublished { Event::Unpublished { row, n, at } } else { Event::Written { row, n, at } });
            }
            if unpublished {
                while pool.unpublished() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let at = now();
                written.iter().for_each(|(row, n)| tell(Event::Published { row: *row, n: *n, at }));
            }
        });
    }
}

/// Writes as a program does that knows nothing of Larder.
pub(super) async fn write_outside(
    pool: sqlx::PgPool,
    busy: Arc<AtomicBool>,
    pause: Duration,
    checker: Arc<Mutex<Checker>>,
) {
    let life = lock(&checker).new_life();
    while busy.load(SeqCst) {
        let pause = pause.mul_f64(rand::rng().random_range(0.1..1.9));
        tokio::time::sleep(pause).await;
        let (table, id) = (rand::rng().random_range(0..TABLES), rand::rng().random_range(0..ROWS));
        let written: Result<i64, _> = sqlx::query_scalar(update(table)).bind(id as i32).fetch_one(&pool).await;
        if let Ok(n) = written {
            lock(&checker).hear(life, Event::Written { row: table * ROWS + id, n: n as u64, at: now() });
        }
    }
}

type Written = Result<Vec<(usize, u64)>, sqlx::Error>;

fn update(table: usize) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("UPDATE larder_soak.t{table} SET n = n + 1 WHERE id = $1 RETURNING n"))
}

async fn write_one(pool: &PgPool, table: usize, id: usize) -> Written {
    let n: i64 = sqlx::query_scalar(update(table)).bind(id as i32).fetch_one(pool).await?;
    Ok(vec![(table * ROWS + id, n as u64)])
}

async fn write_two(pool: &PgPool, table: usize, id: usize) -> Written {
    let mut tx = pool.begin().await?;
    let mut written = Vec::new();
    // In one order, so that no two wait for each other.
    let mut tables = [table, (table + 1) % TABLES];
    tables.sort_unstable();
    for table in tables {
        let n: i64 = sqlx::query_scalar(update(table)).bind(id as i32).fetch_one(&mut *tx).await?;
        written.push((table * ROWS + id, n as u64));
    }
    let changes_its_mind = rand::rng().random_range(0..8) == 0;
    if changes_its_mind {
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    tx.commit().await?;
    Ok(written)
}

/// Reads every row, by the same statement as before.
async fn check(pool: &PgPool) {
    for table in 0..TABLES {
        for id in 0..ROWS {
            let sql = format!("SELECT n FROM larder_soak.t{table} WHERE id = $1");
            if let Ok(n) = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).bind(id as i32).fetch_one(pool).await {
                tell(Event::Final { row: table * ROWS + id, n: n as u64 });
            }
        }
    }
}
