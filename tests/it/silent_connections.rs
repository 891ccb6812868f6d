//! A connection that is gone without a word, as behind a failover or a firewall that forgot, costs whoever was on it, and
//! nobody else.

use std::time::{Duration, Instant};

use futures::StreamExt;
use larder::{Builder, CachedPool, PgPool, Sessions};

use crate::servers::Postgres;
use crate::unknown_outcomes::Proxy;

const SETUP: &str =
    "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT); INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i;
    CREATE TABLE u (n BIGINT); INSERT INTO u VALUES (7)";

/// A fresh database behind a proxy, and connections to it beside that.
async fn through_a_proxy() -> (Proxy, String, sqlx::PgPool) {
    let server = Postgres::shared();
    let database = server.create_database();
    let bystander = sqlx::PgPool::connect(&server.url(&database)).await.unwrap();
    sqlx::raw_sql(SETUP).execute(&bystander).await.unwrap();
    let proxy = Proxy::start(server.port()).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", proxy.port);
    (proxy, url, bystander)
}

/// The same with a pool of so many connections at most, and one to begin with.
async fn pool(
    connections: u32,
    with: impl FnOnce(Builder<sqlx::Postgres>) -> Builder<sqlx::Postgres>,
) -> (Proxy, PgPool, sqlx::PgPool) {
    let (proxy, url, bystander) = through_a_proxy().await;
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(connections).connect(&url).await.unwrap();
    let pool = with(CachedPool::builder(pool, Sessions::Uniform).sole_writer()).build().await.unwrap();
    // A second one, made where the first was on its way back, would be silenced while it is idle.
    while (pool.inner().size(), pool.inner().num_idle()) != (1, 1) {
        match pool.inner().size() > 1 {
            true => pool.inner().acquire().await.unwrap().close().await.unwrap(),
            false => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    (proxy, pool, bystander)
}

async fn read(pool: &PgPool, id: i32) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT n FROM t WHERE id = $1").bind(id).fetch_one(pool).await
}

async fn read_u(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT n FROM u").fetch_one(pool).await
}

/// Waits until so many statements wait for a lock.
async fn until_held_up(bystander: &sqlx::PgPool, statements: i64) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(bystander).await.unwrap() < statements {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Those who wait for the load of another are not lost with it, nor are those who come later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_never_ends_holds_up_nobody_else_for_long() {
    let (proxy, pool, bystander) = pool(4, |builder| builder).await;
    let mut lock = bystander.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    let spawn = || {
        let pool = pool.clone();
        tokio::spawn(async move { read(&pool, 1).await })
    };
    let first = spawn();
    until_held_up(&bystander, 1).await;
    let waiting: Vec<_> = (0..10).map(|_| spawn()).collect();
    proxy.silence();
    lock.rollback().await.unwrap();
    for read in waiting.into_iter().chain([spawn()]) {
        let answer = tokio::time::timeout(Duration::from_secs(60), read).await;
        assert_eq!(answer.expect("nobody waits for the load that hangs").unwrap().unwrap(), 0);
    }
    assert!(!first.is_finished(), "its answer was lost");
    let stats = pool.stats();
    // One beside the first, for all the others.
    assert_eq!((stats.misses, stats.coalesced, stats.stored), (2, 10, 1), "{stats}");
    first.abort();
}

/// It keeps neither its connection nor its place among the loads for ever.
#[tokio::test]
async fn a_load_that_nobody_waits_for_is_given_up() {
    let (proxy, pool, bystander) = pool(1, |builder| builder.limit_loads(1, Duration::from_millis(100))).await;
    let mut lock = bystander.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    let gone = {
        let pool = pool.clone();
        tokio::spawn(async move { read(&pool, 1).await })
    };
    until_held_up(&bystander, 1).await;
    proxy.silence();
    gone.abort();
    lock.rollback().await.unwrap();
    read_u(&pool).await.unwrap_err();
    wait_a_minute().await;
    let begun = Instant::now();
    while let Err(error) = read_u(&pool).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
    }
}

/// One that its caller waits for goes on, and others need not wait for it.
#[tokio::test]
async fn a_load_that_takes_long_gives_up_its_place() {
    let (_proxy, pool, bystander) = pool(2, |builder| builder.limit_loads(1, Duration::from_millis(100))).await;
    let mut lock = bystander.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    let waits = {
        let pool = pool.clone();
        tokio::spawn(async move { read(&pool, 1).await })
    };
    until_held_up(&bystander, 1).await;
    read_u(&pool).await.unwrap_err();
    wait_a_minute().await;
    let begun = Instant::now();
    while let Err(error) = read_u(&pool).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
    }
    lock.rollback().await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), 0);
}

/// Nor does one that is too large to be kept outlive its caller, who takes its rows as they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_result_that_nobody_takes_any_more_is_given_up() {
    let (proxy, pool, bystander) = pool(1, |builder| builder).await;
    let rows = "INSERT INTO t SELECT i, i FROM generate_series(1000, 300000) i";
    sqlx::raw_sql(rows).execute(&bystander).await.unwrap();
    let small = pool.with(larder::Policy::default().max_entry_bytes(1000));
    let mut rows =
        sqlx::query("SELECT a.id, a.n, b.n, c.n FROM t a JOIN t b USING (id) JOIN t c USING (id)").fetch(&small);
    rows.next().await.unwrap().unwrap();
    proxy.silence();
    // All that came through before.
    while let Ok(row) = tokio::time::timeout(Duration::from_millis(500), rows.next()).await {
        row.expect("the end did not come through").unwrap();
    }
    drop(rows);
    let answer = tokio::time::timeout(Duration::from_secs(20), read_u(&pool)).await;
    assert_eq!(answer.expect("the connection is free").unwrap(), 7);
}

/// Nothing is known yet, and whoever has a connection waits for the first look, which never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_never_ends_holds_up_nobody_for_long() {
    let (proxy, url, bystander) = through_a_proxy().await;
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(3);
    let pool = CachedPool::builder(options.connect_lazy(&url).unwrap(), Sessions::Uniform).sole_writer().build_lazy();
    let mut lock = bystander.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE pg_trigger").execute(&mut *lock).await.unwrap();
    let looking = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.reload().await })
    };
    until_held_up(&bystander, 1).await;
    proxy.silence();
    lock.rollback().await.unwrap();
    let soon = |acquired| tokio::time::timeout(Duration::from_secs(60), acquired);
    let acquired = futures::future::join(soon(pool.acquire()), soon(pool.acquire())).await;
    assert!(matches!(acquired, (Ok(Ok(_)), Ok(Ok(_)))), "{acquired:?}");
    drop(acquired);
    looking.await.unwrap().unwrap_err();
    // The next look is on another connection.
    let begun = Instant::now();
    while pool.stats().hits == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", pool.stats());
        assert_eq!(read(&pool, 1).await.unwrap(), 0);
    }
}

/// In no time.
async fn wait_a_minute() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
}
