//! Who gets which copy, how many are minted, and what they may take; with a machinery that only counts.

use std::sync::atomic::AtomicBool;

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult, SqliteRow};

use super::*;

/// Mints copies without rows, and remembers how many at once.
#[derive(Default)]
struct Counter {
    minted: Mutex<Vec<usize>>,
    /// A mint of several copies waits for ever.
    stuck: AtomicBool,
    /// The most copies that are minted at once, if not zero.
    fewer: usize,
}

const COPY_BYTES: usize = 1 << 10;

impl Replay<Sqlite> for Counter {
    type Shape = ();

    const EMPTY_HAS_COLUMNS: bool = true;

    fn digest(_shape: &Self::Shape) -> [u8; 32] {
        unreachable!("nothing is shared")
    }

    async fn start() -> Result<Self, Unfaithful> {
        Ok(Self::default())
    }

    fn row_bytes(_: &SqliteRow) -> usize {
        0
    }

    async fn store(
        &self,
        _: &mut SqliteConnection,
        _: &sqlx::SqlStr,
        _: &str,
        _: &[SqliteRow],
        _: Option<&Arc<()>>,
    ) -> Result<Stored<()>, Unfaithful> {
        Err(Unfaithful::because("nothing is stored"))
    }

    async fn mint(&self, _: &Stored<()>, copies: usize) -> Result<Vec<Replayed<Sqlite>>, Unfaithful> {
        if copies > 1 && self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        let copies = if self.fewer > 0 { copies.min(self.fewer) } else { copies };
        self.minted.lock().unwrap().push(copies);
        Ok((0..copies).map(|_| Replayed { rows: Vec::new(), result: SqliteQueryResult::default() }).collect())
    }

    fn copy_bytes(_: &Stored<()>) -> usize {
        COPY_BYTES
    }
}

impl Counter {
    fn minted(&self) -> Vec<usize> {
        std::mem::take(&mut self.minted.lock().unwrap())
    }
}

fn stored(rows: usize, bytes: usize) -> Stored<()> {
    Stored { shape: Arc::new(()), bytes: vec![0; bytes].into(), rows }
}

fn room(bytes: usize) -> Arc<Room<Sqlite>> {
    Room::beside(PART * bytes as u64)
}

/// Takes so many that as many as possible are minted at once.
async fn heat(replay: &Counter, spares: &Spares<Sqlite>, room: &Arc<Room<Sqlite>>) {
    for _ in 0..COPIES {
        spares.take(replay, &stored(1, 9), room).await.unwrap();
    }
}

#[tokio::test]
async fn the_number_of_copies_doubles_while_they_run_out() {
    let (replay, spares, room) = (Counter::default(), Spares::none(), room(1 << 20));
    for _ in 0..127 + 64 {
        spares.take(&replay, &stored(1, 9), &room).await.unwrap();
    }
    assert_eq!(replay.minted(), [1, 2, 4, 8, 16, 32, 64, 64]);
    assert_eq!((spares.ready(), room.taken()), (0, 0));
}

#[tokio::test]
async fn what_is_rarely_asked_for_is_replayed_one_at_a_time() {
    let (replay, spares, room) = (Counter::default(), Spares::none(), room(1 << 20));
    for _ in 0..10 {
        spares.take(&replay, &stored(1, 9), &room).await.unwrap();
        if let Some((_, at)) = &mut spares.0.get().unwrap().state().last {
            *at = at.checked_sub(SOON + Duration::from_millis(1)).unwrap();
        }
    }
    assert_eq!(replay.minted(), [1; 10]);
    assert_eq!((spares.ready(), room.taken()), (0, 0));
}

#[tokio::test]
async fn an_entry_has_its_bounds() {
    for (rows, bytes, most) in [
        (0, 0, 1),
        (1, 9, 64),
        (2, 99, 64),
        (8, 99, 16),
        (10, 99, 8),
        (64, 999, 2),
        (65, 999, 1),
        (1_000_000, 9, 1),
        (1, 1 << 10, 64),
        (1, 1025, 32),
        (1, 20 << 10, 2),
        (1, 40 << 10, 1),
        (1, 1 << 20, 1),
    ] {
        let (replay, spares, room) = (Counter::default(), Spares::none(), room(1 << 20));
        for _ in 0..200 {
            spares.take(&replay, &stored(rows, bytes), &room).await.unwrap();
            assert!(spares.ready() < most && room.taken() <= most * COPY_BYTES);
        }
        assert_eq!(replay.minted().into_iter().max(), Some(most), "{rows} rows, {bytes} bytes");
    }
}

#[tokio::test]
async fn a_machinery_may_make_fewer() {
    let (replay, spares, room) = (Counter { fewer: 3, ..Counter::default() }, Spares::none(), room(1 << 20));
    for _ in 0..12 {
        spares.take(&replay, &stored(1, 9), &room).await.unwrap();
        assert!(room.taken() <= 3 * COPY_BYTES);
    }
    assert_eq!(replay.minted(), [1, 2, 3, 3, 3]);
}

#[tokio::test]
async fn all_entries_share_one_room() {
    let size = 10 * COPIES * COPY_BYTES;
    let (replay, room) = (Counter::default(), room(size));
    let mut entries: Vec<_> = (0..100).map(|_| Spares::none()).collect();
    for spares in &entries {
        heat(&replay, spares, &room).await;
        assert!(spares.ready() > 0, "what is hot now has copies");
        let ready: usize = entries.iter().map(Spares::ready).sum();
        assert!(ready * COPY_BYTES <= room.taken() && room.taken() <= size);
    }
    assert!(room.taken() > size / 2);
    assert_eq!(entries[0].ready(), 0, "the oldest made room");
    // An entry that goes gives its share back.
    let before = room.taken();
    entries.pop();
    assert!(room.taken() < before);
    drop(entries);
    assert_eq!(room.taken(), 0);
}

#[tokio::test]
async fn without_room_nothing_is_kept() {
    let (replay, spares, room) = (Counter::default(), Spares::none(), room(COPY_BYTES));
    heat(&replay, &spares, &room).await;
    assert_eq!((spares.ready(), room.taken()), (0, 0));
    assert!(replay.minted().into_iter().all(|copies| copies <= 1), "nothing is minted to be thrown away");
}

#[tokio::test]
async fn entries_that_are_gone_are_forgotten() {
    let (replay, room) = (Counter::default(), room(1 << 20));
    for _ in 0..1_000 {
        heat(&replay, &Spares::none(), &room).await;
    }
    assert_eq!(room.taken(), 0);
    assert!(room.shelves().len() <= 64, "{}", room.shelves().len());
}

#[tokio::test]
async fn nobody_waits_for_a_mint_and_a_dropped_one_leaves_nothing_behind() {
    let (replay, spares, room) = (Counter::default(), Spares::none(), room(1 << 20));
    let one = stored(1, 9);
    spares.take(&replay, &one, &room).await.unwrap();
    replay.stuck.store(true, Ordering::Relaxed);
    {
        let mut minter = Box::pin(spares.take(&replay, &one, &room));
        assert!(futures_util::poll!(&mut minter).is_pending());
        replay.minted();
        for _ in 0..5 {
            spares.take(&replay, &one, &room).await.unwrap();
        }
        assert_eq!(replay.minted(), [1; 5]);
    }
    replay.stuck.store(false, Ordering::Relaxed);
    spares.take(&replay, &one, &room).await.unwrap();
    assert_eq!(replay.minted(), [4], "the turn was given back");
    assert_eq!((spares.ready(), room.taken()), (3, 4 * COPY_BYTES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_many_entries_keep_to_the_room() {
    let size = 3 * COPIES * COPY_BYTES;
    let (replay, room) = (Arc::new(Counter::default()), room(size));
    let entries: Arc<Vec<_>> = Arc::new((0..8).map(|_| Spares::none()).collect());
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (replay, entries, room) = (Arc::clone(&replay), Arc::clone(&entries), Arc::clone(&room));
            tokio::spawn(async move {
                for turn in 0..200 {
                    entries[(task + turn / 20) % 8].take(&*replay, &stored(1, 9), &room).await.unwrap();
                    assert!(room.taken() <= size);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let ready: usize = entries.iter().map(Spares::ready).sum();
    assert!(ready * COPY_BYTES <= room.taken());
    // Each copy went to one caller, or is there still, or made room.
    assert!(replay.minted().into_iter().sum::<usize>() >= 64 * 200 + ready);
    drop(entries);
    assert_eq!(room.taken(), 0);
}
