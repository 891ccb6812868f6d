//! What every room of replay must hold to, whatever its database: each takes these tests over a scene of its own.
//!
//! In: a scene of a room. Out: tests that pass.
//! It never knows a database.

use std::sync::Arc;

use sqlx::Database;

use super::spares::{Room, Spares};
use super::{Replay, Unfaithful};
use crate::entry::Stored;

#[cfg(all(unix, any(feature = "mysql", feature = "postgres")))]
pub(super) mod links;
pub(super) mod many_at_once;
#[cfg(all(unix, any(feature = "mysql", feature = "postgres")))]
#[allow(clippy::duplicate_mod, reason = "each room's tests load it for themselves: no room may use another's tests")]
#[path = "../../../tests/it/servers/mod.rs"]
pub(super) mod servers;
pub(super) mod sizes;
pub(super) mod speed;

pub(super) type Row<S> = <<S as Stage>::Database as Database>::Row;
pub(super) type Shape<S> = <<S as Stage>::Replay as Replay<<S as Stage>::Database>>::Shape;

/// What these tests need of a scene: a replay, and a connection to a fresh database.
pub(super) trait Stage: Sized {
    type Database: Database;
    type Replay: Replay<Self::Database>;

    async fn new() -> Self;
    fn replay(&self) -> &Self::Replay;
    fn into_replay(self) -> Self::Replay;

    /// A SELECT of `columns` for each `i` from 1 to `rows`.
    fn series(columns: &str, rows: usize) -> String;

    /// What the database answers.
    async fn fetch(&mut self, sql: &str) -> Vec<Row<Self>>;

    async fn keep(
        &mut self,
        sql: &str,
        rows: &[Row<Self>],
        previous: Option<&Arc<Shape<Self>>>,
    ) -> Result<Stored<Shape<Self>>, Unfaithful>;

    /// The bytes of rows that came back.
    fn encode(rows: &[Row<Self>], shape: &Shape<Self>) -> Vec<u8>;

    fn text(row: &Row<Self>, column: usize) -> &str;

    /// Whether a SELECT of so many rows completes like this.
    fn completes(result: &<Self::Database as Database>::QueryResult, rows: usize) -> bool;

    /// Columns and bytes.
    fn assert_same_cells(direct: &[Row<Self>], replayed: &[Row<Self>]);

    /// Columns, bytes, and whatever a decode of any kind gives.
    fn assert_same(direct: &[Row<Self>], replayed: &[Row<Self>]);

    /// What the database answers, and the same as it is kept.
    async fn load(&mut self, sql: &str) -> (Vec<Row<Self>>, Stored<Shape<Self>>) {
        let rows = self.fetch(sql).await;
        let stored = self.keep(sql, &rows, None).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        (rows, stored)
    }

    /// Loads, keeps, gives back twice (the second time the shape is known), then as copies, and compares.
    async fn comes_back(&mut self, sql: &str) -> Vec<Row<Self>> {
        let (rows, stored) = self.load(sql).await;
        let mut replayed = Vec::new();
        for _ in 0..2 {
            let again = self.replay().replay(&stored).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert!(Self::completes(&again.result, rows.len()), "{sql}");
            Self::assert_same_cells(&rows, &again.rows);
            replayed.push(again.rows);
        }
        let copies = hits::<Self>(self.replay(), &stored).await;
        for copy in &copies {
            Self::assert_same_cells(&rows, copy);
        }
        // Decodes may leave traces on a row, so that each is compared once.
        Self::assert_same(&rows, &replayed[1]);
        Self::assert_same(&replayed[0], &copies[5]);
        rows
    }
}

/// Gives a result back as often as it takes for several batches of copies, and then from none: all of them.
pub(super) async fn hits<S: Stage>(replay: &S::Replay, stored: &Stored<Shape<S>>) -> Vec<Vec<Row<S>>> {
    let (spares, room) = (Spares::none(), Room::beside(64 << 20));
    let mut copies = Vec::new();
    for _ in 0..8 {
        let copy = spares.take(replay, stored, &room).await.unwrap();
        assert!(S::completes(&copy.result, stored.rows));
        copies.push(copy.rows);
    }
    drop(spares);
    assert_eq!(room.taken(), 0);
    copies
}

/// Runs functions that take a scene as tests of the scene here.
macro_rules! tests_of {
    ($scene:ty, $from:ident: $($name:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            $crate::replay::tests::$from::$name::<$scene>().await;
        })+
    };
}
pub(super) use tests_of;

/// The tests of any room.
macro_rules! room_tests {
    ($scene:ty) => {
        $crate::replay::tests::tests_of!($scene, many_at_once:
            concurrent_hits, one_entry_in_many_hands, a_hit_with_spares_may_be_dropped, a_large_hit_may_be_dropped);
        $crate::replay::tests::tests_of!($scene, sizes:
            none_one_and_many_rows_come_back, many_columns_come_back, row_bytes_are_what_is_stored);

        #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
        async fn concurrent_hits_on_many_threads() {
            $crate::replay::tests::many_at_once::concurrent_hits::<$scene>().await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
        async fn one_entry_on_many_threads() {
            $crate::replay::tests::many_at_once::one_entry_in_many_hands::<$scene>().await;
        }

        #[test]
        fn it_outlives_runtimes_and_drops_within_one() {
            $crate::replay::tests::many_at_once::it_outlives_runtimes_and_drops_within_one::<$scene>();
        }

        #[tokio::test]
        #[ignore = "a measurement"]
        async fn speed() {
            $crate::replay::tests::speed::speed::<$scene>().await;
        }
    };
}
pub(super) use room_tests;

/// Those of a room with links, besides.
#[cfg(all(unix, any(feature = "mysql", feature = "postgres")))]
macro_rules! link_tests {
    ($scene:ty, $protocol:ty) => {
        $crate::replay::tests::tests_of!($scene, links:
            a_small_hit_never_waits, wide_rows_come_back, damaged_bytes_are_refused, large_damaged_bytes_are_refused,
            random_damage_does_no_harm);

        #[tokio::test]
        async fn an_open_link_leaves_no_folder() {
            $crate::replay::tests::links::an_open_link_leaves_no_folder::<$protocol>().await;
        }
    };
}
#[cfg(all(unix, any(feature = "mysql", feature = "postgres")))]
pub(super) use link_tests;
