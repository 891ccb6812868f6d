//! Nothing happens without a reason: in `stats()`, in the metrics and in the log, and the three agree.
//!
//! One thread each: a recorder of metrics and a subscriber of events that are set for a thread see what happens on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use larder::{CachedPool, Reason, Sessions, SqlitePool, Stats};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::as_it_is as spell;

const SETUP: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO t VALUES (1, 0), (2, 0)";

/// Reads until the database was looked at again.
macro_rules! seen {
    ($pool:expr, $reads:ident) => {
        loop {
            let before = $pool.stats().bypasses;
            sqlx::query(spell("SELECT n FROM t WHERE id = $1")).bind(1).fetch_one($pool).await.unwrap();
            $reads += 1;
            if $pool.stats().bypasses == before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
}

/// Reads and other statements, until there is a bit of everything. Returns how many reads that were.
macro_rules! a_bit_of_everything {
    ($pool:expr) => {{
        let pool = &$pool;
        sqlx::raw_sql(SETUP).execute(pool).await.unwrap();
        let mut reads = 0;
        let n = || spell("SELECT n FROM t WHERE id = $1");
        for round in 0..3 {
            for id in [1, 1, 2] {
                sqlx::query(n()).bind(id).fetch_one(pool).await.unwrap();
                sqlx::query(n()).bind(id).fetch_optional(&pool.scoped("x")).await.unwrap();
                sqlx::query(n()).bind(id).fetch_all(&pool.fresh()).await.unwrap();
                let mut rows = sqlx::query(n()).bind(id).fetch(pool);
                rows.try_next().await.unwrap();
                drop(rows);
                reads += 4;
            }
            for sql in [
                "SELECT 1",
                "SELECT n, random() FROM t",
                "SELECT absent FROM t",
                "SELECT n FROM nowhere",
                "SELECT n FROM",
            ] {
                let _ = sqlx::query(spell(sql)).fetch_all(pool).await;
                reads += u64::from(!sql.ends_with("FROM"));
            }
            // What is not understood may have changed the schema, which is looked at again in the background.
            seen!(pool, reads);
            sqlx::query(n()).bind(1).persistent(false).fetch_all(pool).await.unwrap();
            if !spell("$1").as_str().starts_with('?') {
                sqlx::query(n()).fetch_all(pool).await.map(drop).unwrap_or_default();
            }
            // A statement that is refused before it is looked at counts as nothing.
            sqlx::query(spell("UPDATE t SET n = n + 1 WHERE id = $1")).bind(1).execute(pool).await.unwrap();
            let mut tx = pool.begin().await.unwrap();
            sqlx::query(n()).bind(1).fetch_one(&mut *tx).await.unwrap();
            sqlx::query("UPDATE t SET n = n + 1 WHERE id = 2").execute(&mut *tx).await.unwrap();
            match round {
                0 => drop(tx.rollback().await),
                _ => drop(tx.commit().await),
            }
            let mut connection = pool.acquire().await.unwrap();
            sqlx::query(n()).bind(1).fetch_one(&mut *connection).await.unwrap();
            sqlx::query("SELECT 1").execute(&mut **connection).await.unwrap();
            drop(connection);
            reads += 4;
            while pool.num_idle() < pool.size() as usize {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen!(pool, reads);
            pool.invalidate(["t"]);
            let asked: Vec<_> = (0..4).map(|_| sqlx::query("SELECT sum(n) FROM t").fetch_one(pool)).collect();
            futures::future::join_all(asked).await;
            reads += 4;
        }
        reads
    }};
}

fn all(stats: &Stats) -> u64 {
    stats.hits + stats.coalesced + stats.misses + stats.bypasses
}

on_each! {
    async fn every_read_is_counted_once(pool) {
        let reads = a_bit_of_everything!(pool);
        let stats = pool.stats();
        // Postgres takes a query that lacks an argument for a protocol error, SQLite for NULL; both were reads.
        assert!([reads - 3, reads, reads + 3].contains(&all(&stats)), "{} of {reads}: {stats}", all(&stats));
        assert_eq!(stats.misses, stats.misses_by_reason.values().sum::<u64>());
        assert_eq!(stats.bypasses, stats.bypasses_by_reason.values().sum::<u64>());
        assert_eq!(stats.invalidations, stats.invalidations_by_reason.values().sum::<u64>());
        // MySQL keeps no more of a statement that is prepared for once than of others.
        let once = (<Db as sqlx::Database>::NAME != "MySQL").then_some(Reason::NotPersistent);
        for reason in [Reason::NoTables, Reason::VolatileFunction, Reason::Transaction, Reason::Connection].into_iter().chain(once) {
            assert!(stats.bypasses_by_reason.contains_key(&reason), "{reason}: {stats}");
        }
        for reason in [Reason::Absent, Reason::Invalidated, Reason::Fresh] {
            assert!(stats.misses_by_reason.contains_key(&reason), "{reason}: {stats}");
        }
        for reason in [Reason::Write, Reason::Commit, Reason::SchemaChange, Reason::OpaqueConnection, Reason::Manual] {
            assert!(stats.invalidations_by_reason.contains_key(&reason), "{reason}: {stats}");
        }
        assert!(stats.hits > 0 && stats.coalesced > 0 && stats.stored > 0, "{stats}");
        // Whatever ran, a person can read of it.
        assert!(stats.to_string().contains("miss: absent"), "{stats}");
    }
}

async fn sqlite() -> SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(crate::support::file()).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap()
}

#[tokio::test]
async fn the_metrics_say_what_the_statistics_say() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _set = metrics::set_default_local_recorder(&recorder);
    let pool = sqlite().await;
    let zero: Vec<_> = snapshotter.snapshot().into_vec();
    assert!(
        zero.iter().any(|(key, ..)| key.key().name() == "larder_requests_total"),
        "published before the first read"
    );
    a_bit_of_everything!(pool);
    let stats = pool.stats();
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(n) => n,
            DebugValue::Gauge(n) => n.into_inner() as u64,
            DebugValue::Histogram(_) => continue,
        };
        counted.insert(format!("{} {}", key.key().name(), labels.join(" ")), value);
    }
    let mut expected = BTreeMap::from([
        ("larder_requests_total outcome=hit reason= tier=memory".to_owned(), stats.hits),
        ("larder_requests_total outcome=coalesced reason= tier=memory".to_owned(), stats.coalesced),
        ("larder_stores_total reason=".to_owned(), stats.stored),
        ("larder_entries tier=memory".to_owned(), stats.entries),
        ("larder_bytes tier=memory".to_owned(), stats.bytes),
    ]);
    for (reason, n) in &stats.misses_by_reason {
        expected.insert(format!("larder_requests_total outcome=miss reason={reason} tier="), *n);
    }
    for (reason, n) in &stats.bypasses_by_reason {
        expected.insert(format!("larder_requests_total outcome=bypass reason={reason} tier="), *n);
    }
    for (reason, n) in &stats.not_stored_by_reason {
        expected.insert(format!("larder_stores_total reason={reason}"), *n);
    }
    for (reason, n) in &stats.invalidations_by_reason {
        expected.insert(format!("larder_invalidations_total origin=local reason={reason}"), *n);
    }
    for (metric, n) in expected {
        assert_eq!(counted.remove(&metric), Some(n), "{metric}");
    }
    // What is left says nothing of requests, or was counted anew since zero.
    assert!(counted.keys().all(|metric| !metric.contains("reason=") || counted[metric] == 0), "{counted:#?}");
}

/// Counts events by target, outcome and reason, and keeps what they say.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(BTreeMap<String, u64>, String)>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("larder::") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let text = |name| fields.0.get(name).map_or("", |text| text.as_str());
        let mut log = self.0.lock().unwrap();
        *log.0.entry(format!("{} {}", text("outcome"), text("reason"))).or_default() += 1;
        for (name, value) in &fields.0 {
            log.1 += &format!("{name}={value} ");
        }
        log.1.push('\n');
    }
}

#[tokio::test]
async fn the_log_says_what_the_statistics_say() {
    let log = Log::default();
    // While there is but one subscriber, an event that another thread happens to meet first is off for good.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _set = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let pool = sqlite().await;
    a_bit_of_everything!(pool);
    sqlx::query(spell("SELECT n FROM t WHERE id = $1 AND id <> $2"))
        .bind(1)
        .bind(4_711_174)
        .fetch_all(&pool)
        .await
        .unwrap();
    let (stats, log) = (pool.stats(), log.0.lock().unwrap());
    let count = |outcome: &str, reason: &str| log.0.get(&format!("{outcome} {reason}")).copied().unwrap_or(0);
    assert_eq!((count("hit", ""), count("coalesced", "")), (stats.hits, stats.coalesced));
    assert_eq!(count("stored", ""), stats.stored);
    for (outcome, reasons) in [
        ("miss", &stats.misses_by_reason),
        ("bypass", &stats.bypasses_by_reason),
        ("not stored", &stats.not_stored_by_reason),
        ("invalidation", &stats.invalidations_by_reason),
    ] {
        for (reason, n) in reasons {
            assert_eq!(count(outcome, reason.label()), *n, "{outcome} {reason}");
        }
    }
    assert!(log.1.contains("sentence="), "{}", log.1);
    assert!(!log.1.contains("4711174"), "a bound value got into the log");
}
