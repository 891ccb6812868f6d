//! Damaged bytes are refused, and the databases in memory work on.

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
    let (rows, stored) = scene.load("VALUES(1, NULL, 'ä'), (2, 1.5, x'00'), (3, '', x'')").await;
    let bytes = stored.bytes.to_vec();
    for end in 0..bytes.len() {
        refused(&scene, &stored, bytes[..end].to_vec(), 3, &format!("cut at {end}")).await;
    }
    for count in [0, 1, 2, 4, 5, 1_000_000, usize::MAX / 12, usize::MAX] {
        refused(&scene, &stored, bytes.clone(), count, &format!("{count} rows")).await;
    }
    refused(&scene, &stored, [&bytes[..], &[0]].concat(), 3, "one byte more").await;
    refused(&scene, &stored, [&bytes[..], &[255; 12]].concat(), 3, "one row more").await;
    for (at, byte) in [(0, 0x80), (0, 0x7f), (3, 8), (3, 10), (3, 0), (4, 0), (4, 5), (4, 255), (4, 2), (22, 0xff)] {
        let mut flipped = bytes.clone();
        flipped[at] = byte;
        if (at, byte) == (4, 2) {
            // An integer read as a real makes sense; only not-a-number does not.
            flipped[5..7].copy_from_slice(&[0x7f, 0xf8]);
        }
        refused(&scene, &stored, flipped, 3, &format!("{byte} at {at}")).await;
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}

/// A flipped bit within a value stays unseen here; that is for the checksum of whoever stored it. It must do no harm.
#[tokio::test]
async fn random_damage_does_no_harm() {
    use rand::{RngExt, SeedableRng};
    let mut scene = Scene::new().await;
    let (rows, stored) =
        scene.load("VALUES(1, NULL, 'ä'), (2, 1.5, x'00'), (3, '', x''), (4, 'longer text', -0.0)").await;
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for _ in 0..3_000 {
        let mut bytes = stored.bytes.to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        let damaged = Stored { shape: Arc::clone(&stored.shape), bytes: bytes.clone().into(), rows: 4 };
        if let Ok(replayed) = scene.replay.replay(&damaged).await {
            assert_eq!(encode(&replayed.rows).unwrap(), bytes);
            for copy in scene.replay.mint(&damaged, 3).await.unwrap() {
                assert_eq!(encode(&copy.rows).unwrap(), bytes);
            }
        }
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}
