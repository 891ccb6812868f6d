//! Random schemas with random reads and writes on PostgreSQL. Every answer is compared with a direct query, and what the catalog says
//! that a write changes, with the locks that the server took for it: no table may be locked for writing that was not told.
//!
//! Replay with `LARDER_TEST_SEED=<seed>`, which the test prints; more with `LARDER_TEST_SECONDS=<seconds>`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use larder::{Changes, PgPool};
use sqlx::AssertSqlSafe;

use crate::support::{postgres, was_hit};

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn of<'a>(&mut self, from: &'a [String]) -> &'a str {
        &from[self.below(from.len())]
    }
}

/// A schema, as the statements that make it, and what in it can be read and written. All have columns `id` and `n`.
#[derive(Default)]
struct Schema {
    statements: Vec<String>,
    readable: Vec<String>,
    writable: Vec<String>,
    functions: Vec<String>,
    writers: Vec<String>,
}

impl Schema {
    fn random(dice: &mut Dice) -> Self {
        let mut schema = Self::default();
        let mut tables = Vec::new();
        for number in 0..4 + dice.below(3) {
            let name = format!("t{number}");
            let refers = match number {
                0 => String::new(),
                _ if dice.below(3) == 0 => String::new(),
                _ => format!(
                    " REFERENCES t{} ON DELETE {} ON UPDATE {} {}",
                    dice.below(number),
                    dice.pick(&["CASCADE", "SET NULL", "NO ACTION"]),
                    dice.pick(&["CASCADE", "SET NULL", "NO ACTION"]),
                    dice.pick(&["", "DEFERRABLE INITIALLY DEFERRED"]),
                ),
            };
            schema.make(format!("CREATE TABLE {name} (id int PRIMARY KEY, n int{refers})"));
            schema.make(format!("INSERT INTO {name} SELECT g, NULL FROM generate_series(0, 5) g"));
            schema.make(format!("UPDATE {name} SET n = id"));
            tables.push(name);
        }
        schema.make("CREATE TABLE p (id int, n int) PARTITION BY RANGE (id)".into());
        schema.make("CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (MINVALUE) TO (3)".into());
        schema.make("CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (3) TO (MAXVALUE)".into());
        schema.make("INSERT INTO p SELECT g, g FROM generate_series(0, 5) g".into());
        schema.make("CREATE TABLE heir () INHERITS (t0)".into());
        tables.extend(["p", "p_low", "p_high", "heir"].map(String::from));
        schema.readable.clone_from(&tables);
        schema.writable.clone_from(&tables);
        for number in 0..2 + dice.below(4) {
            let (one, other) = (dice.of(&schema.readable).to_owned(), dice.of(&schema.readable).to_owned());
            let query = match dice.below(4) {
                0 => format!("SELECT * FROM {one}"),
                1 => format!("SELECT id, n FROM {one} WHERE n > 1"),
                2 => format!("SELECT a.id, b.n FROM {one} a JOIN {other} b ON a.id = b.id"),
                _ => format!("SELECT id, n FROM {one} UNION ALL SELECT id, n FROM {other}"),
            };
            let simple = query.starts_with("SELECT *") || query.contains("WHERE n > 1");
            let name = format!("v{number}");
            schema.make(format!("CREATE VIEW {name} AS {query}"));
            if simple && schema.writable.contains(&one) {
                schema.writable.push(name.clone());
            }
            schema.readable.push(name);
        }
        for number in 0..1 + dice.below(2) {
            let from = dice.of(&schema.readable).to_owned();
            schema.make(format!(
                "CREATE FUNCTION f{number}(wanted int) RETURNS bigint LANGUAGE sql STABLE AS \
                 'SELECT sum(n) FROM {from} WHERE id <> wanted'"
            ));
            schema.functions.push(format!("f{number}"));
        }
        for number in 0..1 + dice.below(3) {
            let body = schema.write(dice, "1", "2");
            let (language, body) = match dice.below(3) {
                0 => ("sql", format!("{body}; SELECT 1")),
                1 => ("plpgsql", format!("BEGIN {body}; RETURN 1; END")),
                _ => ("plpgsql", format!("BEGIN EXECUTE {}; RETURN 1; END", quoted(&body))),
            };
            schema.make(format!("CREATE FUNCTION w{number}() RETURNS int LANGUAGE {language} AS {}", quoted(&body)));
            schema.writers.push(format!("w{number}"));
        }
        for number in 0..1 + dice.below(4) {
            let table = dice.of(&tables).to_owned();
            let body = match dice.below(4) {
                0 => format!("PERFORM {}()", dice.of(&schema.writers)),
                1 => format!("EXECUTE {}", quoted(&schema.write(dice, "3", "4"))),
                _ => schema.write(dice, "5", "6"),
            };
            schema.make(format!(
                "CREATE FUNCTION g{number}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF pg_trigger_depth() < 3 THEN {body}; END IF; RETURN NULL; END $$"
            ));
            schema.make(format!(
                "CREATE TRIGGER g{number} AFTER {} ON {table} FOR EACH {} EXECUTE FUNCTION g{number}()",
                dice.pick(&["INSERT", "UPDATE", "DELETE", "INSERT OR DELETE"]),
                dice.pick(&["ROW", "STATEMENT"]),
            ));
        }
        if dice.below(2) == 0 {
            let (table, body) = (dice.of(&tables).to_owned(), schema.write(dice, "7", "8"));
            let verb = dice.pick(&["INSERT", "DELETE"]);
            schema.make(format!("CREATE RULE r AS ON {verb} TO {table} DO ALSO {body}"));
        }
        schema
    }

    fn make(&mut self, statement: String) {
        self.statements.push(statement);
    }

    /// A write of something.
    fn write(&self, dice: &mut Dice, id: &str, n: &str) -> String {
        let target = dice.of(&self.writable);
        match dice.below(6) {
            0 | 1 => format!("INSERT INTO {target} (id, n) VALUES ({id} + {}, NULL)", 10 + dice.below(1_000_000)),
            2 => format!("UPDATE {target} SET n = n + 1 WHERE id = {id}"),
            3 => format!("UPDATE {target} SET id = id + 1000 WHERE id = {n}"),
            4 => format!("DELETE FROM {target} WHERE id = {n}"),
            _ => format!(
                "WITH gone AS (DELETE FROM {target} WHERE id = {n} RETURNING id) UPDATE {} SET n = 0 WHERE id IN (SELECT id FROM gone)",
                dice.of(&self.writable)
            ),
        }
    }

    fn statement(&self, dice: &mut Dice) -> String {
        match dice.below(8) {
            0 => format!("SELECT {}()", dice.of(&self.writers)),
            1 => format!("SELECT {}() FROM {} WHERE id < 2", dice.of(&self.writers), dice.of(&self.readable)),
            2 => format!("TRUNCATE {}", dice.pick(&["p", "p_low", "heir"])),
            _ => {
                let (id, n) = (dice.below(8).to_string(), dice.below(8).to_string());
                self.write(dice, &id, &n)
            }
        }
    }

    fn read(&self, dice: &mut Dice) -> String {
        let from = dice.of(&self.readable);
        match dice.below(4) {
            0 => format!("SELECT count(*)::int8 AS c, sum(n)::int8 AS s FROM {from}"),
            1 => format!("SELECT {}(1) AS c, 0::int8 AS s", dice.of(&self.functions)),
            2 => format!("SELECT max({}(id)) AS c, count(*) AS s FROM {from}", dice.of(&self.functions)),
            _ => {
                format!("SELECT count(*) AS c, max(id)::int8 AS s FROM (SELECT * FROM {from} x WHERE n IS NOT NULL) y")
            }
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

type Answer = Vec<(Option<i64>, Option<i64>)>;

async fn ask<'p>(from: impl sqlx::Executor<'p, Database = sqlx::Postgres>, sql: &str) -> Answer {
    let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(from).await;
    rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The tables that the server locks for writing by a statement, which is then rolled back; none if it fails.
async fn locked(pool: &sqlx::PgPool, sql: &str) -> BTreeSet<String> {
    let mut tx = pool.begin().await.unwrap();
    if sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.is_err() {
        return BTreeSet::new();
    }
    if sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *tx).await.is_err() {
        return BTreeSet::new();
    }
    let locked: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT n.nspname || '.' || c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = pg_backend_pid() AND c.relkind IN ('r', 'p', 'm') \
         AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'SIReadLock') AND n.nspname = 'public'",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    tx.rollback().await.unwrap();
    locked.into_iter().collect()
}

#[derive(Default)]
struct Counted {
    schemas: u32,
    hits: u64,
    writes: u64,
    known: u64,
    locks: usize,
}

async fn run(dice: &mut Dice, counted: &mut Counted) {
    let schema = Schema::random(dice);
    let pool: PgPool = postgres().await;
    for statement in &schema.statements {
        // Some are not to be had together, such as a rule and a WITH: then there is one less of them.
        let _ = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(pool.inner()).await;
    }
    pool.reload().await.unwrap();
    pool.clear();
    let reads: Vec<String> = (0..8).map(|_| schema.read(dice)).collect();
    for _ in 0..25 {
        let write = schema.statement(dice);
        let explanation = pool.explain(&write).await.unwrap();
        let locked = locked(pool.inner(), &write).await;
        let told: Option<BTreeSet<String>> = match &explanation.writes {
            Changes::Nothing => Some(BTreeSet::new()),
            Changes::Tables(tables) => Some(tables.iter().map(|table| table.table.clone()).collect()),
            _ => None,
        };
        if let Some(told) = told {
            let missed: Vec<_> = locked.difference(&told).collect();
            assert!(missed.is_empty(), "{write} also writes {missed:?}, besides {told:?}; {:#?}", schema.statements);
            counted.known += 1;
        }
        counted.locks += locked.len();
        // What is kept before it and asked after it is never another answer than the database's.
        for sql in &reads {
            ask(&pool, sql).await;
        }
        let _ = sqlx::query(AssertSqlSafe(write.clone())).fetch_all(&pool).await;
        counted.writes += 1;
        for sql in &reads {
            for _ in 0..2 {
                let (answer, hit) = was_hit(&pool, async { Ok(ask(&pool, sql).await) }).await;
                counted.hits += u64::from(hit);
                let truth = ask(pool.inner(), sql).await;
                assert_eq!(answer, truth, "{sql} after {write}; {:#?}", schema.statements);
            }
        }
    }
    counted.schemas += 1;
    pool.inner().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_reaches_further_than_is_told() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("LARDER_TEST_SEED").unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    println!("LARDER_TEST_SEED={seed}");
    let end = Instant::now() + Duration::from_secs(number("LARDER_TEST_SECONDS").unwrap_or(8));
    let (mut dice, mut counted) = (Dice(seed), Counted::default());
    while counted.schemas < 3 || Instant::now() < end {
        run(&mut dice, &mut counted).await;
    }
    let Counted { schemas, hits, writes, known, locks } = counted;
    println!(
        "{schemas} schemas, {writes} writes, {known} of them to known tables, {locks} locks, {hits} hits compared"
    );
    assert!(hits > 100 && known > 20 && locks > 20, "too little happened to prove anything");
}
