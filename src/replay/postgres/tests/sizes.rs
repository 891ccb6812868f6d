//! Results of every size, and rows of every width.

use super::*;

#[tokio::test]
async fn none_one_and_many_rows_come_back() {
    let mut scene = Scene::new().await;
    for rows in [0, 1, 2, 300, 20_000] {
        let got = scene
            .comes_back(&format!(
                "SELECT i::int8, CASE WHEN i % 7 > 0 THEN 'name ' || i END AS name, i % 2 = 0 AS even, i * 1.5::float8
                 FROM generate_series(1, {rows}) i"
            ))
            .await;
        assert_eq!(got.len(), rows);
    }
}

/// 64 KiB is where small replies end, 200 KiB about what a socket holds.
#[tokio::test]
async fn wide_rows_come_back() {
    let mut scene = Scene::new().await;
    let around_64_kib = (65_380..65_560).step_by(9);
    for length in around_64_kib.chain([100 << 10, 190 << 10, 300 << 10, 1 << 20, 16 << 20]) {
        scene.comes_back(&format!("SELECT repeat('x', {length}) AS x, 1 AS one")).await;
    }
    scene.comes_back("SELECT repeat('x', 1 << 20) AS x, i FROM generate_series(1, 5) i").await;
    scene.comes_back("SELECT repeat('x', i * 10000) AS x, i FROM generate_series(1, 40) i").await;
    scene.comes_back("SELECT 1").await;
}

#[tokio::test]
async fn many_columns_come_back() {
    let mut scene = Scene::new().await;
    let columns: Vec<_> = (0..1_600).map(|i| format!("{i} AS \"c{}\"", i % 1_599)).collect();
    scene.comes_back(&format!("SELECT {} FROM generate_series(1, 3)", columns.join(", "))).await;
}

#[tokio::test]
async fn rows_without_columns_are_refused() {
    let mut scene = Scene::new().await;
    let rows = sqlx::query("SELECT FROM generate_series(1, 3)").fetch_all(&mut scene.connection).await.unwrap();
    assert!(scene.keep("SELECT FROM generate_series(1, 3)", &rows, None).await.is_err());
    scene.comes_back("SELECT FROM generate_series(1, 0)").await;
}

#[tokio::test]
async fn row_bytes_are_what_is_stored() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT i, repeat('x', i), NULL FROM generate_series(1, 50) i").await;
    assert_eq!(rows.iter().map(PostgresReplay::row_bytes).sum::<usize>(), stored.bytes.len());
}
