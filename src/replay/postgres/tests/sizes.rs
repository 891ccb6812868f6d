//! Rows of no width, and as wide as only Postgres has them.

use super::*;

#[tokio::test]
async fn a_row_of_16_mib_comes_back() {
    let mut scene = Scene::new().await;
    scene.comes_back(&format!("SELECT repeat('x', {}) AS x, 1 AS one", 16 << 20)).await;
}

#[tokio::test]
async fn rows_without_columns_are_refused() {
    let mut scene = Scene::new().await;
    let rows = sqlx::query("SELECT FROM generate_series(1, 3)").fetch_all(&mut scene.connection).await.unwrap();
    assert!(scene.keep("SELECT FROM generate_series(1, 3)", &rows, None).await.is_err());
    scene.comes_back("SELECT FROM generate_series(1, 0)").await;
}
