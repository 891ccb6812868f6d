//! Columns of every kind of origin and name, and which results share them.

use futures_util::TryStreamExt;
use sqlx::Executor;

use super::*;

const SETUP: &str = "
    CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20) NOT NULL, `we``ird \"na.me` INT, KEY (name));
    INSERT INTO t VALUES (1, 'a', 5), (2, 'b', NULL);
    CREATE VIEW v AS SELECT id AS number, name FROM t;
    CREATE TABLE `dotted.name` (`a.b` INT DEFAULT 3, `\u{e4}\u{1f600}` INT);
    INSERT INTO `dotted.name` VALUES (1, 2)";

#[tokio::test]
async fn columns_of_every_origin_come_back() {
    let mut scene = Scene::new().await;
    scene.run(&SETUP.replace("\u{1f600}", "\u{416}")).await;
    for sql in [
        "SELECT * FROM t",
        "SELECT * FROM v",
        "SELECT v.*, t.* FROM v JOIN t ON t.id = v.number",
        "SELECT t.id, u.id, id + 0 FROM t JOIN t u USING (id)",
        "SELECT id AS `id`, id AS `ID`, id AS id, name AS id FROM t",
        "SELECT 1 AS ``, id AS `` FROM t",
        "SELECT 1 AS ` x`, 2 AS `two words`, 3 AS `a.b`, 4 AS `\u{e4}\u{416}\u{4e2d}`, 5 AS `'`, 6 AS `\"`, 7 AS `\\\\`",
        "SELECT `we``ird \"na.me` FROM t",
        "SELECT * FROM `dotted.name`",
        "SELECT d.`a.b` AS c FROM `dotted.name` d",
        "SELECT 1, 'x', 1 + 1, NULL, count(*), max(name), 'x' 'y' FROM t",
        "SELECT name, count(*), group_concat(id), avg(id) OVER () FROM t GROUP BY name WITH ROLLUP",
        "SELECT id FROM t UNION SELECT name FROM t UNION SELECT NULL",
        "SELECT s.* FROM (SELECT id AS x, name AS y FROM t) s",
        "WITH c AS (SELECT id FROM t) SELECT * FROM c",
        "SELECT (SELECT name FROM t LIMIT 1) AS sub, EXISTS(SELECT 1) AS ex",
        "SELECT DISTINCT name FROM t ORDER BY 1",
        "VALUES (1, 'a'), (2, NULL)",
        "SHOW COLUMNS FROM t",
        "SHOW CREATE TABLE t",
        "EXPLAIN SELECT * FROM t",
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = database()",
        "SELECT last_insert_id(5), row_count(), database()",
        "INSERT INTO t (name) VALUES ('c') RETURNING id, name",
    ] {
        scene.comes_back(sql).await;
    }
}

/// What a server says after the rows of a SELECT: what replay says, too.
#[tokio::test]
async fn a_select_completes_with_nothing_changed() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TABLE n (id INT PRIMARY KEY AUTO_INCREMENT, v INT); INSERT INTO n (v) VALUES (1), (2)").await;
    for sql in
        ["SELECT * FROM n", "SELECT * FROM n WHERE false", "SELECT last_insert_id(), last_insert_id(7)", "SHOW TABLES"]
    {
        let items: Vec<_> = scene.connection.fetch_many(sqlx::query(sql)).try_collect().await.unwrap();
        let results: Vec<_> = items.iter().filter_map(|item| item.as_ref().left()).collect();
        assert!(matches!(results[..], [result] if Scene::completes(result, 0)), "{sql}: {results:?}");
    }
}

/// Names are found as sqlx finds them: the last of several equal ones.
#[tokio::test]
async fn the_last_of_equal_names_is_found() {
    let mut scene = Scene::new().await;
    let (_, stored) = scene.load("SELECT 1 AS a, 2 AS b, 3 AS a").await;
    let rows = scene.replay.replay(&stored).await.unwrap().rows;
    assert_eq!((rows[0].get::<i32, _>("a"), rows[0].get::<i32, _>(0)), (3, 1));
}

#[tokio::test]
async fn results_of_a_statement_share_a_shape() {
    let mut scene = Scene::new().await;
    scene.run(SETUP.split(";\n").next().unwrap()).await;
    scene.run("INSERT INTO t VALUES (1, 'a', 5)").await;
    let sql = "SELECT id, name FROM t";
    let (rows, first) = scene.load(sql).await;
    let again = scene.keep(sql, &rows, Some(&first.shape)).await.unwrap();
    assert!(Arc::ptr_eq(&first.shape, &again.shape));
    // Another connection, and the same statement not kept.
    let others = sqlx::query(text(sql)).persistent(false).fetch_all(&mut scene.connection).await.unwrap();
    let again = scene.keep(sql, &others, Some(&first.shape)).await.unwrap();
    assert!(Arc::ptr_eq(&first.shape, &again.shape));
    alike::assert_same(&others, &scene.replay.replay(&again).await.unwrap().rows);

    let (_, other) = scene.load("SELECT id, name AS n FROM t").await;
    assert!(!Arc::ptr_eq(&other.shape, &scene.keep(sql, &rows, Some(&other.shape)).await.unwrap().shape));

    // No rows say nothing of the columns.
    let (_, empty) = scene.load("SELECT id, name FROM t WHERE false").await;
    assert_eq!(empty.shape.columns(), 0);
    assert_eq!(scene.keep(sql, &rows, Some(&empty.shape)).await.unwrap().shape, first.shape);
    assert!(Arc::ptr_eq(&first.shape, &scene.keep(sql, &[], Some(&first.shape)).await.unwrap().shape));
}

/// A table that changed under the statement: each result has its own columns, and both come back.
#[tokio::test]
async fn a_changed_table_has_a_new_shape() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TABLE w (a INT); INSERT INTO w VALUES (1)").await;
    let (before, old) = scene.load("SELECT * FROM w").await;
    scene.run("ALTER TABLE w MODIFY a BIGINT UNSIGNED NOT NULL").await;
    let after = scene.fetch("SELECT * FROM w").await;
    let new = scene.keep("SELECT * FROM w", &after, Some(&old.shape)).await.unwrap();
    assert_ne!(old.shape, new.shape);
    for _ in 0..2 {
        alike::assert_same(&before, &scene.replay.replay(&old).await.unwrap().rows);
        alike::assert_same(&after, &scene.replay.replay(&new).await.unwrap().rows);
    }
}
