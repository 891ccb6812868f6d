//! Rows of every width.

use super::*;

#[tokio::test]
async fn wide_rows_come_back() {
    let mut scene = Scene::new().await;
    for length in [1 << 20, 16 << 20] {
        scene.comes_back(&format!("SELECT zeroblob({length}), hex(zeroblob({length} / 2)), 1")).await;
    }
    scene.comes_back(&Scene::series("hex(zeroblob(500000)), i", 5)).await;
}

#[tokio::test]
async fn a_wide_table_comes_back() {
    let mut scene = Scene::new().await;
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
async fn row_bytes_count_blobs() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load(&Scene::series("hex(zeroblob(i)), zeroblob(i)", 50)).await;
    assert_eq!(rows.iter().map(SqliteReplay::row_bytes).sum::<usize>(), stored.bytes.len());
}
