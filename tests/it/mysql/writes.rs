//! Statements of all kinds that change what a read rests on.

use super::*;

const TWO: &str =
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL); INSERT INTO t VALUES (1, 1), (2, 2);
    CREATE TABLE u (id INT PRIMARY KEY, n INT NOT NULL); INSERT INTO u VALUES (1, 1), (2, 3)";
const READ: &str = "SELECT id, n FROM t ORDER BY id";
const ALL: &str = "SELECT * FROM t ORDER BY id";

/// Each of them changes `t`, whose answer is kept.
#[test]
fn what_writes_a_table_by_name() {
    alone(async {
        for write in [
            "REPLACE INTO t VALUES (1, 9)",
            "REPLACE INTO t SET id = 2, n = 9",
            "INSERT INTO t VALUES (1, 9) ON DUPLICATE KEY UPDATE n = VALUES(n)",
            "INSERT IGNORE INTO t VALUES (1, 9), (3, 9)",
            "INSERT INTO t SELECT id + 10, n FROM u",
            "INSERT INTO t SET n = 9",
            "INSERT INTO t (n) VALUES (9) RETURNING id",
            "DELETE FROM t WHERE id = 1 RETURNING n",
            "REPLACE INTO t VALUES (1, 9) RETURNING n",
            "UPDATE t, u SET t.n = 9 WHERE t.id = u.id",
            "UPDATE u JOIN t ON t.id = u.id SET t.n = 9",
            "UPDATE u x JOIN t y ON x.id = y.id SET x.n = 5, y.n = 9",
            "UPDATE u x, (SELECT 1 AS one) z, t y SET y.n = 7 WHERE y.id = z.one",
            "DELETE t FROM t JOIN u ON t.id = u.id",
            "DELETE y FROM u x JOIN t y ON x.id = y.id",
            "DELETE FROM y USING u x JOIN t y ON x.id = y.id WHERE x.id = 1",
            "DELETE u, t FROM u JOIN t ON t.id = u.id",
            "DELETE FROM t ORDER BY id LIMIT 1",
            "UPDATE t SET n = 9 ORDER BY id LIMIT 1",
            "UPDATE LOW_PRIORITY IGNORE t SET n = 9",
            "DELETE LOW_PRIORITY QUICK FROM t",
            "INSERT HIGH_PRIORITY INTO t VALUES (5, 5)",
            "INSERT DELAYED INTO t VALUES (5, 5)",
            "WITH w AS (SELECT 1 AS id) UPDATE t SET n = 9",
            "/*!40000 UPDATE t SET n = 9 */",
            "/*M! DELETE FROM t */",
            "UPDATE /*!99999 u -- */ t SET n = 9",
            "TRUNCATE t",
            "TRUNCATE TABLE t",
            "BEGIN NOT ATOMIC UPDATE t SET n = 9; END",
            "EXECUTE IMMEDIATE 'UPDATE t SET n = 9'",
            "ANALYZE UPDATE t SET n = 9",
            "ANALYZE FORMAT=JSON DELETE FROM t",
            "ALTER TABLE t ADD COLUMN more INT",
            "ALTER TABLE t DROP COLUMN n, ADD COLUMN n INT DEFAULT 4",
            "RENAME TABLE t TO away, u TO t",
            "CREATE OR REPLACE TABLE t (id INT, n INT)",
            "DROP TABLE t",
            "DROP TABLE u, t",
        ] {
            let pool = prepared(TWO).await;
            let before = keep(&pool, ALL).await;
            let written = match write.starts_with("EXECUTE") {
                // Not to be prepared.
                true => sqlx::raw_sql(AssertSqlSafe(write)).fetch_all(&pool).await,
                false => sqlx::query(AssertSqlSafe(write)).fetch_all(&pool).await,
            };
            if let Err(error) = written {
                let known = ["You have an error in your SQL syntax", "DELAYED option not supported"];
                assert!(known.iter().any(|known| error.to_string().contains(known)), "{write}: {error}");
                println!("not tried: {write}: {error}");
            } else {
                assert_ne!(rows(pool.inner(), ALL).await.ok(), Some(before), "{write} changes nothing");
            }
            right(&pool, ALL, write).await;
        }
    });
}

/// A change of a table reaches another one, or what is read is none: setup, read, write, and whether the read is kept.
#[test]
fn what_writes_a_table_by_another_name() {
    alone(async {
        for (setup, read, write, kept) in [
            ("CREATE VIEW v AS SELECT id, n FROM t", "SELECT n FROM v", "UPDATE t SET n = 9", true),
            ("CREATE VIEW v AS SELECT id, n FROM t", READ, "UPDATE v SET n = 9", true),
            ("CREATE VIEW v AS SELECT id, n FROM t; CREATE VIEW w AS SELECT id, n FROM v", READ, "DELETE FROM w", true),
            ("CREATE TRIGGER g AFTER UPDATE ON u FOR EACH ROW UPDATE t SET n = 9", READ, "UPDATE u SET n = 5", true),
            (
                "CREATE TRIGGER g BEFORE INSERT ON u FOR EACH ROW DELETE FROM t",
                READ,
                "INSERT INTO u VALUES (7, 7)",
                true,
            ),
            (
                "CREATE TRIGGER g AFTER DELETE ON u FOR EACH ROW UPDATE t SET n = 9",
                READ,
                "REPLACE INTO u VALUES (1, 7)",
                true,
            ),
            (
                "CREATE TABLE p (id INT PRIMARY KEY) ENGINE InnoDB; INSERT INTO p VALUES (1), (2); \
                 ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES p (id) ON DELETE CASCADE",
                READ,
                "DELETE FROM p WHERE id = 1",
                true,
            ),
            (
                "CREATE TABLE p (id INT PRIMARY KEY) ENGINE InnoDB; INSERT INTO p VALUES (1), (2); \
                 ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES p (id) ON UPDATE CASCADE",
                READ,
                "UPDATE p SET id = 7 WHERE id = 1",
                true,
            ),
            (
                "CREATE TABLE p (id INT PRIMARY KEY) ENGINE InnoDB; INSERT INTO p VALUES (1), (2); \
                 ALTER TABLE t MODIFY n INT NULL; ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES p (id) ON DELETE SET NULL",
                READ,
                "DELETE FROM p",
                true,
            ),
            ("CREATE PROCEDURE f() UPDATE t SET n = 9", READ, "CALL f()", true),
            (
                "CREATE PROCEDURE f() BEGIN SELECT 1 AS a; UPDATE t SET n = 9; SELECT 2 AS b, 3 AS c; END",
                READ,
                "CALL f()",
                true,
            ),
            (
                "CREATE FUNCTION f() RETURNS INT DETERMINISTIC NO SQL BEGIN UPDATE t SET n = 9; RETURN 1; END",
                READ,
                "SELECT f()",
                true,
            ),
            (
                "CREATE FUNCTION f() RETURNS INT DETERMINISTIC READS SQL DATA BEGIN UPDATE t SET n = 9; RETURN 1; END",
                READ,
                "SELECT n FROM u WHERE n = f()",
                true,
            ),
            (
                "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN (SELECT max(n) FROM t)",
                "SELECT f() FROM u",
                "UPDATE t SET n = 9",
                false,
            ),
            (
                "CREATE FUNCTION f() RETURNS INT BEGIN UPDATE t SET n = 9; RETURN 1; END; CREATE VIEW v AS SELECT f() AS n",
                READ,
                "SELECT n FROM v",
                true,
            ),
            (
                "CREATE FUNCTION f() RETURNS INT BEGIN UPDATE t SET n = n + 1; RETURN 1; END; CREATE VIEW v AS SELECT f() AS n",
                READ,
                "SET @x = f()",
                true,
            ),
            ("CREATE SEQUENCE s", "SELECT next_not_cached_value FROM s", "SELECT setval(s, 500000)", false),
            (
                "CREATE TABLE x (id INT, n INT) WITH SYSTEM VERSIONING; INSERT INTO x VALUES (1, 1)",
                "SELECT count(*) FROM x FOR SYSTEM_TIME ALL",
                "UPDATE x SET n = 2",
                false,
            ),
            (
                "CREATE TABLE x (id INT, n INT) WITH SYSTEM VERSIONING; INSERT INTO x VALUES (1, 1)",
                "SELECT n FROM x",
                "UPDATE x SET n = 2",
                true,
            ),
            (
                "CREATE TABLE x (n INT) ENGINE MyISAM; INSERT INTO x VALUES (1)",
                "SELECT n FROM x",
                "UPDATE x SET n = 2",
                false,
            ),
            (
                "CREATE TABLE x (n INT) ENGINE Aria; INSERT INTO x VALUES (1)",
                "SELECT n FROM x",
                "UPDATE x SET n = 2",
                false,
            ),
            (
                "CREATE TABLE x (n INT) ENGINE MEMORY; INSERT INTO x VALUES (1)",
                "SELECT n FROM x",
                "UPDATE x SET n = 2",
                false,
            ),
            (
                "CREATE TABLE x (n INT) ENGINE MyISAM; INSERT INTO x VALUES (1); \
                 CREATE TABLE m (n INT) ENGINE MERGE UNION = (x) INSERT_METHOD = LAST",
                "SELECT n FROM m",
                "UPDATE x SET n = 2",
                false,
            ),
            (
                "CREATE TABLE x (n INT) PARTITION BY HASH (n) PARTITIONS 3; INSERT INTO x VALUES (1), (2)",
                "SELECT n FROM x ORDER BY n",
                "ALTER TABLE x TRUNCATE PARTITION ALL",
                true,
            ),
            (
                "CREATE TABLE x (n INT) PARTITION BY LIST (n) (PARTITION a VALUES IN (1), PARTITION b VALUES IN (2)); \
                 INSERT INTO x VALUES (1), (2); CREATE TABLE y (n INT)",
                "SELECT n FROM x ORDER BY n",
                "ALTER TABLE x EXCHANGE PARTITION a WITH TABLE y",
                true,
            ),
            (
                "CREATE TABLE x (n INT) PARTITION BY LIST (n) (PARTITION a VALUES IN (1), PARTITION b VALUES IN (2)); \
                 INSERT INTO x VALUES (1), (2)",
                "SELECT n FROM x PARTITION (a)",
                "DELETE FROM x PARTITION (a)",
                true,
            ),
        ] {
            // A body has semicolons of its own.
            let more = ["CREATE", "INSERT", "ALTER"]
                .iter()
                .fold(setup.to_owned(), |text, verb| text.replace(&format!("; {verb}"), &format!(";\n{verb}")));
            let pool = prepared(&format!("{TWO};\n{more}")).await;
            let before = match kept {
                true => keep(&pool, read).await,
                false => {
                    for _ in 0..3 {
                        right(&pool, read, "before").await;
                    }
                    assert_eq!(pool.stats().hits, 0, "{read} is kept: {}", pool.stats());
                    rows(&pool, read).await.unwrap()
                }
            };
            sqlx::raw_sql(AssertSqlSafe(write))
                .fetch_all(&pool)
                .await
                .unwrap_or_else(|error| panic!("{write}: {error}"));
            let after = rows(pool.inner(), read).await.unwrap();
            assert!(after != before, "{write} changes nothing: {after:?}");
            right(&pool, read, write).await;
        }
    });
}

/// A foreign key, a trigger, a statement that reach into another database.
#[test]
fn other_databases() {
    alone(async {
        let server = MariaDb::shared();
        let (one, two) = (server.create_database(), server.create_database());
        for database in [&one, &two] {
            server.mysql(database, TWO);
        }
        server.mysql(
            &one,
            &format!(
                "CREATE TABLE parent (id INT PRIMARY KEY); INSERT INTO parent VALUES (1); CREATE TABLE {two}.child (id INT, \
                 FOREIGN KEY (id) REFERENCES {one}.parent (id) ON DELETE CASCADE); INSERT INTO {two}.child VALUES (1); \
                 CREATE TRIGGER g AFTER DELETE ON u FOR EACH ROW UPDATE {two}.u SET n = n + 1"
            ),
        );
        let (first, second) = (mysql_of(&server.url(&one)).await, mysql_of(&server.url(&two)).await);
        let nowhere = mysql_of(&server.url("")).await;
        // Tables of one name, by each of their names.
        for (write, by) in [
            ("UPDATE t SET n = n + 1".to_owned(), &first),
            (format!("UPDATE {one}.t SET n = n + 1"), &second),
            (format!("UPDATE {two}.t SET n = n + 1"), &first),
            (format!("UPDATE `{one}` . `t` SET n = n + 1"), &nowhere),
            (format!("UPDATE {one}.t a, {two}.t b SET b.n = b.n + 1"), &nowhere),
        ] {
            let all = [(&first, READ.to_owned()), (&second, READ.to_owned())].into_iter().chain(
                [&first, &second, &nowhere].into_iter().flat_map(|pool| {
                    [&one, &two].map(|database| (pool, format!("SELECT id, n FROM {database}.t ORDER BY id")))
                }),
            );
            let all: Vec<_> = all.collect();
            for (pool, read) in &all {
                keep(pool, read).await;
            }
            run(by, &write).await;
            for (pool, read) in &all {
                right(pool, read, &write).await;
            }
        }
        assert!(rows(&nowhere, READ).await.is_err(), "it has no database");
        keep(&second, "SELECT id, n FROM u").await;
        run(&first, "DELETE FROM u WHERE id = 1").await;
        right(&second, "SELECT id, n FROM u", "a trigger").await;
        for _ in 0..3 {
            right(&second, "SELECT id FROM child", "before").await;
        }
        run(&first, "DELETE FROM parent").await;
        right(&second, "SELECT id FROM child", "a cascade").await;
    });
}

/// Whoever does not see triggers takes every write for a write to everything.
#[test]
fn a_user_without_the_right_to_see_triggers() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        server.mysql(&database, TWO);
        server.mysql(
            &database,
            &format!(
                "CREATE TRIGGER g AFTER UPDATE ON u FOR EACH ROW UPDATE t SET n = 9; CREATE USER blind_{database}; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO blind_{database}; CREATE ROLE role_{database}; \
                 GRANT ALL ON {database}.* TO role_{database}; CREATE USER actor_{database}; GRANT role_{database} TO actor_{database}; \
                 SET DEFAULT ROLE role_{database} FOR actor_{database}"
            ),
        );
        for user in ["blind", "actor"] {
            let pool = mysql_of(&server.url_of(&format!("{user}_{database}"), &database)).await;
            server.mysql(&database, "UPDATE t SET n = 1");
            keep(&pool, READ).await;
            run(&pool, "UPDATE u SET n = n + 1 WHERE id = 1").await;
            right(&pool, READ, user).await;
        }
    });
}

/// Names in another case are the same name to this server.
#[test]
fn a_server_that_ignores_case() {
    alone(async {
        let server = MariaDb::start_with(&["--lower-case-table-names=1"]);
        let database = server.create_database();
        server.mysql(&database, TWO);
        let pool = mysql_of(&server.url(&database)).await;
        for write in [
            "UPDATE T SET n = n + 1",
            &format!("UPDATE {}.`T` SET n = n + 1", database.to_uppercase()),
            "DELETE x FROM T AS x",
        ] {
            for read in [READ, "SELECT id, n FROM T ORDER BY id"] {
                keep(&pool, read).await;
            }
            run(&pool, write).await;
            for read in [READ, "SELECT id, n FROM T ORDER BY id"] {
                right(&pool, read, write).await;
            }
        }
    });
}

/// Reads that leave something behind, or wait for others, or take more than the tables say.
#[test]
fn reads_that_are_not_kept() {
    alone(async {
        let pool = prepared(TWO).await;
        for read in [
            "SELECT n FROM t WHERE id = 1 INTO @x",
            "SELECT n INTO @x FROM t WHERE id = 1",
            "SELECT SQL_CALC_FOUND_ROWS n FROM t LIMIT 1",
            "SELECT FOUND_ROWS() FROM t",
            "SELECT ROW_COUNT() FROM t",
            "SELECT LAST_INSERT_ID() FROM t",
            "SELECT @x FROM t",
            "SELECT @x := n FROM t",
            "SELECT @@timestamp FROM t",
            "SELECT n FROM t LOCK IN SHARE MODE",
            "SELECT n FROM t FOR UPDATE",
            "SELECT /*! SQL_NO_CACHE */ n, now(6) FROM t",
            "SELECT n /*!50000 , now(6) */ FROM t",
            "SELECT n FROM t PROCEDURE ANALYSE()",
            "SELECT UUID() FROM t",
            "SELECT EXTRACTVALUE(n, '//b[$@x]') FROM t",
            "SELECT UPDATEXML(n, '//b[$@x]', '') FROM t",
            "SELECT SLEEP(0) FROM t",
            "SELECT GET_LOCK('x', 0) FROM t",
            "SELECT TABLE_ROWS FROM information_schema.TABLES LIMIT 1",
            "SELECT count(*) FROM t, mysql.user",
        ] {
            let (before, mut asked) = (pool.stats().hits, 0);
            for _ in 0..3 {
                asked += usize::from(sqlx::query(AssertSqlSafe(read)).fetch_all(&pool).await.is_ok());
            }
            assert_eq!(pool.stats().hits, before, "{read} is kept");
            assert!(asked == 3, "{read} fails");
        }
    });
}

/// A file that the server reads is a write of the table that it goes into, and of no other.
#[test]
fn load_data() {
    use std::os::unix::fs::PermissionsExt;
    alone(async {
        let pool = prepared(TWO).await;
        let file = MariaDb::shared().folder().join("load.txt");
        std::fs::write(&file, "7\t7\n8\t8\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        keep(&pool, READ).await;
        keep(&pool, "SELECT n FROM u").await;
        let load = format!("LOAD DATA INFILE '{}' INTO TABLE t", file.display());
        let loaded = sqlx::raw_sql(AssertSqlSafe(load)).execute(&pool).await.unwrap();
        assert_eq!(loaded.rows_affected(), 2);
        right(&pool, READ, "LOAD DATA").await;
        let before = pool.stats().hits;
        rows(&pool, "SELECT n FROM u").await.unwrap();
        assert_eq!(pool.stats().hits, before + 1, "LOAD DATA INTO t drops t alone");
    });
}

/// To read a view is not kept, and drops nothing where its definition shows that it calls nothing of a user's.
#[test]
fn views_that_only_read() {
    alone(async {
        let views = "CREATE VIEW v AS SELECT id, upper(n) AS n FROM t; CREATE VIEW w AS SELECT v.id FROM v JOIN u ON u.id = v.id; \
             CREATE FUNCTION f() RETURNS INT BEGIN UPDATE t SET n = n + 1; RETURN 1; END; CREATE VIEW x AS SELECT f() AS n; \
             CREATE VIEW y AS SELECT n FROM x";
        let pool = prepared(&format!("{TWO};\n{}", views.replace("; CREATE", ";\nCREATE"))).await;
        for (view, drops) in [("v", false), ("w", false), ("x", true), ("y", true)] {
            keep(&pool, READ).await;
            rows(&pool, &format!("SELECT * FROM {view}")).await.unwrap();
            let before = pool.stats().hits;
            right(&pool, READ, view).await;
            assert_eq!(pool.stats().hits > before, !drops, "{view}: {}", pool.stats());
        }
    });
}

/// MariaDB makes such a column when it is read, by whatever its expression says.
#[test]
fn generated_columns() {
    alone(async {
        let made = "CREATE TABLE g (id INT PRIMARY KEY, born DATE, age INT AS (TIMESTAMPDIFF(YEAR, born, CURDATE())) VIRTUAL);\n\
             CREATE TABLE h (id INT PRIMARY KEY, a INT, twice INT AS (a * 2) VIRTUAL, more INT AS (a + 1) STORED);\n\
             INSERT INTO g (id, born) VALUES (1, '2000-01-01');\nINSERT INTO h (id, a) VALUES (1, 1)";
        let pool = prepared(made).await;
        keep(&pool, "SELECT * FROM h").await;
        for _ in 0..3 {
            rows(&pool, "SELECT id FROM g").await.unwrap();
        }
        let reasons = pool.stats().bypasses_by_reason;
        assert_eq!(reasons.get(&larder::Reason::VolatileFunction), Some(&3));
        run_all(&pool, "UPDATE h SET a = 5").await;
        right(&pool, "SELECT * FROM h", "UPDATE").await;
    });
}

async fn run_all(pool: &MySqlPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}
