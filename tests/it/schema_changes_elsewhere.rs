//! What other programs change in a schema is seen when it is looked at again: on demand, and from time to time.

use std::time::{Duration, Instant};

use larder::{CachedPool, Sessions};
use sqlx::AssertSqlSafe;

use crate::support::was_hit;

macro_rules! keep {
    ($pool:expr, $sql:expr) => {{
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let (answer, hit) =
                was_hit($pool, sqlx::query_scalar::<_, i64>(AssertSqlSafe($sql)).fetch_one($pool)).await;
            if hit {
                break answer;
            }
            assert!(Instant::now() < deadline, "{} is not kept: {}", $sql, $pool.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }};
}

/// On SQLite and MySQL the body of a trigger is in it; on PostgreSQL in a function.
fn trigger(database: &str) -> &'static str {
    match database {
        "PostgreSQL" => {
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE a SET n = n + 1; RETURN NULL; END $$; \
             CREATE TRIGGER g AFTER INSERT ON b FOR EACH ROW EXECUTE FUNCTION f()"
        }
        _ => "CREATE TRIGGER g AFTER INSERT ON b FOR EACH ROW BEGIN UPDATE a SET n = n + 1; END",
    }
}

on_each! {
    async fn on_demand(pool) {
        for sql in ["CREATE TABLE a (n BIGINT)", "CREATE TABLE b (n BIGINT)", "INSERT INTO a VALUES (0)"] {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
        let read = "SELECT n FROM a";
        assert_eq!(keep!(&pool, read), 0);
        // What has not changed is still known and kept.
        pool.reload().await.unwrap();
        assert!(was_hit(&pool, sqlx::query_scalar::<_, i64>(read).fetch_one(&pool)).await.1);
        sqlx::raw_sql(trigger(<Db as sqlx::Database>::NAME)).execute(pool.inner()).await.unwrap();
        pool.reload().await.unwrap();
        assert!(!was_hit(&pool, sqlx::query_scalar::<_, i64>(read).fetch_one(&pool)).await.1);
        assert_eq!(keep!(&pool, read), 0);
        sqlx::query("INSERT INTO b VALUES (1)").execute(&pool).await.unwrap();
        assert_eq!(sqlx::query_scalar::<_, i64>(read).fetch_one(&pool).await.unwrap(), 1);
        assert_eq!(keep!(&pool, read), 1);
        // A column more.
        sqlx::raw_sql("ALTER TABLE a ADD COLUMN m BIGINT").execute(pool.inner()).await.unwrap();
        pool.reload().await.unwrap();
        assert!(!was_hit(&pool, sqlx::query_scalar::<_, i64>(read).fetch_one(&pool)).await.1);
    }

    async fn from_time_to_time(pool) {
        let inner = pool.inner().clone();
        let pool = CachedPool::builder(inner, Sessions::Uniform).sole_writer().schema_interval(Duration::from_millis(30));
        let pool = pool.build().await.unwrap();
        for sql in ["CREATE TABLE a (n BIGINT)", "CREATE TABLE b (n BIGINT)", "INSERT INTO a VALUES (0)"] {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
        let read = "SELECT n FROM a";
        assert_eq!(keep!(&pool, read), 0);
        let seen = || pool.stats().invalidations_by_reason.get(&larder::Reason::SchemaChange).copied().unwrap_or_default();
        let before = seen();
        sqlx::raw_sql(trigger(<Db as sqlx::Database>::NAME)).execute(pool.inner()).await.unwrap();
        // A look that took long, as on a busy machine, is put off a hundred times that.
        let deadline = Instant::now() + Duration::from_secs(120);
        while seen() == before {
            assert!(Instant::now() < deadline, "it was not looked at again: {}", pool.stats());
            let _: i64 = sqlx::query_scalar(read).fetch_one(&pool).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(keep!(&pool, read), 0);
        sqlx::query("INSERT INTO b VALUES (1)").execute(&pool).await.unwrap();
        assert_eq!(sqlx::query_scalar::<_, i64>(read).fetch_one(&pool).await.unwrap(), 1);
    }
}

/// A right that is taken away ends what was kept under it.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn rights_of_postgres() {
    let url = crate::servers::Postgres::shared().fresh();
    let admin = sqlx::PgPool::connect(&url).await.unwrap();
    let role = format!("reader_{}", admin.connect_options().get_database().unwrap());
    let setup =
        format!("CREATE ROLE {role} LOGIN; CREATE TABLE t AS SELECT 1::bigint AS n; GRANT SELECT ON t TO {role}");
    sqlx::raw_sql(AssertSqlSafe(setup)).execute(&admin).await.unwrap();
    let pool = larder::PgPool::connect(&url.replace("postgres@", &format!("{role}@"))).await.unwrap();
    assert_eq!(keep!(&pool, "SELECT n FROM t"), 1);
    sqlx::raw_sql(AssertSqlSafe(format!("REVOKE SELECT ON t FROM {role}"))).execute(&admin).await.unwrap();
    pool.reload().await.unwrap();
    let refused = sqlx::query_scalar::<_, i64>("SELECT n FROM t").fetch_one(&pool).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
}

/// Views, triggers and tables that come and go while the schema is looked at, again and again.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_looked_at() {
    let pool = crate::support::postgres().await;
    sqlx::raw_sql("CREATE TABLE a (n BIGINT); CREATE TABLE b (n BIGINT); INSERT INTO a VALUES (0)")
        .execute(&pool)
        .await
        .unwrap();
    let other = sqlx::PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    let changing = tokio::spawn(async move {
        while Instant::now() < end {
            sqlx::raw_sql(
                "CREATE TABLE gone (n BIGINT); CREATE VIEW v AS SELECT * FROM gone; CREATE RULE r AS ON INSERT TO gone DO ALSO NOTIFY x;
                 CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE a SET n = n + 1; RETURN NULL; END $$;
                 CREATE TRIGGER g AFTER INSERT ON b FOR EACH ROW EXECUTE FUNCTION f()",
            )
            .execute(&other)
            .await
            .unwrap();
            sqlx::raw_sql("DROP TABLE gone CASCADE; DROP TRIGGER g ON b; DROP FUNCTION f")
                .execute(&other)
                .await
                .unwrap();
        }
        sqlx::raw_sql(trigger("PostgreSQL")).execute(&other).await.unwrap();
    });
    let mut looks = 0;
    while !changing.is_finished() {
        // One that fails, since something went away under it, is made again.
        looks += u32::from(pool.reload().await.is_ok());
        let _: i64 = sqlx::query_scalar("SELECT n FROM a").fetch_one(&pool).await.unwrap();
    }
    changing.await.unwrap();
    assert!(looks > 10, "{looks}");
    pool.reload().await.unwrap();
    let before = keep!(&pool, "SELECT n FROM a");
    sqlx::query("INSERT INTO b VALUES (1)").execute(&pool).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT n FROM a").fetch_one(&pool).await.unwrap(), before + 1);
}
