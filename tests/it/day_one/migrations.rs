//! `migrate!` and `Migrator`.

use larder::{PoolOptions, Reason};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::{SETUP, differ};

fn migrator(texts: &[&str]) -> Migrator {
    let migration = |(at, text): (usize, &&str)| {
        let version = i64::try_from(at).unwrap() + 1;
        let text = AssertSqlSafe(*text).into_sql_str();
        Migration::new(version, "step".into(), MigrationType::Simple, text, false)
    };
    Migrator::with_migrations(texts.iter().enumerate().map(migration).collect())
}

on_each! {
    async fn migrations_through_the_pool(pool) {
        let first = "UPDATE a SET n = 5; ALTER TABLE b ADD COLUMN extra BIGINT";
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        keep!(pool, "b");
        pool.migrate(&migrator(&[first])).await.unwrap();
        assert_eq!(read!(pool, "a"), (5, false));
        assert_eq!(read!(pool, "a"), (5, true), "the new schema is known at once");
        assert_eq!(read!(pool, "b"), (0, false));
        assert!(pool.stats().invalidations_by_reason.contains_key(&Reason::OpaqueConnection));

        // Half way: what was done before is done.
        keep!(pool, "a");
        let failed = pool.migrate(&migrator(&[first, "UPDATE a SET n = 6", "nonsense"])).await;
        assert!(failed.is_err());
        assert_eq!(read!(pool, "a"), (6, false));
        assert_eq!(keep!(pool, "a"), 6);
        // sqlx keeps its lock where a migration fails; nobody has to wait for it.
        let (one, two) = (migrator(&[first, "UPDATE a SET n = 6", "UPDATE a SET n = 7"]), pool.clone());
        tokio::time::timeout(std::time::Duration::from_secs(20), two.migrate(&one)).await.expect("the lock is free").unwrap();
        assert_eq!(read!(pool, "a"), (7, false));

        // One that leaves settings behind.
        let all = [first, "UPDATE a SET n = 6", "UPDATE a SET n = 7", differ::<Db>()];
        pool.migrate(&migrator(&all)).await.unwrap();
        assert_eq!(keep!(pool, "a"), 7);
    }

    /// One connection alone, which the migrator and the look at the new schema have to share.
    async fn migrations_on_one_connection(pool) {
        let single = PoolOptions::<Db>::new().max_connections(1).connect_with((*pool.connect_options()).clone()).await.unwrap();
        single.migrate(&migrator(&[SETUP])).await.unwrap();
        assert_eq!(keep!(single, "a"), 0);
    }

    /// Its future may be dropped at any time.
    async fn migrations_that_nobody_waits_for(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for millis in 0..12 {
            keep!(pool, "a");
            let texts: Vec<String> = (0..4).map(|step| format!("UPDATE a SET n = {}", 10 * millis + step)).collect();
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            let mut migrator = migrator(&texts);
            migrator.dangerous_set_table_name(format!("migrations_{millis}"));
            let _ = tokio::time::timeout(std::time::Duration::from_millis(millis), pool.migrate(&migrator)).await;
            idle!(pool);
            let truth: i64 = sqlx::query_scalar("SELECT n FROM a WHERE id = 1").fetch_one(pool.inner()).await.unwrap();
            assert_eq!(keep!(pool, "a"), truth, "after {millis} ms");
        }
    }

    /// Directly over the pool below, nothing is seen.
    async fn migrations_below_the_pool(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        migrator(&["UPDATE a SET n = 5; ALTER TABLE a ADD COLUMN extra BIGINT"]).run(pool.inner()).await.unwrap();
        assert_eq!(read!(pool, "a"), (0, true), "as it says: not seen");
        pool.clear();
        assert_eq!(read!(pool, "a"), (5, false));
        assert_eq!(keep!(pool, "a"), 5);
    }

    /// Files compiled into the program.
    async fn the_macro(pool) {
        pool.migrate(&sqlx::migrate!("tests/it/day_one/migrations")).await.unwrap();
        assert_eq!(keep!(pool, "a"), 0);
    }
}
