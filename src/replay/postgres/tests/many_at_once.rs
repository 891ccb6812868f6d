//! Many callers, and callers that go away.

use std::time::Duration;

use super::*;

async fn hits_from_64_tasks() {
    let mut scene = Scene::new().await;
    let mut results = Vec::new();
    for rows in [0, 1, 10, 300, 2_000] {
        let sql = format!("SELECT i, 'row ' || i AS name, {rows} AS n FROM generate_series(1, {rows}) i");
        results.push(scene.load(&sql).await);
    }
    let (replay, results) = (Arc::new(scene.replay), Arc::new(results));
    let (spares, room) = (Arc::new([const { Spares::none() }; 5]), Room::beside(64 << 20));
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (replay, results) = (Arc::clone(&replay), Arc::clone(&results));
            let (spares, room) = (Arc::clone(&spares), Arc::clone(&room));
            tokio::spawn(async move {
                for turn in 0..20 {
                    let at = (task + turn) % results.len();
                    let (rows, stored) = &results[at];
                    let replayed = if turn % 4 == 0 {
                        replay.replay(stored).await.unwrap()
                    } else {
                        spares[at].take(&*replay, stored, &room).await.unwrap()
                    };
                    assert_eq!(replayed.result.rows_affected(), rows.len() as u64);
                    assert_eq!(encode(&replayed.rows, &stored.shape.statement).unwrap(), *stored.bytes);
                    assert_eq!(replayed.rows.len(), rows.len());
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(spares.iter().any(|spares| spares.ready() > 0));
    drop(spares);
    assert_eq!(room.taken(), 0);
}

async fn one_entry_from_64_tasks() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT 1 AS id, 'one of a kind' AS name, NULL AS blank").await;
    let (replay, spares, room) = (scene.replay, Spares::none(), Room::beside(64 << 20));
    let shared = Arc::new((replay, stored, spares, room));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let (replay, stored, spares, room) = &*shared;
                let mut copies = Vec::new();
                for turn in 0..50 {
                    copies.push(spares.take(replay, stored, room).await.unwrap().rows);
                    if turn % 8 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                copies
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    // All are held at once, so that one value in two hands would be at one address.
    let mut places = std::collections::HashSet::new();
    for copy in &all {
        assert_eq!(copy[0].get::<&str, _>(1), "one of a kind");
        assert!(places.insert(copy[0].get::<&str, _>(1).as_ptr()), "a copy was handed out twice");
    }
    drop(all);
    for copy in hits(&shared.0, &shared.1).await {
        alike::assert_same_cells(&rows, &copy);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn one_entry_on_many_threads() {
    one_entry_from_64_tasks().await;
}

#[tokio::test]
async fn one_entry_on_one_thread() {
    one_entry_from_64_tasks().await;
}

/// Whenever a caller goes away, the next ones get whole copies.
#[tokio::test]
async fn a_hit_with_spares_may_be_dropped() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT 1 AS id, 'x' AS name").await;
    let (spares, room) = (Spares::none(), Room::beside(64 << 20));
    for i in 0..300 {
        let cut = Duration::from_micros(i % 30);
        let _ = tokio::time::timeout(cut, spares.take(&scene.replay, &stored, &room)).await;
        let copy = spares.take(&scene.replay, &stored, &room).await.unwrap();
        alike::assert_same_cells(&rows, &copy.rows);
    }
    drop(spares);
    assert_eq!(room.taken(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn concurrent_hits_on_many_threads() {
    hits_from_64_tasks().await;
}

#[tokio::test]
async fn concurrent_hits_on_one_thread() {
    hits_from_64_tasks().await;
}

#[tokio::test]
async fn a_small_hit_never_waits() {
    let mut scene = Scene::new().await;
    let (_, stored) = scene.load("SELECT 1").await;
    for _ in 0..100 {
        let mut hit = std::pin::pin!(scene.replay.replay(&stored));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(hit.as_mut().poll(&mut context).is_ready());
    }
}

#[tokio::test]
async fn a_large_hit_may_be_dropped() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT i, repeat('x', 100) AS x FROM generate_series(1, 20000) i").await;
    let (small, kept) = scene.load("SELECT 'small' AS s").await;
    for micros in [0, 1, 50, 300, 1_000, 3_000, 10_000] {
        let cut = tokio::time::timeout(Duration::from_micros(micros), scene.replay.replay(&stored)).await;
        println!("after {micros} us: {}", if cut.is_err() { "dropped" } else { "done" });
        alike::assert_same(&small, &scene.replay.replay(&kept).await.unwrap().rows);
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}

/// More shapes than a client keeps statements for.
#[tokio::test]
async fn more_shapes_than_a_link_keeps() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT 1 AS a, 'x' AS b").await;
    for _ in 0..2_500 {
        let shape = Arc::new(Shape::new(stored.shape.statement.clone()));
        let replayed = scene.replay.replay(&Stored { shape, ..stored.clone() }).await.unwrap();
        assert_eq!(encode(&replayed.rows, &stored.shape.statement).unwrap(), *stored.bytes);
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}

#[test]
fn it_outlives_runtimes_and_drops_within_one() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (replay, stored) = build().block_on(async {
        let mut scene = Scene::new().await;
        let (_, stored) = scene.load("SELECT repeat('x', 500000)").await;
        (scene.replay, stored)
    });
    build().block_on(async {
        assert_eq!(replay.replay(&stored).await.unwrap().rows.len(), 1);
        drop(replay.replay(&stored));
        drop(replay);
    });
}
