//! Pool options and their hooks: what they do to connections is measured, or nothing is kept.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use larder::{CachedPool, PoolOptions, Reason, Sessions};

use super::{SETUP, differ};

fn bypasses<DB: larder::Backend>(pool: &CachedPool<DB>, reason: Reason) -> u64 {
    pool.stats().bypasses_by_reason.get(&reason).copied().unwrap_or(0)
}

on_each! {
    async fn limits_are_those_of_sqlx(pool) {
        let options = PoolOptions::<Db>::new()
            .max_connections(4)
            .min_connections(2)
            .acquire_timeout(Duration::from_secs(7))
            .acquire_slow_threshold(Duration::from_secs(1))
            .acquire_slow_level(log::LevelFilter::Debug)
            .acquire_time_level(log::LevelFilter::Trace)
            .max_lifetime(None)
            .idle_timeout(Duration::from_secs(60))
            .test_before_acquire(false);
        assert_eq!((options.get_max_connections(), options.get_min_connections()), (4, 2));
        assert_eq!((options.get_max_lifetime(), options.get_idle_timeout()), (None, Some(Duration::from_secs(60))));
        assert_eq!(options.get_acquire_timeout(), Duration::from_secs(7));
        assert_eq!(options.get_acquire_slow_threshold(), Duration::from_secs(1));
        assert!(!options.get_test_before_acquire());
        let connected = options.clone().connect_with((*pool.connect_options()).clone()).await.unwrap();
        assert!(connected.size() >= 2);
        assert_eq!(connected.options().get_max_connections(), 4);
        assert_eq!(connected.options().get_acquire_timeout(), Duration::from_secs(7));
        sqlx::raw_sql(SETUP).execute(&connected).await.unwrap();
        keep!(connected, "a");
        let lazy = options.connect_lazy_with((*pool.connect_options()).clone());
        assert_eq!(keep!(lazy, "a"), 0);
    }

    /// It treats all connections alike.
    async fn after_connect_that_is_fair(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let fair = PoolOptions::<Db>::new()
            .after_connect(|connection, _| Box::pin(async move {
                sqlx::raw_sql(differ::<Db>()).execute(connection).await.map(drop)
            }))
            .connect_with((*pool.connect_options()).clone()).await.unwrap();
        let out = (fair.acquire().await.unwrap(), fair.acquire().await.unwrap());
        keep!(fair, "a");
        drop(out);
        assert_eq!(read!(fair, "a"), (0, true));
    }

    /// It treats the third connection differently. No answer was given on it before that was found.
    async fn after_connect_that_is_not(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let made = std::sync::Arc::new(AtomicUsize::new(0));
        let unfair = PoolOptions::<Db>::new()
            .after_connect(move |connection, _| {
                let nth = made.fetch_add(1, SeqCst);
                Box::pin(async move {
                    if nth == 2 {
                        sqlx::raw_sql(differ::<Db>()).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_with((*pool.connect_options()).clone()).await.unwrap();
        let mut out = vec![unfair.acquire().await.unwrap()];
        keep!(unfair, "a");
        out.push(unfair.acquire().await.unwrap());
        out.push(unfair.acquire().await.unwrap());
        assert_eq!(read!(unfair, "a"), (0, false));
        assert_eq!(bypasses(&unfair, Reason::SessionChanged), 1, "{}", unfair.stats());
        assert!(format!("{unfair:?}").contains("after_connect"), "{unfair:?}");
        // Its connections might commit late, in MySQL: while it lives, others keep nothing either.
        drop((out, unfair));
        // Where the user gives his word, nobody looks; the hook runs all the same.
        let ran = std::sync::Arc::new(AtomicBool::new(false));
        let seen = ran.clone();
        let told = PoolOptions::<Db>::new()
            .sessions(Sessions::Uniform)
            .after_connect(move |_, _| {
                seen.store(true, SeqCst);
                Box::pin(async { Ok(()) })
            })
            .connect_with((*pool.connect_options()).clone()).await.unwrap();
        keep!(told, "a");
        assert!(ran.load(SeqCst));
    }

    /// Nobody looks at a connection each time it is used.
    async fn hooks_that_run_each_time(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let options = || PoolOptions::<Db>::new();
        for options in [
            options().before_acquire(|_, _| Box::pin(async { Ok(true) })),
            options().after_release(|_, _| Box::pin(async { Ok(true) })),
        ] {
            let hooked = options.clone().connect_with((*pool.connect_options()).clone()).await.unwrap();
            for _ in 0..2 {
                assert!(!read!(hooked, "a").1);
            }
            assert_eq!(bypasses(&hooked, Reason::SessionHook), 2, "{}", hooked.stats());
            assert!(format!("{hooked:?}").contains("Sessions::Uniform"), "{hooked:?}");
            // What it writes by name may be any table, for other pools.
            if <Db as sqlx::Database>::NAME == "MySQL" {
                // And may be committed later.
                for _ in 0..2 {
                    assert_eq!(read!(pool, "a"), (0, false));
                }
            } else {
                keep!(pool, "a");
            }
            sqlx::query("UPDATE b SET n = n + 1").execute(&hooked).await.unwrap();
            assert_eq!(read!(pool, "a"), (0, false));
            drop(hooked);
            let told = options.sessions(Sessions::Uniform).connect_with((*pool.connect_options()).clone()).await.unwrap();
            keep!(told, "a");
        }
    }

    /// Limits of connections and limits of results together.
    async fn options_and_builder(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let built = PoolOptions::<Db>::new().max_connections(3).builder((*pool.connect_options()).clone())
            .ttl(Duration::from_millis(50)).build().await.unwrap();
        keep!(built, "a");
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(read!(built, "a"), (0, false));
        assert_eq!(built.options().get_max_connections(), 3);
    }
}

/// The server itself may give new connections other settings.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn settings_of_the_server_are_seen() {
    let pool = larder::PgPool::connect(&crate::servers::postgres()).await.unwrap();
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    keep!(pool, "a");
    sqlx::raw_sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET IntervalStyle TO iso_8601', current_database()); END $$",
    )
    .execute(pool.inner())
    .await
    .unwrap();
    let mut out = Vec::new();
    while pool.num_idle() > 0 {
        out.push(pool.acquire().await.unwrap());
    }
    out.push(pool.acquire().await.unwrap());
    assert!(!read!(pool, "a").1);
    assert!(bypasses(&pool, Reason::SessionChanged) > 0, "{}", pool.stats());
}

/// Where all connections have temporary tables, one more of them hides a table from one connection.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn one_more_temporary_table_is_seen() {
    let admin = crate::support::postgres().await;
    sqlx::raw_sql(SETUP).execute(&admin).await.unwrap();
    let pool = larder::PgPoolOptions::new()
        .after_connect(|connection, _| {
            Box::pin(
                async move { sqlx::raw_sql("CREATE TEMP TABLE notes (x int)").execute(connection).await.map(drop) },
            )
        })
        .connect_with((*admin.connect_options()).clone())
        .await
        .unwrap();
    keep!(pool, "a");
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql("CREATE TEMP TABLE a AS SELECT 1::bigint AS id, 5::bigint AS n")
        .execute(&mut *connection)
        .await
        .unwrap();
    // Looked at on another connection, where nothing hides it.
    keep!(pool, "a");
    drop(connection);
    idle!(pool);
    for _ in 0..10 {
        assert_eq!(read!(pool.fresh(), "a").0, 0);
    }
}

/// A write may set off code that changes the settings of its session.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn settings_that_a_trigger_changes_are_seen() {
    const PATH: &str = "set_config('search_path', 'other, public', false)";
    for how in ["pool", "connection", "transaction", "copy"] {
        let admin = crate::support::postgres().await;
        let setup = format!(
            "{SETUP}; CREATE SCHEMA other; CREATE TABLE other.a AS SELECT id, 5::bigint AS n FROM a; CREATE TABLE t (x int); \
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {PATH}; RETURN NEW; END $$; \
             CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(setup)).execute(&admin).await.unwrap();
        let pool = larder::PgPool::connect_with((*admin.connect_options()).clone()).await.unwrap();
        keep!(pool, "a");
        let insert = sqlx::query("INSERT INTO t VALUES (1)");
        match how {
            "pool" => drop(insert.execute(&pool).await.unwrap()),
            "connection" => drop(insert.execute(&mut *pool.acquire().await.unwrap()).await.unwrap()),
            "transaction" => {
                let mut tx = pool.begin().await.unwrap();
                insert.execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
            }
            _ => {
                let mut copy = pool.copy_in_raw("COPY t FROM STDIN").await.unwrap();
                copy.send(&b"1\n"[..]).await.unwrap();
                copy.finish().await.unwrap();
            }
        }
        idle!(pool);
        for _ in 0..10 {
            let answer = read!(pool, "a");
            assert!(answer.0 == 0 || !answer.1, "by {how}: {answer:?} is what one connection alone sees");
            let (_, hit) = read!(pool.fresh(), "a");
            assert!(!hit);
        }
        // That one was closed, and the others go on.
        assert!(!pool.stats().bypasses_by_reason.contains_key(&Reason::SessionChanged), "by {how}: {}", pool.stats());
    }
}
