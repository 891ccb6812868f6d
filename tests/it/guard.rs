//! A database in trouble is spared, and taken up again by itself.

use std::time::{Duration, Instant};

use larder::{BreakerOptions, BreakerState, CachedPool, Guard, PgPool, Policy, Rejected, Sessions, Window};
use sqlx::AssertSqlSafe;

use crate::servers::{MariaDb, Postgres};

const SETUP: &str =
    "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT); INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i;
    CREATE SEQUENCE reached";

fn quick() -> BreakerOptions {
    BreakerOptions::new().minimum_calls(5).pause(Duration::from_millis(100), Duration::from_millis(400))
}

async fn pool_on(
    url: &str,
    with: impl FnOnce(larder::Builder<sqlx::Postgres>) -> larder::Builder<sqlx::Postgres>,
) -> PgPool {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(30));
    let pool = options.connect(url).await.unwrap();
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    with(CachedPool::builder(pool, Sessions::Uniform).sole_writer()).build().await.unwrap()
}

async fn read(pool: &PgPool, id: i32) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT n FROM t WHERE id = $1").bind(id).fetch_one(pool).await
}

async fn until(pool: &PgPool, state: BreakerState) {
    let begun = Instant::now();
    while pool.breaker().status().state != state {
        assert!(begun.elapsed() < Duration::from_secs(20), "{state}: {:?}", pool.breaker().status());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_is_spared_until_it_is_back() {
    let mut server = Postgres::start();
    let pool = pool_on(&server.url(&server.create_database()), |builder| builder.breaker(quick())).await;
    let outlives = pool.with(Policy::ttl(Duration::from_millis(1)).stale_if_error(Duration::from_secs(3600)));
    read(&outlives, 1).await.unwrap();
    server.kill();
    // Fast, and with what is really the matter, though a connection may be waited for half a minute.
    let begun = Instant::now();
    let mut failed = 0;
    while pool.breaker().status().state == BreakerState::Closed {
        let id = 2 + failed;
        let error = read(&pool, id).await.unwrap_err();
        assert!(!matches!(error, sqlx::Error::PoolTimedOut), "{error}");
        failed += 1;
        assert!(failed < 20 && begun.elapsed() < Duration::from_secs(15), "{error}: {:?}", pool.breaker().status());
    }
    let opened = pool.breaker().status().transitions[0].clone();
    assert!(opened.cause.contains("calls failed; the last one: "), "{opened}");
    pool.breaker().force_open("to look at it at leisure", None);
    // Reads, writes, connections and transactions alike, in no time.
    let begun = Instant::now();
    for n in 0..100 {
        let errors = [
            read(&pool, 3).await.map(drop).unwrap_err(),
            sqlx::query("UPDATE t SET n = $1").bind(n).execute(&pool).await.map(drop).unwrap_err(),
            pool.acquire().await.map(drop).unwrap_err(),
            pool.begin().await.map(drop).unwrap_err(),
        ];
        for error in errors {
            let rejected = Rejected::of(&error).unwrap_or_else(|| panic!("{error}"));
            assert_eq!(rejected.by(), Guard::Breaker);
            assert!(rejected.retry_after().is_some());
        }
    }
    // How fast is measured in benches/ratios; here, that nothing is waited for.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // What is kept is given out, also what is no longer good where that is allowed, and counted so.
    assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    assert!(pool.stats().stale >= 1, "{}", pool.stats());
    pool.breaker().release();
    let begun = Instant::now();
    while pool.breaker().status().state == BreakerState::Closed {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.breaker().status());
        let _ = read(&pool, 4).await;
    }
    server.restart();
    until(&pool, BreakerState::Closed).await;
    assert_eq!(read(&pool, 5).await.unwrap(), 0);
    sqlx::query("UPDATE t SET n = 7 WHERE id = 1").execute(&pool).await.unwrap();
    assert_eq!(read(&outlives, 1).await.unwrap(), 7);
    let last = pool.breaker().status().transitions.pop().unwrap();
    assert_eq!((last.from, last.to), (BreakerState::HalfOpen, BreakerState::Closed));
}

/// One that does not answer at all: its callers give up, which says something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_spared() {
    let mut server = Postgres::start();
    let options = quick().slow_calls(Duration::from_millis(100), 0.5).window(Window::Calls(10));
    let pool = pool_on(&server.url(&server.create_database()), |builder| builder.breaker(options)).await;
    for id in 1..5 {
        read(&pool, id).await.unwrap();
    }
    server.pause();
    let mut given_up = 0;
    while pool.breaker().status().state == BreakerState::Closed {
        let write = sqlx::query("UPDATE t SET n = n WHERE id = 1").execute(&pool);
        let _ = tokio::time::timeout(Duration::from_millis(150), write).await;
        let direct = sqlx::query("SELECT n, random() AS r FROM t WHERE id = 1").execute(&pool);
        let _ = tokio::time::timeout(Duration::from_millis(150), direct).await;
        given_up += 2;
        assert!(given_up < 40, "{:?}", pool.breaker().status());
    }
    let cause = pool.breaker().status().transitions[0].cause.clone();
    assert!(cause.contains("took longer than 100ms"), "{cause}");
    assert!(pool.breaker().status().cancelled > 0, "{:?}", pool.breaker().status());
    // A few probe, and wait for it; all others are rejected.
    let begun = Instant::now();
    let rejected = loop {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", pool.breaker().status());
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_millis(150), read(&pool, 50)).await
            && let Some(rejected) = Rejected::of(&error)
        {
            break rejected.by();
        }
    };
    assert_eq!(rejected, Guard::Breaker);
    server.resume();
    until(&pool, BreakerState::Closed).await;
    assert_eq!(read(&pool, 51).await.unwrap(), 0);
}

/// Whoever waits for the load of another is answered as if he had asked himself: with something older, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_load_that_hangs_is_spared_as_well() {
    let mut server = Postgres::start();
    let database = server.create_database();
    let plain = sqlx::postgres::PgPoolOptions::new().max_connections(30).connect(&server.url(&database)).await.unwrap();
    sqlx::raw_sql(SETUP).execute(&plain).await.unwrap();
    let long = Duration::from_secs(600);
    let options = quick().slow_calls(Duration::from_millis(100), 0.5).window(Window::Calls(10)).pause(long, long);
    let builder = CachedPool::builder(plain, Sessions::Uniform).sole_writer().breaker(options);
    let pool = builder.build().await.unwrap();
    let outlives = pool.with(Policy::ttl(Duration::from_millis(1)).stale_if_error(Duration::from_secs(3600)));
    read(&outlives, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut lock = pool.inner().begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    let spawn = |pool: &PgPool, id| {
        let pool = pool.clone();
        tokio::spawn(async move { read(&pool, id).await })
    };
    let asked = |pool: &PgPool, id| (0..10).map(|_| spawn(pool, id)).collect::<Vec<_>>();
    let hot = [asked(&outlives, 1), asked(&pool, 2)];
    let begun = Instant::now();
    while server.psql(&database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != "2" {
        assert!(begun.elapsed() < Duration::from_secs(20), "two loads");
    }
    server.pause();
    while pool.breaker().status().state == BreakerState::Closed {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.breaker().status());
        let direct = sqlx::query("SELECT n, random() AS r FROM t WHERE id = 1").execute(&pool);
        let _ = tokio::time::timeout(Duration::from_millis(150), direct).await;
    }
    // All but the one whose load it is and who has nothing else, and those who come now.
    let begun = Instant::now();
    let over = |reads: &[tokio::task::JoinHandle<_>]| reads.iter().filter(|read| read.is_finished()).count();
    while (over(&hot[0]), over(&hot[1])) != (10, 9) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(pool.stats().waits.load.times >= 18, "{:?}", pool.stats().waits.load);
    assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    assert_eq!(Rejected::of(&read(&pool, 2).await.unwrap_err()).map(Rejected::by), Some(Guard::Breaker));
    assert_eq!(pool.stats().stale, 11, "{}", pool.stats());
    server.resume();
    lock.rollback().await.unwrap();
    let mut answered = [0, 0];
    for (reads, answered) in hot.into_iter().zip(&mut answered) {
        for read in reads {
            match read.await.unwrap() {
                Ok(n) => *answered += 1 + n,
                Err(error) => assert_eq!(Rejected::of(&error).map(Rejected::by), Some(Guard::Breaker), "{error}"),
            }
        }
    }
    assert_eq!(answered, [10, 1]);
}

/// A thousand who ask at once when the pause is over are a few for the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_of_many_probe() {
    let mut server = Postgres::start();
    let pool = pool_on(&server.url(&server.create_database()), |builder| builder.breaker(quick().probes(3))).await;
    // Nothing is answered until all have asked, so that nobody closes it before.
    server.pause();
    let begun = Instant::now();
    while pool.breaker().status().state == BreakerState::Closed {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.breaker().status());
        let _ = tokio::time::timeout(Duration::from_millis(100), pool.acquire()).await;
    }
    until(&pool, BreakerState::HalfOpen).await;
    let asked: Vec<_> = (0..1000)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { sqlx::query("SELECT nextval('reached')").execute(&pool).await })
        })
        .collect();
    let begun = Instant::now();
    let under_way = || asked.iter().filter(|asked| !asked.is_finished()).count() as u64;
    // Three, and another one each second that none of them is answered.
    let at_most = || 3 + begun.elapsed().as_secs();
    while under_way() > at_most() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} ask", under_way());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let at_most = at_most();
    server.resume();
    let (mut answered, mut rejected) = (0, 0);
    for asked in asked {
        match asked.await.unwrap() {
            Ok(_) => answered += 1,
            Err(error) if Rejected::of(&error).is_some() => rejected += 1,
            // A probe that was waited for too long.
            Err(_) => {}
        }
    }
    assert!(rejected + at_most >= 1000, "{rejected} rejected: {:?}", pool.breaker().status());
    until(&pool, BreakerState::Closed).await;
    let reached = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM reached";
    let reached: i64 = sqlx::query_scalar(reached).fetch_one(pool.inner()).await.unwrap();
    assert_eq!(reached, answered, "what the server counted");
    assert!(answered <= at_most as i64, "{answered} answered");
}

/// What is idle is not given out either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_by_hand_rejects_those_who_do_not_wait_as_well() {
    let pool = pool_on(&Postgres::shared().fresh(), |builder| builder.breaker(quick())).await;
    // A connection that was given back is idle a moment later.
    let begun = Instant::now();
    while pool.num_idle() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pool.breaker().force_open("maintenance", None);
    assert!(pool.try_acquire().is_none() && pool.try_begin().await.unwrap().is_none());
    assert!(pool.num_idle() > 0 && pool.breaker().status().rejected >= 2);
    pool.breaker().release();
    while pool.try_begin().await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What callers do wrong is not the database's trouble.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_of_callers_do_not_count() {
    let pool = pool_on(&Postgres::shared().fresh(), |builder| builder.breaker(quick())).await;
    for _ in 0..20 {
        for sql in ["SELEC", "INSERT INTO t VALUES (1, 1)", "SELECT n FROM nowhere", "SELECT 1 / (n * 0) FROM t"] {
            sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.unwrap_err();
        }
        let none = sqlx::query_scalar::<_, i64>("SELECT n FROM t WHERE id = -1").fetch_one(&pool).await;
        assert!(matches!(none, Err(sqlx::Error::RowNotFound)));
    }
    let breaker = pool.breaker().status();
    assert_eq!((breaker.state, breaker.failure_rate), (BreakerState::Closed, Some(0.0)), "{breaker:?}");
    assert!(breaker.calls >= 80, "{breaker:?}");
    // What looks like a server in trouble by its code: an argument too few, files and foreign servers that are not there.
    for sql in [
        "SELECT n FROM t WHERE id = $1 AND n = $2",
        "SELECT pg_read_file('nope')",
        "COPY t FROM '/nowhere/at/all'",
        "DO $$ BEGIN RAISE 'full' USING ERRCODE = '53000'; END $$",
        "DO $$ BEGIN RAISE 'away' USING ERRCODE = '08001'; END $$",
        "DO $$ BEGIN RAISE 'beyond temp_file_limit' USING ERRCODE = '53400'; END $$",
        "DO $$ BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$",
    ] {
        for _ in 0..20 {
            sqlx::query(AssertSqlSafe(sql)).bind(1_i64).execute(&pool).await.unwrap_err();
        }
        let breaker = pool.breaker().status();
        assert_eq!((breaker.state, breaker.failure_rate), (BreakerState::Closed, Some(0.0)), "{sql}: {breaker:?}");
    }
}

#[test]
fn mistakes_of_callers_do_not_count_in_mysql() {
    crate::support::alone(async {
        let pool = sqlx::MySqlPool::connect(&MariaDb::shared().fresh()).await.unwrap();
        let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().breaker(quick()).build().await.unwrap();
        // A statement that is too large, one that sorts too much, a conflict, and what an application signals.
        for signal in [
            "'08S01' SET MYSQL_ERRNO = 1153",
            "'HY001' SET MYSQL_ERRNO = 1038",
            "'40001' SET MYSQL_ERRNO = 1213",
            "'45000'",
        ] {
            for _ in 0..20 {
                let sql = AssertSqlSafe(format!("SIGNAL SQLSTATE {signal}"));
                sqlx::raw_sql(sql).execute(&pool).await.unwrap_err();
            }
            let breaker = pool.breaker().status();
            let told = (breaker.state, breaker.failure_rate);
            assert_eq!(told, (BreakerState::Closed, Some(0.0)), "{signal}: {breaker:?}");
        }
    });
}

#[tokio::test]
async fn mistakes_of_callers_do_not_count_in_sqlite() {
    let pool =
        sqlx::SqlitePool::connect(&format!("sqlite:{}?mode=rwc", crate::support::file().display())).await.unwrap();
    let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().breaker(quick()).build().await.unwrap();
    for _ in 0..20 {
        sqlx::query("ATTACH '/nowhere/at/all' AS other").execute(&pool).await.unwrap_err();
    }
    let breaker = pool.breaker().status();
    assert_eq!((breaker.state, breaker.failure_rate), (BreakerState::Closed, Some(0.0)), "{breaker:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_wait_for_each_other_but_not_for_long() {
    let wait = Duration::from_millis(200);
    let pool = pool_on(&Postgres::shared().fresh(), |builder| builder.limit_loads(2, wait)).await;
    // A lock holds up whoever reads the table.
    let mut lock = pool.inner().begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    let begun = Instant::now();
    let reads: Vec<_> = (0..10)
        .map(|id| {
            let pool = pool.clone();
            tokio::spawn(async move { read(&pool, id + 1).await })
        })
        .collect();
    while reads.iter().filter(|read| read.is_finished()).count() < 8 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(wait / 20).await;
    }
    let (over, waiting): (Vec<_>, Vec<_>) = reads.into_iter().partition(|read| read.is_finished());
    assert_eq!((over.len(), waiting.len()), (8, 2), "the lock is still held");
    for read in over {
        let error = read.await.unwrap().unwrap_err();
        assert_eq!(Rejected::of(&error).map(Rejected::by), Some(Guard::LoadLimit), "{error}");
    }
    lock.rollback().await.unwrap();
    for read in waiting {
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
    assert_eq!(read(&pool, 9).await.unwrap(), 0);
}

/// Why nobody got a connection is told.
#[tokio::test]
async fn timeouts_have_a_cause() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let set = metrics::set_default_local_recorder(&recorder);
    let mut server = Postgres::start();
    let url = server.url(&server.create_database());
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_millis(700));
    let plain = options.connect(&url).await.unwrap();
    let pool = CachedPool::builder(plain, Sessions::Uniform).breaker(BreakerOptions::disabled()).build().await.unwrap();
    drop(set);
    let counted = |cause: &str| timeouts(&snapshotter, cause);
    let times_out = async || assert!(matches!(pool.acquire().await.unwrap_err(), sqlx::Error::PoolTimedOut));
    let long = "FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
    for in_transaction in [false, true] {
        let sleeping = [(); 2].map(|()| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let sleep = sqlx::query("SELECT pg_sleep(60)");
                match in_transaction {
                    true => sleep.execute(&mut *pool.begin().await?).await.map(drop),
                    false => sleep.execute(&pool).await.map(drop),
                }
            })
        });
        let begun = Instant::now();
        while server.psql("postgres", &format!("SELECT count(*) {long}")) != "2" {
            assert!(begun.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        times_out().await;
        assert_eq!(counted("slow_queries"), 1, "in a transaction: {in_transaction}");
        server.psql("postgres", &format!("SELECT pg_cancel_backend(pid) {long}"));
        for sleeping in sleeping {
            sleeping.await.unwrap().unwrap_err();
        }
    }
    // None takes long, and there is more to do than two connections can in the time.
    let short = (0..100).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { sqlx::query("SELECT pg_sleep(0.05)").execute(&pool).await })
    });
    let (mut answered, mut in_vain) = (0, 0);
    for short in short.collect::<Vec<_>>() {
        match short.await.unwrap() {
            Ok(_) => answered += 1,
            Err(error) => {
                assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error}");
                in_vain += 1;
            }
        }
    }
    assert!(answered > 0 && in_vain > 0, "{answered} answered, {in_vain} in vain");
    assert!(counted("backlog") > 0);
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    times_out().await;
    assert_eq!(counted("leak_suspected"), 1);
    drop(held);
    let idle = [pool.begin().await.unwrap(), pool.begin().await.unwrap()];
    times_out().await;
    assert_eq!(counted("leak_suspected"), 1);
    drop(idle);
    server.kill();
    let error = loop {
        match sqlx::query("SELECT 1").execute(&pool).await.unwrap_err() {
            // Connections that were idle when the server went.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => break error,
            _ => {}
        }
    };
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(counted("cannot_connect") >= 1);
}

/// One that was never there: whoever asks first hears of it soon, and the next ones at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lazy_pool_on_a_dead_server_fails_fast() {
    let pool = sqlx::PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/nowhere").unwrap();
    let pool = CachedPool::builder(pool, Sessions::Uniform).breaker(quick()).build_lazy();
    let begun = Instant::now();
    let error = read(&pool, 1).await.unwrap_err();
    assert!(
        matches!(&error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let asked: Vec<_> = (0..20)
        .map(|id| {
            let pool = pool.clone();
            tokio::spawn(async move { read(&pool, id).await })
        })
        .collect();
    for read in asked {
        read.await.unwrap().unwrap_err();
    }
    assert_eq!(pool.breaker().status().state, BreakerState::Open, "{:?}", pool.breaker().status());
}

/// Nobody asks the pool for a connection here: what is seen is what becomes of statements in a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_in_transactions_counts() {
    let server = Postgres::start();
    let pool = pool_on(&server.url(&server.create_database()), |builder| builder.breaker(quick())).await;
    for _ in 0..6 {
        let mut tx = pool.begin().await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
        server.psql("postgres", &format!("SELECT pg_terminate_backend({pid})"));
        sqlx::query("UPDATE t SET n = 1").execute(&mut *tx).await.unwrap_err();
    }
    let breaker = pool.breaker().status();
    assert!(
        breaker.failure_rate > Some(0.2) || breaker.transitions.iter().any(|t| t.to == BreakerState::Open),
        "{breaker:?}"
    );
}

/// Whatever is asked on a connection that is held, and is not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_held_connection_was_not_answered_counts() {
    let server = Postgres::start();
    let options = BreakerOptions::new().window(Window::Calls(1000)).minimum_calls(1).failure_rate(1.0);
    let pool = pool_on(&server.url(&server.create_database()), |builder| builder.breaker(options)).await;
    let failed = || {
        let status = pool.breaker().status();
        (status.failure_rate.unwrap() * f64::from(status.calls)).round() as u32
    };
    let pid = "SELECT pg_backend_pid()";
    let terminate = |pid: i32| server.psql("postgres", &format!("SELECT pg_terminate_backend({pid})"));
    for (n, asked) in (1..).zip(["BEGIN", "ROLLBACK", "ping", "prepare"]) {
        let mut connection = pool.acquire().await.unwrap();
        match asked {
            "ROLLBACK" => {
                let mut tx = connection.begin().await.unwrap();
                terminate(sqlx::query_scalar(pid).fetch_one(&mut *tx).await.unwrap());
                tx.rollback().await.unwrap_err();
            }
            asked => {
                terminate(sqlx::query_scalar(pid).fetch_one(&mut *connection).await.unwrap());
                match asked {
                    "BEGIN" => connection.begin().await.map(drop).unwrap_err(),
                    "ping" => connection.ping().await.unwrap_err(),
                    _ => sqlx::Executor::prepare(&mut *connection, sqlx::SqlSafeStr::into_sql_str("SELECT 7"))
                        .await
                        .map(drop)
                        .unwrap_err(),
                };
            }
        }
        assert_eq!(failed(), n, "{asked}: {:?}", pool.breaker().status());
    }
}

/// Redis is spared as the database is, both when it is gone and when it only hangs, and never is an answer wrong for it.
#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_in_trouble_is_spared_and_taken_up_again() {
    let mut redis = crate::servers::Redis::start();
    let pool = pool_on(&Postgres::shared().fresh(), |builder| {
        let options = larder::RedisOptions::new(redis.url()).lease(Duration::from_millis(500));
        let breaker = quick().window(Window::Calls(10));
        builder.redis(options.breaker(breaker.pause(Duration::from_millis(100), Duration::from_millis(800))))
    })
    .await;
    let breaker = || pool.redis_breaker().expect("the database is known").status();
    let until = async |is: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", breaker());
            // Nothing is known of what others write: each read goes to the database.
            assert_eq!(read(&pool, 1).await.unwrap(), 0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let hits = || pool.stats().hits;
    let goes_on = async || {
        until(&|| breaker().state == BreakerState::Closed).await;
        let before = hits();
        until(&|| hits() > before + 10).await;
    };
    goes_on().await;
    redis.pause();
    until(&|| breaker().state == BreakerState::Open).await;
    let opened = breaker().transitions.into_iter().rfind(|turn| turn.to == BreakerState::Open).unwrap();
    assert!(["did not answer", "timed out"].iter().any(|why| opened.cause.contains(why)), "{opened}");
    redis.resume();
    goes_on().await;
    redis.kill();
    until(&|| breaker().state == BreakerState::Open).await;
    redis.restart();
    goes_on().await;
    // By hand, reads ask Redis for no result, and what is written is told all the same; it ends before its time.
    pool.redis_breaker().unwrap().force_open("to be replaced", Some(Duration::from_secs(3600)));
    let calls = |of: &str| calls(&redis.cli(&["INFO", "commandstats"]), of);
    let (asked, told) = (calls("getrange"), calls("eval"));
    sqlx::query("UPDATE t SET n = 7 WHERE id = 1").execute(&pool).await.unwrap();
    for id in 1..20 {
        assert_eq!(read(&pool, id).await.unwrap(), if id == 1 { 7 } else { 0 });
    }
    assert_eq!(calls("getrange"), asked);
    assert!(calls("eval") > told + 1, "the write was announced and told");
    assert_eq!(breaker().state, BreakerState::ForcedOpen);
    pool.redis_breaker().unwrap().release();
    let begun = Instant::now();
    while calls("getrange") == asked {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", breaker());
        assert_eq!(read(&pool.fresh(), 2).await.unwrap(), 0);
        assert_eq!(read(&pool, begun.elapsed().subsec_millis() as i32 % 90 + 10).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pool.breakers().iter().map(|status| status.backend.clone()).collect::<Vec<_>>(), ["database", "redis"]);
}

/// How often a command was called, as Redis itself counts.
#[cfg(feature = "redis")]
fn calls(stats: &str, command: &str) -> u64 {
    let of = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    let named = format!("cmdstat_{command}");
    stats.lines().filter(|line| line.starts_with(&named)).filter_map(of).sum()
}

/// A pool that gives up sooner than a connection is known not to come tells what is the matter all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_spared_by_impatient_pools_as_well() {
    let mut server = Postgres::start();
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(2));
    let plain = options.connect(&server.url(&server.create_database())).await.unwrap();
    sqlx::raw_sql(SETUP).execute(&plain).await.unwrap();
    let breaker = BreakerOptions::new().minimum_calls(5);
    let pool = CachedPool::builder(plain, Sessions::Uniform).sole_writer().breaker(breaker).build().await.unwrap();
    read(&pool, 1).await.unwrap();
    server.pause();
    let begun = Instant::now();
    while pool.breaker().status().state == BreakerState::Closed {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.breaker().status());
        let reads: Vec<_> = (0..10)
            .map(|id| {
                let pool = pool.clone();
                tokio::spawn(async move { read(&pool, id + 2).await })
            })
            .collect();
        for read in reads {
            read.await.unwrap().unwrap_err();
        }
    }
    let cause = pool.breaker().status().transitions[0].cause.clone();
    assert!(cause.contains("timed out") || cause.contains("no connection"), "{cause}");
    server.resume();
}

/// One that is there and lets nobody in, as after a crash: its pools would ask again and again until they give up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_up_is_spared_until_it_has_started() {
    let mut server = Postgres::start();
    let pool = pool_on(&server.url(&server.create_database()), |builder| builder.breaker(quick())).await;
    let outlives = pool.with(Policy::ttl(Duration::from_millis(1)).stale_if_error(Duration::from_secs(3600)));
    read(&outlives, 1).await.unwrap();
    server.restart_recovering();
    // More than there are connections: some only wait for the others. Half of the time that a connection may be waited for.
    let begun = Instant::now();
    while pool.breaker().status().state == BreakerState::Closed {
        let asked: Vec<_> = (2..10)
            .map(|id| {
                let pool = pool.clone();
                tokio::spawn(async move { read(&pool, id).await })
            })
            .collect();
        for asked in asked {
            let error = asked.await.unwrap().unwrap_err();
            assert!(!matches!(error, sqlx::Error::PoolTimedOut), "{error}");
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", pool.breaker().status());
    }
    assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    assert!(pool.stats().stale >= 1, "{}", pool.stats());
    server.restart();
    until(&pool, BreakerState::Closed).await;
    assert_eq!(read(&pool, 20).await.unwrap(), 0);
}

/// A pool on a server that has room for one connection of this user.
async fn with_room_for_one(server: &Postgres, timeout: Duration) -> (PgPool, sqlx::postgres::PgConnectOptions) {
    let url = server.url(&server.create_database());
    let user = "narrow";
    server.psql("postgres", &format!("CREATE ROLE {user} LOGIN CONNECTION LIMIT 1"));
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let options = options.username(user);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).acquire_timeout(timeout);
    let pool = CachedPool::builder(pool.connect_lazy_with(options.clone()), Sessions::Uniform);
    (pool.breaker(quick()).build_lazy(), options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_is_out_of_reach_for_who_has_no_connection() {
    let server = Postgres::start();
    let (pool, options) = with_room_for_one(&server, Duration::from_secs(30)).await;
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    let begun = Instant::now();
    while pool.breaker().status().state == BreakerState::Closed {
        let error = pool.acquire().await.unwrap_err();
        assert!(error.to_string().contains("too many connections"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", pool.breaker().status());
    }
    sqlx::Executor::execute(&mut other, "SELECT 1").await.unwrap();
    sqlx::Connection::close(other).await.unwrap();
    until(&pool, BreakerState::Closed).await;
}

/// It has no room for one more, but what is waited for is the one that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_does_not_keep_a_connection_from_who_waits_for_it() {
    let server = Postgres::start();
    let (pool, _) = with_room_for_one(&server, Duration::from_secs(30)).await;
    let refused = || server.log().matches("too many connections for role").count();
    for in_transaction in [true, false] {
        let holder = pool.clone();
        let held = tokio::spawn(async move {
            let sleep = sqlx::query("SELECT pg_sleep(60)");
            match in_transaction {
                true => sleep.execute(&mut *holder.begin().await?).await.map(drop),
                false => sleep.execute(&holder).await.map(drop),
            }
        });
        let sleeping = "FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
        let begun = Instant::now();
        while server.psql("postgres", &format!("SELECT count(*) {sleeping}")) != "1" {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (waiting, before) = (pool.clone(), refused());
        let waiting = tokio::spawn(async move { waiting.acquire().await.map(drop) });
        // It looked, and was told that there is no room.
        while refused() == before {
            assert!(begun.elapsed() < Duration::from_secs(40), "{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.psql("postgres", &format!("SELECT pg_cancel_backend(pid) {sleeping}"));
        held.await.unwrap().unwrap_err();
        waiting.await.unwrap().unwrap();
    }
}

/// As after a failover to a server that does not know this user: that it answers helps nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_refused_is_no_answer() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let set = metrics::set_default_local_recorder(&recorder);
    let server = Postgres::start();
    let database = server.create_database();
    server.psql(&database, &format!("CREATE ROLE visitor LOGIN; {SETUP}; GRANT ALL ON t TO visitor"));
    let options: sqlx::postgres::PgConnectOptions = server.url(&database).parse().unwrap();
    let plain = sqlx::postgres::PgPoolOptions::new().max_connections(4);
    let plain = plain.connect_with(options.username("visitor")).await.unwrap();
    let builder = CachedPool::builder(plain, Sessions::Uniform).sole_writer().breaker(quick());
    let pool = builder.build().await.unwrap();
    drop(set);
    let outlives = pool.with(Policy::ttl(Duration::from_millis(1)).stale_if_error(Duration::from_secs(3600)));
    read(&outlives, 1).await.unwrap();
    server.psql("postgres", "ALTER ROLE visitor NOLOGIN");
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'visitor'");
    // The first who ask may hear of the connections that were ended.
    let begun = Instant::now();
    while read(&outlives, 1).await.is_err() || pool.stats().stale == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
    }
    while pool.breaker().status().state == BreakerState::Closed {
        read(&pool, 2).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", pool.breaker().status());
    }
    let cause = pool.breaker().status().transitions[0].cause.clone();
    assert!(cause.ends_with("the database said 28000 (it refuses the login)"), "{cause}");
    assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    // Nor is it an answer to a probe.
    let reopened = |pool: &PgPool| {
        let turns = pool.breaker().status().transitions;
        turns.iter().filter(|turn| (turn.from, turn.to) == (BreakerState::HalfOpen, BreakerState::Open)).count()
    };
    while reopened(&pool) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.breaker().status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let turns = pool.breaker().status().transitions;
    assert!(!turns.iter().any(|turn| turn.to == BreakerState::Closed), "{turns:?}");
    assert!(timeouts(&snapshotter, "cannot_connect") >= 5);
    server.psql("postgres", "ALTER ROLE visitor LOGIN");
    until(&pool, BreakerState::Closed).await;
    assert_eq!(read(&pool, 2).await.unwrap(), 0);
}

/// Waits for a connection that ended without one for this cause, since the last look.
fn timeouts(snapshotter: &metrics_util::debugging::Snapshotter, cause: &str) -> u64 {
    let told = snapshotter.snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| {
        let is_it = key.key().name() == "larder_pool_timeouts_total" && key.key().labels().any(|l| l.value() == cause);
        is_it.then_some(value)
    });
    match told {
        Some(metrics_util::debugging::DebugValue::Counter(count)) => count,
        other => panic!("{cause}: {other:?}"),
    }
}

/// Each of its callers goes away before anything is known, and nothing here is slow by the options.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_spared_by_callers_without_patience_as_well() {
    let mut server = Postgres::start();
    let pool = pool_on(&server.url(&server.create_database()), |builder| builder.breaker(quick())).await;
    read(&pool, 1).await.unwrap();
    // Nothing is the matter: who goes away says nothing.
    let held = [pool.acquire().await, pool.acquire().await, pool.acquire().await, pool.acquire().await];
    let given_up = pool.breaker().status().cancelled;
    for _ in 0..10 {
        tokio::time::timeout(Duration::from_millis(20), pool.acquire()).await.map(drop).unwrap_err();
    }
    let begun = Instant::now();
    while pool.breaker().status().cancelled < given_up + 10 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", pool.breaker().status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(pool.breaker().status().failure_rate.unwrap_or_default(), 0.0);
    drop(held);
    server.pause();
    let begun = Instant::now();
    while pool.breaker().status().state == BreakerState::Closed {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.breaker().status());
        let write = sqlx::query("UPDATE t SET n = n WHERE id = 1").execute(&pool);
        let _ = tokio::time::timeout(Duration::from_millis(300), write).await;
        let _ = tokio::time::timeout(Duration::from_millis(300), pool.begin()).await;
    }
    let cause = pool.breaker().status().transitions[0].cause.clone();
    assert!(cause.ends_with("no connection can be made: timed out"), "{cause}");
    server.resume();
    until(&pool, BreakerState::Closed).await;
    assert_eq!(read(&pool, 2).await.unwrap(), 0);
}

/// Nobody has looked at the database yet, and whoever begins to look goes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_from_the_start_is_spared_as_well() {
    let mut server = Postgres::start();
    let url = server.url(&server.create_database());
    server.pause();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect_lazy(&url).unwrap();
    let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().breaker(quick()).build_lazy();
    let begun = Instant::now();
    while pool.breaker().status().state == BreakerState::Closed {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.breaker().status());
        let _ = tokio::time::timeout(Duration::from_millis(300), read(&pool, 1)).await;
    }
    server.resume();
}
