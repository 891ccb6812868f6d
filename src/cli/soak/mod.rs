//! `larder soak`: several processes read and write through Larder while everything around them fails.
//!
//! In: a PostgreSQL database and what to do to it. Out: how many reads were checked, how old the oldest answer was, and
//! whether any was older than promised.
//! It never touches anything in the database but a schema of its own, and no Redis but the one it started.

mod checker;
mod nemesis;
mod node;
mod servers;

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use self::checker::{Checker, Event};
use self::nemesis::Nemesis;
use self::servers::Servers;
use crate::analysis::Dialect;
use crate::cli::Failure;
use crate::cli::proxy::Proxy;
use crate::faults::Rule;
use crate::watch;

pub(crate) use node::Node;

/// Has several processes read and write through Larder, and holds each answer against what it may be.
///
/// They share one PostgreSQL and one Redis. Meanwhile Redis is killed, paused, flushed, cut off, slowed down, replaced by its
/// replica, made to answer garbage, and its clock is moved; nodes are killed, some of them between a COMMIT and the word of it. A node that cannot
/// reach Redis promises nothing to the others about what it writes meanwhile; apart from that, an answer that is older than the
/// bound, that misses a write of its own node, or that stays old at the end is a violation, and the command fails.
///
/// It needs redis-server on this machine, and starts its own.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Soak {
    /// The PostgreSQL database, as postgres://user@host/database. A schema `larder_soak` is made there and dropped at the end.
    #[arg(long, value_name = "URL")]
    pub database_url: String,
    /// How long, for each consistency.
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// The same number gives the same faults in the same order.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Processes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// What reads may miss; one after the other if left out.
    #[arg(long, value_enum)]
    consistency: Vec<Promise>,
    /// The bound, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 400)]
    bound: u64,
    /// Writes per second of each node.
    #[arg(long, value_name = "N", default_value_t = 25)]
    writes_per_second: u32,
    /// Tasks of each node that read, each as fast as it can.
    #[arg(long, value_name = "N", default_value_t = 3)]
    readers: u32,
    /// Programs that write without Larder, of which triggers tell; under bounded consistency.
    #[arg(long, value_name = "N", default_value_t = 0)]
    outsiders: u32,
    /// Nothing fails.
    #[arg(long)]
    calm: bool,
    /// Breaks a rule of the protocol in each node, which should be found.
    #[arg(long, value_enum, value_name = "RULE")]
    r#break: Option<Rule>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  larder soak --database-url postgres://postgres@localhost/postgres
  larder soak --database-url postgres://postgres@localhost/postgres --seconds 3600 --nodes 8 --consistency bounded
  larder soak --database-url postgres://postgres@localhost/postgres --seed 7 --break announce";

/// What reads may miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Promise {
    /// What was written within the bound.
    Bounded,
    /// Nothing.
    Strict,
}

impl Promise {
    fn name(self) -> &'static str {
        match self {
            Promise::Bounded => "bounded",
            Promise::Strict => "strict",
        }
    }
}

/// How long a write stays announced whose node has died.
const LEASE: Duration = Duration::from_millis(1_500);
/// Tables, and rows of each.
const TABLES: usize = 6;
const ROWS: usize = 4;

impl Soak {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let seed = self.seed.unwrap_or_else(rand::random);
        let promises = match self.consistency.is_empty() {
            true => vec![Promise::Bounded, Promise::Strict],
            false => self.consistency.clone(),
        };
        let mut reports = Vec::new();
        for promise in promises {
            eprintln!("{}: {} nodes for {} s, seed {seed}", promise.name(), self.nodes, self.seconds);
            let report = self.run_under(promise, seed).await?;
            if !self.json {
                print!("{report}");
            }
            reports.push(report);
        }
        if self.json {
            let reports: Vec<_> = reports.iter().map(checker::Report::to_json).collect();
            println!("{}", json!({"seed": seed, "runs": reports}));
        }
        match reports.iter().map(|report| report.violations).sum::<u64>() {
            0 => Ok(()),
            wrong => {
                Err(Failure::failed(format!("{wrong} answers were older than promised; run again with --seed {seed}")))
            }
        }
    }

    async fn run_under(&self, promise: Promise, seed: u64) -> Result<checker::Report, Failure> {
        let database = Ground::create(&self.database_url).await?;
        if self.outsiders_under(promise) > 0 {
            database.watch().await?;
        }
        let ran = self.run_on(promise, seed, &database).await;
        database.leave().await;
        ran
    }

    async fn run_on(&self, promise: Promise, seed: u64, ground: &Ground) -> Result<checker::Report, Failure> {
        let servers = Servers::start()?;
        let bound = match promise {
            Promise::Bounded => Duration::from_millis(self.bound),
            Promise::Strict => Duration::ZERO,
        };
        let checker = Arc::new(Mutex::new(Checker::new(promise.name(), bound)));
        let mut nodes = Vec::new();
        for _ in 0..self.nodes {
            let proxy = Proxy::start("127.0.0.1", servers.primary()).await?;
            let mut node = Running { proxy, arguments: self.arguments(promise), process: None };
            node.start(&checker).await?;
            nodes.push(node);
        }
        let busy = Arc::new(AtomicBool::new(true));
        let pause = Duration::from_secs_f64(1.0 / f64::from(self.writes_per_second.max(1)));
        let outsiders: Vec<_> = (0..self.outsiders_under(promise))
            .map(|_| tokio::spawn(node::write_outside(ground.pool.clone(), busy.clone(), pause, checker.clone())))
            .collect();
        let mut nemesis = Nemesis::new(seed, servers);
        let ends = tokio::time::Instant::now() + Duration::from_secs(self.seconds);
        while tokio::time::Instant::now() < ends {
            match self.calm {
                true => tokio::time::sleep(Duration::from_millis(200)).await,
                false => nemesis.strike(&mut nodes, &checker).await?,
            }
            lock(&checker).check(node::now().saturating_sub(SETTLED));
        }
        nemesis.make_peace(&mut nodes, &checker).await?;
        busy.store(false, SeqCst);
        for outsider in outsiders {
            let _ = outsider.await;
        }
        for node in &mut nodes {
            node.tell("stop").await;
        }
        // What dead nodes had announced has lapsed by then, and so has the quarantine.
        tokio::time::sleep(LEASE * 2 + bound + Duration::from_secs(1)).await;
        let truth = ground.truth().await?;
        lock(&checker).expect(truth);
        // One that died with its last write has nothing left to be asked.
        nodes.retain_mut(Running::is_alive);
        for node in &mut nodes {
            node.tell("check").await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        for node in &mut nodes {
            node.end().await;
        }
        let faults = nemesis.faults();
        let report = lock(&checker).report(faults, nodes.len().max(1) as u64);
        Ok(report)
    }

    /// Of them, strict consistency says nothing.
    fn outsiders_under(&self, promise: Promise) -> u32 {
        match promise {
            Promise::Bounded => self.outsiders,
            Promise::Strict => 0,
        }
    }

    fn arguments(&self, promise: Promise) -> Vec<String> {
        let mut arguments = vec![
            "soak-node".to_owned(),
            format!("--database-url={}", self.database_url),
            format!("--consistency={}", promise.name()),
            format!("--bound={}", self.bound),
            format!("--lease={}", LEASE.as_millis()),
            format!("--writes-per-second={}", self.writes_per_second),
            format!("--readers={}", self.readers),
        ];
        if !self.calm {
            arguments.push("--dies=2000".into());
        }
        if let Some(rule) = self.r#break.and_then(|rule| rule.to_possible_value()) {
            arguments.push(format!("--break={}", rule.get_name()));
        }
        arguments
    }
}

/// Events come in from all nodes within this time.
const SETTLED: u64 = 3_000_000_000;

/// A node, and its way to Redis.
struct Running {
    proxy: Proxy,
    arguments: Vec<String>,
    process: Option<(Child, ChildStdin)>,
}

impl Running {
    async fn start(&mut self, checker: &Arc<Mutex<Checker>>) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("a node cannot be started: {error}"));
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .args(&self.arguments)
            .arg(format!("--redis-url=redis://127.0.0.1:{}/", self.proxy.port()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Failure::failed("a node has no pipes"));
        };
        let checker = checker.clone();
        // Whatever comes from an earlier life of the node was checked as its own.
        let life = lock(&checker).new_life();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(event) = Event::read(&line) {
                    lock(&checker).hear(life, event);
                }
            }
        });
        self.process = Some((process, input));
        Ok(())
    }

    async fn tell(&mut self, what: &str) {
        if let Some((_, input)) = &mut self.process {
            let _ = input.write_all(format!("{what}\n").as_bytes()).await;
        }
    }

    /// Whether it still runs: some end by themselves.
    fn is_alive(&mut self) -> bool {
        self.process.as_mut().is_some_and(|(process, _)| matches!(process.try_wait(), Ok(None)))
    }

    async fn end(&mut self) {
        if let Some((mut process, input)) = self.process.take() {
            drop(input);
            let _ = process.kill().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The schema that everything happens in.
struct Ground {
    pool: sqlx::PgPool,
    /// Whether somebody else had the database watched before.
    is_watched: bool,
}

impl Ground {
    async fn create(url: &str) -> Result<Self, Failure> {
        let failed = |error: sqlx::Error| Failure::failed(format!("the database cannot be used: {error}"));
        let pool = sqlx::PgPool::connect(url).await.map_err(failed)?;
        let mut sql = String::from("DROP SCHEMA IF EXISTS larder_soak CASCADE; CREATE SCHEMA larder_soak;");
        for table in 0..TABLES {
            sql += &format!(
                "CREATE TABLE larder_soak.t{table} (id INT PRIMARY KEY, n BIGINT NOT NULL);
                 INSERT INTO larder_soak.t{table} SELECT id, 0 FROM generate_series(0, {}) id;",
                ROWS - 1
            );
        }
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.map_err(failed)?;
        let is_watched = "SELECT to_regclass('larder.versions') IS NOT NULL";
        let is_watched = sqlx::query_scalar(is_watched).fetch_one(&pool).await.map_err(failed)?;
        Ok(Self { pool, is_watched })
    }

    /// Has every write told by triggers.
    async fn watch(&self) -> Result<(), Failure> {
        let failed = |error: sqlx::Error| Failure::failed(format!("the database cannot be watched: {error}"));
        let mut sql = watch::install(Dialect::Postgres).to_owned();
        (0..TABLES).for_each(|table| sql += &watch::watch(Dialect::Postgres, "larder_soak", &format!("t{table}")));
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.pool).await.map_err(failed).map(drop)
    }

    /// The number in each row of each table.
    async fn truth(&self) -> Result<Vec<u64>, Failure> {
        let mut truth = Vec::new();
        for table in 0..TABLES {
            let sql = format!("SELECT n FROM larder_soak.t{table} ORDER BY id");
            let numbers: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_all(&self.pool)
                .await
                .map_err(|error| Failure::failed(format!("the database cannot be asked: {error}")))?;
            truth.extend(numbers.into_iter().map(|n| n as u64));
        }
        Ok(truth)
    }

    async fn leave(&self) {
        let _ = sqlx::raw_sql("DROP SCHEMA larder_soak CASCADE").execute(&self.pool).await;
        if !self.is_watched {
            let _ = sqlx::raw_sql(watch::remove(Dialect::Postgres)).execute(&self.pool).await;
        }
        self.pool.close().await;
    }
}
