//! Results of every size.

use super::*;

pub(in crate::replay) async fn none_one_and_many_rows_come_back<S: Stage>() {
    let mut scene = S::new().await;
    let columns = "i, CASE WHEN i % 7 > 0 THEN 'name ' || i END AS name, i % 2 = 0 AS even, i * 1.5e0 AS f";
    for rows in [0, 1, 2, 3, 300, 511, 512, 513, 1_023, 20_000] {
        assert_eq!(scene.comes_back(&S::series(columns, rows)).await.len(), rows);
    }
    scene.comes_back(&S::series("i", 5_000)).await;
}

pub(in crate::replay) async fn many_columns_come_back<S: Stage>() {
    let mut scene = S::new().await;
    let columns: Vec<_> = (0..1_600).map(|i| format!("i + {i} AS c{}", i % 1_599)).collect();
    scene.comes_back(&S::series(&columns.join(", "), 3)).await;
}

pub(in crate::replay) async fn row_bytes_are_what_is_stored<S: Stage>() {
    let mut scene = S::new().await;
    let (rows, stored) = scene.load(&S::series("i, i * 0.5e0, 'name ' || i, NULL", 50)).await;
    assert_eq!(rows.iter().map(S::Replay::row_bytes).sum::<usize>(), stored.bytes.len());
}
