//! The narrower policy goes before the wider, and what a rule forbids is never kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::analysis::{Dialect, analyze};
use larder::{Backend, CachedPool, Config, Policy, Reason, Sessions};
use sqlx::{Executor, Row};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{as_it_is as spell, was_hit};

const SETUP: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, secret TEXT);
    CREATE TABLE prices (id INTEGER PRIMARY KEY, n INTEGER);
    INSERT INTO users VALUES (1, 'Ada', 'x'); INSERT INTO prices VALUES (1, 10)";
const USERS: &str = "SELECT name FROM users WHERE id = 1";
const PRICES: &str = "SELECT n FROM prices WHERE id = 1";
const BOTH: &str = "SELECT n FROM prices JOIN users USING (id)";
/// Long enough for two queries in a row, short enough to be waited for.
const SHORT: Duration = Duration::from_secs(2);

/// Another pool on the same database, which lives by `config`.
macro_rules! pool_with {
    ($pool:expr, $config:expr) => {{
        let config: Config = $config.parse().expect("the configuration is right");
        CachedPool::builder($pool.inner().clone(), Sessions::Uniform)
            .config(config)
            .build()
            .await
            .expect("the pool is built")
    }};
}

/// Whether a query is answered from memory when it is asked again at once.
macro_rules! is_kept {
    ($pool:expr, $sql:expr) => {{
        let (pool, sql): (_, &str) = ($pool, $sql);
        let spelled = || spell(sql);
        sqlx::query(spelled()).fetch_all(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        was_hit(pool, sqlx::query(spelled()).fetch_all(pool)).await.1
    }};
}

/// Whether a query that was kept is still answered from memory.
macro_rules! hits {
    ($pool:expr, $sql:expr) => {
        was_hit($pool, sqlx::query(spell($sql)).fetch_all($pool)).await.1
    };
}

/// How often a rule kept something out of the cache.
fn refused<DB: Backend>(pool: &CachedPool<DB>) -> u64 {
    pool.stats().bypasses_by_reason.get(&Reason::NeverCache).copied().unwrap_or(0)
}

on_each! {
    async fn each_table_has_its_own_time_to_live(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        // The case of a table's name matters to MySQL here.
        let prices = if <Db as sqlx::Database>::NAME == "MySQL" { "prices" } else { "PRICES" };
        let pool = pool_with!(pool, format!("ttl = 'unlimited'\n[tables.{prices}]\nttl = '2s'"));
        for sql in [USERS, PRICES, BOTH] {
            assert!(is_kept!(&pool, sql), "{sql}");
        }
        tokio::time::sleep(SHORT).await;
        assert!(hits!(&pool, USERS));
        assert!(!hits!(&pool, PRICES), "it lives for 2 s");
        assert!(!hits!(&pool, BOTH), "of two tables the shorter time holds");
    }

    async fn a_longer_time_of_a_table_goes_before_that_of_the_pool(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "ttl = '2s'\n[tables.prices]\nttl = '1h'");
        for sql in [USERS, PRICES, BOTH] {
            assert!(is_kept!(&pool, sql), "{sql}");
        }
        tokio::time::sleep(SHORT).await;
        assert!(hits!(&pool, PRICES));
        assert!(!hits!(&pool, USERS), "the time of the pool");
        assert!(!hits!(&pool, BOTH), "of two tables the shorter time holds");
    }

    async fn a_fingerprint_goes_before_its_tables_and_the_caller_before_both(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let fingerprint = analyze(PRICES, Dialect::Postgres).fingerprint;
        let pool = pool_with!(pool, format!("ttl = '1h'\n[tables.prices]\nttl = '2s'\n[queries.{fingerprint}]\nttl = '1h'"));
        let other = "SELECT id FROM prices";
        let hurried = pool.with(Policy::ttl(SHORT)).scoped("hurried");
        let patient = pool.with(Policy::ttl(SHORT * 100)).scoped("patient");
        assert!(is_kept!(&pool, PRICES) && is_kept!(&pool, other));
        assert!(is_kept!(&hurried, PRICES) && is_kept!(&patient, other));
        // Another literal, the same fingerprint.
        assert!(is_kept!(&pool, "SELECT n FROM prices WHERE id = 2"));
        tokio::time::sleep(SHORT).await;
        assert!(hits!(&pool, PRICES));
        assert!(hits!(&pool, "SELECT n FROM prices WHERE id = 2"));
        assert!(!hits!(&pool, other));
        assert!(!hits!(&hurried, PRICES));
        assert!(hits!(&patient, other));
    }

    async fn a_table_that_is_never_kept_goes_to_the_database(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "[never_cache]\ntables = ['Users']\n[tables.users]\nttl = '1h'");
        for (at, sql) in [
            USERS, BOTH, if <Db as sqlx::Database>::NAME == "MySQL" { USERS } else { "SELECT NAME FROM USERS" }, "SELECT name FROM \"users\"", "SELECT 1 FROM prices WHERE id IN (SELECT id FROM users)",
            "WITH x AS (SELECT id FROM users) SELECT id FROM x", "SELECT count(*) FROM prices, users AS u",
        ].into_iter().enumerate() {
            assert!(!is_kept!(&pool, sql), "{sql}");
            assert_eq!(refused(&pool), 2 * (at as u64 + 1), "{sql}");
        }
        // Nothing narrower takes it back.
        let own = pool.with(Policy::ttl(SHORT)).scoped("mine");
        assert!(!is_kept!(&own, USERS));
        assert!(!is_kept!(&pool.fresh(), USERS));
        assert_eq!(refused(&pool), 18);
        assert!(is_kept!(&pool, PRICES));
        assert!(is_kept!(&pool, "SELECT n AS users FROM prices"), "a mere word, since the table is known");
        assert_eq!(pool.stats().entries, 2);
    }

    async fn a_table_that_is_not_there_yet_is_not_kept_when_it_is(pool) {
        let pool = pool_with!(pool, "[never_cache]\ntables = ['users', 'nowhere.else']\ncolumns = ['wages.amount']");
        pool.execute(spell(SETUP)).await.unwrap();
        pool.execute("CREATE TABLE wages (id INTEGER PRIMARY KEY, amount INTEGER)").await.unwrap();
        // The schema is looked at again.
        while !is_kept!(&pool, PRICES) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!is_kept!(&pool, USERS));
        assert!(!is_kept!(&pool, "SELECT amount FROM wages"));
        assert!(is_kept!(&pool, "SELECT id FROM wages"));
        // What stands for no table refuses all that mentions it.
        assert!(!is_kept!(&pool, "SELECT n AS \"ELSE\" FROM prices"));
    }

    async fn a_column_that_is_never_kept_is_in_no_result(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "[never_cache]\ncolumns = ['users.Secret']");
        for (at, sql) in [
            "SELECT secret FROM users", "SELECT * FROM users", "SELECT u.* FROM users u", "SELECT id FROM users WHERE secret = 'x'",
            "SELECT name FROM users ORDER BY \"secret\"", "SELECT id FROM users NATURAL JOIN prices", "SELECT prices.* FROM prices JOIN users USING (id)",
            "SELECT id FROM (SELECT * FROM users) AS x",
        ].into_iter().enumerate() {
            assert!(!is_kept!(&pool, sql), "{sql}");
            assert_eq!(refused(&pool), 2 * (at as u64 + 1), "{sql}");
        }
        assert!(!is_kept!(&pool.with(Policy::ttl(SHORT)).scoped("mine"), "SELECT * FROM users"));
        for sql in [USERS, BOTH, "SELECT * FROM prices", "SELECT count(*) FROM users"] {
            assert!(is_kept!(&pool, sql), "{sql}");
        }
    }

    async fn a_column_of_every_table_is_never_kept(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "[never_cache]\ncolumns = ['*.secret']");
        for sql in ["SELECT secret FROM users", "SELECT * FROM users", "SELECT * FROM prices"] {
            assert!(!is_kept!(&pool, sql), "{sql}");
        }
        assert!(is_kept!(&pool, PRICES));
    }

    async fn a_policy_may_say_never(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let fingerprint = analyze(PRICES, Dialect::Postgres).fingerprint;
        let pool = pool_with!(pool, format!("[tables.users]\nnever = true\n[queries.{fingerprint}]\nnever = true"));
        for sql in [USERS, BOTH, PRICES] {
            assert!(!is_kept!(&pool, sql), "{sql}");
        }
        assert_eq!(refused(&pool), 6);
        assert!(is_kept!(&pool, "SELECT n FROM prices"));
        let off = pool_with!(pool, "never = true");
        assert!(!is_kept!(&off, "SELECT n FROM prices"));
        assert_eq!(refused(&off), 2);
    }

    async fn a_tag_of_a_rule_drops_what_it_stands_for(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "tags = ['all']\n[tables.prices]\ntags = ['shop']");
        let everything = || async { hits!(&pool, USERS) && hits!(&pool, PRICES) && hits!(&pool, BOTH) };
        let keep = || async { assert!(is_kept!(&pool, USERS) && is_kept!(&pool, PRICES) && is_kept!(&pool, BOTH)) };
        keep().await;
        pool.invalidate_tags(["none"]);
        assert!(everything().await);
        pool.invalidate_tags(["shop"]);
        assert!(hits!(&pool, USERS));
        assert!(!hits!(&pool, PRICES));
        assert!(!hits!(&pool, BOTH));
        keep().await;
        pool.invalidate_tags(["all"]);
        assert!(!hits!(&pool, USERS) && !hits!(&pool, PRICES) && !hits!(&pool, BOTH));
    }

    async fn scopes_live_by_the_same_rules_and_share_nothing(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "ttl = '1h'\n[tables.prices]\nttl = '2s'\ntags = ['shop']");
        let (one, other) = (pool.scoped("one"), pool.scoped("other"));
        assert!(is_kept!(&one, USERS) && is_kept!(&one, PRICES));
        assert!(!hits!(&other, USERS) && !hits!(&pool, USERS), "a scope of its own");
        assert!(hits!(&other, USERS) && hits!(&pool, USERS));
        tokio::time::sleep(SHORT).await;
        assert!(hits!(&one, USERS) && !hits!(&one, PRICES));
        assert!(hits!(&one, PRICES));
        pool.invalidate_tags(["shop"]);
        assert!(hits!(&one, USERS) && !hits!(&one, PRICES), "a tag reaches every scope");
    }

    async fn a_table_has_its_own_largest_result(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "[tables.users]\nmax_entry_bytes = '1 KiB'");
        let long = "y".repeat(2000);
        sqlx::query(spell("UPDATE users SET name = $1")).bind(&long).execute(&pool).await.unwrap();
        assert!(!is_kept!(&pool, USERS));
        assert_eq!(pool.stats().not_stored_by_reason.get(&Reason::TooLarge), Some(&2));
        let row = sqlx::query(USERS).fetch_one(&pool).await.unwrap();
        assert_eq!(row.get::<String, _>(0), long);
        assert!(is_kept!(&pool, PRICES));
    }

    /// A rule for one table says nothing about the other, for which the usual counts.
    async fn of_two_tables_one_without_a_rule_counts_too(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let pool = pool_with!(pool, "[tables.users]\nmax_entry_bytes = '4 MiB'");
        sqlx::query(spell("UPDATE users SET name = $1")).bind("x".repeat(2 << 20)).execute(&pool).await.unwrap();
        assert!(is_kept!(&pool, USERS));
        assert!(is_kept!(&pool, BOTH));
        assert!(!is_kept!(&pool, "SELECT name FROM prices JOIN users USING (id)"), "larger than results of prices may be");
    }

    async fn what_is_said_later_goes_first(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let config = || "ttl = '2s'".parse::<Config>().unwrap();
        let builder = || CachedPool::builder(pool.inner().clone(), Sessions::Uniform);
        let short = builder().ttl(Duration::MAX).config(config()).build().await.unwrap();
        let long = builder().config(config()).ttl(Duration::MAX).build().await.unwrap();
        let silent = builder().ttl(Duration::MAX).config(Config::default()).build().await.unwrap();
        assert!(is_kept!(&short, USERS) && is_kept!(&long, USERS) && is_kept!(&silent, USERS));
        tokio::time::sleep(SHORT).await;
        assert!(!hits!(&short, USERS) && hits!(&long, USERS) && hits!(&silent, USERS));
    }

    async fn a_time_beyond_all_times_can_be_configured(pool) {
        pool.execute(spell(SETUP)).await.unwrap();
        let config = "ttl = '500000000000y'\nsoft_ttl = '400000000000y'\nstale_if_error = '500000000000y'\nnegative_ttl = '500000000000y'\nearly_refresh = 1e300";
        let pool = pool_with!(pool, config);
        assert!(is_kept!(&pool, USERS));
        assert!(is_kept!(&pool, "SELECT name FROM users WHERE id = 7"));
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_name_without_a_schema_is_never_kept_in_any() {
    let pool = crate::support::postgres().await;
    pool.execute(spell(SETUP)).await.unwrap();
    let more = "CREATE SCHEMA shop; CREATE TABLE shop.users (id int, secret text); CREATE TABLE shop.prices (id int);
        CREATE TABLE \"USERS\" (id int); CREATE TABLE \"odd.users\" (id int); CREATE VIEW shown AS SELECT * FROM users";
    sqlx::raw_sql(more).execute(&pool).await.unwrap();
    let any = pool_with!(pool, "[never_cache]\ntables = ['users']");
    for sql in ["SELECT id FROM users", "SELECT id FROM shop.users", "SELECT id FROM \"USERS\"", "SELECT id FROM shown"]
    {
        assert!(!is_kept!(&any, sql), "{sql}");
    }
    assert!(is_kept!(&any, "SELECT id FROM shop.prices") && is_kept!(&any, "SELECT id FROM \"odd.users\""));
    // With a schema, it is that one.
    let one = pool_with!(pool, "[never_cache]\ntables = ['shop.users']\ncolumns = ['public.users.secret']");
    assert!(!is_kept!(&one, "SELECT id FROM shop.users"));
    assert!(is_kept!(&one, "SELECT id FROM users"));
    assert!(!is_kept!(&one, "SELECT u FROM users u") && !is_kept!(&one, "SELECT u.to_jsonb FROM users u"));
    // The same where a policy says it.
    let policy = pool_with!(pool, "[tables.users]\nnever = true");
    assert!(!is_kept!(&policy, "SELECT id FROM users") && !is_kept!(&policy, "SELECT id FROM shop.users"));
    // Of the rules for tables, the one that means it in SQL.
    let timed = pool_with!(pool, "ttl = '1h'\n[tables.\"shop.users\"]\nnever = false\nttl = '2s'");
    assert!(is_kept!(&timed, "SELECT id FROM users") && is_kept!(&timed, "SELECT id FROM shop.users"));
    tokio::time::sleep(SHORT).await;
    assert!(hits!(&timed, "SELECT id FROM users") && !hits!(&timed, "SELECT id FROM shop.users"));
    let quoted = pool_with!(pool, "ttl = '1h'\n[tables.'\"USERS\"']\nttl = '2s'");
    assert!(is_kept!(&quoted, "SELECT id FROM users") && is_kept!(&quoted, "SELECT id FROM \"USERS\""));
    tokio::time::sleep(SHORT).await;
    assert!(hits!(&quoted, "SELECT id FROM users") && !hits!(&quoted, "SELECT id FROM \"USERS\""));
}

/// What is logged about the configuration.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Table(Option<String>);
        impl tracing::field::Visit for Table {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "table" {
                    self.0 = Some(format!("{value:?}"));
                }
            }
        }
        if event.metadata().target() == "larder::config" {
            let mut table = Table(None);
            event.record(&mut table);
            self.0.lock().unwrap().extend(table.0);
        }
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_log_names_rules_for_tables_that_are_not_there_once() {
    let log = Log::default();
    // While there is but one subscriber, an event that another thread happens to meet first is off for good.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _set = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let pool = crate::support::sqlite().await;
    pool.execute(spell(SETUP)).await.unwrap();
    let rules = "[tables.users]\nttl = '1s'\n[tables.user]\nttl = '1s'\n[never_cache]\ntables = ['price', 'Prices']\n\
                 columns = ['*.ssn', 'users.absent', 'main.u.a']";
    let pool = pool_with!(pool, rules);
    pool.execute("CREATE TABLE more (id INTEGER)").await.unwrap();
    while !is_kept!(&pool, USERS) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*log.0.lock().unwrap(), ["user", "price", "main.u"]);
}
