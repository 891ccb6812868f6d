//! Results that are refused, because they would not come back as they were.

use super::*;

async fn refusal(scene: &mut Scene, rows: &[MySqlRow]) -> String {
    scene.keep("SELECT", rows, None).await.expect_err("it was kept").to_string()
}

/// As many bytes as a message takes at most.
const MOST: usize = (1 << 24) - 2;

/// A row of one text takes a byte for its kind, one for NULLs, and four for the length of the text.
#[tokio::test]
async fn a_row_of_16_mib_is_refused() {
    let mut scene = Scene::new().await;
    let rows = scene.comes_back(&format!("SELECT repeat('x', {}) AS x", MOST - 6)).await;
    assert_eq!(rows[0].get::<&str, _>(0).len(), MOST - 6);
    for length in [MOST - 5, MOST, MOST + 1, MOST + 2, 20 << 20] {
        let rows = scene.fetch(&format!("SELECT repeat('x', {length}) AS x")).await;
        assert_eq!(rows[0].get::<&str, _>(0).len(), length);
        assert_eq!(refusal(&mut scene, &rows).await, "a row takes 16 MiB or more");
    }
    let half = MOST / 2;
    let rows = scene.fetch(&format!("SELECT repeat('x', {half}) AS x, repeat('y', {half}) AS y")).await;
    assert_eq!(refusal(&mut scene, &rows).await, "a row takes 16 MiB or more");
}

/// Kept bytes that were not made of rows are held against the same limit.
#[tokio::test]
async fn a_kept_row_of_16_mib_is_refused() {
    let mut scene = Scene::new().await;
    let (_, stored) = scene.load("SELECT repeat('x', 9) AS x").await;
    for (length, fits) in [(MOST - 6, true), (MOST - 5, false), (MOST + 2, false), (40 << 20, false)] {
        let mut bytes = Vec::new();
        cells::push(&mut bytes, Some(&vec![b'x'; length])).unwrap();
        let replayed = scene.replay.replay(&Stored { bytes: bytes.into(), ..stored.clone() }).await;
        assert_eq!(replayed.is_ok(), fits, "{length}");
    }
}

#[tokio::test]
async fn several_results_are_refused() {
    let mut scene = Scene::new().await;
    scene.run("CREATE PROCEDURE twice() BEGIN SELECT 1 AS a; SELECT 1 AS a; END").await;
    let rows = scene.fetch("CALL twice()").await;
    assert_eq!(rows.len(), 2);
    assert_eq!(refusal(&mut scene, &rows).await, "there are several results");
    let rows = sqlx::raw_sql("SELECT 'a' AS a; SELECT 'a' AS a").fetch_all(&mut scene.connection).await.unwrap();
    assert_eq!(refusal(&mut scene, &rows).await, "there are several results");
    let (mut rows, _) = scene.load("SELECT 1 AS a").await;
    rows.extend(scene.fetch("SELECT 1 AS a").await);
    assert_eq!(refusal(&mut scene, &rows).await, "there are several results");
}

/// Whoever stores must know that a query was prepared; where a number gives it away, it is refused here, too.
#[tokio::test]
async fn numbers_in_text_protocol_are_refused() {
    let mut scene = Scene::new().await;
    for sql in ["SELECT 1 AS a", "SELECT 1.5e0 AS a", "SELECT TIME'01:02:03' AS a", "SELECT 'x' AS a, DATE'2024-01-01'"]
    {
        let rows = sqlx::raw_sql(sql).fetch_all(&mut scene.connection).await.unwrap();
        assert_eq!(refusal(&mut scene, &rows).await, "a value is not of the size that its column has", "{sql}");
        scene.comes_back(sql).await;
    }
}

/// A value whose size does not fit its column is refused before anything is sent.
#[tokio::test]
async fn kept_values_of_another_size_are_refused() {
    let mut scene = Scene::new().await;
    for (sql, sizes) in [
        ("SELECT 1 AS a", &[0, 1, 3, 5, 8][..]),
        ("SELECT 4294967296 AS a", &[0, 4, 7, 9]),
        ("SELECT 1.5e0 AS a", &[0, 4, 7, 9]),
        ("SELECT DATE'2024-01-01' AS a", &[0, 2, 6, 9]),
        ("SELECT NULL AS a", &[0, 1]),
    ] {
        let (rows, stored) = scene.load(sql).await;
        for size in sizes {
            let mut bytes = Vec::new();
            cells::push(&mut bytes, Some(&vec![0x21; *size])).unwrap();
            let damaged = Stored { bytes: bytes.into(), ..stored.clone() };
            assert!(scene.replay.replay(&damaged).await.is_err(), "{sql} of {size} bytes");
            assert!(scene.replay.mint(&damaged, 3).await.is_err(), "{sql} of {size} bytes");
        }
        alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
    }
}
