//! What a pool does not let happen to its database: reads without end, one scope that takes it all, a queue without end.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use larder::{
    BreakerOptions, BreakerState, CachedPool, EmergencyOptions, Guard, PgPool, Policy, Pressure, Rejected, Sessions,
    Window,
};

use crate::servers::Postgres;

async fn pool(
    connections: u32,
    with: impl FnOnce(larder::Builder<sqlx::Postgres>) -> larder::Builder<sqlx::Postgres>,
) -> PgPool {
    let options =
        sqlx::postgres::PgPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(30));
    let pool = options.connect(&Postgres::shared().fresh()).await.unwrap();
    let setup =
        "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT); INSERT INTO t SELECT i, 0 FROM generate_series(1, 200) i";
    sqlx::raw_sql(setup).execute(&pool).await.unwrap();
    with(CachedPool::builder(pool, Sessions::Uniform).sole_writer()).build().await.unwrap()
}

async fn read(pool: &PgPool, id: i32) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT n FROM t WHERE id = $1").bind(id).fetch_one(pool).await
}

fn rejected_by(error: &sqlx::Error) -> Option<Guard> {
    Rejected::of(error).map(Rejected::by)
}

/// A read that is given up leaves nothing behind that the next one would have to wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_takes_too_long_is_given_up() {
    let pool = pool(2, |builder| builder.read_timeout(Duration::from_millis(300))).await;
    read(&pool, 1).await.unwrap();
    let is_late = |error: sqlx::Error| match error {
        sqlx::Error::Io(io) => assert_eq!(io.kind(), std::io::ErrorKind::TimedOut, "{io}"),
        error => panic!("{error}"),
    };
    // One that is not kept, by its first row and by all; and one that is, held up by a lock.
    let sleep = || sqlx::query("SELECT pg_sleep(20)");
    let begun = Instant::now();
    is_late(sleep().fetch_all(&pool).await.unwrap_err());
    is_late(sleep().fetch_optional(&pool).await.unwrap_err());
    let other = sqlx::PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    is_late(read(&pool, 2).await.unwrap_err());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let failure = pool.breaker().status();
    assert!(failure.calls >= 4 && failure.cancelled == 0, "{failure:?}");
    lock.rollback().await.unwrap();
    for id in 1..=20 {
        assert_eq!(read(&pool, id).await.unwrap(), 0);
    }
    // What is waited for is the database alone, not the caller.
    let mut rows = sqlx::query("SELECT id, pg_sleep(0) FROM t").fetch(&pool);
    let mut seen = 0;
    while let Some(row) = futures::TryStreamExt::try_next(&mut rows).await.unwrap() {
        let _: i32 = sqlx::Row::get(&row, 0);
        seen += 1;
        if seen < 4 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    assert_eq!(seen, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_scope_cannot_take_the_database_from_others() {
    let (slow, burst) = (NonZeroU32::MIN, NonZeroU32::new(5).unwrap());
    let pool = pool(4, |builder| builder.limit_rate(slow, burst)).await;
    let (greedy, modest) = (pool.scoped("greedy"), pool.scoped("modest"));
    let (mut answered, mut refused) = (0, None);
    for id in 1..=50 {
        match read(&greedy, id).await {
            Ok(_) => answered += 1,
            Err(error) => refused = Some(error),
        }
    }
    let refused = refused.expect("fifty reads at once are more than five and one a second");
    assert_eq!(rejected_by(&refused), Some(Guard::RateLimit), "{refused}");
    let again = Rejected::of(&refused).and_then(Rejected::retry_after).unwrap();
    assert!(again > Duration::ZERO && again <= Duration::from_secs(1), "{again:?}");
    assert!((5..=10).contains(&answered), "{answered}");
    // What is kept costs nothing, reads that are not kept count as well, and others go on.
    assert_eq!(read(&greedy, 1).await.unwrap(), 0);
    let uncached = sqlx::query("SELECT n, random() FROM t").fetch_all(&greedy).await.unwrap_err();
    assert_eq!(rejected_by(&uncached), Some(Guard::RateLimit), "{uncached}");
    for id in 1..=4 {
        assert_eq!(read(&modest, id).await.unwrap(), 0);
    }
    tokio::time::sleep(again + Duration::from_millis(50)).await;
    assert_eq!(read(&greedy, 150).await.unwrap(), 0);
    // An older answer where that is allowed.
    let outlives = greedy.with(Policy::ttl(Duration::from_millis(1)).stale_if_error(Duration::from_secs(3600)));
    tokio::time::sleep(Duration::from_millis(5)).await;
    for _ in 0..5 {
        assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    }
    assert!(pool.stats().stale >= 4, "{}", pool.stats());
}

/// What the breaker rejects is not sent, and takes nothing from what may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_of_a_scope_is_not_used_up_by_what_the_breaker_rejects() {
    let (slow, burst) = (NonZeroU32::MIN, NonZeroU32::new(5).unwrap());
    let pool = pool(4, |builder| builder.limit_rate(slow, burst)).await;
    let scoped = pool.scoped("patient");
    pool.breaker().force_open("maintenance", None);
    for id in 1..=20 {
        let error = read(&scoped, id).await.unwrap_err();
        assert_eq!(rejected_by(&error), Some(Guard::Breaker), "{error}");
    }
    pool.breaker().release();
    for id in 1..=5 {
        assert_eq!(read(&scoped, id).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_long_a_queue_is_cut_and_grows_again_by_itself() {
    let pool = pool(1, |builder| builder.emergency(EmergencyOptions::new().waiting(10))).await;
    let outlives = pool.with(Policy::ttl(Duration::from_millis(1)).stale_if_error(Duration::from_secs(3600)));
    assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    let held = pool.acquire().await.unwrap();
    let waiting: Vec<_> = (100..120)
        .map(|id| {
            let pool = pool.clone();
            tokio::spawn(async move { read(&pool, id).await })
        })
        .collect();
    let until = async |is: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.emergencies());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(&|| pool.emergencies() == [Pressure::Database]).await;
    // An older answer at once, or none at once.
    assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    assert_eq!(pool.stats().stale, 1);
    for sql in ["SELECT n FROM t WHERE id = 150", "SELECT n, random() FROM t"] {
        let error = sqlx::query(sql).fetch_all(&pool).await.unwrap_err();
        assert_eq!(rejected_by(&error), Some(Guard::Emergency), "{error}");
    }
    drop(held);
    for read in waiting {
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
    // Before it is over, what the queue has room for is let in.
    assert_eq!(read(&pool, 160).await.unwrap(), 0);
    until(&|| pool.emergencies().is_empty()).await;
    assert_eq!(read(&outlives, 1).await.unwrap(), 0);
    assert_eq!(pool.stats().stale, 1, "asked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_nothing_is_kept() {
    // Any machine has as little as that in use.
    let pool = pool(2, |builder| builder.emergency(EmergencyOptions::new().memory(0.000_001))).await;
    read(&pool, 1).await.unwrap();
    let begun = Instant::now();
    while pool.emergencies() != [Pressure::Memory] {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", pool.emergencies());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = pool.stats();
    assert_eq!(before.entries, 0, "{before}");
    for _ in 0..3 {
        assert_eq!(read(&pool, 1).await.unwrap(), 0);
    }
    let after = pool.stats();
    assert_eq!((after.hits, after.entries), (before.hits, 0), "{after}");
    assert_eq!(after.not_stored_by_reason.get(&larder::Reason::Emergency), Some(&3), "{after}");
}

/// What is given up is not waited for behind the scenes either: neither by the connection, nor by the place among the loads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_given_up_frees_connection_and_place() {
    let limits = |builder: larder::Builder<sqlx::Postgres>| {
        builder.read_timeout(Duration::from_millis(300)).limit_loads(1, Duration::from_millis(100))
    };
    let pool = pool(1, limits).await;
    sqlx::raw_sql("CREATE TABLE u (id INT PRIMARY KEY, n BIGINT); INSERT INTO u VALUES (1, 7), (2, 8)")
        .execute(&pool)
        .await
        .unwrap();
    let read_u =
        async |id: i32| sqlx::query_scalar::<_, i64>("SELECT n FROM u WHERE id = $1").bind(id).fetch_one(&pool).await;
    assert_eq!((read_u(1).await.unwrap(), read(&pool, 1).await.unwrap()), (7, 0));
    let other = sqlx::PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    read(&pool, 2).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert_eq!(read_u(2).await.unwrap(), 8);
    assert_eq!(sqlx::query("SELECT n, random() FROM u").fetch_all(&pool).await.unwrap().len(), 2);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    lock.rollback().await.unwrap();
}

/// Thirty who ask for the same, and whose load is not let in, are not thirty who ask the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_load_does_not_get_past_the_limit() {
    let pool = pool(40, |builder| builder.limit_loads(2, Duration::from_millis(200))).await;
    let other = sqlx::PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE t").execute(&mut *lock).await.unwrap();
    let spawn = |id| {
        let pool = pool.clone();
        tokio::spawn(async move { read(&pool, id).await })
    };
    let held = [spawn(1), spawn(2)];
    tokio::time::sleep(Duration::from_millis(100)).await;
    let hot: Vec<_> = (0..30).map(|_| spawn(3)).collect();
    for read in hot {
        let error = read.await.unwrap().unwrap_err();
        assert_eq!(rejected_by(&error), Some(Guard::LoadLimit), "{error}");
    }
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&other).await.unwrap();
    assert_eq!(waiting, 2, "what the server sees");
    lock.rollback().await.unwrap();
    for read in held {
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
}

/// Rows that are taken one by one, with a pause between two of them: the pause is their caller's, not the database's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_his_time_with_rows_makes_no_database_slow() {
    let breaker =
        BreakerOptions::new().window(Window::Calls(10)).minimum_calls(3).slow_calls(Duration::from_secs(2), 0.5);
    let wait = Duration::from_secs(5);
    let limits = |builder: larder::Builder<sqlx::Postgres>| {
        builder.breaker(breaker).limit_loads(2, Duration::from_millis(100)).read_timeout(wait)
    };
    let pool = pool(6, limits).await;
    // One after the other, each as soon as it is made.
    let rows = || sqlx::query("SELECT id, repeat('x', 10000), pg_sleep(0.01) FROM t WHERE id <= 20").fetch(&pool);
    let mut taken: Vec<_> = (0..5).map(|_| rows()).collect();
    for rows in &mut taken {
        rows.next().await.unwrap().unwrap();
    }
    // Others have a place among the loads meanwhile.
    assert_eq!(read(&pool, 1).await.unwrap(), 0);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for rows in &mut taken {
            rows.next().await.unwrap().unwrap();
        }
    }
    // The pauses are longer together than the database may take.
    let last = taken.pop().unwrap();
    assert_eq!(last.try_collect::<Vec<_>>().await.unwrap().len(), 16);
    drop(taken);
    let begun = Instant::now();
    while pool.breaker().status().cancelled < 4 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", pool.breaker().status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let breaker = pool.breaker().status();
    // Those who went away say nothing.
    assert_eq!((breaker.state, breaker.slow_rate), (BreakerState::Closed, Some(0.0)), "{breaker:?}");
}
