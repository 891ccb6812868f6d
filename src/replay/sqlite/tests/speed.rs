//! How long a replay takes. Run with `--release -- --ignored --nocapture speed`.

use std::time::Instant;

use super::*;

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_sqlite_rows() {
    let mut scene = Scene::new().await;
    for _ in 0..3 {
        let begun = Instant::now();
        SqliteReplay::start().await.unwrap();
        println!("start with self-test: {:?}", begun.elapsed());
    }
    scene.run("CREATE TABLE r4(id INTEGER PRIMARY KEY, txt VARCHAR(40), b BOOLEAN, f DOUBLE)").await;
    for rows in [1, 10, 100, 1_000, 20_000] {
        let sql = format!(
            "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows})
             SELECT id, txt, b, f FROM r4
             UNION ALL SELECT i, CASE WHEN i % 7 THEN 'name ' || i END, CASE WHEN i % 5 THEN i % 2 END, i * 1.5 FROM s"
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
            scene.keep(&direct, Some(&stored.shape)).await.unwrap();
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
