//! Results of every size, and rows of every width.

use super::*;

fn series(rows: usize, columns: &str) -> String {
    format!(
        "WITH RECURSIVE s(i) AS (SELECT 1 WHERE {rows} UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) SELECT {columns} FROM s"
    )
}

#[tokio::test]
async fn none_one_and_many_rows_come_back() {
    let mut scene = Scene::new().await;
    for rows in [0, 1, 2, 3, 300, 511, 512, 513, 1_023, 20_000] {
        let columns = "i, CASE WHEN i % 7 THEN 'name ' || i END AS name, i % 2 AS even, i * 1.5";
        assert_eq!(scene.comes_back(&series(rows, columns)).await.len(), rows);
    }
    // One column makes the longest statements.
    scene.comes_back(&series(5_000, "i")).await;
}

#[tokio::test]
async fn wide_rows_come_back() {
    let mut scene = Scene::new().await;
    for length in [1 << 20, 16 << 20] {
        scene.comes_back(&format!("SELECT zeroblob({length}), hex(zeroblob({length} / 2)), 1")).await;
    }
    scene.comes_back(&series(5, "hex(zeroblob(500000)), i")).await;
}

#[tokio::test]
async fn many_columns_come_back() {
    let mut scene = Scene::new().await;
    let columns: Vec<_> = (0..1_600).map(|i| format!("i + {i} AS \"c{}\"", i % 1_599)).collect();
    scene.comes_back(&series(3, &columns.join(", "))).await;

    let columns: Vec<_> = (0..1_600).map(|i| format!("c{i} {}", ["INTEGER", "TEXT", "", "DATE"][i % 4])).collect();
    scene
        .run(&format!(
            "CREATE TABLE wide({}); INSERT INTO wide(c0, c1599) VALUES(1, 'x'), (2, 'y')",
            columns.join(", ")
        ))
        .await;
    scene.comes_back("SELECT * FROM wide").await;
}

#[tokio::test]
async fn row_bytes_are_what_is_stored() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load(&series(50, "i, i * 0.5, hex(zeroblob(i)), NULL, zeroblob(i)")).await;
    assert_eq!(rows.iter().map(SqliteReplay::row_bytes).sum::<usize>(), stored.bytes.len());
}
