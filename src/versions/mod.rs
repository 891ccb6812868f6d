//! The versions of all tables of a database, shared by every pool on it in this process.
//!
//! In: names of tables that are about to be written. Out: the cells behind them, and the mark of a write in flight.
//! It never forgets the cell of a table, never lowers a version, and never ends a write whose outcome is not known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::stamp::{Cell, Stamp};

/// The versions of one database.
#[derive(Debug)]
pub(crate) struct Versions {
    everything: Arc<Cell>,
    catalog: Arc<[Arc<Cell>]>,
    tables: Cells,
    tags: Tags,
}

/// Cells by name.
#[derive(Debug, Default)]
struct Cells(RwLock<HashMap<Arc<str>, Arc<Cell>>>);

impl Cells {
    fn get(&self, name: &str) -> Arc<Cell> {
        if let Some(cell) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return cell.clone();
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(name.into()).or_default().clone()
    }
}

/// Cells of tags, for as long as a result rests on them: an application may make a tag for each of its users.
#[derive(Debug, Default)]
struct Tags(Mutex<InUse>);

#[derive(Debug, Default)]
struct InUse {
    cells: HashMap<Arc<str>, Weak<Cell>>,
    /// Number of cells at which those that are gone are looked for.
    sweep_at: usize,
}

impl Tags {
    fn get(&self, name: &Arc<str>) -> Arc<Cell> {
        let mut in_use = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = in_use.cells.get(name).and_then(Weak::upgrade) {
            return cell;
        }
        if in_use.cells.len() >= in_use.sweep_at {
            in_use.cells.retain(|_, cell| cell.strong_count() > 0);
            in_use.sweep_at = (2 * in_use.cells.len()).max(64);
        }
        let cell = Arc::default();
        in_use.cells.insert(name.clone(), Arc::downgrade(&cell));
        cell
    }

    fn in_use(&self, name: &str) -> Option<Arc<Cell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cells.get(name)?.upgrade()
    }
}

/// Two pools on one database must see each other's writes, however they were made. Only the process can know of both.
static DATABASES: Mutex<Vec<(String, Weak<Versions>)>> = Mutex::new(Vec::new());

impl Versions {
    /// The versions of the database of that name; the same for every caller in this process.
    pub fn of(database: &str) -> Arc<Self> {
        let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
        databases.retain(|(_, versions)| versions.strong_count() > 0);
        let found = databases.iter().find(|(name, _)| name == database).and_then(|(_, versions)| versions.upgrade());
        found.unwrap_or_else(|| {
            let versions = Arc::new(Self {
                everything: Arc::default(),
                catalog: [Arc::default()].into(),
                tables: Cells::default(),
                tags: Tags::default(),
            });
            databases.push((database.to_owned(), Arc::downgrade(&versions)));
            versions
        })
    }

    /// The versions of every database known to this process: for a write to a database that could not be named.
    pub fn all() -> Vec<Arc<Self>> {
        let databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
        databases.iter().filter_map(|(_, versions)| versions.upgrade()).collect()
    }

    /// The cell of a table, by its full name.
    pub fn table(&self, name: &str) -> Arc<Cell> {
        self.tables.get(name)
    }

    /// The cells that a read of `tables` rests on: theirs, and the one that stands for all.
    pub fn read_cells<'n>(&self, tables: impl IntoIterator<Item = &'n str>) -> Arc<[Arc<Cell>]> {
        std::iter::once(self.everything.clone()).chain(tables.into_iter().map(|name| self.table(name))).collect()
    }

    /// What a read rests on that rests on `cells` and goes by these tags as well.
    pub fn tagged<'t>(&self, cells: &[Arc<Cell>], tags: impl IntoIterator<Item = &'t Arc<str>>) -> Arc<[Arc<Cell>]> {
        cells.iter().cloned().chain(tags.into_iter().map(|tag| self.tags.get(tag))).collect()
    }

    /// What is dropped with a tag; `None` where nothing rests on it.
    pub fn tag(&self, name: &str) -> Option<Arc<Cell>> {
        self.tags.in_use(name)
    }

    /// What a write of `tables` changes.
    pub fn write_cells<'n>(&self, tables: impl IntoIterator<Item = &'n str>) -> Arc<[Arc<Cell>]> {
        tables.into_iter().map(|name| self.table(name)).collect()
    }

    /// What a write changes that may change any table, and the schema with it.
    pub fn everything(&self) -> Arc<[Arc<Cell>]> {
        // The catalog first: who still finds it unchanged took his stamp before anything was armed.
        [self.catalog[0].clone(), self.everything.clone()].into()
    }

    /// What a write changes that may change any table, but not the schema.
    pub fn all_tables(&self) -> Arc<[Arc<Cell>]> {
        [self.everything.clone()].into()
    }

    /// A stamp on what is known of the schema. `None` while it is being changed.
    pub fn catalog(&self) -> Option<Stamp> {
        Stamp::take(&self.catalog)
    }
}

/// A write in flight. To let go of it without [`Mark::finish`] leaves its cells in flight for good, which is what an
/// unknown outcome calls for: nothing that rests on them is cached any more, and nothing wrong is served.
#[derive(Debug, Default)]
#[must_use = "cells stay in flight until the mark is finished"]
pub(crate) struct Mark {
    cells: Vec<Arc<[Arc<Cell>]>>,
}

impl Mark {
    /// Puts `cells` in flight.
    pub fn arm(cells: Arc<[Arc<Cell>]>) -> Self {
        let mut mark = Self::default();
        mark.extend(cells);
        mark
    }

    /// Puts more cells in flight under the same mark.
    pub fn extend(&mut self, cells: Arc<[Arc<Cell>]>) {
        cells.iter().for_each(|cell| cell.arm());
        self.cells.push(cells);
    }

    /// The outcome of the write is definite: it can change nothing any more.
    pub fn finish(self) {
        // In reverse, so that the catalog opens last.
        self.cells.iter().flat_map(|cells| cells.iter()).rev().for_each(|cell| cell.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_database_has_one_set_of_versions() {
        let a = Versions::of("versions-test-a");
        assert!(Arc::ptr_eq(&a, &Versions::of("versions-test-a")));
        assert!(!Arc::ptr_eq(&a, &Versions::of("versions-test-b")));
        assert!(Versions::all().iter().any(|v| Arc::ptr_eq(v, &a)));
    }

    #[test]
    fn a_write_voids_what_rests_on_its_table_only() {
        let versions = Versions::of("versions-test-c");
        let on = |tables: &[&str]| Stamp::take(&versions.read_cells(tables.iter().copied())).unwrap();
        let (users, orders) = (on(&["users"]), on(&["orders"]));
        Mark::arm(versions.write_cells(["users"])).finish();
        assert!(!users.holds());
        assert!(orders.holds());
        Mark::arm(versions.all_tables()).finish();
        assert!(!orders.holds());
    }

    #[test]
    fn a_tag_lives_as_long_as_what_rests_on_it() {
        let versions = Versions::of("versions-test-f");
        let on = |tag: String| Stamp::take(&versions.tagged(&[], [&Arc::from(tag)])).unwrap();
        let kept: Vec<Stamp> = (0..100).map(|n| on(format!("kept {n}"))).collect();
        for n in 0..10_000 {
            drop(on(format!("gone {n}")));
        }
        assert!(versions.tags.0.lock().unwrap().cells.len() <= 2 * kept.len() + 64);
        assert!(versions.tag("gone 9999").is_none() && versions.tag("never there").is_none());
        for (n, stamp) in kept.iter().enumerate() {
            assert!(stamp.holds());
            Mark::arm([versions.tag(&format!("kept {n}")).unwrap()].into()).finish();
            assert!(!stamp.holds());
        }
        assert!(kept.iter().all(|stamp| !stamp.same(&on("kept 1".into()))));
    }

    #[test]
    fn a_mark_let_go_keeps_its_cells_in_flight() {
        let versions = Versions::of("versions-test-d");
        let cells = versions.read_cells(["users"]);
        drop(Mark::arm(versions.write_cells(["users"])));
        assert!(Stamp::take(&cells).is_none());
    }

    #[test]
    fn only_a_schema_change_voids_the_catalog() {
        let versions = Versions::of("versions-test-e");
        let known = versions.catalog().unwrap();
        Mark::arm(versions.all_tables()).finish();
        assert!(known.holds());
        let mark = Mark::arm(versions.everything());
        assert!(versions.catalog().is_none());
        mark.finish();
        assert!(!known.holds());
    }
}
