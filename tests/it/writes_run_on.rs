//! A write whose caller goes away is done or not as the server decides; afterwards reads are right and are kept again.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use larder::{CachedPool, Sessions};

use crate::support::was_hit;

const SETUP: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO t VALUES (1, 0), (2, 0)";
const N: &str = "SELECT n FROM t WHERE id = 1";
const RAISE: &str = "UPDATE t SET n = n + 1 WHERE id = 1";

/// Raises with the number as its answer. MariaDB has no UPDATE that returns rows.
fn raise_and_tell<DB: sqlx::Database>() -> &'static str {
    match DB::NAME {
        "MySQL" => "INSERT INTO t VALUES (1, 0), (2, 0) ON DUPLICATE KEY UPDATE n = t.n + 1 RETURNING n",
        _ => "UPDATE t SET n = n + 1 RETURNING n",
    }
}

/// Polls a future a number of times, then drops it.
macro_rules! drop_after {
    ($polls:expr, $future:expr) => {{
        let mut future = Box::pin($future);
        for _ in 0..$polls {
            if futures::poll!(&mut future).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_micros(20)).await;
        }
    }};
}

/// Reads until the answer comes from memory, comparing each with the database. Nothing may change meanwhile by itself
/// but what was begun before.
macro_rules! right_until_kept {
    ($pool:expr, $what:expr) => {{
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let before: i64 = sqlx::query_scalar(N).fetch_one($pool.inner()).await.unwrap();
            let (n, hit) = was_hit(&$pool, sqlx::query_scalar::<_, i64>(N).fetch_one(&$pool)).await;
            let after: i64 = sqlx::query_scalar(N).fetch_one($pool.inner()).await.unwrap();
            assert!(before <= n && n <= after, "{}: {n} is not from {before} to {after}", $what);
            if hit && before == after {
                break n;
            }
            assert!(Instant::now() < deadline, "{}: nothing is kept any more: {}", $what, $pool.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }};
}

/// Reads a few times, comparing each with the database.
macro_rules! right {
    ($pool:expr, $what:expr) => {
        for _ in 0..3 {
            let truth: i64 = sqlx::query_scalar(N).fetch_one($pool.inner()).await.unwrap();
            assert_eq!(sqlx::query_scalar::<_, i64>(N).fetch_one(&$pool).await.unwrap(), truth, "{}", $what);
        }
    };
}

on_each! {
    /// Each way to write, dropped after each number of polls.
    async fn dropped_at_any_point(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let mut least = 0;
        for polls in (0..8).chain([12, 20]) {
            drop_after!(polls, sqlx::query(RAISE).execute(&pool));
            least = right_until_kept!(pool, format!("execute, {polls} polls")).max(least);

            drop_after!(polls, sqlx::query_scalar::<_, i64>(raise_and_tell::<Db>()).fetch_one(&pool));
            least = right_until_kept!(pool, format!("fetch_one, {polls} polls")).max(least);

            drop_after!(polls, async {
                let mut rows = sqlx::query_scalar::<_, i64>(raise_and_tell::<Db>()).fetch(&pool);
                rows.try_next().await.unwrap();
            });
            least = right_until_kept!(pool, format!("fetch, {polls} polls")).max(least);

            let mut connection = pool.acquire().await.unwrap();
            drop_after!(polls, sqlx::query(RAISE).execute(&mut *connection));
            drop(connection);
            least = right_until_kept!(pool, format!("connection, {polls} polls")).max(least);

            let mut connection = pool.acquire().await.unwrap();
            drop_after!(polls, async { sqlx::query(RAISE).execute(&mut **connection).await });
            drop(connection);
            least = right_until_kept!(pool, format!("raw connection, {polls} polls")).max(least);

            let mut tx = pool.begin().await.unwrap();
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            drop_after!(polls, tx.commit());
            least = right_until_kept!(pool, format!("commit, {polls} polls")).max(least);

            let mut connection = pool.acquire().await.unwrap();
            let mut tx = connection.begin().await.unwrap();
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            drop_after!(polls, tx.commit());
            // The connection goes on as if nothing had happened.
            sqlx::query(RAISE).execute(&mut *connection).await.unwrap();
            let n: i64 = sqlx::query_scalar(N).fetch_one(&pool).await.unwrap();
            assert!(n > least, "commit on a connection, {polls} polls: the write after it is not seen");
            drop(connection);
            least = right_until_kept!(pool, format!("commit on a connection, {polls} polls")).max(least);

            let mut tx = pool.begin().await.unwrap();
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            drop_after!(polls, tx.rollback());
            let n = right_until_kept!(pool, format!("rollback, {polls} polls"));
            assert_eq!(n, least, "rollback, {polls} polls");
        }
    }

    /// Interleaving: a task begins a transaction and goes away while BEGIN is under way; the server began it all the same. The
    /// next who gets that connection writes, and must not write into a transaction that nobody commits.
    async fn a_dropped_begin_leaves_no_transaction_behind(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let options = (*pool.connect_options()).clone();
        let single = sqlx::pool::PoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        let single: Pool = CachedPool::builder(single, Sessions::Uniform).sole_writer().build().await.unwrap();
        for polls in 0..10 {
            let before: i64 = sqlx::query_scalar(N).fetch_one(&pool).await.unwrap();
            drop_after!(polls, single.begin());
            sqlx::query(RAISE).execute(&single).await.unwrap();
            let truth: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
            assert_eq!(truth, before + 1, "{polls} polls: the write was swallowed by an open transaction");
            assert_eq!(sqlx::query_scalar::<_, i64>(N).fetch_one(&pool).await.unwrap(), truth, "{polls} polls");
            assert_eq!(sqlx::query_scalar::<_, i64>(N).fetch_one(&single).await.unwrap(), truth, "{polls} polls");

            let mut connection = single.acquire().await.unwrap();
            drop_after!(polls, connection.begin());
            sqlx::query(RAISE).execute(&mut *connection).await.unwrap();
            let truth: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
            assert_eq!(truth, before + 2, "{polls} polls on a connection");
        }
        right_until_kept!(single, "after dropped begins");
    }

    /// Interleaving: a savepoint is begun and dropped. sqlx then rolls back the transaction around it (Postgres), and what
    /// that transaction writes next is published at once, though nobody commits.
    async fn a_dropped_savepoint_hides_no_write(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for polls in 0..8 {
            for commit in [true, false] {
                right_until_kept!(pool, "before");
                let mut tx = pool.begin().await.unwrap();
                sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap();
                drop_after!(polls, tx.begin());
                let _ = sqlx::query(RAISE).execute(&mut *tx).await;
                right!(pool, format!("{polls} polls, open"));
                if commit {
                    let _ = tx.commit().await;
                } else {
                    drop(tx);
                }
                right_until_kept!(pool, format!("{polls} polls, over"));
            }
        }
    }

    /// The only connection is busy with the write; whoever looks at the database or waits for the answer needs no other.
    async fn with_one_connection(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let begun = Instant::now();
        let unseen = || -> Pool {
            let options = (*pool.connect_options()).clone();
            let single = sqlx::pool::PoolOptions::new().max_connections(1).connect_lazy_with(options);
            CachedPool::builder(single, Sessions::Uniform).sole_writer().build_lazy()
        };
        // The first write of a pool that has seen nothing yet, on the only connection.
        let single = unseen();
        let mut connection = single.acquire().await.unwrap();
        sqlx::query(RAISE).execute(&mut *connection).await.unwrap();
        drop(connection);
        right_until_kept!(single, "connection");
        let single = unseen();
        let mut tx = single.begin().await.unwrap();
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        assert_eq!(right_until_kept!(pool, "an open transaction"), 1);
        tx.commit().await.unwrap();
        assert_eq!(right_until_kept!(pool, "another pool"), 2);
        right_until_kept!(single, "transaction");
        let single = unseen();
        sqlx::query(RAISE).execute(&single).await.unwrap();
        right_until_kept!(single, "pool");
        // Whoever changes the schema is answered while somebody else already waits for the connection, and keeps it.
        let (changed, kept) = tokio::join!(sqlx::query("CREATE TABLE u (id BIGINT)").execute(&single), async {
            let kept = single.acquire().await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            kept
        });
        changed.unwrap();
        drop(kept);
        right_until_kept!(single, "schema change");
        for _ in 0..20 {
            let single = single.clone();
            let task = tokio::spawn(async move { sqlx::query(RAISE).execute(&single).await.map(drop) });
            tokio::time::sleep(Duration::from_micros(300)).await;
            task.abort();
        }
        right_until_kept!(single, "aborted tasks");
        assert!(begun.elapsed() < Duration::from_secs(20), "somebody waited for a connection: {:?}", begun.elapsed());
    }

    /// Writes are under way in a runtime that is shut down; a pool in another runtime reads what the database holds.
    async fn into_a_runtime_that_ends(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for wait in [0, 1, 3, 10] {
            let options = (*pool.connect_options()).clone();
            let other = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                runtime.block_on(async {
                    let other = sqlx::pool::PoolOptions::new().connect_with(options).await.unwrap();
                    let other: Pool = CachedPool::builder(other, Sessions::Uniform).sole_writer().build().await.unwrap();
                    for _ in 0..4 {
                        let other = other.clone();
                        tokio::spawn(async move { while sqlx::query(RAISE).execute(&other).await.is_ok() {} });
                    }
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                });
                runtime.shutdown_background();
            });
            while !other.is_finished() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let deadline = Instant::now() + Duration::from_millis(300);
            while Instant::now() < deadline {
                let before: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
                let n: i64 = sqlx::query_scalar(N).fetch_one(&pool).await.unwrap();
                let after: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
                assert!(before <= n && n <= after, "{n} is not from {before} to {after}");
            }
        }
    }
}

on_each! {
    /// Interleaving: RELEASE is sent, its caller goes away, the transaction around it commits. What the savepoint wrote
    /// may be there: SQLite takes no rollback of a savepoint that it has released.
    async fn a_savepoint_whose_commit_is_dropped_hides_no_write(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for polls in (1..12).chain([1, 2, 3, 1, 2, 3]) {
            right_until_kept!(pool, "before");
            let mut tx = pool.begin().await.unwrap();
            {
                let mut savepoint = tx.begin().await.unwrap();
                sqlx::query(RAISE).execute(&mut *savepoint).await.unwrap();
                drop_after!(polls, savepoint.commit());
            }
            let _ = tx.commit().await;
            right!(pool, format!("after {polls} polls"));
        }
        right_until_kept!(pool, "at the end");
    }

    /// As with sqlx, `&mut *connection` runs statements; they are seen, and cost nobody else his cache.
    async fn a_connection_from_the_pool_is_watched(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        // As with sqlx, too, the future may be carried away from the pool.
        let mut connection = tokio::spawn(pool.acquire()).await.unwrap().unwrap();
        for n in 1..4_i64 {
            sqlx::query(RAISE).execute(&mut *connection).await.unwrap();
            let read = || sqlx::query_scalar::<_, i64>(N);
            assert_eq!(was_hit(&pool, read().fetch_one(&pool)).await, (n, false));
            assert_eq!(read().fetch_one(&mut *connection).await.unwrap(), n);
            assert_eq!(was_hit(&pool, read().fetch_one(&pool)).await, (n, true));
        }
        assert_eq!(pool.stats().invalidations_by_reason.get(&larder::Reason::OpaqueConnection), None);
    }
}

/// Interleaving: a statement rolls the transaction back by failing, its caller goes away before he hears of it, and the next
/// statement of the transaction is on its own.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_lost_unheard_hides_no_write() {
    async fn helper(connection: &mut sqlx::SqliteConnection) {
        let _ = sqlx::query("INSERT OR ROLLBACK INTO t VALUES (1, 0)").execute(connection).await;
    }
    for polls in (0..8).chain([0, 1, 2, 0, 1, 2]) {
        // A pool for each: one that found such a transaction caches nothing any more.
        let pool = crate::support::sqlite().await;
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        right_until_kept!(pool, "before");
        let mut tx = pool.begin().await.unwrap();
        if polls == 0 {
            // A helper that failed and said nothing.
            helper(&mut tx).await;
        } else {
            drop_after!(polls, sqlx::query("INSERT OR ROLLBACK INTO t VALUES (1, 0)").execute(&mut *tx));
        }
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        right!(pool, format!("within, after {polls} polls"));
        drop(tx);
        right!(pool, format!("after {polls} polls"));
    }
}

/// What only reads, as far as its text says, ends with its caller, as with sqlx: here it would never end by itself.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_read_without_end_ends_with_its_caller() {
    let pool = crate::support::sqlite().await;
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    let endless = "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) \
                   SELECT i + (SELECT likely(count(*)) - count(*) FROM t) FROM c";
    for _ in 0..3 {
        let first = sqlx::query_scalar::<_, i64>(endless).fetch_one(&pool);
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), first).await.expect("it ends").unwrap(), 1);
    }
    right_until_kept!(pool, "at the end");
}
