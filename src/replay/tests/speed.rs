//! How long a replay takes. Run with `--release -- --ignored --nocapture --test-threads 1 speed`.

use std::time::{Duration, Instant};

use super::*;

pub(in crate::replay) async fn speed<S: Stage>() {
    let mut scene = S::new().await;
    for _ in 0..3 {
        let begun = Instant::now();
        S::Replay::start().await.unwrap();
        println!("start with self-test: {:?}", begun.elapsed());
    }
    let columns = "i AS id, CASE WHEN i % 7 > 0 THEN 'name ' || i END AS txt, i % 2 = 0 AS b, i * 1.5e0 AS f";
    for rows in [1, 10, 100, 1_000, 20_000] {
        let sql = S::series(columns, rows);
        let (direct, stored) = scene.load(&sql).await;
        let mut replays: Vec<_> = Vec::new();
        for _ in 0..(200_000 / rows).clamp(50, 20_000) {
            let begun = Instant::now();
            let replayed = scene.replay().replay(&stored).await.unwrap();
            replays.push(begun.elapsed());
            assert_eq!(replayed.rows.len(), rows);
        }
        let (copies, mut mints) = ((64 / rows).max(1), Vec::new());
        for _ in 0..(100_000 / rows / copies).clamp(50, 2_000) {
            let begun = Instant::now();
            let minted = scene.replay().mint(&stored, copies).await.unwrap();
            mints.push(begun.elapsed() / copies as u32);
            assert_eq!(minted.len(), copies);
        }
        let mut stores = Vec::new();
        for _ in 0..50 {
            let begun = Instant::now();
            scene.keep(&sql, &direct, Some(&stored.shape)).await.unwrap();
            stores.push(begun.elapsed());
        }
        println!(
            "{rows} rows, {} bytes: replay p50 {:?}, p99 {:?}; one of {copies} copies p50 {:?}; store p50 {:?}",
            stored.bytes.len(),
            part(&mut replays, 50),
            part(&mut replays, 99),
            part(&mut mints, 50),
            part(&mut stores, 50)
        );
    }
}

fn part(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}
