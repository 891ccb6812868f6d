//! Transactions lent to functions that take a `&mut PgConnection`: PostgreSQL is asked what they wrote, and cannot be led
//! to forget any of it.

use larder::{CachedPool, PgPool, Reason, Sessions};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{RAISE, SETUP};
use crate::servers::Postgres;

/// A pool on a fresh database that somebody else has set up: whoever changed a schema a moment ago is not believed.
async fn pool_on(setup: &str) -> (PgPool, String) {
    let (server, setup) = (Postgres::shared(), format!("{SETUP}; {setup}"));
    let database = tokio::task::spawn_blocking(move || {
        let database = server.create_database();
        server.psql(&database, &setup);
        database
    })
    .await
    .unwrap();
    let pool = sqlx::PgPool::connect(&server.url(&database)).await.unwrap();
    (CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap(), database)
}

/// The same, after a first transaction was lent.
async fn lending_pool_on(setup: &str) -> PgPool {
    let (pool, _) = pool_on(setup).await;
    lend_once(&pool).await;
    pool
}

async fn lend_once(pool: &PgPool) {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("SELECT 1").execute(&mut **tx).await.unwrap();
    tx.rollback().await.unwrap();
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn invalidations(pool: &PgPool, reason: Reason) -> u64 {
    pool.stats().invalidations_by_reason.get(&reason).copied().unwrap_or(0)
}

#[tokio::test]
async fn the_first_drops_everything_and_the_next_what_it_wrote() {
    let (pool, _) = pool_on("").await;
    for (first, n) in [(true, 1), (false, 2), (false, 3)] {
        keep!(pool, "a");
        keep!(pool, "b");
        let opaque = invalidations(&pool, Reason::OpaqueConnection);
        let mut tx = pool.begin().await.unwrap();
        run(&mut tx, RAISE).await;
        assert_eq!(read!(pool, "a"), (n - 1, true), "nothing is dropped before the commit");
        tx.commit().await.unwrap();
        assert_eq!(read!(pool, "b"), (0, !first));
        assert_eq!(read!(pool, "a"), (n, false));
        assert_eq!(invalidations(&pool, Reason::OpaqueConnection) - opaque, u64::from(first), "{}", pool.stats());
    }
}

#[tokio::test]
async fn what_was_rolled_back_drops_nothing() {
    let pool = lending_pool_on("").await;
    keep!(pool, "a");
    let mut tx = pool.begin().await.unwrap();
    run(&mut tx, RAISE).await;
    tx.rollback().await.unwrap();
    assert_eq!(read!(pool, "a"), (0, true));
    // Dropped, nobody can be asked in time.
    let mut tx = pool.begin().await.unwrap();
    run(&mut tx, RAISE).await;
    drop(tx);
    idle!(pool);
    assert_eq!(read!(pool, "a"), (0, false));
    // Rolled back after it failed: the server refuses the question.
    keep!(pool, "a");
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("UPDATE a SET n = n / 0").execute(&mut **tx).await.unwrap_err();
    tx.rollback().await.unwrap();
    assert_eq!(read!(pool, "a"), (0, false));
    assert_eq!(keep!(pool, "a"), 0);
}

/// What was written through another session stays, whatever becomes of the transaction.
#[tokio::test]
async fn what_was_written_elsewhere_is_not_rolled_back() {
    let pool = lending_pool_on("CREATE EXTENSION dblink").await;
    keep!(pool, "b");
    let mut tx = pool.begin().await.unwrap();
    run(
        &mut tx,
        "SELECT dblink_exec(format('host=127.0.0.1 port=%s dbname=%s user=postgres', current_setting('port'), \
         current_database()), 'UPDATE b SET n = 1')",
    )
    .await;
    tx.rollback().await.unwrap();
    assert_eq!(read!(pool, "b"), (1, false));
}

#[tokio::test]
async fn watched_and_unseen_writes_add_up() {
    let pool = lending_pool_on("CREATE TABLE c AS TABLE a").await;
    keep!(pool, "a");
    keep!(pool, "b");
    keep!(pool, "c");
    let mut tx = pool.begin().await.unwrap();
    sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
    run(&mut tx, "UPDATE b SET n = 5").await;
    tx.commit().await.unwrap();
    assert_eq!(read!(pool, "a"), (1, false));
    assert_eq!(read!(pool, "b"), (5, false));
    assert_eq!(read!(pool, "c"), (0, true));

    // A savepoint that was rolled back, and one that was not.
    let mut tx = pool.begin().await.unwrap();
    keep!(pool, "a");
    keep!(pool, "b");
    let mut inner = tx.begin().await.unwrap();
    run(&mut inner, RAISE).await;
    inner.rollback().await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    run(&mut inner, "UPDATE b SET n = 6").await;
    inner.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(read!(pool, "a"), (1, true));
    assert_eq!(read!(pool, "b"), (6, false));
    assert_eq!(read!(pool, "c"), (0, true));
}

/// What a function does with the transaction that it was lent, and which of `a`, `b` and `c` may still come from memory
/// after the commit. Whatever comes from there has to be right.
const ATTEMPTS: &[(&str, &str, &str)] = &[
    // What it costs.
    ("", "SELECT n FROM a", "abc"),
    ("", "SELECT n FROM a FOR UPDATE", "abc"),
    ("", "INSERT INTO a VALUES (2, 2) ON CONFLICT DO NOTHING; DELETE FROM b", "c"),
    ("", "WITH moved AS (DELETE FROM a RETURNING id, n) INSERT INTO b SELECT id + 1, n FROM moved", "c"),
    ("", "LOCK TABLE a IN ROW EXCLUSIVE MODE", "bc"),
    ("CREATE SEQUENCE s", "SELECT nextval('s')", "abc"),
    ("", "SAVEPOINT s; UPDATE a SET n = 1; ROLLBACK TO s; UPDATE b SET n = 1", "ac"),
    ("", "SAVEPOINT s; UPDATE a SET n = 1; RELEASE s; SAVEPOINT larder_witness; UPDATE b SET n = 1", "c"),
    (
        "",
        "DO $$ BEGIN UPDATE a SET n = 1; RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN UPDATE b SET n = 1; END $$",
        "ac",
    ),
    // Writes that the text does not name.
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'UPDATE b SET n = n + 1'; RETURN NULL; END $$; \
         CREATE TRIGGER g AFTER UPDATE ON a EXECUTE FUNCTION f()",
        "UPDATE a SET n = 1",
        "c",
    ),
    (
        "CREATE TABLE child (id BIGINT REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE, n BIGINT); INSERT INTO child VALUES (1, 7); \
         DROP TABLE b; ALTER TABLE child RENAME TO b",
        "UPDATE a SET id = 2",
        "c",
    ),
    ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'UPDATE b SET n = 1'", "SELECT f()", "ac"),
    (
        "CREATE TABLE d AS TABLE a; CREATE RULE r AS ON UPDATE TO d DO ALSO UPDATE b SET n = NEW.n",
        "UPDATE d SET n = 1",
        "ac",
    ),
    ("", "DO $$ BEGIN EXECUTE 'UPDA' || 'TE b SET n = 1'; END $$", "ac"),
    ("", "SET LOCAL search_path TO ''; UPDATE public.b SET n = 1", "ac"),
    (
        "CREATE SCHEMA other; CREATE TABLE other.b AS TABLE b",
        "SET LOCAL search_path TO other; UPDATE b SET n = 1; UPDATE public.a SET n = 1",
        "bc",
    ),
    (
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'UPDATE b SET n = 1'",
        "SELECT f(); SET LOCAL ROLE pg_monitor",
        "ac",
    ),
    // Functions that are not what they seem.
    (
        "CREATE SCHEMA evil; CREATE FUNCTION evil.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 0'; \
         CREATE VIEW evil.pg_locks AS SELECT * FROM pg_catalog.pg_locks WHERE false",
        "UPDATE b SET n = 1; SET LOCAL search_path TO evil, pg_catalog, public",
        "ac",
    ),
    // More tables than have room beside the common table of locks.
    (
        "DO $$ BEGIN FOR i IN 1..40 LOOP EXECUTE format('CREATE TABLE t%s (n int)', i); END LOOP; END $$",
        "DO $$ BEGIN FOR i IN 1..40 LOOP EXECUTE format('INSERT INTO t%s VALUES (1)', i); END LOOP; UPDATE b SET n = 1; END $$",
        "ac",
    ),
    // Where the database cannot tell, all goes.
    ("", "TRUNCATE a", ""),
    ("", "LOCK TABLE a IN SHARE ROW EXCLUSIVE MODE", ""),
    ("", "ALTER TABLE a ADD COLUMN x int; ALTER TABLE a DROP COLUMN x", ""),
    ("", "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; UPDATE a SET n = 3", ""),
    ("", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", ""),
    ("", "COMMENT ON TABLE a IS 'x'", ""),
    ("", "GRANT SELECT ON a TO PUBLIC", ""),
    ("", "ALTER ROLE CURRENT_USER SET application_name TO 'x'; ALTER ROLE CURRENT_USER RESET application_name", ""),
    ("", "SELECT lo_from_bytea(0, 'x')", ""),
    ("", "CREATE TEMP TABLE a (id BIGINT, n BIGINT) ON COMMIT DROP; UPDATE a SET n = 9", ""),
    (
        "CREATE TABLE p (n int) PARTITION BY LIST (n); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "INSERT INTO p VALUES (1)",
        "abc",
    ),
    ("CREATE VIEW v AS SELECT * FROM b", "UPDATE v SET n = 1", "ac"),
    ("CREATE TABLE parent (n int); CREATE TABLE heir () INHERITS (parent)", "INSERT INTO heir VALUES (1)", "abc"),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE b SET n = n + 1; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER g AFTER UPDATE ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()",
        "UPDATE a SET n = 1",
        "c",
    ),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE b SET n = n + 1; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER g AFTER UPDATE ON a DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION f()",
        "SET CONSTRAINTS ALL DEFERRED; UPDATE a SET n = 1",
        "c",
    ),
    (
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'UPDATE b SET n = n + 1 RETURNING n'",
        "DECLARE c CURSOR WITH HOLD FOR SELECT f() FROM generate_series(1, 3)",
        "",
    ),
    // Code in C that nobody here knows may have connections of its own.
    ("CREATE FUNCTION f(float8) RETURNS float8 LANGUAGE internal AS 'dsin'", "UPDATE a SET n = 1", ""),
    (
        "CREATE EXTENSION dblink",
        "SELECT dblink_exec(format('host=127.0.0.1 port=%s dbname=%s user=postgres', current_setting('port'), \
         current_database()), 'UPDATE b SET n = 1')",
        "",
    ),
    // It ends the transaction that it was lent, and writes before or after that.
    ("", "UPDATE a SET n = 1; COMMIT; BEGIN; UPDATE b SET n = 1", ""),
    ("", "UPDATE a SET n = 1; COMMIT; BEGIN", ""),
    ("", "UPDATE a SET n = 1; COMMIT AND CHAIN", ""),
    ("", "UPDATE a SET n = 1; COMMIT AND CHAIN; UPDATE b SET n = 1", ""),
    ("", "UPDATE a SET n = 1; ROLLBACK AND CHAIN; UPDATE b SET n = 1", ""),
    ("", "UPDATE a SET n = 1; COMMIT", ""),
    ("", "UPDATE a SET n = 1; PREPARE TRANSACTION 'p'; BEGIN", ""),
    ("", "UPDATE a SET n = 1; COMMIT; BEGIN; SELECT set_config('larder.transaction', '', true)", ""),
    // It takes away what the transaction is known by.
    ("", "UPDATE a SET n = 1; RESET ALL", ""),
    ("", "UPDATE a SET n = 1; SET LOCAL track_counts = off", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed() {
    for (setup, sql, kept) in ATTEMPTS {
        let pool = lending_pool_on(&format!("CREATE TABLE c AS TABLE a; {setup}")).await;
        keep!(pool, "c");
        keep!(pool, "b");
        keep!(pool, "a");
        println!("{sql}");
        let mut tx = pool.begin().await.unwrap();
        run(&mut tx, sql).await;
        // Where the function ended it, the commit may fail, with sqlx as with Larder.
        let _ = tx.commit().await;
        let mut hits = String::new();
        for table in ["a", "b", "c"] {
            let ask = || sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT n FROM {table} WHERE id = 1")));
            let (answer, hit) = crate::support::was_hit(&pool, ask().fetch_optional(&pool)).await;
            assert_eq!(answer, ask().fetch_optional(pool.inner()).await.unwrap(), "{table} after {sql}");
            hits += if hit { table } else { "" };
        }
        assert_eq!(hits, *kept, "after {sql}: {}", pool.stats());
    }
}

/// A transaction that began to look before tables changed their names still sees the old ones.
#[tokio::test]
async fn an_old_snapshot_shows_old_names() {
    let (pool, database) = pool_on("").await;
    lend_once(&pool).await;
    let mut tx = pool.begin().await.unwrap();
    run(&mut tx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class").await;
    let swap = "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b";
    tokio::task::spawn_blocking(move || Postgres::shared().psql(&database, swap)).await.unwrap();
    pool.clear();
    keep!(pool, "a");
    keep!(pool, "b");
    run(&mut tx, "UPDATE a SET n = 8").await;
    tx.commit().await.unwrap();
    assert_eq!(read!(pool, "a"), (8, false));
    assert_eq!(read!(pool, "b").0, 0);
}

/// A question that fails leaves the transaction as it was.
#[tokio::test]
async fn a_transaction_outlives_the_question() {
    let (admin, database) = pool_on(
        "DO $$ BEGIN CREATE ROLE weak LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; \
         GRANT ALL ON a, b TO weak; REVOKE EXECUTE ON FUNCTION pg_stat_get_xact_tuples_deleted(oid) FROM PUBLIC",
    )
    .await;
    let url = Postgres::shared().url(&database).replace("postgres://postgres@", "postgres://weak@");
    let pool = larder::PgPool::connect(&url).await.unwrap();
    lend_once(&pool).await;
    for n in 1..3 {
        keep!(pool, "a");
        keep!(pool, "b");
        let mut tx = pool.begin().await.unwrap();
        run(&mut tx, RAISE).await;
        tx.commit().await.unwrap();
        assert_eq!(read!(pool, "a"), (n, false));
        assert_eq!(read!(pool, "b"), (0, false), "nobody told that it was not written");
    }
    drop(admin);
}

/// One that failed is rolled back by its commit.
#[tokio::test]
async fn a_failed_transaction_changes_nothing() {
    let pool = lending_pool_on("").await;
    keep!(pool, "a");
    let mut tx = pool.begin().await.unwrap();
    run(&mut tx, RAISE).await;
    sqlx::raw_sql("SELECT 1 / 0").execute(&mut **tx).await.unwrap_err();
    let _ = tx.commit().await;
    assert_eq!(read!(pool, "a").0, 0);
    assert_eq!(keep!(pool, "a"), 0);
}

/// Begun with a statement of the user's own, it carries no mark.
#[tokio::test]
async fn other_beginnings_drop_everything() {
    let pool = lending_pool_on("").await;
    keep!(pool, "b");
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    run(&mut tx, RAISE).await;
    tx.commit().await.unwrap();
    assert_eq!(read!(pool, "a"), (1, false));
    assert_eq!(read!(pool, "b"), (0, false));
    // A serializable transaction is not disturbed by the question either.
    keep!(pool, "b");
    let mut tx = pool.begin().await.unwrap();
    run(&mut tx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT n FROM b").await;
    run(&mut tx, RAISE).await;
    tx.commit().await.unwrap();
    assert_eq!(read!(pool, "a"), (2, false));
    assert_eq!(read!(pool, "b"), (0, true));
}

/// On a connection that was acquired, a transaction is measured too.
#[tokio::test]
async fn transactions_on_a_connection_are_measured() {
    let pool = lending_pool_on("").await;
    keep!(pool, "a");
    keep!(pool, "b");
    let mut connection = pool.acquire().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    run(&mut tx, RAISE).await;
    tx.commit().await.unwrap();
    assert_eq!(read!(pool, "b"), (0, true));
    assert_eq!(read!(pool, "a"), (1, false));
    drop(connection);
    idle!(pool);
    assert_eq!(read!(pool, "b"), (0, true));
}

/// Where settings were changed, a name may stand for another table than before: what is written by name then is measured
/// or counts as everything, also as long as the connection is out.
#[tokio::test]
async fn changed_settings_change_what_a_name_means() {
    let (pool, _) = pool_on("CREATE SCHEMA other; CREATE TABLE other.a AS TABLE a").await;
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query("SET search_path TO other").execute(&mut *connection).await.unwrap();
    for n in 1..3 {
        keep!(pool, "other.a");
        sqlx::query(RAISE).execute(&mut *connection).await.unwrap();
        assert_eq!(read!(pool, "other.a"), (n, false));
    }
    sqlx::query("RESET search_path").execute(&mut *connection).await.unwrap();
    keep!(pool, "other.a");
    sqlx::query(RAISE).execute(&mut *connection).await.unwrap();
    assert_eq!(read!(pool, "other.a"), (2, true), "put back, it means the same again");
    assert_eq!(read!(pool, "a").0, 1);
    drop(connection);

    for n in 3..6 {
        keep!(pool, "a");
        keep!(pool, "b");
        keep!(pool, "other.a");
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("SET LOCAL search_path TO other").execute(&mut *tx).await.unwrap();
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(read!(pool, "other.a"), (n, false));
        assert_eq!(read!(pool, "b"), (0, n > 3), "measured from the second on");
    }
}
