//! Which versions of which cells a result rests on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use arc_swap::ArcSwapOption;

/// Bits of a cell's state that count the writers in flight; the version is above them.
const WRITER_BITS: u32 = 20;
const ONE_WRITER: u64 = 1;
const ONE_VERSION: u64 = 1 << WRITER_BITS;
const WRITERS: u64 = ONE_VERSION - 1;

/// Something that a write changes as a whole and a read rests on: today a table, the catalog, or everything at once.
///
/// Version and writers in flight share one word, so that one load tells whether a stamp holds.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    state: AtomicU64,
    /// The same in every process.
    name: Arc<str>,
    /// Which of the databases of this process it belongs to.
    database: usize,
}

impl Cell {
    pub fn new(database: usize, name: impl Into<Arc<str>>) -> Self {
        Self { state: AtomicU64::new(0), name: name.into(), database }
    }

    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn database(&self) -> usize {
        self.database
    }

    /// A write begins: what rested on the old version is void, and nothing may rest on the new one yet.
    pub fn arm(&self) {
        self.state.fetch_add(ONE_VERSION + ONE_WRITER, SeqCst);
    }

    /// That write is over. The version moves again: what was read meanwhile is void too.
    pub fn finish(&self) {
        self.state.fetch_add(ONE_VERSION - ONE_WRITER, SeqCst);
    }

    /// Whether it was ever written.
    #[cfg(feature = "redis")]
    pub fn was_written(&self) -> bool {
        self.state.load(SeqCst) != 0
    }

    /// The version, unless a write is in flight.
    fn version(&self) -> Option<u64> {
        let state = self.state.load(SeqCst);
        (state & WRITERS == 0).then_some(state)
    }
}

/// The versions of some cells at one moment at which none of them had a write in flight. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Stamp(Arc<Moment>);

#[derive(Debug)]
struct Moment {
    cells: Arc<[Arc<Cell>]>,
    versions: Box<[u64]>,
}

impl Stamp {
    /// Reads the versions of `cells`. `None` while a write to one of them is in flight.
    ///
    /// The cells are read one after the other, which is enough: a stamp is only ever used through [`Stamp::holds`], and
    /// versions never come back.
    pub fn take(cells: &Arc<[Arc<Cell>]>) -> Option<Self> {
        let versions = cells.iter().map(|cell| cell.version()).collect::<Option<_>>()?;
        Some(Self(Arc::new(Moment { cells: cells.clone(), versions })))
    }

    /// Whether nothing was written since, and nothing is being written now.
    pub fn holds(&self) -> bool {
        self.cells().all(|(cell, version)| cell.version() == Some(*version))
    }

    /// Whether the first of the cells is as it was. In a stamp on what a read rests on, that is the cell that stands for
    /// everything: if it is, then what has changed since is a table, not the schema or somebody's rights.
    pub fn first_holds(&self) -> bool {
        self.cells().take(1).all(|(cell, version)| cell.version() == Some(*version))
    }

    /// Whether both stand for the same versions of the same cells.
    pub fn same(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        Arc::ptr_eq(&self.0, &other.0)
            || a.versions == b.versions
                && a.cells.len() == b.cells.len()
                && a.cells.iter().zip(b.cells.iter()).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn cells(&self) -> impl Iterator<Item = (&Arc<Cell>, &u64)> {
        self.0.cells.iter().zip(&self.0.versions)
    }
}

/// The last stamp on the same cells, so that results loaded while nothing is written share one.
#[derive(Debug, Default)]
pub(crate) struct LastStamp(ArcSwapOption<Moment>);

impl LastStamp {
    /// As [`Stamp::take`].
    pub fn take(&self, cells: &Arc<[Arc<Cell>]>) -> Option<Stamp> {
        // If it holds, then to read the versions again would give the same.
        if let Some(last) = self.0.load_full().map(Stamp)
            && last.holds()
        {
            return Some(last);
        }
        let stamp = Stamp::take(cells)?;
        self.0.store(Some(stamp.0.clone()));
        Some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(n: usize) -> Arc<[Arc<Cell>]> {
        (0..n).map(|_| Arc::new(Cell::default())).collect()
    }

    #[test]
    fn holds_until_any_cell_is_armed() {
        let cells = cells(3);
        let stamp = Stamp::take(&cells).unwrap();
        assert!(stamp.holds());
        cells[2].arm();
        assert!(!stamp.holds());
        assert!(Stamp::take(&cells).is_none());
        cells[2].finish();
        assert!(!stamp.holds(), "an old version must never become valid again");
        assert!(Stamp::take(&cells).unwrap().holds());
    }

    #[test]
    fn a_cell_stays_in_flight_while_any_writer_is() {
        let cells = cells(1);
        cells[0].arm();
        cells[0].arm();
        cells[0].finish();
        assert!(Stamp::take(&cells).is_none());
        cells[0].finish();
        assert!(Stamp::take(&cells).is_some());
    }

    #[test]
    fn the_last_stamp_is_taken_again_while_it_holds() {
        let (cells, last) = (cells(2), LastStamp::default());
        let first = last.take(&cells).unwrap();
        assert!(Arc::ptr_eq(&first.0, &last.take(&cells).unwrap().0));
        cells[1].arm();
        assert!(last.take(&cells).is_none());
        cells[1].finish();
        let second = last.take(&cells).unwrap();
        assert!(second.holds() && !second.same(&first));
    }

    #[test]
    fn same_means_same_cells_and_versions() {
        let (a, b) = (cells(2), cells(2));
        let first = Stamp::take(&a).unwrap();
        assert!(first.same(&Stamp::take(&a).unwrap()));
        assert!(!first.same(&Stamp::take(&b).unwrap()));
        a[0].arm();
        a[0].finish();
        assert!(!first.same(&Stamp::take(&a).unwrap()));
    }
}
