//! What the text of a statement does not say, in PostgreSQL: after whatever is written, the cached answer is that of the database,
//! and what was not touched is still kept.

use std::time::{Duration, Instant};

use larder::PgPool;
use sqlx::AssertSqlSafe;

use crate::support::{postgres, was_hit};

async fn prepared(setup: &str) -> PgPool {
    let pool = postgres().await;
    sqlx::raw_sql(AssertSqlSafe(setup)).execute(pool.inner()).await.unwrap_or_else(|error| panic!("{setup}: {error}"));
    pool.clear();
    pool
}

async fn rows<'p>(from: impl sqlx::Executor<'p, Database = sqlx::Postgres>, sql: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(from).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

/// Reads until the answer comes from memory.
async fn keep(pool: &PgPool, sql: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !was_hit(pool, async { Ok(rows(pool, sql).await) }).await.1 {
        assert!(Instant::now() < deadline, "{sql} is not kept: {}", pool.stats());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn run(pool: &PgPool, sql: &str) {
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Keeps `reads`, writes, and compares: each of them is as the database has it, and those of `others` are still kept.
async fn after(pool: &PgPool, write: &str, reads: &[&str], others: &[&str]) {
    for sql in reads.iter().chain(others) {
        keep(pool, sql).await;
    }
    let mut before = Vec::new();
    for sql in reads {
        before.push(rows(pool.inner(), sql).await);
    }
    run(pool, write).await;
    for (sql, before) in reads.iter().zip(before) {
        let truth = rows(pool.inner(), sql).await;
        assert_ne!(truth, before, "{write} should change {sql}");
        assert_eq!(rows(pool, sql).await, truth, "{write}, then {sql}");
    }
    for sql in others {
        let (_, hit) = was_hit(pool, async { Ok(rows(pool, sql).await) }).await;
        assert!(hit, "{write} should leave {sql}");
    }
}

/// A read that must not be kept, for this reason.
async fn never_kept(pool: &PgPool, sql: &str, reason: larder::Reason) {
    for _ in 0..3 {
        let before = pool.stats();
        let _ = rows(pool, sql).await;
        let after = pool.stats();
        let told = |stats: &larder::Stats| stats.bypasses_by_reason.get(&reason).copied().unwrap_or_default();
        assert_eq!((after.hits, told(&after)), (before.hits, told(&before) + 1), "{sql}: {after}");
    }
}

const OTHER: &str = "CREATE TABLE other (id int); INSERT INTO other VALUES (1);";

#[tokio::test]
async fn views() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'Ada'), (2, 'Bo');
         CREATE TABLE orders (id int, user_id int, total numeric); INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20);
         CREATE VIEW order_totals AS SELECT user_id, sum(total) AS total FROM orders GROUP BY user_id;
         CREATE VIEW shown AS SELECT u.*, t.total FROM users u JOIN order_totals t ON t.user_id = u.id;
         CREATE VIEW above AS SELECT name FROM shown WHERE total > 5;
         CREATE VIEW of_users AS SELECT * FROM users;
         CREATE VIEW \"odd \"\"view. 🦀\" AS SELECT count(*) AS n FROM users;"
    ))
    .await;
    let others = ["SELECT * FROM other"];
    let above = "SELECT * FROM above";
    after(
        &pool,
        "UPDATE users SET name = name || '!'",
        &[above, "SELECT * FROM shown", "SELECT * FROM of_users"],
        &others,
    )
    .await;
    after(
        &pool,
        "UPDATE orders SET total = total + 1",
        &["SELECT * FROM shown", "SELECT * FROM order_totals"],
        &others,
    )
    .await;
    after(&pool, "DELETE FROM orders WHERE user_id = 2", &[above], &["SELECT * FROM other", "SELECT * FROM users"])
        .await;
    // Written through a view.
    let n = "SELECT n FROM \"odd \"\"view. 🦀\"";
    after(&pool, "INSERT INTO of_users VALUES (3, 'Cy')", &["SELECT * FROM users", n], &others).await;
    // A view that is another one from now on.
    keep(&pool, above).await;
    run(&pool, "CREATE OR REPLACE VIEW above AS SELECT 'new'::text AS name FROM users").await;
    assert_eq!(rows(&pool, above).await, rows(pool.inner(), above).await);
    run(&pool, "CREATE SEQUENCE s").await;
    let volatile = ["now() AS at", "random() AS at", "current_date AS at", "name::date AS at", "nextval('s') AS at"];
    for (number, volatile) in volatile.iter().enumerate() {
        run(&pool, &format!("CREATE VIEW v{number} AS SELECT {volatile} FROM users WHERE id < 0")).await;
        keep(&pool, "SELECT * FROM users").await;
        for _ in 0..3 {
            let read = async { Ok(rows(&pool, &format!("SELECT * FROM v{number}")).await) };
            let (_, hit) = was_hit(&pool, read).await;
            assert!(!hit, "{volatile}");
        }
    }
}

#[tokio::test]
async fn materialized_views() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE t (id int); INSERT INTO t VALUES (1);
         CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t; CREATE UNIQUE INDEX ON m (n);
         CREATE VIEW over_m AS SELECT n FROM m;"
    ))
    .await;
    let read = "SELECT n FROM over_m";
    keep(&pool, read).await;
    run(&pool, "INSERT INTO t VALUES (2)").await;
    let (answer, hit) = was_hit(&pool, async { Ok(rows(&pool, read).await) }).await;
    assert!(hit, "it is as old as its last refresh");
    assert_eq!(answer, rows(pool.inner(), read).await);
    after(&pool, "REFRESH MATERIALIZED VIEW m", &[read, "SELECT n FROM m"], &[]).await;
    run(&pool, "INSERT INTO t VALUES (3)").await;
    after(&pool, "REFRESH MATERIALIZED VIEW CONCURRENTLY m", &[read, "SELECT n FROM m"], &[]).await;
}

#[tokio::test]
async fn cascades() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE a (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO a SELECT g FROM generate_series(0, 9) g;
         CREATE TABLE b (id int PRIMARY KEY REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE); INSERT INTO b SELECT id FROM a;
         CREATE TABLE c (id int REFERENCES b ON DELETE SET NULL ON UPDATE CASCADE); INSERT INTO c SELECT id FROM b;
         CREATE TABLE d (id int DEFAULT 0 REFERENCES b ON DELETE SET DEFAULT ON UPDATE CASCADE); INSERT INTO d SELECT id FROM b;
         CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE CASCADE);
         INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);"
    ))
    .await;
    let (b, c, d, others) = ("SELECT * FROM b", "SELECT * FROM c", "SELECT * FROM d", ["SELECT * FROM other"]);
    after(&pool, "DELETE FROM a WHERE id = 9", &[b, c, d], &others).await;
    after(&pool, "UPDATE a SET id = 100 WHERE id = 8", &[b, c, d], &others).await;
    // What cannot cascade leaves them alone.
    after(&pool, "INSERT INTO a VALUES (50)", &["SELECT * FROM a"], &[b, c, d]).await;
    after(&pool, "INSERT INTO b VALUES (50)", &[b], &["SELECT * FROM a", c, d]).await;
    after(&pool, "DELETE FROM tree WHERE id = 1", &["SELECT * FROM tree"], &others).await;
    // In a transaction, and with a statement that deletes in a WITH.
    after(
        &pool,
        "WITH gone AS (DELETE FROM a WHERE id = 7 RETURNING id) SELECT count(*) FROM gone",
        &[b, c, d],
        &others,
    )
    .await;
    for sql in [b, c, d] {
        keep(&pool, sql).await;
    }
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM a WHERE id = 6").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    for sql in [b, c, d] {
        assert_eq!(rows(&pool, sql).await, rows(pool.inner(), sql).await);
    }
}

#[tokio::test]
async fn triggers() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE orders (id int, total int); INSERT INTO orders VALUES (1, 1);
         CREATE TABLE audit_log (what text); CREATE TABLE sums (n bigint); INSERT INTO sums VALUES (0);
         CREATE TABLE deep (n int); CREATE TABLE late (n int); CREATE TABLE dynamic (n int);
         CREATE FUNCTION deeper() RETURNS void LANGUAGE sql AS 'INSERT INTO deep VALUES (1)';
         CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE word text := TG_OP;
            BEGIN INSERT INTO audit_log VALUES (word); PERFORM deeper(); RETURN NULL; END $$;
         CREATE FUNCTION summed() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN UPDATE sums SET n = n + 1; RETURN NULL; END $$;
         CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO late VALUES (1); RETURN NULL; END $$;
         CREATE FUNCTION anywhere() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN EXECUTE 'INSERT INTO dyn' || 'amic VALUES (1)'; RETURN NULL; END $$;
         CREATE TRIGGER orders_audit AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION audit();
         CREATE TRIGGER audited AFTER INSERT ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION summed();
         CREATE CONSTRAINT TRIGGER deferred AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION later();
         CREATE TRIGGER dyn AFTER DELETE ON orders FOR EACH STATEMENT EXECUTE FUNCTION anywhere();
         CREATE VIEW shown AS SELECT * FROM orders;
         CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO deep VALUES (2); RETURN NEW; END $$;
         CREATE TRIGGER i INSTEAD OF INSERT ON shown FOR EACH ROW EXECUTE FUNCTION instead();"
    ))
    .await;
    let (log, sums, deep, late) =
        ("SELECT * FROM audit_log", "SELECT * FROM sums", "SELECT * FROM deep", "SELECT * FROM late");
    let others = ["SELECT * FROM other"];
    after(&pool, "INSERT INTO orders VALUES (2, 2)", &[log, sums, deep], &["SELECT * FROM other", late]).await;
    after(&pool, "UPDATE orders SET total = 3", &[late], &["SELECT * FROM other", log, sums, deep]).await;
    after(&pool, "INSERT INTO shown VALUES (3, 3)", &[deep], &others).await;
    after(&pool, "DELETE FROM orders WHERE id = 2", &["SELECT * FROM dynamic"], &[]).await;
    // A trigger that is added through the pool counts from then on.
    run(&pool, "CREATE TRIGGER t AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION later()").await;
    after(&pool, "INSERT INTO other VALUES (2)", &[late, others[0]], &[log]).await;
}

#[tokio::test]
async fn rules() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE t (id int); CREATE TABLE log (id int); CREATE TABLE real_t (id int);
         CREATE RULE also AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (new.id);
         CREATE RULE instead AS ON DELETE TO t DO INSTEAD INSERT INTO real_t VALUES (1);
         CREATE VIEW v AS SELECT id FROM real_t;
         CREATE RULE through AS ON UPDATE TO v DO INSTEAD UPDATE log SET id = id + 1;"
    ))
    .await;
    let others = ["SELECT * FROM other"];
    after(&pool, "INSERT INTO t VALUES (1)", &["SELECT * FROM t", "SELECT * FROM log"], &others).await;
    after(&pool, "DELETE FROM t", &["SELECT * FROM real_t", "SELECT * FROM v"], &others).await;
    after(&pool, "UPDATE v SET id = 7", &["SELECT * FROM log"], &others).await;
}

#[tokio::test]
async fn partitions_and_inheritance() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE events (id int, day int) PARTITION BY RANGE (day);
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
         CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
         CREATE TABLE events_2a PARTITION OF events_2 DEFAULT;
         CREATE TABLE spare (id int, day int); INSERT INTO spare VALUES (9, 35);
         INSERT INTO events VALUES (1, 1), (2, 11);
         CREATE TABLE animals (name text); CREATE TABLE cats (lives int) INHERITS (animals); INSERT INTO animals VALUES ('cow');
         INSERT INTO cats VALUES ('tom', 9);
         CREATE VIEW all_events AS SELECT * FROM events;"
    ))
    .await;
    let others = ["SELECT * FROM other"];
    let (all, one, two, view) =
        ("SELECT * FROM events", "SELECT * FROM events_1", "SELECT * FROM events_2a", "SELECT * FROM all_events");
    after(&pool, "INSERT INTO events VALUES (3, 3)", &[all, one, view], &others).await;
    after(&pool, "INSERT INTO events_1 VALUES (4, 4)", &[all, one, view], &["SELECT * FROM other", two]).await;
    after(
        &pool,
        "INSERT INTO events_2a VALUES (5, 15)",
        &[all, two, view, "SELECT * FROM events_2"],
        &["SELECT * FROM other", one],
    )
    .await;
    // A row that moves from one to another.
    after(&pool, "UPDATE events SET day = 12 WHERE id = 3", &[all, one, two], &others).await;
    after(&pool, "DELETE FROM events WHERE id = 2", &[all, two], &others).await;
    keep(&pool, all).await;
    run(&pool, "ALTER TABLE events ATTACH PARTITION spare FOR VALUES FROM (30) TO (40)").await;
    assert_eq!(rows(&pool, all).await, rows(pool.inner(), all).await);
    after(&pool, "INSERT INTO spare VALUES (10, 36)", &[all, view], &others).await;
    keep(&pool, all).await;
    run(&pool, "ALTER TABLE events DETACH PARTITION spare").await;
    assert_eq!(rows(&pool, all).await, rows(pool.inner(), all).await);
    let (animals, only, cats) = ("SELECT name FROM animals", "SELECT name FROM ONLY animals", "SELECT * FROM cats");
    after(&pool, "INSERT INTO cats VALUES ('kit', 8)", &[animals, cats], &others).await;
    after(&pool, "UPDATE animals SET name = name || '!'", &[animals, cats], &others).await;
    after(&pool, "INSERT INTO animals VALUES ('dog')", &[animals], &others).await;
    let _ = rows(&pool, only).await;
    run(&pool, "UPDATE ONLY animals SET name = 'only'").await;
    for sql in [animals, only, cats] {
        assert_eq!(rows(&pool, sql).await, rows(pool.inner(), sql).await);
    }
}

#[tokio::test]
async fn functions_and_operators() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE prices (id int, price int); INSERT INTO prices VALUES (1, 10);
         CREATE TABLE carts (id int, price_id int); INSERT INTO carts VALUES (1, 1);
         CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
         CREATE FUNCTION price_of(wanted int) RETURNS int LANGUAGE sql STABLE AS 'SELECT price FROM prices WHERE id = wanted';
         CREATE FUNCTION standard(wanted int) RETURNS int STABLE
            BEGIN ATOMIC SELECT price_of(wanted); END;
         CREATE FUNCTION returned(wanted int) RETURNS int STABLE RETURN wanted + (SELECT max(price) FROM prices);
         CREATE FUNCTION clock(int) RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
         CREATE FUNCTION liar(int) RETURNS float LANGUAGE sql IMMUTABLE AS 'SELECT random()';
         CREATE FUNCTION setting(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT current_setting(''app.x'', true)';
         CREATE FUNCTION volatile_one(int) RETURNS int LANGUAGE sql AS 'SELECT price FROM prices WHERE id = $1';
         CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql AS 'UPDATE prices SET price = price + 1 RETURNING price';
         CREATE FUNCTION plus(a int, b int) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b + (SELECT price FROM prices LIMIT 1)';
         CREATE OPERATOR |+| (LEFTARG = int, RIGHTARG = int, FUNCTION = plus);
         CREATE VIEW priced AS SELECT c.id, price_of(c.price_id) AS price FROM carts c;"
    ))
    .await;
    let raise = "UPDATE prices SET price = price + 1";
    let others = ["SELECT * FROM other", "SELECT double(id) FROM carts"];
    after(
        &pool,
        raise,
        &[
            "SELECT price_of(price_id) FROM carts",
            "SELECT standard(price_id) FROM carts",
            "SELECT returned(price_id) FROM carts",
            "SELECT id |+| 1 FROM carts",
            "SELECT * FROM priced",
            "SELECT price_of(1)",
        ],
        &others,
    )
    .await;
    for (sql, reason) in [
        ("SELECT clock(id) FROM carts", larder::Reason::UserFunction),
        ("SELECT liar(id) FROM carts", larder::Reason::UserFunction),
        ("SELECT setting(id) FROM carts", larder::Reason::UserFunction),
    ] {
        never_kept(&pool, sql, reason).await;
    }
    // One that may write, for all that is declared, makes the statement a write of what it mentions, and of nothing else.
    after(&pool, "SELECT writes(id) FROM carts", &["SELECT * FROM prices"], &others).await;
    after(&pool, "DELETE FROM carts WHERE writes(1) < 0", &["SELECT * FROM prices"], &[]).await;
    for _ in 0..3 {
        let (_, hit) = was_hit(&pool, async { Ok(rows(&pool, "SELECT volatile_one(id) FROM carts").await) }).await;
        assert!(!hit);
    }
}

#[tokio::test]
async fn row_level_security() {
    let url = crate::servers::Postgres::shared().fresh();
    let admin = sqlx::PgPool::connect(&url).await.unwrap();
    let role = format!("tenant_{}", admin.connect_options().get_database().unwrap());
    let setup = format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}");
    sqlx::raw_sql(AssertSqlSafe(setup)).execute(&admin).await.unwrap();
    // Conditions do not hold for superusers.
    let pool = PgPool::connect(&url.replace("postgres@", &format!("{role}@"))).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE members (who text, tenant int); INSERT INTO members VALUES (current_user, 1);
         CREATE TABLE secrets (id int, tenant int); INSERT INTO secrets VALUES (1, 1), (2, 2);
         ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON secrets USING (tenant IN (SELECT tenant FROM members WHERE who = current_user));
         CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM secrets;
         CREATE VIEW invoker WITH (security_invoker) AS SELECT * FROM secrets;",
    )
    .execute(&pool)
    .await
    .unwrap();
    keep(&pool, "SELECT * FROM members").await;
    for sql in ["SELECT * FROM secrets", "SELECT * FROM barrier", "SELECT * FROM invoker"] {
        never_kept(&pool, sql, larder::Reason::RowSecurity).await;
        let scoped = pool.scoped("tenant:1");
        keep(&scoped, sql).await;
        // Whom the condition lets see what is a matter of its tables, too.
        run(&pool, "UPDATE members SET tenant = 3 - tenant").await;
        assert_eq!(rows(&scoped, sql).await, rows(pool.inner(), sql).await, "{sql}");
        keep(&scoped, sql).await;
        run(&pool, "INSERT INTO secrets SELECT 3, tenant FROM members").await;
        assert_eq!(rows(&scoped, sql).await, rows(pool.inner(), sql).await, "{sql}");
        let (_, hit) = was_hit(&pool.scoped("tenant:2"), async { Ok(rows(&pool.scoped("tenant:2"), sql).await) }).await;
        assert!(!hit, "one tenant's answer is not another's");
    }
    let scoped = pool.scoped("tenant:1");
    for change in [
        "ALTER POLICY p ON secrets USING (false)",
        "CREATE POLICY q ON secrets USING (id = 1)",
        "DROP POLICY q ON secrets",
        "GRANT SELECT ON secrets TO PUBLIC",
        "REVOKE SELECT ON secrets FROM PUBLIC",
        "ALTER ROLE CURRENT_USER SET work_mem = '5MB'",
        "ALTER TABLE secrets DISABLE ROW LEVEL SECURITY",
    ] {
        keep(&scoped, "SELECT * FROM secrets").await;
        run(&pool, change).await;
        let (answer, hit) = was_hit(&scoped, async { Ok(rows(&scoped, "SELECT * FROM secrets").await) }).await;
        assert!(!hit, "{change}");
        assert_eq!(answer, rows(pool.inner(), "SELECT * FROM secrets").await, "{change}");
    }
}

#[tokio::test]
async fn names() {
    let long = "n".repeat(63);
    let pool = prepared(&format!(
        "{OTHER} CREATE SCHEMA a; CREATE SCHEMA \"b.c\"; CREATE TABLE a.t (n int); CREATE TABLE \"b.c\".t (n int);
         CREATE TABLE public.t (n int); CREATE TABLE \"b.c\".\"t.t\" (n int); CREATE TABLE \"🦀 'x'\" (n int); CREATE TABLE \"{long}\" (n int);
         CREATE VIEW a.v AS SELECT * FROM \"b.c\".t; CREATE VIEW \"b.c\".v AS SELECT * FROM a.t;
         CREATE VIEW v AS SELECT n FROM \"{long}\" UNION ALL SELECT n FROM \"🦀 'x'\" UNION ALL SELECT n FROM \"b.c\".\"t.t\";"
    ))
    .await;
    let (av, bcv, v) = ("SELECT * FROM a.v", "SELECT * FROM \"b.c\".v", "SELECT * FROM v");
    let others = ["SELECT * FROM other", "SELECT * FROM t"];
    after(&pool, "INSERT INTO \"b.c\".t VALUES (1)", &[av], &[bcv, v, others[0], others[1]]).await;
    after(&pool, "INSERT INTO a.t VALUES (1)", &[bcv], &[av, v, others[0], others[1]]).await;
    for table in [format!("\"{long}\""), "\"🦀 'x'\"".into(), "\"b.c\".\"t.t\"".into()] {
        after(&pool, &format!("INSERT INTO {table} VALUES (1)"), &[v], &[av, bcv, others[0], others[1]]).await;
    }
}

/// A view on what another program dropped, a body that does not parse, triggers that fire each other.
#[tokio::test]
async fn what_is_broken_does_no_harm() {
    let pool = prepared(&format!(
        "{OTHER} SET check_function_bodies = off;
         CREATE TABLE t (n int); CREATE TABLE u (n int);
         CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN this is no ''code'; 
         CREATE TABLE with_broken (n int);
         CREATE TRIGGER b AFTER DELETE ON with_broken FOR EACH ROW EXECUTE FUNCTION broken();
         CREATE FUNCTION ping() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF pg_trigger_depth() < 3 THEN INSERT INTO u VALUES (1); END IF; RETURN NULL; END';
         CREATE FUNCTION pong() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF pg_trigger_depth() < 3 THEN INSERT INTO t VALUES (1); END IF; RETURN NULL; END';
         CREATE TRIGGER ping AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION ping();
         CREATE TRIGGER pong AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION pong();
         RESET check_function_bodies;"
    ))
    .await;
    after(&pool, "INSERT INTO t VALUES (1)", &["SELECT * FROM t", "SELECT * FROM u"], &["SELECT * FROM other"]).await;
    after(&pool, "INSERT INTO u VALUES (1)", &["SELECT * FROM t", "SELECT * FROM u"], &["SELECT * FROM other"]).await;
    after(&pool, "INSERT INTO with_broken VALUES (1)", &["SELECT * FROM with_broken"], &["SELECT * FROM other"]).await;
    keep(&pool, "SELECT * FROM t").await;
    run(&pool, "DELETE FROM with_broken WHERE n < 0").await;
    assert_eq!(rows(&pool, "SELECT * FROM t").await, rows(pool.inner(), "SELECT * FROM t").await);
}

/// What a text does not say is asked of the database at the COMMIT: opaque statements drop what they wrote, and not everything.
#[tokio::test]
async fn opaque_statements_in_a_transaction() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE t (n int); CREATE TABLE u (n int); CREATE TABLE late (n int);
         CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO ' || 'u VALUES (1)'; END $$;
         CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO late VALUES (1)'; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later()"
    ))
    .await;
    // For about a second after DDL on a connection, its counters may still hold that DDL.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (t, u, late, other) = ("SELECT * FROM t", "SELECT * FROM u", "SELECT * FROM late", "SELECT * FROM other");
    for (round, (statement, changed, kept)) in [
        ("CALL p()", u, &[][..]),
        ("CALL p()", u, &[t, late, other]),
        ("DO $$ BEGIN INSERT INTO u VALUES (2); END $$", u, &[t, late, other]),
        ("DO $$ BEGIN INSERT INTO t VALUES (2); END $$", late, &[u, other]),
    ]
    .into_iter()
    .enumerate()
    {
        for sql in [t, u, late, other] {
            keep(&pool, sql).await;
        }
        let before = rows(pool.inner(), changed).await;
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_ne!(rows(pool.inner(), changed).await, before, "{statement}");
        for sql in [t, u, late, other] {
            let (answer, hit) = was_hit(&pool, async { Ok(rows(&pool, sql).await) }).await;
            assert_eq!(answer, rows(pool.inner(), sql).await, "{statement}: {sql}");
            assert_eq!(hit, kept.contains(&sql), "{round}: {statement}: {sql}: {}", pool.stats());
        }
    }
    // Rolled back, it has written nothing.
    keep(&pool, u).await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("CALL p()").execute(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(was_hit(&pool, async { Ok(rows(&pool, u).await) }).await.1);
}

/// What a deferred trigger objects to is said by the COMMIT, as without anybody asking before.
#[tokio::test]
async fn a_deferred_objection_is_the_commits() {
    let pool = prepared(
        "CREATE TABLE t (n int);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
         CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()",
    )
    .await;
    for _ in 0..3 {
        keep(&pool, "SELECT * FROM t").await;
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("DO $$ BEGIN INSERT INTO t VALUES (1); END $$").execute(&mut *tx).await.unwrap();
        let refused = tx.commit().await.unwrap_err();
        assert!(refused.to_string().contains("not today"), "{refused}");
        assert!(rows(&pool, "SELECT * FROM t").await.is_empty());
    }
}

/// Each transaction is measured where that is asked for, also where its statements are understood.
#[tokio::test]
async fn every_transaction_may_be_measured() {
    let plain = prepared("CREATE TABLE t (n int); CREATE TABLE u (n int)").await;
    let pool = larder::CachedPool::builder(plain.inner().clone(), larder::Sessions::Uniform).sole_writer();
    let pool = pool.measure_transactions(true).build().await.unwrap();
    // Somebody else adds a trigger, and the schema was not looked at since.
    for sql in ["SELECT * FROM t", "SELECT * FROM u"] {
        keep(&pool, sql).await;
    }
    sqlx::raw_sql(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO u VALUES (1); RETURN NULL; END $$;
         CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    )
    .execute(pool.inner())
    .await
    .unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    for sql in ["SELECT * FROM t", "SELECT * FROM u"] {
        assert_eq!(rows(&pool, sql).await, rows(pool.inner(), sql).await, "{sql}");
    }
}

#[tokio::test]
async fn functions_that_return_tables() {
    let pool = prepared(&format!(
        "{OTHER} CREATE TABLE prices (id int, price int); INSERT INTO prices VALUES (1, 10), (2, 20);
         CREATE FUNCTION dear(lowest int) RETURNS TABLE (id int, price int) LANGUAGE sql STABLE AS
            'SELECT id, price FROM prices WHERE price >= lowest';
         CREATE FUNCTION whole() RETURNS SETOF prices LANGUAGE sql STABLE AS 'SELECT * FROM prices';
         CREATE FUNCTION since(moment timestamptz DEFAULT now()) RETURNS bigint LANGUAGE sql STABLE AS
            'SELECT count(*) + extract(epoch FROM $1)::bigint FROM prices';
         CREATE VIEW over_functions AS SELECT o.id, d.price FROM other o, LATERAL dear(o.id) d;
         CREATE FUNCTION spelled() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO U&\"pr\\0069ces\" VALUES (9, 90); RETURN 1; END $$;"
    ))
    .await;
    let sqls = [
        "SELECT * FROM dear(1)",
        "SELECT sum(price) AS s FROM dear(1) d JOIN other o ON true",
        "SELECT * FROM other o, LATERAL dear(o.id) d",
        "SELECT (whole()).price AS p",
        "SELECT * FROM ROWS FROM (dear(1), whole()) r",
        "SELECT * FROM over_functions",
        "SELECT since() AS s",
        "SELECT id, since() AS s FROM other",
    ];
    // Kept or not, no answer is older than the write.
    for write in ["UPDATE prices SET price = price + 1", "SELECT spelled()"] {
        for sql in sqls {
            for _ in 0..3 {
                rows(&pool, sql).await;
            }
        }
        run(&pool, write).await;
        for sql in sqls.iter().filter(|sql| !sql.contains("since")) {
            assert_eq!(rows(&pool, sql).await, rows(pool.inner(), sql).await, "{sql} after {write}");
        }
    }
    keep(&pool, "SELECT * FROM over_functions").await;
    for sql in ["SELECT since() AS s", "SELECT id, since() AS s FROM other"] {
        let (_, hit) = was_hit(&pool, async { Ok(rows(&pool, sql).await) }).await;
        assert!(!hit, "{sql}: what it is given by default is the clock");
    }
}

/// What is never kept is not kept under another name, either.
#[tokio::test]
async fn what_is_never_kept_has_no_other_name() {
    let setup = "CREATE TABLE users (id int, secret text, name text); INSERT INTO users VALUES (1, 's', 'n');
         CREATE VIEW v AS SELECT id, secret AS harmless FROM users; CREATE VIEW w AS SELECT harmless FROM v;
         CREATE VIEW plain AS SELECT id, name FROM users;
         CREATE MATERIALIZED VIEW m AS SELECT harmless FROM w; CREATE MATERIALIZED VIEW m_plain AS SELECT id, name FROM users;
         CREATE FUNCTION f(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT secret FROM users WHERE id = $1';
         CREATE TABLE diary (id int, text text) PARTITION BY LIST (id); CREATE TABLE diary_1 PARTITION OF diary DEFAULT;";
    let plain = prepared(setup).await;
    let config: larder::Config = "[never_cache]\ntables = ['diary']\ncolumns = ['users.secret']".parse().unwrap();
    let pool = larder::CachedPool::builder(plain.inner().clone(), larder::Sessions::Uniform)
        .config(config)
        .build()
        .await
        .unwrap();
    keep(&pool, "SELECT id, name FROM users").await;
    keep(&pool, "SELECT id, name FROM plain").await;
    keep(&pool, "SELECT id, name FROM m_plain").await;
    for sql in [
        "SELECT harmless FROM v",
        "SELECT id FROM v",
        "SELECT harmless FROM w",
        "SELECT harmless FROM m",
        "SELECT f(id) FROM users",
        "SELECT text FROM diary",
        "SELECT text FROM diary_1",
    ] {
        never_kept(&pool, sql, larder::Reason::NeverCache).await;
    }
}
