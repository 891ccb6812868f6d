//! What a link does with small, large and damaged results.

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use super::*;
use crate::replay::link::Link;
use crate::replay::protocol::Protocol;

pub(in crate::replay) async fn an_open_link_leaves_no_folder<P: Protocol>() {
    let link = Link::<P>::open().await.unwrap();
    // Other tests open links at the same time: look at this one's own address.
    let address = link.address();
    assert!(address.ends_with(P::SOCKET), "{address:?}");
    assert!(!address.exists() && !address.parent().unwrap().exists());
}

pub(in crate::replay) async fn a_small_hit_never_waits<S: Stage>() {
    let mut scene = S::new().await;
    let (_, stored) = scene.load("SELECT 1").await;
    for _ in 0..100 {
        let mut hit = std::pin::pin!(scene.replay().replay(&stored));
        assert!(hit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}

/// 64 KiB is where small replies end, 200 KiB about what a socket holds.
pub(in crate::replay) async fn wide_rows_come_back<S: Stage>() {
    let mut scene = S::new().await;
    let around_64_kib = (65_380..65_560).step_by(9);
    for length in around_64_kib.chain([100 << 10, 190 << 10, 300 << 10, 1 << 20, 12 << 20]) {
        scene.comes_back(&format!("SELECT repeat('x', {length}) AS x, 1 AS one")).await;
    }
    scene.comes_back(&S::series("repeat('x', 1048576) AS x, i", 5)).await;
    scene.comes_back(&S::series("repeat('x', i * 10000) AS x, i", 40)).await;
    scene.comes_back("SELECT 1").await;
}

async fn refused<S: Stage>(scene: &S, stored: &Stored<Shape<S>>, bytes: Vec<u8>, rows: usize, what: &str) {
    let damaged = Stored { shape: Arc::clone(&stored.shape), bytes: bytes.into(), rows };
    for copies in [1, 4] {
        let answer = tokio::time::timeout(Duration::from_secs(20), scene.replay().mint(&damaged, copies)).await;
        assert!(answer.unwrap_or_else(|_| panic!("{what}: hangs")).is_err(), "{what}: was taken {copies} times");
    }
}

pub(in crate::replay) async fn damaged_bytes_are_refused<S: Stage>() {
    let mut scene = S::new().await;
    let (rows, stored) = scene.load(&S::series("repeat('y', 4) AS y, NULL AS n, repeat('x', i) AS x", 3)).await;
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
    S::assert_same(&rows, &scene.replay().replay(&stored).await.unwrap().rows);
}

pub(in crate::replay) async fn large_damaged_bytes_are_refused<S: Stage>() {
    let mut scene = S::new().await;
    let (rows, stored) = scene.load(&S::series("i, repeat('x', 1000) AS x", 1_000)).await;
    let bytes = stored.bytes.to_vec();
    for end in [0, 3, 70_000, bytes.len() - 1] {
        refused(&scene, &stored, bytes[..end].to_vec(), 1_000, &format!("cut at {end}")).await;
    }
    for count in [0, 1, 999, 1_001, usize::MAX] {
        refused(&scene, &stored, bytes.clone(), count, &format!("{count} rows")).await;
    }
    refused(&scene, &stored, [&bytes[..], &[0]].concat(), 1_000, "one byte more").await;
    S::assert_same(&rows, &scene.replay().replay(&stored).await.unwrap().rows);
}

/// A flipped bit within a value stays unseen here; that is for the checksum of whoever stored it. It must do no harm.
pub(in crate::replay) async fn random_damage_does_no_harm<S: Stage>() {
    use rand::{RngExt, SeedableRng};
    let mut scene = S::new().await;
    let (rows, stored) = scene.load(&S::series("i, 'abc' || i AS x, NULL AS n", 20)).await;
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
        if let Ok(replayed) = scene.replay().replay(&damaged).await {
            assert_eq!(S::encode(&replayed.rows, &damaged.shape), bytes);
            for copy in scene.replay().mint(&damaged, 3).await.unwrap() {
                assert_eq!(S::encode(&copy.rows, &damaged.shape), bytes);
            }
        }
    }
    S::assert_same(&rows, &scene.replay().replay(&stored).await.unwrap().rows);
}
