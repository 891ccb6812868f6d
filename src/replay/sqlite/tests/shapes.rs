//! Results of every shape: declared types, storage classes, origins, names.

use super::*;

const SETUP: &str = r#"
CREATE TABLE t(id INTEGER PRIMARY KEY, i INTEGER, i4 INT4, i8 INT8, bi BIGINT, r REAL, dp DOUBLE PRECISION, tx TEXT,
    vc VARCHAR(20), bo BOOLEAN, d DATE, ti TIME, dt DATETIME, ts TIMESTAMP, bl BLOB, n NUMERIC, de DECIMAL(10,2), j JSON,
    u UUID, nt, g INTEGER GENERATED ALWAYS AS (i * 2) VIRTUAL);
INSERT INTO t VALUES(1, 1, 2, 3, 4, 1.5, 2.5, 'x', 'y', 1, '2024-01-01', '10:11:12', '2024-01-01 10:11:12',
    '2024-01-01T10:11:12Z', x'00ff', 12.5, '10.25', '{"a":1}', x'67e5504410b1426f9247bb680e5fe0c8', 'n');
INSERT INTO t VALUES(2, 'abc', 1.5, x'01', '12x', 5, 'z', 7, 8.5, 'yes', 20240101, 1.5, 1704103872, 't', 'text in blob',
    '1e3', 'abc', 5, '67e55044-10b1-426f-9247-bb680e5fe0c8', -0.0);
INSERT INTO t(id) VALUES(3);
INSERT INTO t VALUES(9223372036854775807, -9223372036854775808, 0, 0, 0, 9e999, -9e999, '', '', 0, '', '', '', '', x'', 0.1,
    1e300, '', '', zeroblob(3));
CREATE TABLE st(a INT, b REAL, c TEXT, d BLOB, e ANY) STRICT;
INSERT INTO st VALUES(1, 2, '3', x'04', '5'), (1, 2.5, '3', x'', 5), (NULL, NULL, NULL, NULL, 5.0);
CREATE TABLE wr(k TEXT PRIMARY KEY, v BOOL) WITHOUT ROWID; INSERT INTO wr VALUES('k', 1);
CREATE VIEW v AS SELECT id, tx AS title, i + 1 AS expr FROM t;
ATTACH ':memory:' AS aux;
CREATE TABLE aux.t(id INTEGER, x TEXT, "we""ird na'me" BOOLEAN); INSERT INTO aux.t VALUES(1, 'a', 1);
CREATE TABLE "T able"("Id" INTEGER, "rowid" TEXT); INSERT INTO "T able" VALUES(1, 'r');
CREATE TABLE "äöü"("ß" TEXT, "select" DATE); INSERT INTO "äöü" VALUES('ÄÖ', 'x');
CREATE TEMP TABLE tt(a DATE); INSERT INTO tt VALUES('x');
CREATE TABLE s2(c0 TEXT, k INTEGER); INSERT INTO s2 VALUES('q', 5);
CREATE TABLE seq(i TEXT); INSERT INTO seq VALUES('q');
CREATE TABLE aux.T2(A BLOB); INSERT INTO aux.T2 VALUES(1);
CREATE TABLE nul(x TEXT, y); INSERT INTO nul VALUES('a' || char(0) || 'b', char(0)), (char(0xfffd, 0x10ffff), '');
CREATE VIRTUAL TABLE fts USING fts5(title, body); INSERT INTO fts VALUES('hello', 'world');
"#;

const QUERIES: &[&str] = &[
    "SELECT * FROM t",
    "SELECT * FROM st",
    "SELECT * FROM wr",
    "SELECT * FROM v",
    "SELECT * FROM aux.t",
    "SELECT t.*, x.* FROM t JOIN aux.t x USING(id)",
    "SELECT a.id, b.id, a.id AS id FROM t a, t b WHERE a.id < 3 AND b.id < 3",
    "SELECT * FROM \"T able\"",
    "SELECT * FROM \"äöü\"",
    "SELECT rowid, _rowid_ AS q, id FROM t",
    "SELECT rowid, oid, * FROM st",
    "SELECT i FROM t UNION ALL SELECT '123' UNION ALL SELECT 1.0",
    "SELECT r, dp FROM t UNION ALL SELECT 5, '7'",
    "SELECT tx FROM t UNION ALL SELECT 7 UNION ALL SELECT 1.0",
    "SELECT bo, d FROM t UNION ALL SELECT '2', '20240101'",
    "SELECT 1, 'a', NULL, x'', zeroblob(0), -0.0, 9e999, char(65,0,66), 1 AS \"\", 2 AS \"a\"\"b\", 3 AS 'c''d'",
    "SELECT count(*), max(i), sum(r), group_concat(tx), CAST(i AS TEXT), CASE WHEN id=1 THEN 1 ELSE 'x' END FROM t",
    "SELECT (SELECT tx FROM t WHERE id=1) AS sub, s.* FROM (SELECT i, tx AS ttt, bo FROM t) s",
    "WITH c AS MATERIALIZED (SELECT dt, bo FROM t) SELECT * FROM c",
    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 70) SELECT * FROM c",
    "SELECT * FROM pragma_table_info('t')",
    "SELECT * FROM t LEFT JOIN st ON 0",
    "SELECT * FROM json_each('[1,2.5,\"x\",null]')",
    "SELECT *, rank, rowid FROM fts",
    "INSERT INTO st VALUES(7,7,'7',x'07',7) RETURNING *",
    "PRAGMA table_info(t)",
    "EXPLAIN QUERY PLAN SELECT * FROM t",
    "VALUES(1,'2'),(3.0,x'')",
    "SELECT * FROM tt",
    "SELECT c0, k FROM s2",
    "SELECT s2.*, seq.i FROM s2, seq",
    "SELECT a FROM aux.t2",
    "SELECT * FROM nul",
    "SELECT 1 AS \"x\ny\", 2 AS \"semi;colon\", 3 AS \"-- no comment\", 4 AS \"?\", 5 AS \"?1\"",
    "SELECT NULL UNION ALL SELECT NULL",
    "SELECT 4.9406564584124654e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e15, 123456789012345678.0",
];

#[tokio::test]
async fn every_shape_comes_back() {
    let mut scene = Scene::new().await;
    scene.run(SETUP).await;
    for sql in QUERIES {
        scene.comes_back(sql).await;
    }
}

#[tokio::test]
async fn utf_16_databases_come_back() {
    let mut scene = Scene::new().await;
    scene.run("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t(a TEXT, b BLOB); INSERT INTO t VALUES('ä' || char(0x10ffff), x'00'), ('', NULL)").await;
    scene.comes_back("SELECT *, a || 'x' FROM t").await;
}

/// The caller who loaded gets the same rows afterwards.
#[tokio::test]
async fn keeping_leaves_no_trace_on_the_rows() {
    let mut scene = Scene::new().await;
    scene.run(SETUP).await;
    let (kept, _) = scene.load("SELECT * FROM t").await;
    let untouched = scene.fetch("SELECT * FROM t").await;
    alike::assert_same(&untouched, &kept);
}

#[tokio::test]
async fn results_of_a_statement_share_a_shape() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES(1, 'x')").await;
    let (rows, stored) = scene.load("SELECT a, b FROM t").await;
    let (_, other) = scene.load("SELECT a, b AS c FROM t").await;
    assert!(Arc::ptr_eq(&stored.shape, &scene.store(&rows, Some(&stored.shape)).await.unwrap().shape));
    assert!(!Arc::ptr_eq(&other.shape, &scene.store(&rows, Some(&other.shape)).await.unwrap().shape));
    assert!(Arc::ptr_eq(&stored.shape, &scene.store(&[], Some(&stored.shape)).await.unwrap().shape));
    // After an empty result the shape is not known yet.
    let (_, empty) = scene.load("SELECT a, b FROM t WHERE 0").await;
    let full = scene.store(&rows, Some(&empty.shape)).await.unwrap();
    alike::assert_same(&rows, &scene.replay.replay(&full).await.unwrap().rows);
}

/// The private database has tables of the names of the application's. Those of before and after may come in turns.
#[tokio::test]
async fn a_changed_schema_comes_back() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TABLE w(a INTEGER); INSERT INTO w VALUES(1)").await;
    let (before, old) = scene.load("SELECT a FROM w").await;
    scene.run("DROP TABLE w; CREATE TABLE w(b DATE, a TEXT); INSERT INTO w VALUES('d', 'x')").await;
    let (after, new) = scene.load("SELECT a, b FROM w").await;
    for _ in 0..3 {
        alike::assert_same_cells(&before, &scene.replay.replay(&old).await.unwrap().rows);
        alike::assert_same_cells(&after, &scene.replay.replay(&new).await.unwrap().rows);
    }
}

/// `q` of one schema and `Q` of another would be one table in the private database.
#[tokio::test]
async fn names_that_differ_in_case_come_back() {
    let mut scene = Scene::new().await;
    scene
        .run(
            "ATTACH ':memory:' AS b2; CREATE TABLE b2.q(X INT); INSERT INTO b2.q VALUES(1);
             CREATE TABLE \"B2.Q\"(x TEXT); INSERT INTO \"B2.Q\" VALUES(1)",
        )
        .await;
    for _ in 0..3 {
        scene.comes_back("SELECT X FROM b2.q").await;
        scene.comes_back("SELECT x FROM \"B2.Q\"").await;
    }
    // Both in one result cannot be.
    let rows = scene.fetch("SELECT one.X, two.x FROM b2.q one, \"B2.Q\" two").await;
    assert!(scene.store(&rows, None).await.is_err());
    scene.comes_back("SELECT X FROM b2.q").await;
}

/// More shapes than a connection keeps tables for, on one table.
#[tokio::test]
async fn more_shapes_than_a_connection_keeps() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES(1, 'x')").await;
    let (rows, stored) = scene.load("SELECT a, b FROM t").await;
    for _ in 0..2_100 {
        let shape = Arc::new(Shape::new(rows[0].columns()).unwrap());
        let replayed = scene.replay.replay(&Stored { shape, ..stored.clone() }).await.unwrap();
        assert_eq!(encode(&replayed.rows).unwrap(), *stored.bytes);
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}
