//! Statements that only MariaDB has, and names that are hard to read.

use super::*;

const TWO: &str = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL);\nINSERT INTO t VALUES (1, 1), (2, 2);\n\
    CREATE TABLE u (id INT PRIMARY KEY, n INT NOT NULL);\nINSERT INTO u VALUES (1, 1), (2, 3)";

/// Setup, a read, and statements of which each may change its answer; whether it is kept.
const CASES: &[(&str, &str, &[&str], bool)] = &[
    (
        "CREATE TABLE p (id INT, a DATE, b DATE, PERIOD FOR w (a, b));\nINSERT INTO p VALUES (1, '2020-01-01', '2021-01-01')",
        "SELECT * FROM p ORDER BY a",
        &[
            "DELETE FROM p FOR PORTION OF w FROM '2020-03-01' TO '2020-04-01'",
            "UPDATE p FOR PORTION OF w FROM '2020-06-01' TO '2020-07-01' SET id = 9",
        ],
        true,
    ),
    (
        "CREATE TABLE x (id INT, n INT) WITH SYSTEM VERSIONING;\nINSERT INTO x VALUES (1, 1);\nUPDATE x SET n = 2",
        "SELECT COUNT(*) FROM x FOR SYSTEM_TIME ALL",
        &["DELETE HISTORY FROM x", "UPDATE x SET n = 3"],
        false,
    ),
    (
        "CREATE TABLE x (id INT, n INT) WITH SYSTEM VERSIONING;\nINSERT INTO x VALUES (1, 1)",
        "SELECT COUNT(*) FROM x FOR SYSTEM_TIME BETWEEN '2001-01-01' AND '2100-01-01' AS y",
        &["UPDATE x SET n = 2", "INSERT INTO x VALUES (2, 2)"],
        false,
    ),
    (
        "CREATE TABLE x (id INT, n INT) WITH SYSTEM VERSIONING;\nINSERT INTO x VALUES (1, 1)",
        "SELECT n, row_start FROM x",
        &[
            "UPDATE x SET n = 2",
            "UPDATE x SET n = 2",
            "SET STATEMENT system_versioning_asof = '2001-01-01' FOR UPDATE x SET n = 7",
            "INSERT INTO x VALUES (7, 7)",
            "DELETE FROM x WHERE id = 7",
        ],
        true,
    ),
    (
        "CREATE SEQUENCE s;\nCREATE TABLE q (id INT DEFAULT (NEXT VALUE FOR s), n INT)",
        "SELECT id, n FROM q",
        &[
            "INSERT INTO q (n) VALUES (1)",
            "INSERT INTO q VALUES (NEXT VALUE FOR s, 2)",
            "INSERT INTO q VALUES (nextval(s), 2)",
            "INSERT INTO q (n) SELECT PREVIOUS VALUE FOR s",
        ],
        true,
    ),
    (
        "CREATE SEQUENCE s;\nCREATE TABLE q (id INT DEFAULT (NEXT VALUE FOR s), n INT)",
        "SELECT next_not_cached_value FROM s",
        &["ALTER SEQUENCE s RESTART 5000", "SELECT NEXT VALUE FOR s", "DO setval(s, 100000)"],
        false,
    ),
    (
        "SELECT 1",
        "SELECT id, n FROM t ORDER BY id",
        &[
            "SET STATEMENT max_statement_time = 9 FOR UPDATE t SET n = n + 1",
            "IF 1 THEN UPDATE t SET n = n + 1; END IF",
            "FOR i IN 1..3 DO UPDATE t SET n = n + i; END FOR",
            "CASE WHEN 1 THEN UPDATE t SET n = n + 1; END CASE",
            "WHILE (SELECT MIN(n) FROM t) < 50 DO UPDATE t SET n = n + 10; END WHILE",
            "REPEAT UPDATE t SET n = n + 1; UNTIL 1 END REPEAT",
            "EXECUTE IMMEDIATE CONCAT('UPDATE t SET', ' n = n + 1')",
            "PREPARE s FROM 'UPDATE t SET n = n + 1'; EXECUTE s",
            "UPDATE .t SET n = n + 1",
            "INSERT INTO .t (n) VALUES (4)",
            "DELETE FROM .t ORDER BY id DESC LIMIT 1",
            "REPLACE .t (n) VALUES (1)",
            "INSERT .t SET n = 4",
            "UPDATE t AS u, u AS t SET u.n = u.n + 1 WHERE t.id = 1",
            "DELETE u FROM t AS u JOIN u AS t ON t.id = u.id",
            "INSERT INTO t (n) VALUES (1), (2) RETURNING id, n",
            "INSERT INTO t (n) SELECT n FROM u RETURNING id",
            "REPLACE INTO t (id, n) VALUES (1, 7) RETURNING *",
            "DELETE FROM t WHERE id = 1 RETURNING *",
            "INSERT INTO t (n) WITH w AS (SELECT 5 AS n) SELECT n FROM w",
            "INSERT INTO t (n) VALUES ((SELECT MAX(n) FROM u))",
            "INSERT INTO t (n) (VALUES (3), (4))",
            "SELECT 1; UPDATE t SET n = n + 1",
            "SELECT ';'; -- x\nUPDATE t SET n = n + 1; SELECT 2",
            "/* a /*! b */ UPDATE t SET n = n + 1",
            "UPDATE/**/t/**/SET n=n+1",
            "UPDATE`t`SET`n`=`n`+1",
            "uPdAtE t sEt N=N+1",
            "UPDATE t SET n=n+1#x",
            "TRUNCATE TABLE t WAIT 1",
            "INSERT INTO t SELECT * FROM u",
            "TRUNCATE t NOWAIT",
            "INSERT INTO t (n) VALUES (9)",
        ],
        true,
    ),
    (
        "SELECT 1",
        "SELECT id, n FROM t ORDER BY id",
        &[
            "CREATE TABLE w LIKE t; INSERT INTO w VALUES (1, 77); RENAME TABLE t TO old, w TO t",
            "ALTER TABLE t RENAME TO tt, ADD COLUMN x INT; ALTER TABLE old RENAME t",
            "CREATE OR REPLACE TABLE t AS SELECT 5 AS id, 6 AS n",
            "CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, n INT) SELECT id, n FROM u",
            "DROP TABLE t; CREATE TABLE t (id INT, n INT); INSERT INTO t VALUES (3, 3)",
        ],
        true,
    ),
    (
        "CREATE TABLE `a.b` (n INT);\nINSERT INTO `a.b` VALUES (1);\nCREATE TABLE `x``y` (n INT);\nINSERT INTO `x``y` VALUES (1)",
        "SELECT n FROM `a.b`",
        &[
            "UPDATE `a.b` SET n = 2",
            "UPDATE `a.b`, `x``y` AS z SET `a.b`.n = 3",
            "DELETE FROM `a.b` WHERE n = 3",
            "INSERT INTO `a.b` SELECT 8",
        ],
        true,
    ),
    (
        "CREATE TABLE `x``y` (n INT);\nINSERT INTO `x``y` VALUES (1)",
        "SELECT n FROM `x``y`",
        &["UPDATE `x``y` SET n = 2", "RENAME TABLE `x``y` TO `z z`, t TO `x``y`", "TRUNCATE `x``y`"],
        true,
    ),
    (
        "CREATE TABLE `1a` (n INT);\nINSERT INTO `1a` VALUES (1);\nCREATE TABLE `1e5x` (n INT);\nINSERT INTO `1e5x` VALUES (1)",
        "SELECT n FROM 1a",
        &["UPDATE 1a SET n = 2", "DELETE FROM 1a", "INSERT INTO 1a VALUES (5)", "REPLACE 1a VALUES (6)", "TRUNCATE 1a"],
        true,
    ),
    (
        "CREATE TABLE `1e5` (n INT);\nINSERT INTO `1e5` VALUES (1)",
        "SELECT n FROM `1e5`",
        &["UPDATE `1e5` SET n = 2", "UPDATE DB.1e5 SET n = 3", "DELETE FROM DB.`1e5`"],
        true,
    ),
    (
        "CREATE TABLE `?` (n INT);\nINSERT INTO `?` VALUES (1)",
        "SELECT n FROM `?`",
        &[
            "UPDATE `?` SET n = 2",
            "UPDATE `😀` SET n = 3",
            "UPDATE `😀`, u SET `😀`.n = 4",
            "DELETE `😀` FROM `😀` JOIN u ON u.id = 1",
        ],
        true,
    ),
    (
        "CREATE TABLE `Ä` (n INT);\nINSERT INTO `Ä` VALUES (1);\nCREATE TABLE `ä` (n INT);\nINSERT INTO `ä` VALUES (1)",
        "SELECT n FROM `Ä`",
        &["UPDATE `Ä` SET n = 2", "UPDATE Ä SET n = 3", "UPDATE ä SET n = 3"],
        true,
    ),
    (
        "CREATE TABLE `$t` (n INT);\nINSERT INTO `$t` VALUES (1)",
        "SELECT n FROM $t",
        &["UPDATE $t SET n = 2", "UPDATE `$t` SET n = 3", "DELETE FROM $t"],
        true,
    ),
    (
        "CREATE TABLE k (s VARCHAR(10) PRIMARY KEY, n INT);\nINSERT INTO k VALUES ('a', 1), ('ß', 2)",
        "SELECT n FROM k WHERE s = 'a  '",
        &[
            "UPDATE k SET n = 5 WHERE s = 'A'",
            "REPLACE INTO k VALUES ('a ', 6)",
            "INSERT INTO k VALUES ('Á', 1) ON DUPLICATE KEY UPDATE n = 9",
        ],
        true,
    ),
    (
        "CREATE VIEW v AS SELECT id, n FROM t WITH CHECK OPTION;\nCREATE VIEW w AS SELECT v.id, v.n, u.n AS m FROM v JOIN u ON u.id = v.id",
        "SELECT id, n FROM t ORDER BY id",
        &[
            "UPDATE w SET n = 8",
            "UPDATE w JOIN u ON u.id = w.id SET w.n = 9",
            "INSERT INTO v (n) VALUES (3)",
            "DELETE FROM v LIMIT 1",
            "REPLACE INTO v (id, n) VALUES (1, 4)",
            "DELETE v FROM v JOIN u ON v.id = u.id",
        ],
        true,
    ),
    (
        "CREATE TABLE c1 (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES t (id) ON DELETE CASCADE);\nINSERT INTO c1 VALUES (1, 1), (2, 2);\nCREATE TABLE c2 (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES c1 (id) ON DELETE SET NULL);\nINSERT INTO c2 VALUES (1, 1), (2, 2)",
        "SELECT id, p FROM c2 ORDER BY id",
        &["REPLACE INTO t VALUES (1, 5)", "DELETE t FROM t JOIN u ON u.id = t.id"],
        true,
    ),
    (
        "CREATE TABLE pt (id INT) PARTITION BY LIST (id) (PARTITION a VALUES IN (1), PARTITION b VALUES IN (2));\nINSERT INTO pt VALUES (1), (2);\nCREATE TABLE ex (id INT);\nINSERT INTO ex VALUES (1), (1)",
        "SELECT COUNT(*) FROM ex",
        &[
            "ALTER TABLE pt EXCHANGE PARTITION a WITH TABLE ex",
            "ALTER TABLE pt EXCHANGE PARTITION a WITH TABLE ex",
            "ALTER TABLE pt CONVERT PARTITION b TO TABLE moved",
            "ALTER TABLE pt ADD PARTITION (PARTITION z VALUES IN (3))",
        ],
        true,
    ),
    (
        "SELECT 1",
        "WITH w AS (SELECT n FROM t), x AS (SELECT MAX(n) AS n FROM w) SELECT n FROM x",
        &["UPDATE t SET n = n + 1", "UPDATE u SET n = 1"],
        true,
    ),
    (
        "SELECT 1",
        "WITH u AS (SELECT n FROM t) SELECT MAX(u.n), MAX(x.n) FROM u, (SELECT n FROM u) x",
        &["UPDATE t SET n = n + 1", "UPDATE u SET n = 1"],
        true,
    ),
    (
        "SELECT 1",
        "WITH U AS (SELECT 1 AS n) SELECT MAX(n), (SELECT MAX(n) FROM t) FROM u",
        &["UPDATE u SET n = n + 1", "UPDATE t SET n = n + 1"],
        true,
    ),
    (
        "SELECT 1",
        "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r, t WHERE i < 3 AND t.id = 1) SELECT COUNT(*), (SELECT MAX(n) FROM u) FROM r",
        &["UPDATE u SET n = n + 1", "DELETE FROM t"],
        true,
    ),
    (
        "CREATE TABLE j (doc JSON);\nINSERT INTO j VALUES ('[1, 2]')",
        "SELECT x.v FROM j, JSON_TABLE(j.doc, '$[*]' COLUMNS (v INT PATH '$')) x",
        &["UPDATE j SET doc = '[3]'"],
        true,
    ),
    ("SELECT 1", "VALUES ((SELECT MAX(n) FROM t)), (0)", &["UPDATE t SET n = n + 1"], true),
    ("SELECT 1", "SELECT (SELECT MAX(n) FROM t) FROM DUAL", &["UPDATE t SET n = n + 1"], true),
    (
        "SELECT 1",
        "SELECT id FROM t EXCEPT ALL SELECT n FROM u",
        &["UPDATE u SET n = n + 1", "DELETE FROM t LIMIT 1"],
        true,
    ),
    (
        "CREATE TABLE x (n INT) ENGINE MyISAM;\nINSERT INTO x VALUES (1);\nCREATE TRIGGER g AFTER UPDATE ON t FOR EACH ROW UPDATE x SET n = n + 1",
        "SELECT n FROM x",
        &["UPDATE t SET n = n + 1"],
        false,
    ),
    (
        "CREATE TRIGGER g AFTER INSERT ON u FOR EACH ROW INSERT INTO t (n) VALUES (NEW.n)",
        "SELECT COUNT(*) FROM t",
        &[
            "INSERT INTO u VALUES (7, 7)",
            "INSERT INTO u VALUES (7, 8) ON DUPLICATE KEY UPDATE n = 9",
            "REPLACE INTO u VALUES (7, 1)",
            "INSERT IGNORE INTO u VALUES (7, 1), (8, 1)",
        ],
        true,
    ),
    (
        "CREATE FUNCTION f(a INT) RETURNS INT NO SQL BEGIN INSERT INTO t (n) VALUES (a); RETURN a; END",
        "SELECT COUNT(*) FROM t",
        &[
            "INSERT INTO u VALUES (f(9), 1)",
            "UPDATE u SET n = DB.f(3)",
            "SELECT `f`(1)",
            "SELECT f (1)",
            "DO f(2)",
            "DELETE FROM u WHERE id = f(77)",
            "SELECT 1 FROM u ORDER BY f(n)",
            "VALUES (f(1))",
            "SELECT DB . f(2)",
            "SELECT /**/`DB`.`f`/**/(2)",
        ],
        true,
    ),
    (
        "CREATE TABLE tr (id INT PRIMARY KEY, n INT, g INT AS (n * 2) STORED, h INT AS (n + 1) VIRTUAL, s VARCHAR(9) DEFAULT (CONCAT('a', n)), c TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6));\nINSERT INTO tr (id, n) VALUES (1, 1)",
        "SELECT * FROM tr",
        &[
            "UPDATE tr SET n = 2",
            "INSERT INTO tr (id, n) VALUES (1, 3) ON DUPLICATE KEY UPDATE n = VALUE(n)",
            "UPDATE tr SET s = DEFAULT",
            "REPLACE INTO tr (id, n) VALUES (1, 9)",
        ],
        true,
    ),
    (
        "CREATE PROCEDURE p() BEGIN SELECT 1 AS a, 2 AS b; UPDATE t SET n = n + 1; SELECT 'x' AS c; SELECT id FROM t WHERE 0; END",
        "SELECT id, n FROM t ORDER BY id",
        &[
            "CALL p()",
            "CALL DB.p()",
            "BEGIN NOT ATOMIC CALL p(); CALL p(); END",
            "/*!50000 CALL p() */",
            "PREPARE x FROM 'CALL p()'; EXECUTE x; DEALLOCATE PREPARE x",
        ],
        true,
    ),
];

/// Whether a text is not for the protocol of prepared statements.
fn is_plain(sql: &str) -> bool {
    sql.contains(';') && !sql.starts_with("BEGIN NOT") || sql.starts_with("EXECUTE")
}

#[test]
fn what_only_mariadb_has() {
    alone(async {
        let mut failed = Vec::new();
        for (setup, read, writes, kept) in CASES {
            let pool = prepared(&format!("{TWO};\n{setup}")).await;
            let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(pool.inner()).await.unwrap();
            let mut changes = 0;
            for write in *writes {
                let write = write.replace("DB", &database);
                match kept {
                    true => drop(keep(&pool, read).await),
                    false => right(&pool, read, "before").await,
                }
                let before = rows(pool.inner(), read).await.unwrap();
                match is_plain(&write) {
                    true => drop(sqlx::raw_sql(AssertSqlSafe(&*write)).fetch_all(&pool).await),
                    false => drop(sqlx::query(AssertSqlSafe(&*write)).fetch_all(&pool).await),
                }
                changes += u32::from(rows(pool.inner(), read).await.unwrap() != before);
                failed.extend(wrong(&pool, read).await.map(|wrong| format!("{write}: {read}: {wrong}")));
            }
            assert!(changes > 0, "{read}: nothing was changed by any of {writes:?}");
            assert!(*kept || pool.stats().hits == 0, "{read} is kept");
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    });
}
