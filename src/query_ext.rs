//! Shared decoded results: `.cached(&pool)` on sqlx's queries.
//!
//! A hit on a pool makes rows, and sqlx decodes them. Where many requests want the same value, one of them can do that for
//! all. The value is then kept with the rows, and goes with them.
//!
//! Two queries must never share a value unless the same code made it. So a value is found by the key of its rows and the
//! type of what decodes them. The type of a closure says which closure it is, but not what it captured: a mapper that
//! captures anything is refused when the program is compiled.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::query::{Map, Query, QueryAs, QueryScalar};
use sqlx::{Database, Either, Execute, Executor, FromRow, IntoArguments, SqlStr};

use crate::backend::{Backend, Driver, Item, Request};
use crate::inner::Kept;
use crate::key::Key;
use crate::pool::CachedPool;
use crate::read;

/// Adds [`cached`](QueryExt::cached) to sqlx's queries: [`Query`], [`QueryAs`], [`QueryScalar`], [`Map`] and so to what the
/// macros make.
pub trait QueryExt: Typed {
    /// The same query, but its result is decoded once and then shared by all who ask for it on `pool`.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// # sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)").execute(&pool).await?;
    /// # sqlx::query("INSERT INTO users VALUES (1, 'Ada')").execute(&pool).await?;
    /// use std::sync::Arc;
    /// use larder::QueryExt;
    ///
    /// #[derive(sqlx::FromRow)]
    /// struct User { id: i64, name: String }
    ///
    /// let all = || sqlx::query_as::<_, User>("SELECT id, name FROM users").cached(&pool).fetch_all();
    /// let (one, other): (Arc<Vec<User>>, Arc<Vec<User>>) = (all().await?, all().await?);
    /// assert_eq!(one[0].name, "Ada");
    /// assert!(Arc::ptr_eq(&one, &other));
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    ///
    /// What is decoded must depend on the row alone. A mapper that captures something does not compile:
    ///
    /// ```compile_fail,E0080
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// use larder::QueryExt;
    /// use sqlx::Row;
    ///
    /// let factor = 2;
    /// let query = sqlx::query("SELECT id FROM users").map(move |row: sqlx::sqlite::SqliteRow| factor * row.get::<i64, _>(0));
    /// let ids = query.cached(&pool).fetch_all().await?;
    /// # Ok::<_, sqlx::Error>(()) }).unwrap();
    /// ```
    ///
    /// Only `cargo build` says so, not `cargo check`.
    ///
    /// Decoded values take memory besides the rows that they were made of. What they hold on the heap cannot be seen, and
    /// counts for as much as those rows take: values that are much larger go beyond
    /// [`max_bytes`](crate::Builder::max_bytes).
    ///
    /// Rows of SQLite are not shared, since sqlx changes them when it decodes them: a plain [`Query`] gets its own. A mapper
    /// must not put a row of SQLite into what it makes.
    fn cached(self, pool: &CachedPool<Self::Database>) -> Cached<'_, Self> {
        Cached { query: self, pool }
    }
}

impl<Q: Typed> QueryExt for Q {}

/// A query whose decoded result is shared: see [`QueryExt::cached`].
#[must_use = "a query does nothing until it is fetched"]
pub struct Cached<'p, Q: Typed> {
    query: Q,
    pool: &'p CachedPool<Q::Database>,
}

impl<Q: Typed> Cached<'_, Q> {
    /// All results.
    ///
    /// # Errors
    /// Those of [`QueryAs::fetch_all`].
    pub async fn fetch_all(self) -> Result<Arc<Vec<Q::Output>>, sqlx::Error> {
        let watch = Watch::new(self.pool, identity::<All<Q::Mapper>, Q>());
        match self.query.all(&watch).made().await? {
            Made::Before(value) => {
                breathe().await;
                value.downcast().map_err(|_| sqlx::Error::Protocol(OTHER_TYPE.into()))
            }
            Made::Now(rows) => {
                let bytes = rows.capacity() * size_of::<Q::Output>();
                let value = Arc::new(rows);
                watch.keep(value.clone(), bytes);
                Ok(value)
            }
        }
    }

    /// The first result, if there is any.
    ///
    /// # Errors
    /// Those of [`QueryAs::fetch_optional`].
    pub async fn fetch_optional(self) -> Result<Option<Arc<Q::Output>>, sqlx::Error> {
        let watch = Watch::new(self.pool, identity::<First<Q::Mapper>, Q>());
        match self.query.first(&watch).made().await? {
            Made::Before(value) => {
                breathe().await;
                match value.downcast() {
                    Ok(row) => Ok(Some(row)),
                    Err(value) if value.is::<Nothing>() => Ok(None),
                    Err(_) => Err(sqlx::Error::Protocol(OTHER_TYPE.into())),
                }
            }
            Made::Now(row) => {
                let value = row.map(Arc::new);
                match value.clone() {
                    Some(value) => watch.keep(value, size_of::<Q::Output>()),
                    None => watch.keep(Arc::new(Nothing), 0),
                }
                Ok(value)
            }
        }
    }

    /// The first result.
    ///
    /// # Errors
    /// Those of [`QueryAs::fetch_one`]: [`sqlx::Error::RowNotFound`] if there is none.
    pub async fn fetch_one(self) -> Result<Arc<Q::Output>, sqlx::Error> {
        self.fetch_optional().await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// A hit never waits, so that a loop of hits would never let other tasks run. A part of them is enough: a thousand take
/// less than a millisecond.
async fn breathe() {
    thread_local!(static HITS: Cell<u8> = const { Cell::new(0) });
    let hits = HITS.get().wrapping_add(1);
    HITS.set(hits);
    if hits.is_multiple_of(8) {
        tokio::task::coop::consume_budget().await;
    }
}

impl<Q: Typed> fmt::Debug for Cached<'_, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("pool", self.pool).finish_non_exhaustive()
    }
}

/// A query that decodes its rows. It is implemented for sqlx's own, and cannot be for others.
pub trait Typed: Sized + Send {
    /// The database it is for.
    type Database: Backend;
    /// What it makes of a row.
    type Output: Send + Sync + 'static;
    /// Names the code that does.
    #[doc(hidden)]
    type Mapper: 'static;

    #[doc(hidden)]
    fn all<'w>(self, watch: &'w Watch<'_, Self::Database>) -> Look<'w, Vec<Self::Output>>
    where
        Self: 'w;

    #[doc(hidden)]
    fn first<'w>(self, watch: &'w Watch<'_, Self::Database>) -> Look<'w, Option<Self::Output>>
    where
        Self: 'w;
}

/// A value that was there, or one that was made.
#[doc(hidden)]
pub enum Made<T> {
    Before(Arc<dyn Any + Send + Sync>),
    Now(T),
}

/// A value, if there was nothing to wait for. Small, so that a hit does not move about what only a miss needs.
#[doc(hidden)]
pub enum Look<'w, T> {
    Found(Arc<dyn Any + Send + Sync>),
    Asked(BoxFuture<'w, Result<Made<T>, sqlx::Error>>),
}

impl<T> Look<'_, T> {
    async fn made(self) -> Result<Made<T>, sqlx::Error> {
        match self {
            Look::Found(value) => Ok(Made::Before(value)),
            Look::Asked(made) => made.await,
        }
    }
}

/// Queries whose way to decode can be called.
macro_rules! typed {
    ([$($o:ident)?] $query:ty, $output:ty, $mapper:ty, $decode:expr, where $($bounds:tt)*) => {
        impl<'q, DB, A, $($o)?> Typed for $query
        where
            DB: Backend,
            A: 'q + Send + IntoArguments<DB>,
            $($bounds)*
        {
            type Database = DB;
            type Output = $output;
            type Mapper = $mapper;

            fn all<'w>(self, watch: &'w Watch<'_, DB>) -> Look<'w, Vec<$output>>
            where
                Self: 'w,
            {
                watch.look(self, |request| async move {
                    let rows: Vec<DB::Row> = watch.rows(request).try_collect().await?;
                    rows.into_iter().map($decode).collect()
                })
            }

            fn first<'w>(self, watch: &'w Watch<'_, DB>) -> Look<'w, Option<$output>>
            where
                Self: 'w,
            {
                watch.look(self, |request| async move { watch.row(request).await?.map($decode).transpose() })
            }
        }
    };
}

typed!([] Query<'q, DB, A>, DB::Row, AsItIs, Ok, where DB::Row: Sync);

typed!([O] QueryAs<'q, DB, O, A>, O, ByType<O>, |row| O::from_row(&row),
    where O: Send + Sync + Unpin + 'static + for<'r> FromRow<'r, DB::Row>);

typed!([O] QueryScalar<'q, DB, O, A>, O, Scalar<O>, |row| <(O,)>::from_row(&row).map(|(value,)| value),
    where O: Send + Sync + Unpin + 'static, (O,): Send + Unpin + for<'r> FromRow<'r, DB::Row>);

/// The mapper cannot be called by others: sqlx does, on what an executor of ours gives it.
impl<'q, DB, F, O, A> Typed for Map<'q, DB, F, A>
where
    DB: Backend,
    F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send + 'static,
    O: Send + Sync + Unpin + 'static,
    A: 'q + Send + IntoArguments<DB>,
{
    type Database = DB;
    type Output = O;
    type Mapper = ByFunction<F>;

    fn all<'w>(self, watch: &'w Watch<'_, DB>) -> Look<'w, Vec<O>>
    where
        Self: 'w,
    {
        const { captures_nothing::<F>() }
        Look::Asked(Box::pin(async move {
            let rows = self.fetch_all(watch).await?;
            Ok(watch.found.get().cloned().map_or(Made::Now(rows), Made::Before))
        }))
    }

    fn first<'w>(self, watch: &'w Watch<'_, DB>) -> Look<'w, Option<O>>
    where
        Self: 'w,
    {
        const { captures_nothing::<F>() }
        Look::Asked(Box::pin(async move {
            let row = self.fetch_optional(watch).await?;
            Ok(watch.found.get().cloned().map_or(Made::Now(row), Made::Before))
        }))
    }
}

const fn captures_nothing<F>() {
    assert!(
        size_of::<F>() == 0,
        "the mapper of a cached query must capture nothing, or one caller would get what another one captured; decode without `cached`"
    );
}

// Names of what decodes, and of what is made of all rows.
#[doc(hidden)]
pub struct AsItIs;
#[doc(hidden)]
pub struct ByType<O>(PhantomData<O>);
#[doc(hidden)]
pub struct Scalar<O>(PhantomData<O>);
#[doc(hidden)]
pub struct ByFunction<F>(PhantomData<F>);
struct All<M>(PhantomData<M>);
struct First<M>(PhantomData<M>);

/// Cannot happen: the type of a value is part of what it is found by.
const OTHER_TYPE: &str = "a cached value is of another type";

/// What is kept where there was no row.
struct Nothing;

/// What a value is known by besides the key of its rows. `None`: it must not be shared.
fn identity<Whole: 'static, Q: Typed>() -> Option<TypeId> {
    let row = TypeId::of::<<Q::Database as Database>::Row>();
    let shared = Q::Database::ROWS_CAN_BE_SHARED || TypeId::of::<Q::Output>() != row;
    shared.then(TypeId::of::<Whole>)
}

/// Knows what value is made of the rows it gives.
#[doc(hidden)]
pub struct Watch<'p, DB: Backend> {
    pool: &'p CachedPool<DB>,
    identity: Option<TypeId>,
    /// The value that was made before, where sqlx was given no rows for that reason.
    found: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Where to keep the value.
    key: OnceLock<Key>,
    /// The rows it is made of.
    kept: OnceLock<Arc<Kept<DB>>>,
}

impl<'p, DB: Backend> Watch<'p, DB> {
    fn new(pool: &'p CachedPool<DB>, identity: Option<TypeId>) -> Self {
        Self { pool, identity, found: OnceLock::new(), key: OnceLock::new(), kept: OnceLock::new() }
    }

    /// The value, if it was made before.
    fn find(&self, request: &mut Result<Request<DB>, sqlx::Error>) -> Option<Arc<dyn Any + Send + Sync>> {
        match self.pool.find_value(request.as_mut().ok()?, self.identity?)? {
            Ok(value) => Some(value),
            Err(key) => {
                let _ = self.key.set(key);
                None
            }
        }
    }

    /// The value, or what `make` makes of the request.
    fn look<'w, 'q, T: 'w, F>(
        &'w self,
        query: impl Execute<'q, DB>,
        make: impl FnOnce(Result<Request<DB>, sqlx::Error>) -> F,
    ) -> Look<'w, T>
    where
        F: Future<Output = Result<T, sqlx::Error>> + Send + 'w,
    {
        let mut request = Request::take(query);
        match self.find(&mut request) {
            Some(value) => Look::Found(value),
            None => Look::Asked(Box::pin(make(request).map_ok(Made::Now))),
        }
    }

    fn rows<'e>(&'e self, request: Result<Request<DB>, sqlx::Error>) -> BoxStream<'e, Result<DB::Row, sqlx::Error>> {
        self.pool.run(request, |kept| drop(self.kept.set(kept))).try_filter_map(async |item| Ok(item.right())).boxed()
    }

    fn row<'e>(
        &'e self,
        request: Result<Request<DB>, sqlx::Error>,
    ) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>> {
        self.pool.run_optional(request, |kept| drop(self.kept.set(kept)))
    }

    fn keep(self, value: Arc<dyn Any + Send + Sync>, bytes: usize) {
        if let (Some(mapper), Some(key), Some(kept)) = (self.identity, self.key.into_inner(), self.kept.get()) {
            read::keep_value(self.pool.rooms(), key, kept, mapper, value, bytes);
        }
    }
}

impl<DB: Backend> fmt::Debug for Watch<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("pool", self.pool).finish_non_exhaustive()
    }
}

/// Gives no rows where the value is there.
impl<'w, DB: Backend> Executor<'w> for &'w Watch<'_, DB> {
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Item<DB>, sqlx::Error>>
    where
        'w: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let mut request = Request::take(query);
        if let Some(value) = self.find(&mut request) {
            let _ = self.found.set(value);
            return stream::empty().boxed();
        }
        self.rows(request).map_ok(Either::Right).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        'w: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let mut request = Request::take(query);
        if let Some(value) = self.find(&mut request) {
            let _ = self.found.set(value);
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.row(request)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, sqlx::Error>>
    where
        'w: 'e,
    {
        self.pool.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<DB>, sqlx::Error>>
    where
        'w: 'e,
    {
        self.pool.describe(sql)
    }
}
