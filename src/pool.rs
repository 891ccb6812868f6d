//! The pool.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FusedFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::pool::CloseEvent;
use sqlx::{Database, Execute, Executor, SqlSafeStr, SqlStr};

use crate::analysis::Kind;
use crate::backend::{Backend, Item, Options, Request};
use crate::builder::{Builder, Sessions};
use crate::connection::{CachedConnection, PoolConnection};
use crate::inner::{Asking as Call, InTime, Inner, Kept, in_time, is_late};
use crate::key::Key;
use crate::ledger::Asking;
use crate::observe::{Metered, QueryStats, Sent, Stats, Subject};
use crate::policy::Policy;
use crate::pool_options::PoolOptions;
use crate::read::{self, Answer, View, first_row};
use crate::reason::Reason;
use crate::transaction::Transaction;
use crate::versions::Mark;
use crate::write;

/// A [`CachedPool`] for PostgreSQL.
#[cfg(feature = "postgres")]
pub type PgPool = CachedPool<sqlx::Postgres>;

/// A [`CachedPool`] for MySQL and MariaDB.
#[cfg(feature = "mysql")]
pub type MySqlPool = CachedPool<sqlx::MySql>;

/// A [`CachedPool`] for SQLite.
#[cfg(feature = "sqlite")]
pub type SqlitePool = CachedPool<sqlx::Sqlite>;

/// A pool of connections that answers reads from memory where it can prove the answer right.
///
/// It takes the place of [`sqlx::Pool`]: `&pool` is an [`sqlx::Executor`], so every query, macro and mapper works on it
/// unchanged. Cheap to clone; all clones share connections and cache.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
/// sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)").execute(&pool).await?;
/// sqlx::query("INSERT INTO users (name) VALUES ($1)").bind("Ada").execute(&pool).await?;
/// let name: String = sqlx::query_scalar("SELECT name FROM users WHERE id = $1").bind(1).fetch_one(&pool).await?;
/// assert_eq!(name, "Ada");
/// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
/// ```
pub struct CachedPool<DB: Backend> {
    pub(crate) inner: Arc<Inner<DB>>,
    view: View,
}

impl<DB: Backend> CachedPool<DB> {
    /// Connects, and looks at the database.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::connect`].
    pub async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        PoolOptions::new().connect(url).await
    }

    /// Connects with options.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::connect_with`].
    pub async fn connect_with(options: Options<DB>) -> Result<Self, sqlx::Error> {
        PoolOptions::new().connect_with(options).await
    }

    /// Makes a pool that connects when it is first used. Until then, and until the database was looked at, which the
    /// first query sets going, nothing is cached.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::connect_lazy`]: the URL cannot be parsed.
    pub fn connect_lazy(url: &str) -> Result<Self, sqlx::Error> {
        PoolOptions::new().connect_lazy(url)
    }

    /// Makes a pool that connects when it is first used, with options. See [`CachedPool::connect_lazy`].
    pub fn connect_lazy_with(options: Options<DB>) -> Self {
        PoolOptions::new().connect_lazy_with(options)
    }

    /// Begins to build a pool over one that is there already.
    pub fn builder(pool: sqlx::Pool<DB>, sessions: Sessions) -> Builder<DB> {
        let Sessions::Uniform = sessions;
        Builder::over(pool, None)
    }

    /// The sqlx pool. What is written through it is not seen: use it for what the cache must not know of, or call
    /// [`CachedPool::invalidate`] afterwards.
    pub fn inner(&self) -> &sqlx::Pool<DB> {
        &self.inner.pool
    }

    /// The same pool, but reads go to the database and what they find replaces what was kept.
    pub fn fresh(&self) -> Self {
        Self { inner: self.inner.clone(), view: View { fresh: true, ..self.view.clone() } }
    }

    /// The same pool, sharing results only with queries of the same scope.
    pub fn scoped(&self, scope: impl Into<Arc<str>>) -> Self {
        Self { inner: self.inner.clone(), view: View { scope: Some(scope.into()), ..self.view.clone() } }
    }

    /// The same pool, keeping results by another policy: what it leaves open stays as it is.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// # sqlx::query("CREATE TABLE news (title TEXT)").execute(&pool).await?;
    /// use std::time::Duration;
    /// use larder::Policy;
    ///
    /// let home = pool.with(Policy::ttl(Duration::from_secs(30)).tag("home"));
    /// let news = sqlx::query("SELECT title FROM news").fetch_all(&home).await?;
    /// pool.invalidate_tags(["home"]); // whatever tables it rests on
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    pub fn with(&self, policy: Policy) -> Self {
        let policy = match &self.view.policy {
            Some(wider) => policy.over(wider),
            None => policy,
        };
        Self { inner: self.inner.clone(), view: View { policy: Some(policy.into()), ..self.view.clone() } }
    }

    /// Drops what rests on these tables, and on all that a write to them may set off: what was written in a way that this
    /// process did not see is seen from now on. Names are as in SQL: `users`, `shop.users`, `"Users"`; that of a view stands for the
    /// tables behind it. A name that is not known drops everything.
    pub fn invalidate<T: AsRef<str>>(&self, tables: impl IntoIterator<Item = T>) {
        let known = self.inner.known();
        for name in tables {
            let name = name.as_ref();
            let tables = known.as_ref().and_then(|known| Some((known, known.gate.written_as(name)?)));
            let cells = match &tables {
                Some((known, tables)) => known.versions.write_cells(tables.iter().map(|table| &*table.0)),
                None => self.inner.everything(),
            };
            let names = tables.as_ref().map(|(_, tables)| tables.iter().map(|table| &*table.0));
            self.inner.counters.invalidation(Reason::Manual, name, names);
            self.tell(Mark::arm(cells));
        }
    }

    /// How far this node knows what was written, its own writes included. Given to another node, it makes sure that those are
    /// seen there: see [`CachedPool::at_least`]. `None` without a Redis that was reached, and until
    /// [it was told](CachedPool::unpublished) of all that this node wrote or dropped: meanwhile only this node is sure to show it.
    #[cfg(feature = "redis")]
    pub fn token(&self) -> Option<Token> {
        let (epoch, seq) = self.inner.node()?.token()?;
        Some(Token { epoch, seq })
    }

    /// Returns when this node knows all that the node knew that gave the token: what is read from now on is no older. At most one
    /// question to Redis; if that is not answered, nothing is given out from memory until it is. With `Consistency::Ttl` what is in
    /// memory is dropped then.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")] async fn f(here: larder::PgPool, there: larder::PgPool) -> sqlx::Result<()> {
    /// sqlx::query("UPDATE users SET name = 'Grace' WHERE id = 1").execute(&here).await?;
    /// let sent_to_the_client = here.token().map(|token| token.to_string());
    ///
    /// // Later, on another node:
    /// if let Some(token) = sent_to_the_client.and_then(|text| text.parse().ok()) {
    ///     there.at_least(token).await;
    /// }
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "redis")]
    pub async fn at_least(&self, token: Token) {
        if let Some(node) = self.inner.node() {
            node.at_least((token.epoch, token.seq)).await;
        }
    }

    /// Of how many tables other nodes were not told yet that they were written, and how many calls of [`invalidate`](Self::invalidate),
    /// [`invalidate_tags`](Self::invalidate_tags) and [`clear`](Self::clear) they were not told of: these return before that.
    #[cfg(feature = "redis")]
    pub fn unpublished(&self) -> usize {
        self.inner.node().map_or(0, |node| node.unpublished())
    }

    /// Drops what was kept under any of these tags: see [`Policy::tag`].
    pub fn invalidate_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) {
        for tag in tags {
            let tag = tag.as_ref();
            self.inner.counters.invalidation(Reason::Manual, tag, Some([]));
            let cells = self.inner.databases().iter().filter_map(|versions| versions.tag(tag)).collect();
            self.tell(Mark::arm(cells));
        }
    }

    /// Drops everything, and looks at the schema anew before anything is cached again. To be called after a migration
    /// that did not run through this pool.
    pub fn clear(&self) {
        self.inner.counters.invalidation(Reason::Manual, "everything", None::<[&str; 0]>);
        self.tell(Mark::arm(self.inner.everything()));
        self.inner.memory.clear();
    }

    /// What is dropped here at once others hear of in the background.
    fn tell(&self, mark: Mark) {
        self.inner.is_untold();
        let told = mark.finish();
        #[cfg(feature = "redis")]
        if let Some(node) = self.inner.node() {
            node.orders(told);
        }
        #[cfg(not(feature = "redis"))]
        drop(told);
    }

    /// Looks at the database again, as far as it is not known as it is, so that what is asked next can be kept.
    #[cfg(feature = "migrate")]
    pub(crate) async fn look_again(&self) {
        let _ = Box::pin(self.inner.learn()).await;
    }

    /// Looks at the schema again. If another program changed it since, everything is dropped, as after a schema change through the
    /// pool. That is done by itself from time to time: see [`Builder::schema_interval`].
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`], and of a query.
    pub async fn reload(&self) -> Result<(), sqlx::Error> {
        self.inner.look_again().await
    }

    /// What this pool did so far.
    pub fn stats(&self) -> Stats {
        self.inner.memory.settle();
        self.inner.counters.snapshot(self.inner.memory.size())
    }

    /// What this pool did so far for each statement, the one first that took the database longest.
    ///
    /// Statements that differ in literals only are one. Some 5,000 have a row of their own, those asked for lately; the
    /// rest are counted together in one without a fingerprint. Empty without [statistics](Builder::statistics).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// for query in pool.queries().iter().take(10) {
    ///     println!("{query}");
    /// }
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    pub fn queries(&self) -> Vec<QueryStats> {
        self.inner.counters.by_query()
    }

    /// Takes a connection from the pool.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`].
    pub fn acquire(&self) -> impl Future<Output = Result<PoolConnection<DB>, sqlx::Error>> + Send + 'static {
        let inner = self.inner.clone();
        async move {
            let (connection, asking) = inner.connect().await?;
            match inner.pool.options().get_test_before_acquire() {
                true => asking.ends(None),
                // Nobody asked the server anything.
                false => asking.never_made(),
            }
            let mut connection = CachedConnection::new(inner.clone(), connection);
            let (asked, ledger) = connection.parts();
            ledger.ask(Asking::ToRun)?;
            inner.look_first(asked).await;
            ledger.asking = Asking::Nothing;
            ledger.is_over();
            Ok(PoolConnection(connection))
        }
    }

    /// Takes a connection from the pool if one is idle, and the breaker lets calls through.
    pub fn try_acquire(&self) -> Option<PoolConnection<DB>> {
        // The server is asked nothing here.
        self.inner.admit().ok()?.never_made();
        Some(PoolConnection(CachedConnection::new(self.inner.clone(), self.inner.pool.try_acquire()?)))
    }

    /// Begins a transaction on a connection of its own.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::begin`].
    pub async fn begin(&self) -> Result<Transaction<'static, DB>, sqlx::Error> {
        Transaction::begin_owned(self.acquire().await?.0, None).await
    }

    /// Begins a transaction if a connection is idle, and the breaker lets calls through.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::try_begin`].
    pub async fn try_begin(&self) -> Result<Option<Transaction<'static, DB>>, sqlx::Error> {
        match self.try_acquire() {
            Some(connection) => Transaction::begin_owned(connection.0, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins a transaction with a statement of your own, such as `BEGIN ISOLATION LEVEL SERIALIZABLE`.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::begin_with`].
    pub async fn begin_with(&self, statement: impl SqlSafeStr) -> Result<Transaction<'static, DB>, sqlx::Error> {
        Transaction::begin_owned(self.acquire().await?.0, Some(statement.into_sql_str())).await
    }

    /// Begins a transaction with a statement of your own if a connection is idle, and the breaker lets calls through.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::try_begin_with`].
    pub async fn try_begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> Result<Option<Transaction<'static, DB>>, sqlx::Error> {
        match self.try_acquire() {
            Some(connection) => Transaction::begin_owned(connection.0, Some(statement.into_sql_str())).await.map(Some),
            None => Ok(None),
        }
    }

    /// Closes all connections. From the call on, before it is awaited, none is given out, and nothing from the cache. Other nodes are
    /// told before it returns of what was dropped by hand, if Redis answers.
    pub fn close(&self) -> impl Future<Output = ()> + '_ {
        let closing = self.inner.pool.close();
        self.inner.memory.clear();
        async move {
            closing.await;
            #[cfg(feature = "redis")]
            if let Some(node) = self.inner.node() {
                node.orders_are_told().await;
            }
        }
    }

    /// Whether [`CachedPool::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.inner.pool.is_closed()
    }

    /// Resolves when the pool is closed.
    pub fn close_event(&self) -> CloseEvent {
        self.inner.pool.close_event()
    }

    /// Connections there are, idle ones included.
    pub fn size(&self) -> u32 {
        self.inner.pool.size()
    }

    /// Connections that are idle.
    pub fn num_idle(&self) -> usize {
        self.inner.pool.num_idle()
    }

    /// The options of the pool.
    pub fn options(&self) -> &sqlx::pool::PoolOptions<DB> {
        self.inner.pool.options()
    }

    /// The options that connections are made with.
    pub fn connect_options(&self) -> Arc<Options<DB>> {
        self.inner.pool.connect_options()
    }

    /// Changes the options that new connections are made with, such as a password that was rotated. Nothing is cached
    /// any more if they change more than that: connections would differ from each other.
    pub fn set_connect_options(&self, options: Options<DB>) {
        if !DB::same_sessions(&self.inner.pool.connect_options(), &options) {
            self.inner.turn_off_elsewhere("new connections are made with other options than those there are");
        }
        self.inner.pool.set_connect_options(options);
        self.clear();
    }

    pub(crate) fn new(inner: Arc<Inner<DB>>) -> Self {
        Self { inner, view: View::default() }
    }

    /// What the pool and all its clones share.
    pub(crate) fn rooms(&self) -> &Inner<DB> {
        &self.inner
    }

    /// See [`read::find_value`].
    pub(crate) fn find_value(
        &self,
        request: &mut Request<DB>,
        mapper: TypeId,
    ) -> Option<Result<Arc<dyn Any + Send + Sync>, Key>> {
        if self.inner.pool.is_closed() {
            return None;
        }
        let plan = self.inner.plan(request.sql.as_str());
        read::find_value(&self.inner, &self.view, &plan, request, mapper)
    }

    /// Runs a request. `kept` gets what is kept of its result before the first row is given out.
    pub(crate) fn run<'e>(
        &self,
        request: Result<Request<DB>, sqlx::Error>,
        kept: impl FnOnce(Arc<Kept<DB>>) + Send + 'e,
    ) -> BoxStream<'e, Result<Item<DB>, sqlx::Error>> {
        let pool = self.clone();
        stream::once(async move {
            Ok::<_, sqlx::Error>(match pool.answer(request?).await? {
                Answer::Rows(mut rows) => {
                    rows.kept.take().map(kept);
                    rows.into_stream()
                }
                Answer::Stream(items) | Answer::Written(items) => items,
                Answer::Direct(request, statement) => through_pool(pool, request, statement),
            })
        })
        .try_flatten()
        .boxed()
    }

    /// The same for the first row alone.
    pub(crate) fn run_optional<'e>(
        &self,
        request: Result<Request<DB>, sqlx::Error>,
        kept: impl FnOnce(Arc<Kept<DB>>) + Send + 'e,
    ) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>> {
        let pool = self.clone();
        Box::pin(async move {
            match pool.answer(request?).await? {
                Answer::Rows(mut rows) => {
                    rows.kept.take().map(kept);
                    let first = (!rows.rows.is_empty()).then(|| rows.rows.swap_remove(0));
                    match rows.end {
                        Err(error) if DB::OPTIONAL_READS_ALL || first.is_none() => Err(error),
                        _ => Ok(first),
                    }
                }
                Answer::Stream(items) => first_row::<DB>(items, DB::OPTIONAL_READS_ALL).await,
                Answer::Written(items) => first_row::<DB>(items, true).await,
                Answer::Direct(request, statement) => {
                    let (mut connection, call) = pool.inner.connect_to_read(pool.view.scope.as_ref()).await?;
                    let (asked, asking) = connection.ask();
                    let answer = in_time(DB::fetch_optional(asked, request), pool.inner.settings.read_timeout);
                    let answer = pool.inner.counters.metered_one(&statement, Sent::Read, answer).await;
                    *asking = false;
                    if answer.as_ref().is_err_and(is_late) {
                        connection.leave();
                    }
                    call.ends(answer.as_ref().err());
                    answer
                }
            }
        })
    }

    /// Sends a request on its way.
    async fn answer(&self, request: Request<DB>) -> Result<Answer<DB>, sqlx::Error> {
        let inner = &self.inner;
        if inner.pool.is_closed() {
            return Ok(Answer::Direct(request, Subject::default()));
        }
        let plan = inner.plan_to_run(request.sql.as_str()).await?;
        if plan.sent() != Sent::Other {
            inner.counters.asks(&plan.statement);
        }
        if plan.changes_something() {
            if plan.known.is_none() {
                inner.learn_soon();
            }
            if let (Kind::Read, Sent::Read, Err(refusal)) = (plan.kind, plan.sent(), &plan.reads) {
                // It changes no table, as far as is known, but perhaps the session.
                let refusal = inner.off().unwrap_or(refusal);
                inner.counters.bypass(refusal.reason, &refusal.sentence, &plan.statement);
            }
            let (kind, is_known) = (plan.kind, plan.known.is_some());
            let items = write::write(inner, plan, request).await?;
            // A read that may write for all that is known of its functions ends with its caller. Where nothing is known, hardly any
            // does, and what was announced for it is to be over when its caller goes on.
            return Ok(if kind == Kind::Read && is_known { Answer::Stream(items) } else { Answer::Written(items) });
        }
        read::read(inner, &self.view, plan, request).await
    }
}

/// Runs a request on a connection of the pool, as sqlx's own pool does, and times it.
fn through_pool<DB: Backend>(
    pool: CachedPool<DB>,
    request: Request<DB>,
    statement: Subject,
) -> BoxStream<'static, Result<Item<DB>, sqlx::Error>> {
    // sqlx's stream would not tell the wait for a connection from the wait for the answer.
    let given = Arc::new(Mutex::new(None));
    let give = given.clone();
    let mut run = Box::pin(async move {
        let inner = &pool.inner;
        let (mut connection, call) = inner.connect_to_read(pool.view.scope.as_ref()).await?;
        let (asked, asking) = connection.ask();
        let items = InTime::new(DB::fetch_many(asked, request), inner.settings.read_timeout);
        let items = inner.counters.metered(&statement, Sent::Read, items);
        let (mut direct, mut late) = (Direct { items, call: Some(call) }, false);
        while let Some(item) = direct.items.next().await {
            *asking = false;
            match (&item, &mut direct.call) {
                (Ok(_), Some(call)) => call.gives_up_its_place(),
                (Err(error), call) => {
                    late |= is_late(error);
                    call.take().into_iter().for_each(|call| call.ends(Some(error)));
                }
                _ => {}
            }
            // What its caller does with it is no wait for the next one, which is not asked for before.
            let mut item = Some(item);
            std::future::poll_fn(|_| match item.take() {
                Some(item) => {
                    *give.lock().unwrap_or_else(PoisonError::into_inner) = Some(item);
                    Poll::Pending
                }
                None => Poll::Ready(()),
            })
            .await;
            *asking = true;
        }
        *asking = false;
        if let Some(call) = direct.call.take() {
            call.ends_after(direct.items.waited(), None);
        }
        drop(direct);
        if late {
            connection.leave();
        }
        Ok(())
    })
    .fuse();
    let next = move |context: &mut Context<'_>| {
        if run.is_terminated() {
            return Poll::Ready(None);
        }
        match run.poll_unpin(context) {
            Poll::Ready(ended) => Poll::Ready(ended.err().map(Err)),
            Poll::Pending => match given.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(item) => Poll::Ready(Some(item)),
                None => Poll::Pending,
            },
        }
    };
    stream::poll_fn(next).boxed()
}

/// An answer on its way to its caller, who may go away in the middle of it.
struct Direct<DB: Backend, S> {
    items: Metered<S>,
    call: Option<Call<DB>>,
}

impl<DB: Backend, S> Drop for Direct<DB, S> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            call.left_after(self.items.waited());
        }
    }
}

impl<DB: Backend> Clone for CachedPool<DB> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), view: self.view.clone() }
    }
}

impl<DB: Backend> fmt::Debug for CachedPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedPool")
            .field("pool", &self.inner.pool)
            .field("scope", &self.view.scope)
            .field("off", &self.inner.off().map(|refusal| &refusal.sentence))
            .finish_non_exhaustive()
    }
}

impl<'p, DB: Backend> Executor<'p> for &'_ CachedPool<DB> {
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Item<DB>, sqlx::Error>>
    where
        E: 'q + Execute<'q, DB>,
    {
        self.run(Request::take(query), drop)
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<DB::Row>, sqlx::Error>>
    where
        E: 'q + Execute<'q, DB>,
    {
        let pool = self.clone();
        let request = Request::take(query);
        Box::pin(async move {
            let items = match pool.answer(request?).await? {
                Answer::Rows(rows) => return rows.end.map(|_| rows.rows),
                Answer::Stream(items) | Answer::Written(items) => items,
                Answer::Direct(request, statement) => through_pool(pool, request, statement),
            };
            items.try_filter_map(async |item| Ok(item.right())).try_collect().await
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        E: 'q + Execute<'q, DB>,
    {
        self.run_optional(Request::take(query), drop)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [<DB as Database>::TypeInfo],
    ) -> BoxFuture<'e, Result<<DB as Database>::Statement, sqlx::Error>>
    where
        'p: 'e,
    {
        let inner = self.inner.clone();
        Box::pin(async move {
            let (mut connection, call) = inner.connect_in_step().await?;
            let answer = connection.answer(|connection| DB::prepare_with(connection, sql, parameters)).await;
            call.ends(answer.as_ref().err());
            answer
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<DB>, sqlx::Error>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let (mut connection, call) = inner.connect_in_step().await?;
            let answer = connection.answer(|connection| DB::describe(connection, sql)).await;
            call.ends(answer.as_ref().err());
            answer
        })
    }
}

/// How far a node knows what was written: see [`CachedPool::token`]. As a text it may be given to clients.
#[cfg(feature = "redis")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    epoch: u128,
    seq: u64,
}

#[cfg(feature = "redis")]
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{}", self.epoch, self.seq)
    }
}

/// A text is no token.
#[cfg(feature = "redis")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a token: it was changed, or was never one")]
pub struct NotAToken;

#[cfg(feature = "redis")]
impl std::str::FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let (epoch, seq) = text.split_once('-').filter(|(epoch, _)| epoch.len() == 32).ok_or(NotAToken)?;
        let epoch = u128::from_str_radix(epoch, 16).map_err(|_| NotAToken)?;
        Ok(Self { epoch, seq: seq.parse().map_err(|_| NotAToken)? })
    }
}
