//! How long results live: soft ends, early refreshes, results without rows, and what an outage may stretch.
//!
//! Writes go behind Larder's back here, through the sqlx pool, so that an answer shows when its query ran.

use std::time::{Duration, Instant};

use larder::{Policy, Reason};

use crate::support::was_hit;

const MS: Duration = Duration::from_millis(1);

/// Makes a table with one number on this pool.
macro_rules! numbers {
    ($pool:expr) => {
        sqlx::query("CREATE TABLE numbers (id INTEGER NOT NULL PRIMARY KEY, n INTEGER NOT NULL)")
            .execute($pool)
            .await
            .unwrap();
        sqlx::query("INSERT INTO numbers VALUES (1, 0)").execute($pool).await.unwrap();
    };
}

/// Raises the number without being seen.
macro_rules! raise_unseen {
    ($pool:expr) => {
        sqlx::query("UPDATE numbers SET n = n + 1").execute($pool.inner()).await.unwrap()
    };
}

fn number<'q, DB: sqlx::Database>() -> sqlx::query::QueryScalar<'q, DB, i32, DB::Arguments>
where
    (i32,): for<'r> sqlx::FromRow<'r, DB::Row>,
{
    sqlx::query_scalar("SELECT n FROM numbers WHERE id = 1")
}

on_each! {
    async fn a_soft_end_is_seen_by_nobody_who_asks(pool) {
        numbers!(&pool);
        let soft = pool.with(Policy::ttl(60_000 * MS).soft_ttl(50 * MS));
        assert_eq!(number().fetch_one(&soft).await.unwrap(), 0);
        raise_unseen!(pool);
        assert_eq!(was_hit(&pool, number().fetch_one(&soft)).await, (0, true));
        tokio::time::sleep(60 * MS).await;
        // All who ask now get the old one at once, and one of them sets off the query.
        let asked: Vec<_> = (0..20).map(|_| {
            let soft = soft.clone();
            tokio::spawn(async move { number().fetch_one(&soft).await.unwrap() })
        }).collect();
        for asked in asked {
            assert!(asked.await.unwrap() <= 1);
        }
        let begun = Instant::now();
        while number().fetch_one(&soft).await.unwrap() == 0 {
            assert!(begun.elapsed() < 5_000 * MS, "it is never replaced");
            tokio::time::sleep(MS).await;
        }
        let stats = pool.stats();
        // On a busy machine the new one grows old before it is looked at.
        assert!(stats.misses == 1 && (1..4).contains(&stats.refreshes), "{} refreshes, {stats}", stats.refreshes);
    }

    /// Soft or not: what is known to be wrong is given to nobody.
    async fn a_write_ends_a_result_at_any_age(pool) {
        numbers!(&pool);
        let soft = pool.with(Policy::ttl(60_000 * MS).soft_ttl(Duration::ZERO).stale_if_error(60_000 * MS));
        for n in 0..20 {
            assert_eq!(number().fetch_one(&soft).await.unwrap(), n);
            assert_eq!(number().fetch_one(&soft).await.unwrap(), n);
            sqlx::query("UPDATE numbers SET n = n + 1").execute(&pool).await.unwrap();
        }
    }

    /// The database is not asked again and again for what it cannot answer.
    async fn a_refresh_that_fails_is_not_tried_with_each_hit(pool) {
        numbers!(&pool);
        let soft = pool.with(Policy::ttl(60_000 * MS).soft_ttl(Duration::ZERO));
        assert_eq!(number().fetch_one(&soft).await.unwrap(), 0);
        sqlx::query("ALTER TABLE numbers RENAME TO gone").execute(pool.inner()).await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < 1_500 * MS {
            assert_eq!(number().fetch_one(&soft).await.unwrap(), 0);
            tokio::time::sleep(MS).await;
        }
        let refreshes = pool.stats().refreshes;
        assert!((2..4).contains(&refreshes), "{refreshes}");
        sqlx::query("ALTER TABLE gone RENAME TO numbers").execute(pool.inner()).await.unwrap();
        raise_unseen!(pool);
        while number().fetch_one(&soft).await.unwrap() == 0 {
            assert!(begun.elapsed() < 20_000 * MS, "it is never replaced");
            tokio::time::sleep(MS).await;
        }
    }

    /// Asked for all the time, a result is replaced before its time is over, and nobody ever waits.
    async fn early_refresh_spares_everybody_the_wait(pool) {
        numbers!(&pool);
        // A query of a tenth of a millisecond is replaced a tenth of a second ahead, about.
        let hot = pool.with(Policy::ttl(400 * MS).early_refresh(1_000.0));
        let begun = Instant::now();
        while begun.elapsed() < 2_000 * MS {
            number().fetch_one(&hot).await.unwrap();
            tokio::time::sleep(MS).await;
        }
        let stats = pool.stats();
        assert_eq!(stats.misses, 1, "{stats}");
        assert!((3..2_000).contains(&stats.refreshes), "{stats}");
        let lazy = pool.with(Policy::ttl(100 * MS).tag("lazy"));
        number().fetch_one(&lazy).await.unwrap();
        tokio::time::sleep(120 * MS).await;
        number().fetch_one(&lazy).await.unwrap();
        assert_eq!(pool.stats().misses_by_reason[&Reason::Expired], 1, "without it, somebody does");
    }

    async fn what_is_asked_for_long_after_its_time_is_told_as_expired(pool) {
        numbers!(&pool);
        let view = pool.with(Policy::ttl(50 * MS));
        number().fetch_one(&view).await.unwrap();
        let begun = Instant::now();
        while pool.stats().entries > 0 {
            assert!(begun.elapsed() < 60_000 * MS, "it is kept for ever");
            tokio::time::sleep(10 * MS).await;
        }
        let stored = pool.stats().stored;
        number().fetch_one(&view).await.unwrap();
        let stats = pool.stats();
        assert_eq!((stored, stats.misses_by_reason.get(&Reason::Expired)), (1, Some(&1)), "{stats}");
    }

    async fn nothing_found_is_asked_for_again_sooner(pool) {
        numbers!(&pool);
        let view = pool.with(Policy::ttl(60_000 * MS).negative_ttl(50 * MS));
        let read = |id: i32| sqlx::query_scalar::<_, i32>(spell("SELECT n FROM numbers WHERE id = $1")).bind(id);
        assert_eq!(read(2).fetch_optional(&view).await.unwrap(), None);
        assert_eq!(read(1).fetch_optional(&view).await.unwrap(), Some(0));
        sqlx::query("INSERT INTO numbers VALUES (2, 7)").execute(pool.inner()).await.unwrap();
        tokio::time::sleep(60 * MS).await;
        assert_eq!(was_hit(&pool, read(2).fetch_optional(&view)).await, (Some(7), false));
        assert_eq!(was_hit(&pool, read(1).fetch_optional(&view)).await, (Some(0), true));
    }

    /// Whoever stored it: a result is as old as its query, and judged by the terms of who asks.
    async fn each_is_served_by_his_own_terms(pool) {
        numbers!(&pool);
        let (short, long) = (pool.with(Policy::ttl(50 * MS)), pool.with(Policy::ttl(60_000 * MS)));
        number().fetch_one(&long).await.unwrap();
        raise_unseen!(pool);
        tokio::time::sleep(60 * MS).await;
        assert_eq!(was_hit(&pool, number().fetch_one(&long)).await, (0, true));
        assert_eq!(was_hit(&pool, number().fetch_one(&short)).await, (1, false));
        assert_eq!(was_hit(&pool, number().fetch_one(&long)).await, (1, true), "it took the place of the old one");
    }

    async fn never_means_neither_kept_nor_taken(pool) {
        numbers!(&pool);
        number().fetch_one(&pool).await.unwrap();
        raise_unseen!(pool);
        let never = pool.with(Policy::never());
        assert_eq!(was_hit(&pool, number().fetch_one(&never)).await, (1, false));
        assert_eq!(number().fetch_one(&never.with(Policy::ttl(60_000 * MS))).await.unwrap(), 1, "nothing narrower counts");
        assert_eq!(pool.stats().bypasses_by_reason[&Reason::NeverCache], 2);
        assert_eq!(was_hit(&pool, number().fetch_one(&pool)).await, (0, true), "what was kept stays");
    }

    async fn tags_drop_what_they_name(pool) {
        numbers!(&pool);
        sqlx::query("CREATE TABLE others (n INTEGER)").execute(&pool).await.unwrap();
        let (home, shop) = (pool.with(Policy::default().tag("home")), pool.with(Policy::default().tag("shop")));
        let both = home.with(Policy::default().tag("shop"));
        let others = || sqlx::query_scalar::<_, i32>("SELECT n FROM others").fetch_all(&home);
        for view in [&home, &shop, &both, &pool] {
            number().fetch_one(view).await.unwrap();
            assert!(was_hit(&pool, number().fetch_one(view)).await.1);
        }
        others().await.unwrap();
        raise_unseen!(pool);
        pool.invalidate_tags(["home", "nothing"]);
        assert_eq!(was_hit(&pool, number().fetch_one(&home)).await, (1, false));
        assert_eq!(was_hit(&pool, number().fetch_one(&both)).await, (1, false));
        assert_eq!(was_hit(&pool, number().fetch_one(&shop)).await, (0, true));
        assert_eq!(was_hit(&pool, number().fetch_one(&pool)).await, (0, true));
        assert!(!was_hit(&pool, others()).await.1, "whatever tables it rests on");
        // Another pool on the same database is another cache, but not another truth.
        pool.invalidate(["numbers"]);
        assert_eq!(was_hit(&pool, number().fetch_one(&shop)).await, (1, false));
    }

    /// Who saw a newer result must not see the older one again, even if the newer one is too large to be kept.
    async fn an_answer_too_large_to_keep_ends_the_one_before(pool) {
        numbers!(&pool);
        let all = || sqlx::query("SELECT a.n FROM numbers a, numbers b");
        let small = pool.with(Policy::default().max_entry_bytes(50));
        assert_eq!(all().fetch_all(&small).await.unwrap().len(), 1);
        for id in 2..=8 {
            sqlx::query(spell("INSERT INTO numbers VALUES ($1, 0)")).bind(id).execute(pool.inner()).await.unwrap();
        }
        assert_eq!(all().fetch_all(&small).await.unwrap().len(), 1, "nobody saw that write");
        assert_eq!(all().fetch_all(&small.fresh()).await.unwrap().len(), 64);
        assert_eq!(all().fetch_all(&small).await.unwrap().len(), 64);
    }

    /// A result larger than the policy allows is streamed through, whatever the pool allows.
    async fn large_results_are_a_matter_of_policy(pool) {
        numbers!(&pool);
        let small = pool.with(Policy::default().max_entry_bytes(1));
        for _ in 0..2 {
            assert!(!was_hit(&pool, number().fetch_one(&small)).await.1);
        }
        assert_eq!(pool.stats().not_stored_by_reason[&Reason::TooLarge], 2);
        number().fetch_one(&pool).await.unwrap();
        assert!(was_hit(&pool, number().fetch_one(&small)).await.1, "what is there is there");
    }
}

/// Outages of a real server.
#[cfg(feature = "postgres")]
mod outages {
    use larder::{CachedPool, PgPool, QueryExt, Sessions};

    use super::*;
    use crate::servers::Postgres;

    async fn pool(server: &Postgres) -> PgPool {
        let pool = sqlx::postgres::PgPoolOptions::new().acquire_timeout(1_000 * MS);
        let pool = pool.connect(&server.socket_url(&server.create_database())).await.unwrap();
        let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap();
        numbers!(&pool);
        pool
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_old_answer_is_better_than_none_for_those_who_say_so() {
        let mut server = Postgres::start();
        let pool = pool(&server).await;
        let stale = pool.with(Policy::ttl(50 * MS).stale_if_error(600_000 * MS));
        assert_eq!(number().fetch_one(&stale).await.unwrap(), 0);
        assert_eq!(*number().cached(&stale).fetch_one().await.unwrap(), 0);
        let strict = pool.with(Policy::ttl(50 * MS));
        tokio::time::sleep(60 * MS).await;
        server.stop();

        let before = pool.stats();
        assert_eq!(number().fetch_one(&stale).await.unwrap(), 0);
        assert_eq!(number().fetch_optional(&stale).await.unwrap(), Some(0));
        assert_eq!(number().fetch_all(&stale).await.unwrap(), [0]);
        assert_eq!(*number().cached(&stale).fetch_one().await.unwrap(), 0);
        let stats = pool.stats();
        assert_eq!((stats.stale, stats.hits), (before.stale + 4, before.hits), "{stats}");
        assert!(number().fetch_one(&strict).await.is_err(), "who did not ask for it gets the error");
        let other = sqlx::query_scalar::<_, i32>("SELECT n FROM numbers WHERE id = 2");
        assert!(other.fetch_optional(&stale).await.is_err(), "where there is nothing, there is nothing");

        // A write fails, and nobody knows whether it was done: the old answer is as good as before.
        assert!(sqlx::query("UPDATE numbers SET n = n + 1").execute(&pool).await.is_err());
        assert_eq!(number().fetch_one(&stale).await.unwrap(), 0);

        server.restart();
        raise_unseen!(pool);
        let begun = Instant::now();
        while number().fetch_one(&stale).await.unwrap() != 1 {
            assert!(begun.elapsed() < 20_000 * MS, "it does not come back");
            tokio::time::sleep(20 * MS).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_served_older_than_was_agreed() {
        let mut server = Postgres::start();
        let pool = pool(&server).await;
        let stale = pool.with(Policy::ttl(10 * MS).stale_if_error(3_000 * MS));
        let begun = Instant::now();
        number().fetch_one(&stale).await.unwrap();
        server.stop();
        let mut served = 0;
        while number().fetch_one(&stale).await.is_ok() {
            assert!(begun.elapsed() < 4_500 * MS, "answers end with their age, and the wait for the server");
            served += 1;
            tokio::time::sleep(100 * MS).await;
        }
        assert!(served > 0, "{}", pool.stats());
    }

    /// The caller's own mistakes are no outage.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_error_of_the_query_is_told() {
        let pool = pool(Postgres::shared()).await;
        sqlx::query("INSERT INTO numbers VALUES (2, 2)").execute(&pool).await.unwrap();
        let stale = pool.with(Policy::ttl(Duration::ZERO).stale_if_error(600_000 * MS));
        let divided = || sqlx::query_scalar::<_, i32>("SELECT 10 / n FROM numbers WHERE id = 2");
        assert_eq!(divided().fetch_one(&stale).await.unwrap(), 5);
        sqlx::query("UPDATE numbers SET n = 0 WHERE id = 2").execute(&pool).await.unwrap();
        let error = divided().fetch_one(&stale).await.unwrap_err();
        assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("22012"));
    }

    /// After the schema or somebody's rights were changed, an answer from before is worse than none.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_change_of_rights_ends_even_that() {
        let mut server = Postgres::start();
        let pool = pool(&server).await;
        let stale = pool.with(Policy::ttl(600_000 * MS).stale_if_error(600_000 * MS));
        for change in ["REVOKE ALL ON numbers FROM PUBLIC", "ALTER TABLE numbers ADD COLUMN more INTEGER"] {
            assert_eq!(number().fetch_one(&stale).await.unwrap(), 0);
            sqlx::query(change).execute(&pool).await.unwrap();
            server.stop();
            assert!(number().fetch_one(&stale).await.is_err(), "{change}");
            server.restart();
            let begun = Instant::now();
            while number().fetch_one(&stale).await.is_err() {
                assert!(begun.elapsed() < 20_000 * MS, "it does not come back");
            }
        }
        assert_eq!(pool.stats().stale, 0);
    }

    /// A refresh that fails is nobody's business while the result is good.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_refresh_that_fails_harms_nobody() {
        let mut server = Postgres::start();
        let pool = pool(&server).await;
        let soft = pool.with(Policy::ttl(600_000 * MS).soft_ttl(Duration::ZERO));
        number().fetch_one(&soft).await.unwrap();
        server.stop();
        for _ in 0..50 {
            assert_eq!(number().fetch_one(&soft).await.unwrap(), 0);
        }
        server.restart();
        raise_unseen!(pool);
        let begun = Instant::now();
        while number().fetch_one(&soft).await.unwrap() != 1 {
            assert!(begun.elapsed() < 20_000 * MS, "it does not come back");
            tokio::time::sleep(20 * MS).await;
        }
    }
}
