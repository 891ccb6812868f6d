//! Other nodes: processes of their own with a pool on the same database and the same Redis.
//!
//! Within one process all pools on a database know of each other's writes. So this test binary runs itself again, and is told
//! line by line what to ask.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use larder::{CachedPool, Consistency, PgPool, RedisOptions, Sessions};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};

/// How a node is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    pub database: String,
    pub redis: RedisOptions,
    urls: Vec<String>,
    consistency: String,
    lease: Duration,
    secret: String,
}

impl Setup {
    /// Short leases: what was lost is missed for half a second only.
    pub fn new(database: &str, redis: &str) -> Self {
        Self::of(database, "one", &[redis.to_owned()], "1000")
    }

    /// `kind`: `one`, `cluster` or the name that Sentinels know the primary by. `consistency`: a bound in milliseconds, `strict`
    /// or `ttl`.
    pub fn of(database: &str, kind: &str, urls: &[String], consistency: &str) -> Self {
        Self::with(database, &[&[kind.to_owned()], urls].concat(), consistency, Duration::from_millis(500), "")
    }

    fn with(database: &str, urls: &[String], consistency: &str, lease: Duration, secret: &str) -> Self {
        let options = match &*urls[0] {
            "one" => RedisOptions::new(&urls[1]),
            "cluster" => RedisOptions::cluster(&urls[1..]),
            master => RedisOptions::sentinels(&urls[1..], master),
        };
        let mode = match consistency {
            "strict" => Consistency::Strict,
            "ttl" => Consistency::Ttl,
            bound => Consistency::Bounded(Duration::from_millis(bound.parse().expect("a bound"))),
        };
        // A machine that runs all tests at once is slow.
        let mut redis = options.consistency(mode).lease(lease).timeout(Duration::from_millis(500));
        if !secret.is_empty() {
            redis = redis.secret(secret);
        }
        let (urls, secret) = (urls.to_vec(), secret.to_owned());
        Self { database: database.to_owned(), redis, urls, consistency: consistency.to_owned(), lease, secret }
    }

    /// The same with another consistency.
    pub fn consistency(&self, consistency: &str) -> Self {
        Self::with(&self.database, &self.urls, consistency, self.lease, &self.secret)
    }

    /// The same with another lease.
    pub fn lease(&self, lease: Duration) -> Self {
        Self::with(&self.database, &self.urls, &self.consistency, lease, &self.secret)
    }

    /// The same with a secret.
    pub fn secret(&self, secret: &str) -> Self {
        Self::with(&self.database, &self.urls, &self.consistency, self.lease, secret)
    }

    /// A pool in this process. Its results live for an hour.
    pub async fn pool(&self) -> PgPool {
        let pool = sqlx::PgPool::connect(&self.database).await.expect("the database takes connections");
        let builder =
            CachedPool::builder(pool, Sessions::Uniform).ttl(Duration::from_secs(3600)).redis(self.redis.clone());
        builder.build().await.expect("the pool can be built")
    }

    /// A node in a process of its own.
    pub fn node(&self) -> Node {
        let setup = json!({
            "database": self.database, "urls": self.urls, "consistency": self.consistency,
            "lease": self.lease.as_millis() as u64, "secret": self.secret,
        });
        let mut process = Command::new(std::env::current_exe().expect("the path of this program"))
            .args(["--exact", "nodes::serve", "--nocapture", "--ignored", "--test-threads=1"])
            .env("LARDER_TEST_NODE", setup.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs again");
        let questions = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut node = Node { process, questions, answers };
        node.answer();
        node
    }
}

/// A node in a process of its own. Dropping it kills it.
pub struct Node {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    /// Runs a query, and returns the number in its first row, if there is one.
    pub fn read(&mut self, sql: &str) -> Option<i64> {
        self.ask(json!({"read": sql}))["value"].as_i64()
    }

    /// Runs a statement.
    pub fn write(&mut self, sql: &str) -> Result<(), String> {
        match self.ask(json!({"write": sql}))["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(()),
        }
    }

    /// What [`larder::Stats`] says, as JSON.
    pub fn stats(&mut self) -> Value {
        self.ask(json!({"stats": true}))
    }

    /// Hits in Redis so far.
    pub fn hits_in_redis(&mut self) -> u64 {
        self.stats()["hits_by_tier"]["redis"].as_u64().unwrap_or(0)
    }

    /// Begins a transaction, writes, and dies as soon as the COMMIT is answered, before anybody is told of it.
    pub fn write_and_die(mut self, sql: &str) {
        let _ = writeln!(self.questions, "{}", json!({"die": sql}));
        let _ = self.process.wait();
    }

    pub fn token(&mut self) -> Option<String> {
        self.ask(json!({"token": true}))["token"].as_str().map(str::to_owned)
    }

    pub fn at_least(&mut self, token: &str) {
        self.ask(json!({"at_least": token}));
    }

    pub fn invalidate_tags(&mut self, tag: &str) {
        self.ask(json!({"invalidate_tags": tag}));
    }

    fn ask(&mut self, question: Value) -> Value {
        writeln!(self.questions, "{question}").expect("the node listens");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).expect("the node answers") > 0, "the node is gone");
            // The test harness has its say as well.
            if let Some((_, answer)) = line.split_once("answer: ") {
                return serde_json::from_str(answer).expect("JSON");
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "is what other tests run as another process"]
fn serve() {
    let setup: Value = serde_json::from_str(&std::env::var("LARDER_TEST_NODE").expect("a setup")).expect("JSON");
    let text = |name: &str| setup[name].as_str().expect("a text").to_owned();
    let urls: Vec<String> = serde_json::from_value(setup["urls"].clone()).expect("URLs");
    let lease = Duration::from_millis(setup["lease"].as_u64().expect("a number"));
    let setup = Setup::with(&text("database"), &urls, &text("consistency"), lease, &text("secret"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let pool = runtime.block_on(setup.pool());
    println!("answer: {{}}");
    for line in std::io::stdin().lines() {
        let question: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let answer = runtime.block_on(answer(&pool, &question));
        println!("answer: {answer}");
    }
}

async fn answer(pool: &PgPool, question: &Value) -> Value {
    if let Some(sql) = question["read"].as_str() {
        return match sqlx::query(AssertSqlSafe(sql)).bind(0_i64).fetch_optional(pool).await {
            Ok(row) => json!({"value": row.and_then(|row| row.get::<Option<i64>, _>(0))}),
            Err(error) => json!({"error": error.to_string()}),
        };
    }
    if let Some(sql) = question["write"].as_str() {
        return match sqlx::query(AssertSqlSafe(sql)).execute(pool).await {
            Ok(_) => json!({}),
            Err(error) => json!({"error": error.to_string()}),
        };
    }
    if let Some(sql) = question["die"].as_str() {
        // Another connection than Larder's tells when it is committed.
        let before: i64 =
            sqlx::query_scalar("SELECT sum(n)::bigint FROM t").fetch_one(pool.inner()).await.expect("a sum");
        let (pool, sql) = (pool.clone(), sql.to_owned());
        let raw = pool.inner().clone();
        tokio::spawn(async move { sqlx::query(AssertSqlSafe(sql)).execute(&pool).await });
        loop {
            let now: i64 = sqlx::query_scalar("SELECT sum(n)::bigint FROM t").fetch_one(&raw).await.expect("a sum");
            if now != before {
                std::process::abort();
            }
        }
    }
    if let Some(token) = question["at_least"].as_str() {
        pool.at_least(token.parse().expect("a token")).await;
        return json!({});
    }
    if let Some(tag) = question["invalidate_tags"].as_str() {
        pool.invalidate_tags([tag]);
        return json!({});
    }
    if question["token"].as_bool() == Some(true) {
        return json!({"token": pool.token().map(|token| token.to_string())});
    }
    serde_json::to_value(pool.stats()).expect("JSON")
}
