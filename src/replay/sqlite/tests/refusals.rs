//! Results that are refused, because they would not come back as they were.

use super::*;

async fn refusal(scene: &mut Scene, sql: &str) -> String {
    let rows = scene.connection.fetch_all(text(sql)).await.unwrap();
    scene.store(&rows, None).await.expect_err(sql).to_string()
}

#[tokio::test]
async fn what_cannot_come_back_is_refused() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b); INSERT INTO t VALUES(1, 2)").await;
    for (sql, reason) in [
        ("SELECT * FROM sqlite_master", "a column comes from a table of SQLite's own"),
        ("SELECT seq FROM sqlite_sequence", "a column comes from a table of SQLite's own"),
        ("SELECT CAST(x'ff41' AS TEXT)", "a text is not UTF-8, and could not be bound again"),
        ("SELECT 1; SELECT 2", "there are several results"),
        ("SELECT a FROM t; SELECT a FROM t", "there are several results"),
    ] {
        assert_eq!(refusal(&mut scene, sql).await, reason);
    }
    scene.comes_back("SELECT * FROM t").await;
}

/// sqlx keeps the columns it saw first. The rows then have fewer values than columns, and asking for the missing one panics.
#[tokio::test]
async fn a_column_dropped_under_a_statement_is_refused() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES(1, 'x')").await;
    scene.comes_back("SELECT * FROM t").await;
    scene.run("ALTER TABLE t DROP COLUMN b").await;
    let rows = scene.fetch("SELECT * FROM t").await;
    println!("columns: {}", rows[0].len());
    if rows[0].len() == 2 {
        assert!(scene.store(&rows, None).await.is_err());
        assert_eq!(SqliteReplay::row_bytes(&rows[0]), 0);
        assert_eq!(rows[0].get::<i64, _>(0), 1);
    }
}
