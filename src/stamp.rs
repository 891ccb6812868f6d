//! Which versions of which cells a result rests on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

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
}

impl Cell {
    /// A write begins: what rested on the old version is void, and nothing may rest on the new one yet.
    pub fn arm(&self) {
        self.state.fetch_add(ONE_VERSION + ONE_WRITER, SeqCst);
    }

    /// That write is over. The version moves again: what was read meanwhile is void too.
    pub fn finish(&self) {
        self.state.fetch_add(ONE_VERSION - ONE_WRITER, SeqCst);
    }

    /// The version, unless a write is in flight.
    fn version(&self) -> Option<u64> {
        let state = self.state.load(SeqCst);
        (state & WRITERS == 0).then_some(state)
    }
}

/// The versions of some cells at one moment at which none of them had a write in flight.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
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
        Some(Self { cells: cells.clone(), versions })
    }

    /// Whether nothing was written since, and nothing is being written now.
    pub fn holds(&self) -> bool {
        self.cells.iter().zip(&self.versions).all(|(cell, version)| cell.version() == Some(*version))
    }

    /// Whether the first of the cells is as it was. In a stamp on what a read rests on, that is the cell that stands for
    /// everything: if it is, then what has changed since is a table, not the schema or somebody's rights.
    pub fn first_holds(&self) -> bool {
        self.cells.iter().zip(&self.versions).take(1).all(|(cell, version)| cell.version() == Some(*version))
    }

    /// Whether both stand for the same versions of the same cells.
    pub fn same(&self, other: &Self) -> bool {
        self.versions == other.versions
            && self.cells.len() == other.cells.len()
            && self.cells.iter().zip(other.cells.iter()).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Bytes of memory that the stamp alone holds.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.versions)
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
