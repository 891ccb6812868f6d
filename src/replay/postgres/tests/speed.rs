//! How long a replay takes. Run with `--release -- --ignored --nocapture speed`.

use std::time::Instant;

use super::*;

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_postgres_rows() {
    let begun = Instant::now();
    let mut scene = Scene::new().await;
    println!("scene: {:?}", begun.elapsed());
    for _ in 0..3 {
        let begun = Instant::now();
        PostgresReplay::start().await.unwrap();
        println!("start with self-test: {:?}", begun.elapsed());
    }
    for rows in [1, 10, 100, 1_000, 20_000] {
        let sql = format!(
            "SELECT i::int8 AS id, CASE WHEN i % 7 > 0 THEN 'name ' || i END AS txt, i % 2 = 0 AS b, i * 1.5::float8 AS f
             FROM generate_series(1, {rows}) i"
        );
        let (direct, stored) = scene.load(&sql).await;
        let mut times: Vec<_> = Vec::new();
        for _ in 0..(200_000 / rows).clamp(50, 20_000) {
            let begun = Instant::now();
            let replayed = scene.replay.replay(&stored).await.unwrap();
            times.push(begun.elapsed());
            assert_eq!(replayed.rows.len(), rows);
        }
        let mut stores = Vec::new();
        for _ in 0..50 {
            let begun = Instant::now();
            scene.keep(&sql, &direct, Some(&stored.shape)).await.unwrap();
            stores.push(begun.elapsed());
        }
        times.sort_unstable();
        stores.sort_unstable();
        println!(
            "{rows} rows, {} bytes: replay p50 {:?}, p99 {:?}; store p50 {:?}",
            stored.bytes.len(),
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            stores[25]
        );
    }
}
