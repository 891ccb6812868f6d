//! Many callers, and callers that go away.

use std::time::Duration;

use super::*;

/// Each row takes so much that 20,000 of them are large everywhere.
const LONG: &str = "'a text of some length, for a large result ' || i AS x";

pub(in crate::replay) async fn concurrent_hits<S: Stage>() {
    let mut scene = S::new().await;
    let mut results = Vec::new();
    for rows in [0, 1, 10, 300, 2_000] {
        let sql = S::series(&format!("i, 'row ' || i AS name, {rows} AS n"), rows);
        results.push(scene.load(&sql).await.1);
    }
    let (replay, results) = (Arc::new(scene.into_replay()), Arc::new(results));
    let (spares, room) = (Arc::new([const { Spares::none() }; 5]), Room::beside(64 << 20));
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (replay, results) = (Arc::clone(&replay), Arc::clone(&results));
            let (spares, room) = (Arc::clone(&spares), Arc::clone(&room));
            tokio::spawn(async move {
                for turn in 0..20 {
                    let at = (task + turn) % results.len();
                    let stored = &results[at];
                    let replayed = if turn % 4 == 0 {
                        replay.replay(stored).await.unwrap()
                    } else {
                        spares[at].take(&*replay, stored, &room).await.unwrap()
                    };
                    assert!(S::completes(&replayed.result, stored.rows));
                    assert_eq!(replayed.rows.len(), stored.rows);
                    assert_eq!(S::encode(&replayed.rows, &stored.shape), *stored.bytes);
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

pub(in crate::replay) async fn one_entry_in_many_hands<S: Stage>() {
    let mut scene = S::new().await;
    let (rows, stored) = scene.load("SELECT 1 AS id, 'one of a kind' AS name, NULL AS blank").await;
    let shared = Arc::new((scene.into_replay(), stored, Spares::none(), Room::beside(64 << 20)));
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
        assert_eq!(S::text(&copy[0], 1), "one of a kind");
        assert!(places.insert(S::text(&copy[0], 1).as_ptr()), "a copy was handed out twice");
    }
    drop(all);
    for copy in hits::<S>(&shared.0, &shared.1).await {
        S::assert_same_cells(&rows, &copy);
    }
}

/// Whenever a caller goes away, the next ones get whole copies.
pub(in crate::replay) async fn a_hit_with_spares_may_be_dropped<S: Stage>() {
    let mut scene = S::new().await;
    let (rows, stored) = scene.load("SELECT 1 AS id, 'x' AS name").await;
    let (spares, room) = (Spares::none(), Room::beside(64 << 20));
    for i in 0..300 {
        let cut = Duration::from_micros(i % 30);
        let _ = tokio::time::timeout(cut, spares.take(scene.replay(), &stored, &room)).await;
        let copy = spares.take(scene.replay(), &stored, &room).await.unwrap();
        S::assert_same_cells(&rows, &copy.rows);
    }
    drop(spares);
    assert_eq!(room.taken(), 0);
}

pub(in crate::replay) async fn a_large_hit_may_be_dropped<S: Stage>() {
    let mut scene = S::new().await;
    let (rows, stored) = scene.load(&S::series(&format!("i, {LONG}"), 20_000)).await;
    let (small, kept) = scene.load("SELECT 'small' AS s").await;
    for micros in [0, 1, 10, 50, 100, 300, 1_000, 3_000, 10_000] {
        let cut = tokio::time::timeout(Duration::from_micros(micros), scene.replay().replay(&stored)).await;
        println!("after {micros} us: {}", if cut.is_err() { "dropped" } else { "done" });
        S::assert_same_cells(&small, &scene.replay().replay(&kept).await.unwrap().rows);
    }
    S::assert_same(&rows, &scene.replay().replay(&stored).await.unwrap().rows);
}

pub(in crate::replay) fn it_outlives_runtimes_and_drops_within_one<S: Stage>() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (replay, stored) = build().block_on(async {
        let mut scene = S::new().await;
        let (_, stored) = scene.load(&S::series(LONG, 20_000)).await;
        (scene.into_replay(), stored)
    });
    build().block_on(async {
        assert_eq!(replay.replay(&stored).await.unwrap().rows.len(), 20_000);
        drop(replay.replay(&stored));
        drop(replay);
    });
}
