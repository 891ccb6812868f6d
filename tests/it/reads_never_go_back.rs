//! Random reads and writes from many tasks against a plain model: no read is older than what was known when it was asked, no
//! task ever reads backwards, and what was rolled back is never seen.
//!
//! The model: each row holds a number that writes only ever raise by one. *Begun* counts the raises that were attempted,
//! before each is sent; *done* counts those whose future returned well. A read that begins when `done` was `d` and ends when
//! `begun` is `b` must find a number from `d` to `b`, and none smaller than what its task found before. A write that will be
//! rolled back raises by a million, which no read may ever show.
//!
//! Replay with `LARDER_TEST_SEED=<seed>`, which the test prints; more with `LARDER_TEST_SECONDS=<seconds for each database>`. The seed
//! fixes what each task does; when it does it is the scheduler's.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use larder::{CachedPool, Policy, QueryExt, Sessions};
use sqlx::{AssertSqlSafe, Row};

/// Rows in each of two tables.
const ROWS: usize = 8;
const TASKS: u64 = 6;
const NEVER: i64 = 1_000_000;
/// What a busy machine is given beyond the time that usually is enough.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_enough(stats: &larder::Stats) -> bool {
    stats.hits > 100 && stats.invalidations > 50
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn in_a_while(&mut self) -> Duration {
        let most = [50, 500, 5_000][self.below(3) as usize];
        Duration::from_micros(self.below(most))
    }
}

/// What is known of the rows of both tables: those of `a` first.
#[derive(Default)]
struct Model {
    begun: [AtomicI64; 2 * ROWS],
    done: [AtomicI64; 2 * ROWS],
    wrong: Mutex<Vec<String>>,
    errors: Mutex<std::collections::BTreeMap<String, usize>>,
}

impl Model {
    fn begin(&self, rows: &[usize]) {
        for row in rows {
            self.begun[*row].fetch_add(1, SeqCst);
        }
    }

    fn end(&self, rows: &[usize]) {
        for row in rows {
            self.done[*row].fetch_add(1, SeqCst);
        }
    }

    fn done(&self) -> Vec<i64> {
        self.done.iter().map(|n| n.load(SeqCst)).collect()
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Takes note of a write that failed or was cut short. Its outcome is then open.
    fn failed(&self, error: &sqlx::Error) {
        let text = error.to_string();
        *self.errors.lock().unwrap().entry(text.chars().take(90).collect()).or_default() += 1;
    }
}

/// What one task found so far.
struct Memory {
    rows: [i64; 2 * ROWS],
    sum: i64,
}

impl Memory {
    /// Compares what was found for some rows, asked when `before` was done.
    fn check(&mut self, model: &Model, what: &str, before: &[i64], found: &[(usize, i64)]) {
        for (row, n) in found {
            let most = model.begun[*row].load(SeqCst);
            let least = before[*row].max(self.rows[*row]);
            if *n < least || *n > most {
                model.wrong(format!(
                    "{what}: row {row} is {n}, but {} were done, {} were seen and {most} begun",
                    before[*row], self.rows[*row]
                ));
            }
            self.rows[*row] = self.rows[*row].max(*n);
        }
    }

    fn check_sum(&mut self, model: &Model, what: &str, before: &[i64], sum: i64) {
        let most: i64 = model.begun[..ROWS].iter().map(|n| n.load(SeqCst)).sum();
        let done: i64 = before[..ROWS].iter().sum();
        if sum < done.max(self.sum) || sum > most {
            model.wrong(format!(
                "{what}: the sum is {sum}, but {done} were done, {} were seen and {most} begun",
                self.sum
            ));
        }
        self.sum = self.sum.max(sum);
    }
}

fn seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    std::env::var("LARDER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now)
}

fn how_long(usual: f64) -> Duration {
    let seconds = std::env::var("LARDER_TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(usual))
}

const RAISE: [&str; 2] = ["UPDATE a SET n = n + $1 WHERE id = $2", "UPDATE b SET n = n + $1 WHERE id = $2"];

/// The same with the number as its answer. MariaDB has no UPDATE that returns rows.
fn raise_and_tell<DB: sqlx::Database>(table: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(match DB::NAME {
        "MySQL" => {
            format!("INSERT INTO {table} (n, id) VALUES (?, ?) ON DUPLICATE KEY UPDATE n = n + VALUES(n) RETURNING n")
        }
        _ => format!("UPDATE {table} SET n = n + $1 WHERE id = $2 RETURNING n"),
    })
}

/// A task on one kind of database. A macro, since the bounds of a generic function would be longer than its body.
macro_rules! task {
    ($Pool:ty) => {
        /// Reads and checks.
        async fn read(
            pools: &[$Pool; 2],
            model: &Model,
            memory: &mut Memory,
            dice: &mut Dice,
        ) -> Result<(), sqlx::Error> {
            let pool = &pools[dice.below(2) as usize];
            let moment = Duration::from_millis(2);
            let pool = match dice.below(16) {
                0 => pool.fresh(),
                1 => pool.scoped("somebody"),
                2 => pool.with(Policy::default().tag("some")),
                3 => pool.with(Policy::default().soft_ttl(moment)),
                4 => pool.with(Policy::ttl(moment).early_refresh(10.0).negative_ttl(moment)),
                _ => pool.clone(),
            };
            let row = dice.below(ROWS as u64) as usize;
            let id = row as i64;
            let before = model.done();
            match dice.below(12) {
                9 => {
                    let query = sqlx::query_scalar::<_, i64>(spell("SELECT n FROM a WHERE id = $1")).bind(id);
                    let n = query.cached(&pool).fetch_one().await?;
                    memory.check(model, "shared point", &before, &[(row, *n)]);
                }
                10 => {
                    let range = spell("SELECT id, n FROM a WHERE id >= $1 AND id < $2 ORDER BY id");
                    let query = sqlx::query_as::<_, (i64, i64)>(range).bind(id).bind(id + 3);
                    let found: Vec<_> =
                        query.cached(&pool).fetch_all().await?.iter().map(|(id, n)| (*id as usize, *n)).collect();
                    assert_eq!(found.len(), 3.min(ROWS - row), "rows come and go: {found:?}");
                    memory.check(model, "shared range", &before, &found);
                }
                11 => {
                    let query = sqlx::query_as::<_, (i64,)>(spell("SELECT n FROM b WHERE id = $1")).bind(id);
                    let found = query.cached(&pool).fetch_optional().await?;
                    memory.check(model, "shared optional", &before, &[(ROWS + row, found.unwrap().0)]);
                }
                0 | 1 => {
                    let n =
                        sqlx::query_scalar(spell("SELECT n FROM a WHERE id = $1")).bind(id).fetch_one(&pool).await?;
                    memory.check(model, "point", &before, &[(row, n)]);
                }
                2 => {
                    let n: Option<i64> = sqlx::query_scalar(spell("SELECT n FROM b WHERE id = $1"))
                        .bind(id)
                        .fetch_optional(&pool)
                        .await?;
                    memory.check(model, "optional", &before, &[(ROWS + row, n.unwrap())]);
                }
                3 => {
                    let range = spell("SELECT id, n FROM a WHERE id >= $1 AND id < $2 ORDER BY id");
                    let found: Vec<(i64, i64)> = sqlx::query_as(range).bind(id).bind(id + 3).fetch_all(&pool).await?;
                    let found: Vec<_> = found.into_iter().map(|(id, n)| (id as usize, n)).collect();
                    assert_eq!(found.len(), 3.min(ROWS - row), "rows come and go: {found:?}");
                    memory.check(model, "range", &before, &found);
                }
                4 => {
                    let both = spell("SELECT a.n, b.n FROM a JOIN b ON b.id = a.id WHERE a.id = $1");
                    let (a, b) = sqlx::query_as(both).bind(id).fetch_one(&pool).await?;
                    memory.check(model, "join", &before, &[(row, a), (ROWS + row, b)]);
                }
                5 => {
                    let sum =
                        sqlx::query_scalar(spell("SELECT CAST(sum(n) AS BIGINT) FROM a")).fetch_one(&pool).await?;
                    memory.check_sum(model, "sum", &before, sum);
                }
                6 => {
                    let groups = spell("SELECT id % 3, CAST(sum(n) AS BIGINT) FROM a GROUP BY id % 3 ORDER BY 1");
                    let found: Vec<(i64, i64)> = sqlx::query_as(groups).fetch_all(&pool).await?;
                    memory.check_sum(model, "groups", &before, found.iter().map(|(_, sum)| sum).sum());
                }
                7 => {
                    let below = spell("SELECT b.n FROM b WHERE b.id = (SELECT min(id) FROM a WHERE id >= $1)");
                    let n = sqlx::query_scalar(below).bind(id).fetch_one(&pool).await?;
                    memory.check(model, "subquery", &before, &[(ROWS + row, n)]);
                }
                _ => {
                    // Half of it at most: what was read counts, what was not must not be kept as the whole.
                    let mut rows = sqlx::query("SELECT id, n FROM b ORDER BY id").fetch(&pool);
                    for _ in 0..dice.below(ROWS as u64) {
                        let Some(found) = rows.try_next().await? else { panic!("rows are missing") };
                        let found = (ROWS + found.get::<i64, _>(0) as usize, found.get::<i64, _>(1));
                        memory.check(model, "stream", &before, &[found]);
                    }
                }
            }
            Ok(())
        }

        /// Raises rows in one of many ways.
        async fn write(
            pool: &$Pool,
            model: &Model,
            dice: &mut Dice,
            wild: bool,
            behind: bool,
        ) -> Result<(), sqlx::Error> {
            let row = dice.below(ROWS as u64) as usize;
            let id = row as i64;
            let raise = |table: usize, by: i64| sqlx::query(spell(RAISE[table])).bind(by).bind(id);
            let (a, b) = (row, ROWS + row);
            if behind {
                model.begin(&[a]);
                raise(0, 1).execute(pool.inner()).await?;
                model.end(&[a]);
                return Ok(());
            }
            // In quiet times, nothing that empties the whole cache.
            let ways = [0, 1, 2, 3, 4, 5, 6, 15, 7, 9, 19, 10, 11, 12, 13, 14, 16, 17, 18, 8];
            match ways[dice.below(if wild { 20 } else { 11 }) as usize] {
                0 | 1 => {
                    model.begin(&[a]);
                    raise(0, 1).execute(pool).await?;
                    model.end(&[a]);
                }
                2 => {
                    model.begin(&[b]);
                    let n: i64 =
                        sqlx::query_scalar(raise_and_tell::<Db>("b")).bind(1_i64).bind(id).fetch_one(pool).await?;
                    model.end(&[b]);
                    if n > model.begun[b].load(SeqCst) {
                        model.wrong(format!("RETURNING shows {n} for row {b}"));
                    }
                }
                3 => {
                    // Half-read, or not even begun.
                    model.begin(&[a]);
                    let mut rows = sqlx::query(raise_and_tell::<Db>("a")).bind(1_i64).bind(id).fetch(pool);
                    if dice.below(3) > 0 {
                        rows.try_next().await?;
                    }
                }
                4 | 5 => {
                    let mut tx = pool.begin().await?;
                    model.begin(&[a, b]);
                    raise(0, 1).execute(&mut *tx).await?;
                    raise(1, 1).execute(&mut *tx).await?;
                    tx.commit().await?;
                    model.end(&[a, b]);
                }
                6 => {
                    let mut tx = pool.begin().await?;
                    raise(0, NEVER).execute(&mut *tx).await?;
                    raise(1, NEVER).execute(&mut *tx).await?;
                    match dice.below(2) {
                        0 => drop(tx),
                        _ => tx.rollback().await?,
                    }
                }
                7 | 8 => {
                    let mut tx = pool.begin().await?;
                    model.begin(&[a]);
                    raise(0, 1).execute(&mut *tx).await?;
                    {
                        let mut inner = tx.begin().await?;
                        raise(1, NEVER).execute(&mut *inner).await?;
                        match dice.below(2) {
                            0 => drop(inner),
                            _ => inner.rollback().await?,
                        }
                    }
                    if dice.below(2) == 0 {
                        model.begin(&[b]);
                        let mut inner = tx.begin().await?;
                        raise(1, 1).execute(&mut *inner).await?;
                        inner.commit().await?;
                        tx.commit().await?;
                        model.end(&[a, b]);
                    } else {
                        tx.commit().await?;
                        model.end(&[a]);
                    }
                }
                9 => {
                    let mut connection = pool.acquire().await?;
                    model.begin(&[b]);
                    raise(1, 1).execute(&mut *connection).await?;
                    model.end(&[b]);
                }
                10 => {
                    // A helper that knows sqlx alone.
                    let mut connection = pool.acquire().await?;
                    model.begin(&[a]);
                    raise(0, 1).execute(&mut **connection).await?;
                    model.end(&[a]);
                }
                11 => {
                    let mut tx = pool.begin().await?;
                    model.begin(&[b]);
                    raise(1, 1).execute(&mut **tx).await?;
                    tx.commit().await?;
                    model.end(&[b]);
                }
                12 => {
                    // A transaction by text.
                    let mut connection = pool.acquire().await?;
                    sqlx::query("BEGIN").execute(&mut *connection).await?;
                    let keep = dice.below(2) == 0;
                    if keep {
                        model.begin(&[a]);
                    }
                    let raised = raise(0, if keep { 1 } else { NEVER }).execute(&mut *connection).await;
                    let end = if keep && raised.is_ok() { "COMMIT" } else { "ROLLBACK" };
                    sqlx::query(end).execute(&mut *connection).await?;
                    raised?;
                    if keep {
                        model.end(&[a]);
                    }
                }
                13 => match dice.below(4) {
                    0 => pool.invalidate_tags(["some"]),
                    _ => pool.invalidate([["a", "b", "nothing"][dice.below(3) as usize]]),
                },
                14 if dice.below(4) == 0 => {
                    let drop = if <Db as sqlx::Database>::NAME == "MySQL" {
                        "DROP INDEX IF EXISTS extra ON a"
                    } else {
                        "DROP INDEX IF EXISTS extra"
                    };
                    let ddl = ["CREATE INDEX IF NOT EXISTS extra ON a (n)", drop];
                    sqlx::query(ddl[dice.below(2) as usize]).execute(pool).await?;
                }
                15 => {
                    // Cut short anywhere.
                    model.begin(&[a]);
                    let _ = tokio::time::timeout(dice.in_a_while(), raise(0, 1).execute(pool)).await;
                }
                16 => {
                    let begun = tokio::time::timeout(dice.in_a_while(), pool.begin()).await;
                    if let Ok(tx) = begun {
                        let mut tx = tx?;
                        let nested = tokio::time::timeout(dice.in_a_while(), tx.begin()).await.map(drop).is_ok();
                        if nested {
                            model.begin(&[b]);
                            raise(1, 1).execute(&mut *tx).await?;
                            let _ = tokio::time::timeout(dice.in_a_while(), tx.commit()).await;
                        }
                    }
                }
                17 => {
                    let mut connection = pool.acquire().await?;
                    let mut tx = connection.begin().await?;
                    model.begin(&[a, b]);
                    let _ = tokio::time::timeout(dice.in_a_while(), raise(0, 1).execute(&mut *tx)).await;
                    raise(1, 1).execute(&mut *tx).await?;
                    let _ = tokio::time::timeout(dice.in_a_while(), tx.commit()).await;
                    // What became of it the same connection can be asked.
                    model.begin(&[b]);
                    raise(1, 1).execute(&mut *connection).await?;
                    model.end(&[b]);
                }
                18 => {
                    // The whole of it is a task that is aborted.
                    model.begin(&[a]);
                    let pool = pool.clone();
                    let task = tokio::spawn(async move {
                        let mut tx = pool.begin().await?;
                        sqlx::query(spell(RAISE[0])).bind(1_i64).bind(id).execute(&mut *tx).await?;
                        tx.commit().await
                    });
                    tokio::time::sleep(dice.in_a_while()).await;
                    task.abort();
                    let _ = task.await;
                }
                _ => {
                    let mut connection = pool.acquire().await?;
                    model.begin(&[b]);
                    let _ = tokio::time::timeout(dice.in_a_while(), raise(1, 1).execute(&mut *connection)).await;
                }
            }
            Ok(())
        }

        /// Goes on until something is wrong, or for as long as it is told. A busy machine is given more time to prove something.
        async fn task(pools: [$Pool; 2], model: Arc<Model>, seed: u64, least: Duration, behind: bool) {
            let mut dice = Dice(seed);
            let mut memory = Memory { rows: [0; 2 * ROWS], sum: 0 };
            let start = Instant::now();
            let enough = |time| time >= least && !behind && is_enough(&pools[0].stats()) || time >= least + PATIENCE;
            while !enough(start.elapsed()) && model.wrong.lock().unwrap().is_empty() {
                let wild = start.elapsed().as_millis() / 250 % 3 == 0;
                if dice.below(if wild { 8 } else { 50 }) == 0 {
                    let pool = &pools[dice.below(2) as usize];
                    if let Err(error) = write(pool, &model, &mut dice, wild, behind).await {
                        model.failed(&error);
                    }
                } else if let Err(error) = read(&pools, &model, &mut memory, &mut dice).await {
                    model.failed(&error);
                }
            }
        }

        async fn run(pool: $Pool, seed: u64, seconds: Duration, behind: bool) -> (Arc<Model>, [$Pool; 2]) {
            println!("LARDER_TEST_SEED={seed}");
            for table in ["a", "b"] {
                let create = format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)");
                sqlx::query(sqlx::AssertSqlSafe(create)).execute(&pool).await.unwrap();
                let fill = format!("INSERT INTO {table} VALUES ($1, 0)");
                for id in 0..ROWS as i64 {
                    sqlx::query(spell(&fill)).bind(id).execute(&pool).await.unwrap();
                }
            }
            // Another pool on the same database: each sees what the other writes.
            let other = sqlx::Pool::connect_with((*pool.connect_options()).clone()).await.unwrap();
            let other = CachedPool::builder(other, Sessions::Uniform).sole_writer().build().await.unwrap();
            let pools = [pool, other];
            let model = Arc::new(Model::default());
            let tasks =
                (0..TASKS).map(|i| tokio::spawn(task(pools.clone(), model.clone(), seed ^ (i << 32), seconds, behind)));
            for done in futures::future::join_all(tasks).await {
                done.unwrap();
            }
            println!("{}", pools[0].stats());
            println!("errors: {:#?}", model.errors.lock().unwrap());
            (model, pools)
        }
    };
}

on_each! {
    async fn whatever_is_done(pool) {
        task!(Pool);
        let (model, pools) = run(pool, seed(), how_long(5.0), false).await;
        let wrong = model.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let stats = pools[0].stats();
        assert!(is_enough(&stats), "too little happened to prove anything: {stats}");
        // When all is quiet, the cache says what the database says, and is a cache again.
        for (pool, table) in [(&pools[0], "a"), (&pools[1], "a"), (&pools[0], "b"), (&pools[1], "b")] {
            let all = format!("SELECT id, n FROM {table} ORDER BY id");
            let all = || sqlx::query_as::<_, (i64, i64)>(sqlx::AssertSqlSafe(&*all));
            let deadline = Instant::now() + Duration::from_secs(8);
            loop {
                let truth = all().fetch_all(pool.inner()).await.unwrap();
                assert_eq!(all().fetch_all(pool).await.unwrap(), truth);
                let (again, hit) = crate::support::was_hit(pool, all().fetch_all(pool)).await;
                if hit && again == truth {
                    break;
                }
                assert!(Instant::now() < deadline, "{table} stays in flight: {}", pool.stats());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Writes behind the back of the cache, which the model must find out.
    async fn the_model_can_fail(pool) {
        task!(Pool);
        let (model, _) = run(pool, seed(), how_long(5.0), true).await;
        assert!(!model.wrong.lock().unwrap().is_empty(), "a stale read went unnoticed");
    }
}
