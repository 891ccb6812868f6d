//! What wants a pool of sqlx's own gets the one below; what it writes is not seen, and one line says so. Locks and
//! notifications.

use std::time::Duration;

use apalis_core::backend::TaskSink;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use apalis_postgres::PostgresStorage;
use larder::{CachedPool, Reason, Sessions};
use sqlx::postgres::{PgAdvisoryLock, PgListener};

use super::{RAISE, SETUP};
use crate::support::postgres;

/// A published job queue. Jobs that are pushed, and what its workers do with them, are seen when the table is named or
/// when the result is old enough.
#[tokio::test]
async fn a_job_queue() {
    let pool = postgres().await;
    pool.migrate(&PostgresStorage::migrations()).await.unwrap();
    let mut queue = PostgresStorage::<u32>::new(pool.inner());
    let jobs =
        || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM apalis.jobs WHERE status = 'Done'").fetch_one(&pool);
    assert_eq!(super::keep(&pool, jobs).await, 0);

    queue.push(7).await.unwrap();
    async fn work(_job: u32, worker: WorkerContext) {
        worker.stop().unwrap();
    }
    let worker = WorkerBuilder::new("worker").backend(queue).build(work);
    tokio::time::timeout(Duration::from_secs(30), worker.run()).await.expect("the job is done").unwrap();

    let truth: i64 = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE status = 'Done'")
        .fetch_one(pool.inner())
        .await
        .unwrap();
    assert_eq!(truth, 1);
    assert_eq!(crate::support::was_hit(&pool, jobs()).await, (0, true), "as it says: not seen");
    pool.invalidate(["apalis.jobs"]);
    assert_eq!(crate::support::was_hit(&pool, jobs()).await, (1, false));
    // A pool that is not told expects others to write, and asks again after a while.
    let hasty = CachedPool::builder(pool.inner().clone(), Sessions::Uniform).ttl(Duration::from_millis(50));
    let hasty = hasty.build().await.unwrap();
    let ask = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM apalis.jobs").fetch_one(&hasty);
    assert_eq!(super::keep(&hasty, ask).await, 1);
    sqlx::query("DELETE FROM apalis.jobs").execute(hasty.inner()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(ask().await.unwrap(), 0);
}

/// A store of the shape that session stores have: written for this test, since no published one takes sqlx 0.9 yet.
struct SessionStore {
    pool: sqlx::PgPool,
}

impl SessionStore {
    async fn save(&self, id: &str, data: &str) {
        sqlx::query("INSERT INTO sessions VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET data = excluded.data")
            .bind(id)
            .bind(data)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn load(&self, id: &str) -> Option<String> {
        let load = sqlx::query_scalar("SELECT data FROM sessions WHERE id = $1").bind(id);
        load.fetch_optional(&self.pool).await.unwrap()
    }
}

#[tokio::test]
async fn a_session_store() {
    let pool = postgres().await;
    sqlx::raw_sql("CREATE TABLE sessions (id TEXT PRIMARY KEY, data TEXT NOT NULL)").execute(&pool).await.unwrap();
    let store = SessionStore { pool: pool.inner().clone() };
    store.save("1", "anonymous").await;
    // What the store reads itself never comes from memory: it is as right as without Larder.
    assert_eq!(store.load("1").await.as_deref(), Some("anonymous"));
    let ask = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sessions").fetch_one(&pool);
    assert_eq!(super::keep(&pool, ask).await, 1);
    store.save("2", "Ada").await;
    store.save("1", "Grace").await;
    assert_eq!(store.load("1").await.as_deref(), Some("Grace"));
    // What the application asks of its table through Larder is told by one line.
    assert_eq!(crate::support::was_hit(&pool, ask()).await, (1, true));
    pool.invalidate(["sessions"]);
    assert_eq!(crate::support::was_hit(&pool, ask()).await, (2, false));
}

/// LISTEN on a connection of its own; NOTIFY through the pool, and by a write.
#[tokio::test]
async fn listeners() {
    let pool = postgres().await;
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    let mut listener = PgListener::connect_with(pool.inner()).await.unwrap();
    listener.listen("news").await.unwrap();
    keep!(pool, "a");
    sqlx::query("NOTIFY news, 'one'").execute(&pool).await.unwrap();
    sqlx::query("SELECT pg_notify('news', $1)").bind("two").execute(&pool).await.unwrap();
    for expected in ["one", "two"] {
        let heard = tokio::time::timeout(Duration::from_secs(20), listener.recv()).await.expect("it is told").unwrap();
        assert_eq!(heard.payload(), expected);
    }
    assert_eq!(read!(pool, "a"), (0, true), "nothing was written");
    // A transaction tells when it is committed; so does Larder.
    let mut tx = pool.begin().await.unwrap();
    sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
    sqlx::query("NOTIFY news, 'three'").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "three");
    assert_eq!(read!(pool, "a"), (1, false));
    // By text through the pool, some connection listens and nobody hears it; it does no harm.
    keep!(pool, "a");
    sqlx::query("LISTEN news").execute(&pool).await.unwrap();
    assert_eq!(read!(pool, "a"), (1, true));
}

#[tokio::test]
async fn advisory_locks() {
    let pool = postgres().await;
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    // By text, on a connection: nothing is dropped.
    keep!(pool, "a");
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(7_i64).execute(&mut *connection).await.unwrap();
    let free = || sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock(7)").fetch_one(pool.inner());
    assert!(!free().await.unwrap(), "it is held");
    assert_eq!(read!(pool, "a"), (0, true));
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(7_i64).execute(&mut *connection).await.unwrap();
    drop(connection);
    idle!(pool);
    assert_eq!(read!(pool, "a"), (0, true));
    // In a transaction.
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(8)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(read!(pool, "a"), (0, true));
    // sqlx's guard, around a raw connection of the pool below: as with sqlx; nothing else was written, nothing is dropped.
    let lock = PgAdvisoryLock::new("larder");
    let guard = lock.acquire(pool.inner().acquire().await.unwrap()).await.unwrap();
    assert_eq!(read!(pool, "a"), (0, true));
    let connection = guard.release_now().await.unwrap();
    drop(connection);
    // Around a connection of Larder: lent raw, as to any function.
    let mut connection = pool.acquire().await.unwrap();
    let guard = lock.acquire(connection.as_mut()).await.unwrap();
    assert_eq!(read!(pool, "a"), (0, false));
    guard.release_now().await.unwrap();
    drop(connection);
    keep!(pool, "a");
}

/// A connection that was closed since it came back changed costs nothing but the connection.
#[tokio::test]
async fn a_changed_connection_is_closed() {
    let pool = postgres().await;
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    keep!(pool, "a");
    for _ in 0..3 {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("SET TimeZone TO 'Asia/Tokyo'").execute(&mut *connection).await.unwrap();
        let zone: String = sqlx::query_scalar("SHOW TimeZone").fetch_one(&mut *connection).await.unwrap();
        assert_eq!(zone, "Asia/Tokyo");
        drop(connection);
        idle!(pool);
        assert_eq!(read!(pool, "a"), (0, true), "{}", pool.stats());
    }
    for connection in [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()].iter_mut() {
        let zone: String = sqlx::query_scalar("SHOW TimeZone").fetch_one(&mut **connection).await.unwrap();
        assert_eq!(zone, "UTC");
    }
    assert_eq!(pool.stats().bypasses_by_reason.get(&Reason::SessionChanged), None);
}
