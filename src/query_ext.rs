//! Shared decoded results: `.cached(&pool)` on sqlx's queries.
//!
//! A hit on a pool makes rows, and sqlx decodes them. Where many requests want the same value, one of them can do that for
//! all. The query is executed on an executor of our own: it finds the value and gives no rows, or it finds none and lets
//! the rows through, so that sqlx makes a value of them, which is then kept beside the rows.
//!
//! Two queries must never share a value unless the same code made it. So a value is found by the key of its rows and the
//! type of what decodes them. The type of a closure says which closure it is, but not what it captured: a mapper that
//! captures anything is refused when the program is compiled.

use std::any::{Any, TypeId};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use sqlx::query::{Map, Query, QueryAs, QueryScalar};
use sqlx::{Database, Execute, Executor, FromRow, IntoArguments, SqlStr};

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
    /// ```compile_fail
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// use larder::QueryExt;
    /// use sqlx::Row;
    ///
    /// let factor = 2;
    /// let query = sqlx::query("SELECT id FROM users").map(move |row| factor * row.get::<i64, _>(0));
    /// let ids = query.cached(&pool).fetch_all().await?;
    /// # Ok::<_, sqlx::Error>(()) }).unwrap();
    /// ```
    ///
    /// Decoded values take memory beside the rows that they were made of. Rows of SQLite are not shared, since sqlx changes
    /// them when it decodes them: a plain [`Query`] gets its own.
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
        let rows = self.query.fetch_all(&watch).await?;
        if let Some(value) = watch.found().await.and_then(|value| value.downcast().ok()) {
            return Ok(value);
        }
        let bytes = rows.capacity() * size_of::<Q::Output>();
        let value = Arc::new(rows);
        watch.keep(value.clone(), bytes);
        Ok(value)
    }

    /// The first result, if there is any.
    ///
    /// # Errors
    /// Those of [`QueryAs::fetch_optional`].
    pub async fn fetch_optional(self) -> Result<Option<Arc<Q::Output>>, sqlx::Error> {
        let watch = Watch::new(self.pool, identity::<First<Q::Mapper>, Q>());
        let row = self.query.fetch_optional(&watch).await?;
        if let Some(value) = watch.found().await {
            return Ok(value.downcast().ok());
        }
        let value = row.map(Arc::new);
        match value.clone() {
            Some(value) => watch.keep(value, size_of::<Q::Output>()),
            None => watch.keep(Arc::new(Nothing), 0),
        }
        Ok(value)
    }

    /// The first result.
    ///
    /// # Errors
    /// Those of [`QueryAs::fetch_one`]: [`sqlx::Error::RowNotFound`] if there is none.
    pub async fn fetch_one(self) -> Result<Arc<Q::Output>, sqlx::Error> {
        self.fetch_optional().await?.ok_or(sqlx::Error::RowNotFound)
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
    fn fetch_all(
        self,
        watch: &Watch<'_, Self::Database>,
    ) -> impl Future<Output = Result<Vec<Self::Output>, sqlx::Error>> + Send;

    #[doc(hidden)]
    fn fetch_optional(
        self,
        watch: &Watch<'_, Self::Database>,
    ) -> impl Future<Output = Result<Option<Self::Output>, sqlx::Error>> + Send;
}

macro_rules! typed {
    ([$($generics:tt)*] $query:ty, $output:ty, $mapper:ty $(, $check:block)? where $($bounds:tt)*) => {
        impl<'q, DB, A, $($generics)*> Typed for $query
        where
            DB: Backend,
            A: 'q + Send + IntoArguments<DB>,
            $($bounds)*
        {
            type Database = DB;
            type Output = $output;
            type Mapper = $mapper;

            async fn fetch_all(self, watch: &Watch<'_, DB>) -> Result<Vec<$output>, sqlx::Error> {
                $($check)?
                <$query>::fetch_all(self, watch).await
            }

            async fn fetch_optional(self, watch: &Watch<'_, DB>) -> Result<Option<$output>, sqlx::Error> {
                $($check)?
                <$query>::fetch_optional(self, watch).await
            }
        }
    };
}

typed!([] Query<'q, DB, A>, DB::Row, AsItIs where DB::Row: Sync);

typed!([O] QueryAs<'q, DB, O, A>, O, ByType<O>
    where O: Send + Sync + Unpin + 'static + for<'r> FromRow<'r, DB::Row>);

typed!([O] QueryScalar<'q, DB, O, A>, O, Scalar<O>
    where O: Send + Sync + Unpin + 'static, (O,): Send + Unpin + for<'r> FromRow<'r, DB::Row>);

typed!([O, F] Map<'q, DB, F, A>, O, ByFunction<F>, {
        const { assert!(size_of::<F>() == 0, "a mapper of a cached query must capture nothing: whoever finds its value would get what another one captured") }
    }
    where F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send + 'static, O: Send + Sync + Unpin + 'static);

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

/// What is kept where there was no row.
struct Nothing;

/// What a value is known by besides the key of its rows. `None`: it must not be shared.
fn identity<Whole: 'static, Q: Typed>() -> Option<TypeId> {
    let row = TypeId::of::<<Q::Database as Database>::Row>();
    let shared = Q::Database::ROWS_CAN_BE_SHARED || TypeId::of::<Q::Output>() != row;
    shared.then(TypeId::of::<Whole>)
}

/// An executor that knows what value is made of the rows it gives.
#[doc(hidden)]
pub struct Watch<'p, DB: Backend> {
    pool: &'p CachedPool<DB>,
    identity: Option<TypeId>,
    /// The value that was made before: there are no rows then.
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

    async fn found(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        let found = self.found.get()?.clone();
        // A hit never waits, so that a loop of hits would never let other tasks run.
        tokio::task::coop::consume_budget().await;
        Some(found)
    }

    fn keep(self, value: Arc<dyn Any + Send + Sync>, bytes: usize) {
        if let (Some(key), Some(kept)) = (self.key.into_inner(), self.kept.get()) {
            read::keep_value(self.pool.rooms(), key, kept, value, bytes);
        }
    }

    /// Looks for the value. With it, the query need not be executed.
    fn find(&self, request: &mut Request<DB>) -> bool {
        let Some(identity) = self.identity else { return false };
        match self.pool.find_value(request, identity) {
            Some(Ok(value)) => self.found.set(value).is_ok(),
            Some(Err(key)) => {
                let _ = self.key.set(key);
                false
            }
            None => false,
        }
    }
}

impl<DB: Backend> fmt::Debug for Watch<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("pool", self.pool).finish_non_exhaustive()
    }
}

impl<'w, DB: Backend> Executor<'w> for &'w Watch<'_, DB> {
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Item<DB>, sqlx::Error>>
    where
        'w: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let mut request = Request::take(query);
        if request.as_mut().is_ok_and(|request| self.find(request)) {
            return stream::empty().boxed();
        }
        self.pool.run(request, |kept| drop(self.kept.set(kept)))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        'w: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let mut request = Request::take(query);
        if request.as_mut().is_ok_and(|request| self.find(request)) {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.pool.run_optional(request, |kept| drop(self.kept.set(kept)))
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
