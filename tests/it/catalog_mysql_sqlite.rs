//! What the text of a statement does not say, in MariaDB and SQLite: after whatever is written, the cached answer is that of the
//! database, and what was not touched is still kept.

use std::time::{Duration, Instant};

use crate::support::{alone, mysql, sqlite, was_hit};

macro_rules! scenes {
    ($pool:ident, $Db:ty) => {
        async fn rows<'p>(from: impl sqlx::Executor<'p, Database = $Db>, sql: &str) -> Vec<String> {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(from).await;
            let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            rows.sort();
            rows
        }

        async fn keep(pool: &larder::CachedPool<$Db>, sql: &str) {
            let deadline = Instant::now() + Duration::from_secs(5);
            while !was_hit(pool, async { Ok(rows(pool, sql).await) }).await.1 {
                assert!(Instant::now() < deadline, "{sql} is not kept: {}", pool.stats());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }

        async fn run(pool: &larder::CachedPool<$Db>, sql: &str) {
            let run = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await;
            run.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }

        async fn after(pool: &larder::CachedPool<$Db>, write: &str, reads: &[&str], others: &[&str]) {
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
                assert!(hit, "{write} should leave {sql}: {}", pool.stats());
            }
        }
    };
}

const TABLES: &[&str] = &[
    "CREATE TABLE other (id INT)",
    "INSERT INTO other VALUES (1)",
    "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(20))",
    "INSERT INTO users VALUES (1, 'Ada'), (2, 'Bo'), (3, 'Cy')",
    "CREATE TABLE orders (id INT PRIMARY KEY, user_id INT, total INT, FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20), (3, 3, 30)",
    "CREATE TABLE order_lines (id INT PRIMARY KEY, order_id INT, FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE SET NULL)",
    "INSERT INTO order_lines VALUES (1, 1), (2, 2), (3, 3)",
    "CREATE TABLE audit_log (what VARCHAR(20))",
    "CREATE TABLE deep (n INT)",
    "CREATE VIEW order_totals AS SELECT user_id, sum(total) AS total FROM orders GROUP BY user_id",
    "CREATE VIEW shown AS SELECT u.name, t.total FROM users u JOIN order_totals t ON t.user_id = u.id",
    "CREATE VIEW above AS SELECT * FROM shown WHERE total > 5",
    "CREATE TRIGGER audited AFTER INSERT ON orders FOR EACH ROW BEGIN INSERT INTO audit_log VALUES ('new order'); END",
    "CREATE TRIGGER deeper AFTER INSERT ON audit_log FOR EACH ROW BEGIN INSERT INTO deep VALUES (1); END",
];

macro_rules! common {
    ($pool:expr) => {
        let others = ["SELECT * FROM other"];
        let (above, lines, log, deep) = (
            "SELECT * FROM above",
            "SELECT * FROM order_lines",
            "SELECT * FROM audit_log",
            "SELECT n, n AS total FROM deep",
        );
        let orders = "SELECT * FROM orders";
        // Views over views.
        after(
            $pool,
            "UPDATE users SET name = 'Eve' WHERE id = 2",
            &[above, "SELECT * FROM shown"],
            &[others[0], lines, log],
        )
        .await;
        after(
            $pool,
            "UPDATE orders SET total = total + 1",
            &[above, "SELECT * FROM order_totals"],
            &[others[0], "SELECT * FROM users", log],
        )
        .await;
        // Triggers, over two steps, and only those of the verb.
        after(
            $pool,
            "INSERT INTO orders VALUES (4, 1, 1)",
            &[log, deep, orders, above],
            &[others[0], lines, "SELECT * FROM users"],
        )
        .await;
        after($pool, "REPLACE INTO orders VALUES (4, 1, 5)", &[log, deep, orders], &[others[0], "SELECT * FROM users"])
            .await;
        // Foreign keys, over two steps, and only by the verbs that cascade.
        after($pool, "DELETE FROM users WHERE id = 1", &[orders, lines, above], &[others[0], log, deep]).await;
        after($pool, "INSERT INTO users VALUES (9, 'Zed')", &["SELECT * FROM users"], &[others[0], orders, lines, log])
            .await;
        after($pool, "DELETE FROM orders WHERE id = 2", &[lines, above], &[others[0], "SELECT * FROM users", log])
            .await;
        // What is added through the pool counts from then on.
        run($pool, "CREATE TRIGGER late AFTER INSERT ON other FOR EACH ROW BEGIN DELETE FROM audit_log; END").await;
        after($pool, "INSERT INTO other VALUES (2)", &[log, others[0]], &["SELECT * FROM users"]).await;
        run($pool, "DROP VIEW above").await;
        run($pool, "CREATE VIEW above AS SELECT n, n AS total FROM deep").await;
        after($pool, "INSERT INTO audit_log VALUES ('by hand')", &[above], &["SELECT * FROM users"]).await;
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    scenes!(pool, sqlx::Sqlite);
    let pool = sqlite().await;
    for statement in TABLES {
        run(&pool, statement).await;
    }
    common!(&pool);
    for statement in [
        "CREATE VIEW \"odd AS \"\"view. 🦀\" (\"a)b\") AS SELECT name FROM users",
        "CREATE TABLE keyed (id INTEGER PRIMARY KEY, k INT UNIQUE ON CONFLICT REPLACE)",
        "CREATE TABLE hanging (id INTEGER REFERENCES keyed ON DELETE CASCADE)",
        "INSERT INTO keyed VALUES (1, 1), (2, 2)",
        "INSERT INTO hanging VALUES (1), (2)",
        "CREATE VIEW writable AS SELECT * FROM users",
        "CREATE TRIGGER [instead of] INSTEAD OF UPDATE OF name ON writable BEGIN INSERT INTO deep VALUES (new.id); END",
        "CREATE VIEW gone AS SELECT * FROM not_there",
        "CREATE TRIGGER round AFTER INSERT ON deep BEGIN UPDATE users SET name = name || '.' WHERE id = 2; END",
    ] {
        run(&pool, statement).await;
    }
    after(
        &pool,
        "UPDATE users SET name = 'x' WHERE id = 3",
        &["SELECT * FROM \"odd AS \"\"view. 🦀\""],
        &["SELECT * FROM deep"],
    )
    .await;
    after(
        &pool,
        "INSERT INTO keyed VALUES (3, 1)",
        &["SELECT * FROM hanging", "SELECT * FROM keyed"],
        &["SELECT * FROM users"],
    )
    .await;
    after(
        &pool,
        "UPDATE writable SET name = 'y' WHERE id = 9",
        &["SELECT * FROM deep", "SELECT * FROM users"],
        &["SELECT * FROM keyed"],
    )
    .await;
}

#[test]
fn on_mariadb() {
    scenes!(pool, sqlx::MySql);
    alone(async {
        let pool = mysql().await;
        for statement in TABLES {
            sqlx::raw_sql(*statement).execute(&pool).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        common!(&pool);
        for statement in [
            "CREATE VIEW `odd ``AS view. é` AS SELECT name FROM users",
            "CREATE VIEW writable AS SELECT * FROM users WHERE id > 0",
            "CREATE FUNCTION total_of(wanted INT) RETURNS INT READS SQL DATA RETURN (SELECT sum(total) FROM orders WHERE user_id = wanted)",
            "CREATE FUNCTION clock(x INT) RETURNS DATETIME RETURN now() + interval x second",
            "CREATE FUNCTION notes(x INT) RETURNS INT BEGIN INSERT INTO deep VALUES (x); RETURN x; END",
            "CREATE PROCEDURE note(x INT) BEGIN INSERT INTO deep VALUES (x); END",
            "CREATE TRIGGER by_procedure AFTER UPDATE ON other FOR EACH ROW CALL note(NEW.id)",
            "CREATE VIEW totals AS SELECT id, total_of(id) AS total FROM users",
            "CREATE VIEW noting AS SELECT notes(id) AS n FROM other",
        ] {
            sqlx::raw_sql(statement).execute(&pool).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        let users = "SELECT * FROM users";
        after(
            &pool,
            "UPDATE users SET name = 'x' WHERE id = 3",
            &["SELECT * FROM `odd ``AS view. é`"],
            &["SELECT * FROM deep"],
        )
        .await;
        after(&pool, "UPDATE writable SET name = 'y' WHERE id = 9", &[users], &["SELECT * FROM deep"]).await;
        after(
            &pool,
            "UPDATE orders SET total = total + 1",
            &["SELECT * FROM totals", "SELECT total_of(id) FROM users"],
            &[users],
        )
        .await;
        after(&pool, "UPDATE other SET id = id + 1", &["SELECT * FROM deep"], &[users, "SELECT * FROM orders"]).await;
        after(&pool, "SELECT notes(id) FROM other", &["SELECT * FROM deep"], &[users, "SELECT * FROM orders"]).await;
        after(&pool, "SELECT * FROM noting", &["SELECT * FROM deep"], &[users, "SELECT * FROM orders"]).await;
        for _ in 0..3 {
            let (_, hit) = was_hit(&pool, async { Ok(rows(&pool, "SELECT clock(id) FROM users").await) }).await;
            assert!(!hit);
        }
    });
}
