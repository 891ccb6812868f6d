//! What one unit of work asks again and again.
//!
//! In: each statement that is asked for within a unit, which the task carries along. Out: to the record of a statement, that it was asked
//! ten times or more, and from where. Outside of a unit nothing is counted.
//! The stack is looked at twice for a statement and unit, at a call in between and at the tenth, so that a loop is told from code that
//! happens to ask the same in several places. An even number of calls lies between the two: a loop may ask in two places. Of units at
//! which nobody looked, the same share counts as of those that were looked at. Symbols are looked up only when somebody wants to see
//! them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Subject;
use super::record::Record;

/// Calls of a statement in one unit from which on it counts as asked again and again.
const THRESHOLD: u64 = 10;
/// The call whose place in the code is compared with that of the tenth.
const EARLY: u64 = 4;
/// Most statements that are counted in one unit, those asked first.
const MOST: usize = 256;
/// Most frames of a stack that are kept, the innermost.
const DEPTH: usize = 96;

/// How many have ended.
static ENDED: AtomicU64 = AtomicU64::new(0);

/// How many have ended in this process.
pub(super) fn ended() -> u64 {
    ENDED.load(Relaxed)
}

tokio::task_local! {
    static UNIT: RefCell<Unit>;
}

/// Runs `work` as one unit, such as the handling of one request, and looks for statements that it asks again and again: *N+1*, where a
/// list is followed by a query for each of its items.
///
/// A statement that is asked ten times or more within one unit, from the same place in the code, is told with that place in
/// [`QueryStats::n_plus_one`](crate::QueryStats::n_plus_one) and in the [report](crate::CachedPool::report); calls through a pool, as
/// shared values, on connections and in transactions count alike. Tasks that `work` spawns are not part of the unit. A unit within another
/// is counted by itself.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
/// sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)").execute(&pool).await?;
/// larder::unit_of_work(async {
///     for id in 1..=20 {
///         sqlx::query("SELECT name FROM users WHERE id = $1").bind(id).fetch_optional(&pool).await?;
///     }
///     Ok::<_, sqlx::Error>(())
/// })
/// .await?;
/// let found = pool.queries().into_iter().find_map(|query| query.n_plus_one);
/// assert_eq!(found.map(|found| (found.units, found.calls)), Some((1, 20)));
/// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
/// ```
///
/// For each request of axum:
///
/// ```
/// use axum::extract::Request;
/// use axum::middleware::{self, Next};
///
/// # async fn hello() -> &'static str { "hello" }
/// let app: axum::Router = axum::Router::new()
///     .route("/", axum::routing::get(hello))
///     .layer(middleware::from_fn(|request: Request, next: Next| larder::unit_of_work(next.run(request))));
/// ```
pub async fn unit_of_work<F: Future>(work: F) -> F::Output {
    UNIT.scope(RefCell::default(), work).await
}

/// A statement is asked for.
pub(super) fn asks(subject: &Subject) {
    let _ = UNIT.try_with(|unit| {
        if let (Some(record), Ok(mut unit)) = (&subject.record, unit.try_borrow_mut()) {
            unit.asks(record);
        }
    });
}

/// What was asked for in one unit, by the address of the record, which is held as long.
#[derive(Default)]
struct Unit {
    seen: HashMap<usize, Seen, foldhash::fast::RandomState>,
}

struct Seen {
    record: Arc<Record>,
    calls: u64,
    early: Option<Stack>,
    late: Option<Stack>,
}

impl Unit {
    fn asks(&mut self, record: &Arc<Record>) {
        let name = Arc::as_ptr(record).addr();
        if !self.seen.contains_key(&name) && (self.seen.len() >= MOST || record.stands_for_others()) {
            return;
        }
        let new = || Seen { record: record.clone(), calls: 0, early: None, late: None };
        let seen = self.seen.entry(name).or_insert_with(new);
        seen.calls += 1;
        match seen.calls {
            EARLY if record.wants_stack() => seen.early = Some(Stack::here()),
            THRESHOLD if seen.early.is_some() => seen.late = Some(Stack::here()),
            _ => {}
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Relaxed);
        for (_, Seen { record, calls, early, late }) in self.seen.drain().filter(|(_, seen)| seen.calls >= THRESHOLD) {
            record.repeated(calls, early.zip(late).map(|(early, late)| Sighting { calls, early, late }));
        }
    }
}

/// Where the calls of one unit came from.
#[derive(Debug)]
pub(super) struct Sighting {
    pub calls: u64,
    early: Stack,
    late: Stack,
}

impl Sighting {
    /// The place in the code that both calls came from; `Err`: they came from different ones.
    pub fn site(&self) -> Result<Option<String>, Apart> {
        let late = self.late.site();
        if self.early.site() == late { Ok(late) } else { Err(Apart) }
    }
}

/// Two calls came from different places.
#[derive(Debug)]
pub(super) struct Apart;

/// Addresses in the code, the innermost first.
#[derive(Debug)]
struct Stack(Box<[usize]>);

impl Stack {
    fn here() -> Self {
        let mut addresses = Vec::with_capacity(DEPTH);
        backtrace::trace(|frame| {
            addresses.push(frame.ip().addr());
            addresses.len() < DEPTH
        });
        Self(addresses.into_boxed_slice())
    }

    /// The innermost place in the code that is in no library on the way from there to here.
    fn site(&self) -> Option<String> {
        let mut own = None;
        self.0.iter().find_map(|address| {
            let mut site = None;
            backtrace::resolve(std::ptr::without_provenance_mut::<c_void>(*address), |symbol| {
                let file = symbol.filename().and_then(Path::to_str);
                if own.is_none() {
                    // The stack begins in this file.
                    own = file.and_then(|file| file.strip_suffix("observe/unit.rs")).map(str::to_owned);
                }
                // Of functions that were inlined into each other, the innermost comes first.
                if site.is_none() {
                    let name = symbol.name().map(|name| format!("{name:#}")).unwrap_or_default();
                    site = place(&name, file.zip(symbol.lineno()), own.as_deref());
                }
            });
            site
        })
    }
}

/// A place in the application, in words. `None`: it is in a library.
///
/// Where the file is known, it decides, since a function that was inlined may go by a name without a path.
fn place(function: &str, line: Option<(&str, u32)>, own: Option<&str>) -> Option<String> {
    let function = without_closures(function);
    let is_whole = crate_of(function).is_some();
    let Some((file, line)) = line else {
        let is_shown = crate_of(function).is_some_and(|name| !is_on_the_way(name));
        return is_shown.then(|| function.to_owned());
    };
    let is_own = own.is_some_and(|own| file.starts_with(own));
    // Of a library without lines, generic functions may have the file of the one who calls them.
    let is_library = is_own || is_of_a_library(file) || crate_of(function).is_some_and(is_on_the_way);
    let file = from_the_crate(file);
    match is_whole {
        _ if is_library || !file.ends_with(".rs") => None,
        true => Some(format!("{function} ({file}:{line})")),
        false => Some(format!("{file}:{line}")),
    }
}

/// What may be between the application and this file.
const ON_THE_WAY: [&str; 15] = [
    "alloc",
    "async_stream",
    "backtrace",
    "core",
    "futures",
    "larder",
    "pin_project_lite",
    "sqlx",
    "std",
    "tokio",
    "tokio_stream",
    "tokio_util",
    "tracing",
    "tracing_futures",
    "test",
];

fn is_on_the_way(name: &str) -> bool {
    ON_THE_WAY.contains(&name) || name.starts_with("sqlx_") || name.starts_with("futures_")
}

/// Whether a file is of the standard library, or of a crate on the way: by the folder that Cargo keeps it in, `sqlx-core-0.9.0`.
fn is_of_a_library(file: &str) -> bool {
    let of_crate = |folder: &str| {
        let is_version = |at: &usize| folder[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        let version = folder.match_indices('-').map(|(at, _)| at).find(is_version);
        version.is_some_and(|at| is_on_the_way(&folder[..at].replace('-', "_")))
    };
    file.starts_with("/rustc/") || file.contains("/lib/rustlib/src/rust/") || file.split(['/', '\\']).any(of_crate)
}

/// `shop/src/orders.rs` of `/builds/7/shop/src/orders.rs`: where somebody builds is nobody else's concern.
fn from_the_crate(file: &str) -> String {
    let parts: Vec<&str> = file.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let roots = ["src", "tests", "examples", "benches"];
    let root = parts.iter().rposition(|part| roots.contains(part)).unwrap_or(parts.len().saturating_sub(1));
    parts[root.saturating_sub(1)..].join("/")
}

/// `a` of `a::b`, `<a::B as c::D>::e` and `<T as a::B>::c`; `None`: it is in no crate, as `main` and what C has.
fn crate_of(function: &str) -> Option<&str> {
    let mut name = function.trim_start_matches(['<', '&', '*', '(', '[']);
    for word in ["mut ", "const ", "dyn "] {
        name = name.strip_prefix(word).unwrap_or(name);
    }
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    match name[end..].starts_with("::") {
        true => Some(&name[..end]),
        false => crate_of(name.split_once(" as ")?.1),
    }
}

/// The function that a closure, or an async block, is written in.
fn without_closures(function: &str) -> &str {
    let mut function = function;
    while let Some((before, last)) = function.rsplit_once("::")
        && last.starts_with('{')
    {
        function = before;
    }
    function
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Fingerprint;

    #[test]
    fn what_a_unit_counts_and_how_often_it_looks_is_bounded() {
        let records: Vec<_> =
            (0..1_000).map(|n| Arc::new(Record::new(Some(Fingerprint(n)), String::new(), 0))).collect();
        let mut unit = Unit::default();
        for _ in 0..THRESHOLD {
            records.iter().for_each(|record| unit.asks(record));
        }
        assert_eq!(unit.seen.len(), MOST);
        drop(unit);
        assert_eq!(records.iter().filter(|record| record.is_repeated()).count(), MOST);
        for _ in 0..100 {
            let mut unit = Unit::default();
            (0..THRESHOLD).for_each(|_| unit.asks(&records[0]));
        }
        assert!(records[0].sightings() <= 4, "{}", records[0].sightings());
        let looks = (0..1_000_000).filter(|_| records[0].wants_stack()).count();
        assert!(looks < 40, "{looks}");
    }

    #[test]
    fn libraries_on_the_way_are_told_from_the_application_by_name() {
        for name in [
            "larder::pool::CachedPool<DB>::answer::{{closure}}",
            "<&larder::pool::CachedPool<DB> as sqlx_core::executor::Executor>::fetch_many",
            "sqlx_core::query::Query<DB,A>::fetch_all::{{closure}}",
            "<core::pin::Pin<P> as core::future::future::Future>::poll",
            "<F as futures_core::future::TryFuture>::try_poll",
            "<&mut F as core::future::future::Future>::poll",
            "tokio::runtime::task::raw::poll",
            "main",
            "__libc_start_main",
            "{async_fn#0}",
        ] {
            assert_eq!(place(name, None, None), None, "{name}");
        }
        for (name, shown) in [
            ("shop::orders::list::{{closure}}::{{closure}}", "shop::orders::list"),
            ("shop::orders::list::{closure#0}", "shop::orders::list"),
            ("<shop::Orders as shop::List>::all::{{closure}}", "<shop::Orders as shop::List>::all"),
            ("<T as shop::List>::all", "<T as shop::List>::all"),
        ] {
            assert_eq!(place(name, None, None).as_deref(), Some(shown));
        }
    }

    #[test]
    fn libraries_on_the_way_are_told_from_the_application_by_file() {
        let own = Some("/builds/larder/src/");
        for file in [
            "/builds/larder/src/pool.rs",
            "/x/registry/src/index/sqlx-core-0.9.0/src/query.rs",
            "/x/registry/src/index/tokio-1.54.1/src/runtime/park.rs",
            "/x/registry/src/index/sqlx-postgres-0.9.0-alpha.1/src/lib.rs",
            "/rustc/0123456789abcdef/library/core/src/future/future.rs",
            "./csu/../csu/libc-start.c",
        ] {
            assert_eq!(place("{async_fn#0}", Some((file, 7)), own), None, "{file}");
            assert_eq!(place("block_on<shop::main::{async_block_env#0}>", Some((file, 7)), own), None, "{file}");
        }
        for (name, file, shown) in [
            ("{async_fn#0}", "/builds/shop/src/orders/list.rs", "shop/src/orders/list.rs:7"),
            ("shop::list::{{closure}}", "src/orders.rs", "shop::list (src/orders.rs:7)"),
            ("{async_fn#0}", "/builds/larder/tests/it/reporting.rs", "larder/tests/it/reporting.rs:7"),
            ("{async_fn#0}", "C:\\futures-trade\\src\\main.rs", "futures-trade/src/main.rs:7"),
        ] {
            assert_eq!(place(name, Some((file, 7)), own).as_deref(), Some(shown), "{file}");
        }
    }
}
