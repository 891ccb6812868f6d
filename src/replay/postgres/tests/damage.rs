//! Damaged bytes are refused, and the links work on.

use super::*;

async fn refused(scene: &Scene, stored: &Stored<Shape>, bytes: Vec<u8>, rows: usize, what: &str) {
    let damaged = Stored { shape: Arc::clone(&stored.shape), bytes: bytes.into(), rows };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), scene.replay.replay(&damaged)).await;
    assert!(answer.unwrap_or_else(|_| panic!("{what}: hangs")).is_err(), "{what}: was taken");
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), scene.replay.mint(&damaged, 4)).await;
    assert!(answer.unwrap_or_else(|_| panic!("{what}: hangs")).is_err(), "{what}: was taken four times");
}

#[tokio::test]
async fn damaged_bytes_are_refused() {
    let mut scene = Scene::new().await;
    let (rows, stored) =
        scene.load("SELECT i, NULL::text AS n, repeat('x', i) AS x FROM generate_series(1, 3) i").await;
    let bytes = stored.bytes.to_vec();
    for end in 0..bytes.len() {
        refused(&scene, &stored, bytes[..end].to_vec(), 3, &format!("cut at {end}")).await;
    }
    for count in [0, 1, 2, 4, 5, 1_000_000, usize::MAX / 12, usize::MAX] {
        refused(&scene, &stored, bytes.clone(), count, &format!("{count} rows")).await;
    }
    refused(&scene, &stored, [&bytes[..], &[0]].concat(), 3, "one byte more").await;
    refused(&scene, &stored, [&bytes[..], &[255; 12]].concat(), 3, "one row more").await;
    // The lengths of the first row: at 0, 8 and 12.
    for at in [0, 8, 12] {
        for length in [-2_i32, i32::MIN, i32::MAX, 5, 0] {
            let mut flipped = bytes.clone();
            // An empty text in place of a NULL makes sense.
            if (at, length) == (8, 0) {
                continue;
            }
            flipped[at..at + 4].copy_from_slice(&length.to_be_bytes());
            refused(&scene, &stored, flipped, 3, &format!("length {length} at {at}")).await;
        }
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}

#[tokio::test]
async fn large_damaged_bytes_are_refused() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT i, repeat('x', 1000) AS x FROM generate_series(1, 1000) i").await;
    let bytes = stored.bytes.to_vec();
    for end in [0, 3, 70_000, bytes.len() - 1] {
        refused(&scene, &stored, bytes[..end].to_vec(), 1000, &format!("cut at {end}")).await;
    }
    for count in [0, 1, 999, 1001, usize::MAX] {
        refused(&scene, &stored, bytes.clone(), count, &format!("{count} rows")).await;
    }
    refused(&scene, &stored, [&bytes[..], &[0]].concat(), 1000, "one byte more").await;
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}

/// A flipped bit within a value stays unseen here; that is for the checksum of whoever stored it. It must do no harm.
#[tokio::test]
async fn random_damage_does_no_harm() {
    use rand::{RngExt, SeedableRng};
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT i, 'abc' || i AS x, NULL::int8 FROM generate_series(1, 20) i").await;
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for _ in 0..3_000 {
        let mut bytes = stored.bytes.to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        let damaged = Stored { shape: Arc::clone(&stored.shape), bytes: bytes.clone().into(), rows: 20 };
        if let Ok(replayed) = scene.replay.replay(&damaged).await {
            assert_eq!(encode(&replayed.rows, &damaged.shape.statement).unwrap(), bytes);
            for copy in scene.replay.mint(&damaged, 3).await.unwrap() {
                assert_eq!(encode(&copy.rows, &damaged.shape.statement).unwrap(), bytes);
            }
        }
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}
