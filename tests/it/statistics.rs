//! What a pool did is told by statement, in total and as metrics, and the three agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use larder::{CachedPool, Policy, QueryExt, QueryStats, Reason, Sessions, Stats, Tier};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use sqlx::AssertSqlSafe;

use crate::support::as_it_is as spell;

const SETUP: &str =
    "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); CREATE TABLE u (id INTEGER PRIMARY KEY, n INTEGER)";

/// The row of the one statement whose text begins like this.
#[track_caller]
fn row(rows: &[QueryStats], begin: &str) -> QueryStats {
    let found: Vec<_> = rows.iter().filter(|row| row.text.starts_with(begin)).collect();
    let [row] = found[..] else { panic!("{} rows begin with {begin}: {rows:#?}", found.len()) };
    row.clone()
}

/// Totals and rows must tell the same.
#[track_caller]
fn assert_agreement(stats: &Stats, rows: &[QueryStats]) {
    let sum = |number: fn(&QueryStats) -> u64| rows.iter().map(number).sum::<u64>();
    let maps = |map: fn(&QueryStats) -> &BTreeMap<Reason, u64>| {
        let mut all = BTreeMap::new();
        rows.iter().flat_map(map).for_each(|(reason, count)| *all.entry(*reason).or_insert(0) += count);
        all
    };
    assert_eq!(sum(|row| row.hits), stats.hits);
    assert_eq!(sum(|row| row.coalesced), stats.coalesced);
    assert_eq!(sum(|row| row.stale), stats.stale);
    assert_eq!(sum(|row| row.misses), stats.misses);
    assert_eq!(sum(|row| row.bypasses), stats.bypasses);
    assert_eq!(sum(|row| row.writes), stats.writes);
    assert_eq!(sum(|row| row.stored), stats.stored);
    assert_eq!(sum(|row| row.refreshes), stats.refreshes);
    assert_eq!(maps(|row| &row.misses_by_reason), stats.misses_by_reason);
    assert_eq!(maps(|row| &row.bypasses_by_reason), stats.bypasses_by_reason);
    assert_eq!(maps(|row| &row.not_stored_by_reason), stats.not_stored_by_reason);
    assert_eq!(rows.iter().map(|row| row.database_time).sum::<Duration>(), stats.database_time);
    assert_eq!(rows.iter().map(|row| row.saved_time).sum::<Duration>(), stats.saved_time);
    assert_eq!(stats.waits.reads.time + stats.waits.writes.time, stats.database_time);
    for row in rows {
        assert_eq!(row.calls, row.hits + row.coalesced + row.stale + row.misses + row.bypasses + row.writes, "{row}");
        // No pool of a test lives longer.
        assert_eq!((row.recent_time, row.recent_timed), (row.database_time, row.timed), "{row}");
    }
    assert!(
        rows.windows(2).all(|pair| pair[0].database_time >= pair[1].database_time),
        "the most expensive comes first"
    );
}

/// What a recorder heard, as `name{label=value,...}`.
fn heard(snapshotter: &Snapshotter) -> BTreeMap<String, DebugValue> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, unit, description, value)| {
        let key = key.key();
        assert!(unit.is_some() && description.is_some_and(|text| !text.is_empty()), "{} is not described", key.name());
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    })
    .collect()
}

/// Every series that docs/metrics.md says is published at zero.
fn documented(statistics: bool) -> BTreeSet<String> {
    let page = include_str!("../../docs/metrics.md");
    let (table, series) = page.split_once("## Series").unwrap();
    let mut all = BTreeSet::new();
    for line in table.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (name, rest) = line.split_once('`').unwrap();
        if rest.starts_with(" \\*") && !statistics {
            continue;
        }
        let groups = series.split(&format!("`{name}`:\n\n")).nth(1).map(|rest| rest.split("\n\n").next().unwrap());
        let Some(groups) = groups else {
            all.insert(format!("{name}{{}}"));
            continue;
        };
        for group in groups.lines().filter_map(|line| line.strip_prefix("- ")) {
            let mut begun = vec![String::new()];
            for label in group.split("; ") {
                let (label, values) = label.split_once(' ').unwrap();
                let values: Vec<_> =
                    values.split(", ").map(|value| value.trim_matches('`').replace("empty", "")).collect();
                let longer = |begun: &String| {
                    let comma = if begun.is_empty() { "" } else { "," };
                    values.iter().map(|value| format!("{begun}{comma}{label}={value}")).collect::<Vec<_>>()
                };
                begun = begun.iter().flat_map(longer).collect();
            }
            all.extend(begun.into_iter().map(|labels| format!("{name}{{{labels}}}")));
        }
    }
    all
}

fn is_zero(value: &DebugValue) -> bool {
    match value {
        DebugValue::Counter(n) => *n == 0,
        DebugValue::Gauge(n) => n.into_inner() == 0.0,
        DebugValue::Histogram(values) => values.is_empty(),
    }
}

/// Reads and writes of all kinds, on one thread.
macro_rules! some_of_everything {
    ($pool:expr) => {{
        let pool = &$pool;
        sqlx::raw_sql(SETUP).execute(pool).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1, 0), (2, 0)").execute(pool).await.unwrap();
        let n = || sqlx::query(spell("SELECT n FROM t WHERE id = $1"));
        for _ in 0..3 {
            for id in [1, 2, 1, 1] {
                n().bind(id).fetch_one(pool).await.unwrap();
            }
            n().bind(1).fetch_all(&pool.fresh()).await.unwrap();
            let typed = || sqlx::query_scalar::<_, i32>(spell("SELECT n FROM t WHERE id = $1")).bind(1);
            for _ in 0..3 {
                typed().cached(pool).fetch_one().await.unwrap();
            }
            sqlx::query(spell("SELECT n, random() FROM t")).fetch_all(pool).await.unwrap();
            sqlx::query(spell("SELECT n, random() FROM t WHERE id = 1")).fetch_optional(pool).await.unwrap();
            let asked: Vec<_> = (0..4).map(|_| sqlx::query("SELECT sum(n) FROM t").fetch_one(pool)).collect();
            futures::future::join_all(asked).await;
            sqlx::query(spell("UPDATE t SET n = n + 1 WHERE id = $1")).bind(1).execute(pool).await.unwrap();
            sqlx::query("INSERT INTO u SELECT count(*) + 1, 0 FROM u").execute(pool).await.unwrap();
            let mut tx = pool.begin().await.unwrap();
            n().bind(1).fetch_one(&mut *tx).await.unwrap();
            sqlx::query("UPDATE t SET n = n + 1").execute(&mut *tx).await.unwrap();
            sqlx::query("DELETE FROM u").execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            pool.invalidate(["u"]);
        }
        let _ = sqlx::query("SELECT 1 / (n - n), n FROM t, nowhere").fetch_all(pool).await;
        pool.clear();
        while pool.num_idle() < pool.size() as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }};
}

macro_rules! the_three_agree {
    ($pool:expr, $schema:expr) => {{
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let _set = metrics::set_default_local_recorder(&recorder);
        let pool = CachedPool::builder($pool, Sessions::Uniform).sole_writer().build().await.unwrap();
        let mut zero = heard(&snapshotter);
        assert_eq!(zero.keys().cloned().collect::<BTreeSet<_>>(), documented(true));
        let closed = zero.remove("larder_breakers{backend=database,state=closed}");
        assert!(matches!(closed, Some(DebugValue::Gauge(n)) if n.into_inner() == 1.0), "{closed:?}");
        // The database was looked at, on a connection that had to be had.
        assert!(matches!(zero.remove("db.client.connection.wait_time{}"), Some(DebugValue::Histogram(waits)) if waits.len() == 1));
        assert!(zero.values().all(is_zero), "{zero:#?}");

        some_of_everything!(pool);
        let (stats, rows) = (pool.stats(), pool.queries());
        assert_agreement(&stats, &rows);
        assert!(stats.hits > 0 && stats.coalesced > 0 && stats.misses > 0 && stats.bypasses > 0, "{stats}");
        assert!(stats.database_time > Duration::ZERO && stats.saved_time > Duration::ZERO, "{rows:#?}");

        let mut heard = heard(&snapshotter);
        let mut expected = BTreeMap::from([
            ("larder_requests_total{outcome=coalesced,reason=,tier=memory}".to_owned(), stats.coalesced),
            ("larder_requests_total{outcome=stale,reason=,tier=memory}".to_owned(), 0),
            ("larder_stores_total{reason=}".to_owned(), stats.stored),
            ("larder_refreshes_total{}".to_owned(), 0),
            ("larder_writes_total{}".to_owned(), stats.writes),
            ("larder_entries{tier=memory}".to_owned(), stats.entries),
            ("larder_bytes{tier=memory}".to_owned(), stats.bytes),
            ("larder_database_microseconds_total{}".to_owned(), stats.database_time.as_micros() as u64),
            ("larder_saved_microseconds_total{}".to_owned(), stats.saved_time.as_micros() as u64),
            ("larder_queries{}".to_owned(), rows.len() as u64),
        ]);
        for tier in Tier::ALL {
            let hits = stats.hits_by_tier.get(&tier).copied().unwrap_or(0);
            expected.insert(format!("larder_requests_total{{outcome=hit,reason=,tier={tier}}}"), hits);
        }
        let by_reason = [
            ("larder_requests_total{outcome=miss,reason=#,tier=}", &stats.misses_by_reason),
            ("larder_requests_total{outcome=bypass,reason=#,tier=}", &stats.bypasses_by_reason),
            ("larder_stores_total{reason=#}", &stats.not_stored_by_reason),
            ("larder_invalidations_total{origin=local,reason=#}", &stats.invalidations_by_reason),
        ];
        for (name, counts) in by_reason {
            expected.extend(counts.iter().map(|(reason, count)| (name.replace('#', reason.label()), *count)));
        }
        for (table, count) in &stats.invalidations_by_table {
            expected.insert(format!("larder_table_invalidations_total{{origin=local,table={table}}}"), *count);
        }
        let DebugValue::Histogram(seconds) = heard.remove("larder_request_seconds{tier=database}").unwrap() else {
            panic!("request times are a histogram");
        };
        assert_eq!(seconds.len() as u64, stats.misses + stats.bypasses, "every read of the database is timed");
        let Some(DebugValue::Histogram(waits)) = heard.remove("db.client.connection.wait_time{}") else {
            panic!("waits for connections are a histogram");
        };
        assert!(waits.len() as u64 >= stats.misses, "{} waits for a connection", waits.len());
        // Told once a second, if the test takes that long.
        heard.retain(|series, _| !series.starts_with("db.client.connection.count") && !series.starts_with("db.client.connection.max"));
        let removed: u64 = ["expired", "explicit", "replaced", "size"]
            .iter()
            .map(|cause| match heard.remove(&format!("larder_removals_total{{cause={cause}}}")) {
                Some(DebugValue::Counter(count)) => count,
                other => panic!("{cause}: {other:?}"),
            })
            .sum();
        assert!(removed >= stats.entries.max(6), "{removed}: most of it was replaced or cleared");
        assert!(stats.hits_by_tier[&Tier::Memory] > 0 && stats.hits_by_tier[&Tier::Typed] > 0, "{stats:?}");
        for (series, count) in expected {
            let value = match heard.remove(&series) {
                Some(DebugValue::Counter(value)) => value,
                Some(DebugValue::Gauge(value)) => value.into_inner() as u64,
                other => panic!("{series}: {other:?}"),
            };
            assert_eq!(value, count, "{series}");
        }
        assert!(heard.values().all(is_zero), "{heard:#?}");

        // Six writes to `t` and `u` each, by statements and commits; `u` was invalidated by hand besides.
        assert_eq!(stats.invalidations_by_table[&*format!("{}.t", $schema)], 1 + 3 + 3, "{stats:?}");
        assert_eq!(stats.invalidations_by_table[&*format!("{}.u", $schema)], 3 + 3 + 3, "{stats:?}");
        assert_eq!(stats.invalidations_by_reason[&Reason::Commit], 3);

        drop((pool, stats));
    }};
}

#[tokio::test]
#[cfg(feature = "postgres")]
async fn metrics_totals_and_rows_agree_on_postgres() {
    let pool = sqlx::PgPool::connect(&crate::servers::Postgres::shared().fresh()).await.unwrap();
    the_three_agree!(pool, "public");
}

#[cfg(feature = "mysql")]
#[test]
fn metrics_totals_and_rows_agree_on_mysql() {
    use crate::support::as_mysql as spell;
    crate::support::alone_on_one_thread(async {
        let server = crate::servers::MariaDb::shared();
        let database = server.create_database();
        let pool = sqlx::MySqlPool::connect(&server.url(&database)).await.unwrap();
        the_three_agree!(pool, database);
    });
}

#[tokio::test]
async fn metrics_totals_and_rows_agree_on_sqlite() {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(crate::support::file()).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    the_three_agree!(pool, "main");
}

#[tokio::test]
async fn gauges_follow_without_being_asked_and_end_with_the_pool() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _set = metrics::set_default_local_recorder(&recorder);
    let pools = [crate::support::sqlite().await, crate::support::sqlite().await];
    for pool in &pools {
        sqlx::raw_sql(SETUP).execute(pool).await.unwrap();
        for id in 0..10 {
            sqlx::query(spell("SELECT n FROM t WHERE id = $1")).bind(id).fetch_all(pool).await.unwrap();
        }
    }
    let gauge = |series: &str| match heard(&snapshotter).remove(series) {
        Some(DebugValue::Gauge(value)) => value.into_inner(),
        other => panic!("{series}: {other:?}"),
    };
    // To look takes the value away.
    assert_eq!(gauge("larder_entries{tier=memory}"), 20.0, "those of both pools");
    drop(pools);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(gauge("larder_entries{tier=memory}"), -20.0);
}

#[tokio::test]
async fn without_statistics_nothing_is_kept_by_statement() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _set = metrics::set_default_local_recorder(&recorder);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(crate::support::file()).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().statistics(false).build().await.unwrap();
    assert_eq!(heard(&snapshotter).into_keys().collect::<BTreeSet<_>>(), documented(false));
    some_of_everything!(pool);
    let stats = pool.stats();
    assert!(stats.hits > 0 && stats.misses > 0 && stats.bypasses > 0 && stats.writes > 0, "{stats}");
    assert_eq!((stats.database_time, stats.saved_time), Default::default());
    assert!(pool.queries().is_empty());
}

on_each! {
    async fn a_hit_saves_what_its_load_took(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for id in 0..60 {
            sqlx::query(spell("INSERT INTO t VALUES ($1, $2)")).bind(id).bind(id).execute(&pool).await.unwrap();
        }
        let slow = || sqlx::query("SELECT count(*) AS n FROM t a, t b, t c WHERE a.n + b.n <> c.n");
        for _ in 0..11 {
            slow().fetch_one(&pool).await.unwrap();
        }
        let row = row(&pool.queries(), "select count(*)");
        assert_eq!((row.hits, row.misses, row.stored), (10, 1, 1), "{row}");
        assert!(row.database_time > Duration::from_micros(500), "{row}");
        assert_eq!(row.saved_time, 10 * row.database_time);
        assert_eq!((row.rows_from_cache, row.rows_from_database), (10, 1));
        assert!(row.bytes_from_cache >= 10 && row.stored_bytes > 0, "{row:?}");
        assert!(row.last_seen >= row.first_seen && row.first_seen.elapsed().unwrap() < Duration::from_secs(60));
    }

    async fn a_value_that_was_decoded_before_saves_as_much(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").execute(&pool).await.unwrap();
        for _ in 0..5 {
            let numbers = sqlx::query_scalar::<_, i32>("SELECT n FROM t ORDER BY id");
            assert_eq!(*numbers.cached(&pool).fetch_all().await.unwrap(), [1, 2, 3]);
        }
        let row = row(&pool.queries(), "select n from t");
        assert_eq!((row.hits_by_tier.get(&Tier::Typed), row.hits, row.misses), (Some(&4), 4, 1), "{row}");
        assert_eq!((row.rows_from_cache, row.rows_from_database), (12, 3));
        assert_eq!(row.saved_time, 4 * row.database_time);
        assert_agreement(&pool.stats(), &pool.queries());
    }

    /// A load in the background is no read, but it takes the database's time.
    async fn a_refresh_is_no_read(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let pool = pool.with(Policy::ttl(Duration::from_secs(600)).soft_ttl(Duration::ZERO));
        let read = || sqlx::query("SELECT n FROM t").fetch_all(&pool);
        let mut reads = 0;
        while pool.stats().stored < 3 {
            read().await.unwrap();
            reads += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(reads < 1_000);
        }
        while pool.num_idle() < pool.size() as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let row = row(&pool.queries(), "select n from t");
        assert_eq!((row.calls, row.misses, row.hits), (reads, 1, reads - 1), "{row}");
        assert!(row.refreshes >= 2 && row.database_time > Duration::ZERO, "{row}");
        assert_agreement(&pool.stats(), &pool.queries());
    }

    async fn whatever_way_a_read_takes_it_is_timed(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").execute(&pool).await.unwrap();
        // Not one of them is kept.
        sqlx::query(spell("SELECT random() AS a FROM t")).fetch_all(&pool).await.unwrap();
        let mut some = sqlx::query(spell("SELECT random() AS b FROM t")).fetch(&pool);
        some.try_next().await.unwrap();
        drop(some);
        sqlx::query(spell("SELECT random() AS c FROM t")).fetch_optional(&pool).await.unwrap();
        sqlx::query(spell("SELECT random() AS d FROM t, t t2, t t3, t t4")).fetch(&pool).count().await;
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("SELECT n AS e FROM t").fetch_all(&mut *tx).await.unwrap();
        sqlx::query("SELECT n AS f FROM t").fetch_one(&mut *tx).await.unwrap();
        sqlx::query("UPDATE t SET n = 4").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        sqlx::query("DELETE FROM t WHERE id = 3").execute(&pool).await.unwrap();
        let rows = pool.queries();
        for (begin, sent) in [
            ("select random() as a", 3..=3),
            ("select random() as b", 1..=3),
            ("select random() as c", 1..=1),
            ("select random() as d", 81..=81),
            ("select n as e", 3..=3),
            ("select n as f", 1..=1),
        ] {
            let row = row(&rows, spell(begin).as_str());
            assert!(sent.contains(&row.rows_from_database), "{}: {row}", row.rows_from_database);
            assert!((row.calls, row.bypasses) == (1, 1) && row.database_time > Duration::ZERO, "{row}");
            assert!(row.database_time < Duration::from_secs(2), "{row}");
        }
        for begin in ["update t set n = ?", "delete from t where id = ?", "insert into t values (?)"] {
            let row = row(&rows, begin);
            assert!((row.calls, row.writes) == (1, 1) && row.database_time > Duration::ZERO, "{row}");
        }
        assert_agreement(&pool.stats(), &rows);
    }

    /// While all connections are in use, the database is not what is slow.
    async fn the_wait_for_a_connection_is_not_the_databases(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let mut all = Vec::new();
        while all.len() < pool.options().get_max_connections() as usize {
            all.push(pool.acquire().await.unwrap());
        }
        let (kept, bypassed, first) = tokio::join!(
            async {
                let asked = [sqlx::query("SELECT n AS a FROM t").fetch_all(&pool)];
                futures::future::join_all(asked).await
            },
            async { sqlx::query(spell("SELECT random() AS b FROM t")).fetch_all(&pool).await },
            async {
                tokio::time::sleep(Duration::from_millis(600)).await;
                drop(all);
                sqlx::query(spell("SELECT random() AS c FROM t")).fetch_optional(&pool).await
            },
        );
        assert!(kept[0].is_ok() && bypassed.is_ok() && first.is_ok());
        let rows = pool.queries();
        for begin in ["select n as a", "select random() as b", "select random() as c"] {
            let row = row(&rows, spell(begin).as_str());
            assert!(row.database_time < Duration::from_millis(400), "{row}");
        }
    }

    async fn churn_shows_what_hardly_pays(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for _ in 0..10 {
            sqlx::query("SELECT n AS busy FROM t").fetch_all(&pool).await.unwrap();
            sqlx::query("SELECT n AS calm FROM u").fetch_all(&pool).await.unwrap();
            sqlx::query("DELETE FROM t").execute(&pool).await.unwrap();
        }
        let rows = pool.queries();
        let (busy, calm) = (row(&rows, "select n as busy"), row(&rows, "select n as calm"));
        assert_eq!((busy.churn(), busy.hits_per_store()), (Some(0.9), Some(0.0)), "{busy}");
        assert_eq!((calm.churn(), calm.hits_per_store()), (Some(0.0), Some(9.0)), "{calm}");
    }

    async fn no_value_is_ever_shown(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        sqlx::query(spell("SELECT n FROM t WHERE id = 918273641 AND n <> $1")).bind(918273642).fetch_all(&pool).await.unwrap();
        sqlx::query(spell("SELECT n FROM t WHERE id = 918273643 AND n <> $1")).bind(918273644).fetch_all(&pool).await.unwrap();
        let _ = sqlx::query("SELECT n FROM t WHERE 'secret' = '918273645").fetch_all(&pool).await;
        sqlx::query("INSERT INTO t VALUES (918273646, 918273647)").execute(&pool).await.unwrap();
        let rows = pool.queries();
        let one = row(&rows, "select n from t where id = ? and n <> ?");
        assert_eq!(one.misses, 2, "statements that differ in literals only are one");
        let told = format!("{rows:?} {} {}", rows.iter().map(|row| row.to_string()).collect::<String>(), serde_json::to_string(&rows).unwrap());
        assert!(!told.contains("91827364") && !told.contains("secret"), "{told}");
    }

    /// More statements than there are records for.
    async fn nothing_is_lost_when_statements_are_many(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let asked = futures::stream::iter(0..5_600).map(|i| {
            let pool = &pool;
            async move {
                let sql = AssertSqlSafe(format!("SELECT n AS c{} FROM t", i % 5_500));
                sqlx::query(sql).persistent(false).fetch_all(pool).await.unwrap()
            }
        });
        asked.buffer_unordered(8).count().await;
        let (stats, rows) = (pool.stats(), pool.queries());
        assert_agreement(&stats, &rows);
        match <Db as sqlx::Database>::NAME {
            "MySQL" => assert!(stats.hits + stats.misses + stats.coalesced >= 5_500, "{stats}"),
            _ => assert_eq!(stats.bypasses_by_reason[&Reason::NotPersistent], 5_600),
        }
        assert!(rows.len() <= 5_001, "{}", rows.len());
        let other = rows.iter().find(|row| row.fingerprint.is_none()).expect("not all have a record of their own");
        assert!(other.calls >= 500, "{other}");
    }
}

/// A read that is answered although the database is out of reach is counted once, and saved nobody anything.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_is_no_miss() {
    let mut server = crate::servers::Postgres::start();
    let pool = sqlx::postgres::PgPoolOptions::new().acquire_timeout(Duration::from_secs(1)).max_connections(1);
    let pool = pool.connect(&server.socket_url(&server.create_database())).await.unwrap();
    let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap();
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    let lasting = pool.with(Policy::ttl(Duration::ZERO).stale_if_error(Duration::from_secs(600)));
    let read = || sqlx::query("SELECT n FROM t").fetch_all(&lasting);
    read().await.unwrap();
    let before = row(&pool.queries(), "select n from t");
    assert_eq!((before.calls, before.misses), (1, 1), "{before}");

    // Whoever does not wait for the answer has missed it.
    let only = pool.acquire().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), read()).await.is_err());
    drop(only);
    let gone = row(&pool.queries(), "select n from t");
    assert_eq!((gone.calls, gone.misses, gone.stale), (2, 2, 0), "{gone}");

    server.stop();
    read().await.unwrap();
    let after = row(&pool.queries(), "select n from t");
    assert_eq!((after.calls, after.misses, after.stale), (3, 2, 1), "{after}");
    assert_eq!(after.saved_time, Duration::ZERO);
    assert_agreement(&pool.stats(), &pool.queries());
}
