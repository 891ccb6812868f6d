//! The versions of all tables of a database, shared by every pool on it in this process.
//!
//! In: names of tables that are about to be written. Out: the cells behind them, and the mark of a write in flight.
//! It never forgets the cell of a table, never lowers a version, and never ends a write whose outcome is not known.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::task::{Context, Poll};

use crate::stamp::{Cell, Stamp};

#[cfg(feature = "redis")]
mod mirror;
#[cfg_attr(not(feature = "redis"), path = "no_node.rs")]
mod node;

pub(crate) use node::{Node, Notice};
#[cfg(feature = "redis")]
pub(crate) use {mirror::Ticket, node::Place};

/// The versions of one database.
#[derive(Debug)]
pub(crate) struct Versions {
    /// Names the database in this process.
    id: usize,
    everything: Arc<Cell>,
    catalog: Arc<[Arc<Cell>]>,
    tables: Cells,
    tags: Tags,
    /// This process among others that share the versions.
    node: OnceLock<Arc<Node>>,
}

/// Cells by name.
#[derive(Debug, Default)]
struct Cells(RwLock<HashMap<Arc<str>, Arc<Cell>>>);

/// The names that cells have in every process: what they stand for, and what that is called.
const EVERYTHING: &str = "*";
const CATALOG: &str = "!";

impl Cells {
    fn get(&self, database: usize, name: &str) -> Arc<Cell> {
        if let Some(cell) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return cell.clone();
        }
        let mut cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cells.entry(name.into()).or_insert_with(|| Arc::new(Cell::new(database, format!(":{name}")))).clone()
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
    fn get(&self, database: usize, name: &Arc<str>) -> Arc<Cell> {
        let mut in_use = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = in_use.cells.get(name).and_then(Weak::upgrade) {
            return cell;
        }
        if in_use.cells.len() >= in_use.sweep_at {
            in_use.cells.retain(|_, cell| cell.strong_count() > 0);
            in_use.sweep_at = (2 * in_use.cells.len()).max(64);
        }
        let cell = Arc::new(Cell::new(database, format!("#{name}")));
        in_use.cells.insert(name.clone(), Arc::downgrade(&cell));
        cell
    }

    fn in_use(&self, name: &str) -> Option<Arc<Cell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cells.get(name)?.upgrade()
    }
}

/// Two pools on one database must see each other's writes, however they were made. Only the process can know of both.
static DATABASES: Mutex<Vec<(String, Weak<Versions>)>> = Mutex::new(Vec::new());

/// Whether any of them is shared with other processes.
static ANY_IS_SHARED: AtomicBool = AtomicBool::new(false);

/// Whether anything was written to a database that was not known yet, not even by name.
#[cfg(feature = "redis")]
static UNKNOWN_WRITES: AtomicBool = AtomicBool::new(false);

/// Something is written to a database that is not known yet, of which other nodes ought to be told.
#[cfg(feature = "redis")]
pub(crate) fn writes_unknown() {
    UNKNOWN_WRITES.store(true, SeqCst);
}

impl Versions {
    /// The versions of the database of that name; the same for every caller in this process.
    pub fn of(database: &str) -> Arc<Self> {
        let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
        databases.retain(|(_, versions)| versions.strong_count() > 0);
        let found = databases.iter().find(|(name, _)| name == database).and_then(|(_, versions)| versions.upgrade());
        found.unwrap_or_else(|| {
            static NEXT: AtomicUsize = AtomicUsize::new(1);
            let id = NEXT.fetch_add(1, Relaxed);
            let versions = Arc::new(Self {
                id,
                everything: Arc::new(Cell::new(id, EVERYTHING)),
                catalog: [Arc::new(Cell::new(id, CATALOG))].into(),
                tables: Cells::default(),
                tags: Tags::default(),
                node: OnceLock::new(),
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
        self.tables.get(self.id, name)
    }

    /// This process among others that share the versions, if it does.
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.get()
    }

    /// Shares the versions with other processes from now on. The first who says how is followed.
    #[cfg(feature = "redis")]
    pub fn share(
        &self,
        join: impl FnOnce([&Arc<Cell>; 2]) -> Result<Arc<Node>, crate::tier::Down>,
    ) -> Result<&Arc<Node>, crate::tier::Down> {
        let joining = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
        let joins = self.node.get().is_none();
        let was_written = UNKNOWN_WRITES.load(SeqCst) || self.was_written();
        if joins {
            let node = join([&self.catalog[0], &self.everything])?;
            let _ = self.node.set(node);
            ANY_IS_SHARED.store(true, SeqCst);
        }
        drop(joining);
        if joins && was_written {
            // Nobody else was told.
            drop(Mark::arm(self.everything()).finish());
        }
        // What was kept so far rests on what this process alone knew.
        Mark::arm_here(self.everything()).finish_here();
        Ok(self.node.get().expect("it was set just now"))
    }

    /// The cells that a read of `tables` rests on: theirs, and the one that stands for all.
    pub fn read_cells<'n>(&self, tables: impl IntoIterator<Item = &'n str>) -> Arc<[Arc<Cell>]> {
        std::iter::once(self.everything.clone()).chain(tables.into_iter().map(|name| self.table(name))).collect()
    }

    /// What a read rests on that rests on `cells` and goes by these tags as well.
    pub fn tagged<'t>(&self, cells: &[Arc<Cell>], tags: impl IntoIterator<Item = &'t Arc<str>>) -> Arc<[Arc<Cell>]> {
        cells.iter().cloned().chain(tags.into_iter().map(|tag| self.tags.get(self.id, tag))).collect()
    }

    /// What is dropped with a tag; `None` where nothing rests on it. Other processes may have what this one has not.
    pub fn tag(&self, name: &str) -> Option<Arc<Cell>> {
        match self.node.get() {
            Some(_) => Some(self.tags.get(self.id, &name.into())),
            None => self.tags.in_use(name),
        }
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

    #[cfg(feature = "redis")]
    fn was_written(&self) -> bool {
        let tables = self.tables.0.read().unwrap_or_else(PoisonError::into_inner);
        let own = [&self.everything, &self.catalog[0]];
        own.into_iter().chain(tables.values()).any(|cell| cell.was_written())
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
    /// What other processes are told.
    notices: Vec<Notice>,
}

impl Mark {
    /// Puts `cells` in flight, in this process at once, and tells other processes.
    pub fn arm(cells: Arc<[Arc<Cell>]>) -> Self {
        Self::arm_all([cells])
    }

    /// The same for several at once.
    pub fn arm_all(cells: impl IntoIterator<Item = Arc<[Arc<Cell>]>>) -> Self {
        let mut mark = Self::default();
        cells.into_iter().for_each(|cells| mark.extend_here(cells));
        mark.notices = by_node(mark.cells.iter().flat_map(|cells| cells.iter()))
            .into_iter()
            .map(|(node, cells)| node.announce(cells))
            .collect();
        mark
    }

    /// Returns when other processes know of the write, or cannot be told. False if it must not be done then.
    pub async fn sent(&mut self) -> bool {
        let mut may = true;
        for notice in &mut self.notices {
            may &= notice.sent().await;
        }
        may
    }

    /// Puts more cells in flight under the same mark, of which others hear when it is finished.
    pub fn extend(&mut self, cells: Arc<[Arc<Cell>]>) {
        for (node, cells) in by_node(cells.iter()) {
            match self.notices.iter_mut().find(|notice| notice.is_of(&node)) {
                Some(notice) => notice.add(cells),
                None => self.notices.push(node.announce(cells)),
            }
        }
        self.extend_here(cells);
    }

    #[cfg(feature = "redis")]
    fn arm_here(cells: Arc<[Arc<Cell>]>) -> Self {
        let mut mark = Self::default();
        mark.extend_here(cells);
        mark
    }

    fn extend_here(&mut self, cells: Arc<[Arc<Cell>]>) {
        cells.iter().for_each(|cell| cell.arm());
        self.cells.push(cells);
    }

    /// The outcome of the write is definite: it can change nothing any more. Where others have to be told, this process goes on
    /// to keep nothing of it until they were.
    pub fn finish(mut self) -> Finished {
        let mut notices = std::mem::take(&mut self.notices);
        if notices.is_empty() {
            // Begun before anybody else was known.
            let cells = self.cells.iter().flat_map(|cells| cells.iter());
            notices = by_node(cells).into_iter().map(|(node, cells)| node.announce(cells)).collect();
        }
        if notices.is_empty() {
            self.finish_here();
            return Finished::default();
        }
        // Opened by the last of them.
        let open = Arc::new(Mutex::new(Some(self)));
        let left = Arc::new(AtomicUsize::new(notices.len()));
        let each = notices.into_iter().map(|notice| {
            let (open, left) = (open.clone(), left.clone());
            notice.finish(move || {
                if left.fetch_sub(1, SeqCst) == 1
                    && let Some(mark) = open.lock().unwrap_or_else(PoisonError::into_inner).take()
                {
                    mark.finish_here();
                }
            })
        });
        Finished(each.collect())
    }

    fn finish_here(self) {
        // In reverse, so that the catalog opens last.
        self.cells.iter().flat_map(|cells| cells.iter()).rev().for_each(|cell| cell.finish());
    }
}

/// Ready once others were told that a write is over, or cannot be told. It goes on when nobody waits for it.
#[derive(Debug, Default)]
pub(crate) struct Finished(Vec<node::Finished>);

impl Finished {
    /// Whether there is anything to wait for.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

impl Future for Finished {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.retain_mut(|finished| Pin::new(finished).poll(context).is_pending());
        if self.0.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The cells that other processes know, by whom they are told.
fn by_node<'c>(cells: impl Iterator<Item = &'c Arc<Cell>>) -> Vec<(Arc<Node>, Vec<Arc<Cell>>)> {
    let mut nodes: Vec<(usize, Arc<Node>, Vec<Arc<Cell>>)> = Vec::new();
    if !ANY_IS_SHARED.load(SeqCst) {
        return Vec::new();
    }
    let shared: Vec<Arc<Versions>> = Versions::all().into_iter().filter(|versions| versions.node().is_some()).collect();
    for cell in cells {
        if let Some((_, _, cells)) = nodes.iter_mut().find(|(id, ..)| *id == cell.database()) {
            if !cells.iter().any(|known| Arc::ptr_eq(known, cell)) {
                cells.push(cell.clone());
            }
        } else if let Some(versions) = shared.iter().find(|versions| versions.id == cell.database())
            && let Some(node) = versions.node()
        {
            nodes.push((versions.id, node.clone(), vec![cell.clone()]));
        }
    }
    nodes.into_iter().map(|(_, node, cells)| (node, cells)).collect()
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
        drop(Mark::arm(versions.write_cells(["users"])).finish());
        assert!(!users.holds());
        assert!(orders.holds());
        drop(Mark::arm(versions.all_tables()).finish());
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
            drop(Mark::arm([versions.tag(&format!("kept {n}")).unwrap()].into()).finish());
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
        drop(Mark::arm(versions.all_tables()).finish());
        assert!(known.holds());
        let mark = Mark::arm(versions.everything());
        assert!(versions.catalog().is_none());
        drop(mark.finish());
        assert!(!known.holds());
    }
}
