//! What one pool holds: the rooms put together, and what is known of the database.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use sqlx::Connection;
use sqlx::pool::PoolConnection;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

use crate::analysis::{self, Facts, Kind, SqlMode};
use crate::backend::Driver;
use crate::entry::Entry;
use crate::feed::Watch;
use crate::flight::Flights;
use crate::guard::{Breaker, BreakerOptions, Transition};
use crate::observe::{BreakerGauges, Counters, EventKind};
use crate::plan::{Known, Plan, Plans, Site};
use crate::reason::{Reason, Refusal};
use crate::replay::Replay;
use crate::replay::spares::{Room, Spares};
use crate::stamp::Cell;
use crate::tier::Memory;
use crate::versions::{Mark, Versions};
#[cfg(feature = "redis")]
use crate::versions::{Node, Place};
#[cfg(feature = "redis")]
use crate::{analysis::Dialect, catalog::Survey};

mod calls;
mod in_time;
mod look;
mod settings;
mod under_way;

pub(crate) use calls::Asking;
use calls::Gatehouse;
pub(crate) use in_time::{InTime, in_time, is_late};
use look::{LOOK_WITHIN, Through, Turn};
pub(crate) use settings::{DEFAULT_MAX_BYTES, Settings};
pub(crate) use under_way::Statement;
use under_way::UnderWay;

/// The columns of a result.
pub(crate) type Shape<DB> = <<DB as Driver>::Replay as Replay<DB>>::Shape;

/// A kept result.
pub(crate) type Kept<DB> = Entry<Shape<DB>, Spares<DB>>;

/// What one pool and all its clones share.
pub(crate) struct Inner<DB: Driver> {
    pub pool: sqlx::Pool<DB>,
    pub settings: Settings,
    pub counters: Arc<Counters>,
    pub memory: Memory<Shape<DB>, Spares<DB>>,
    pub flights: Flights<Kept<DB>>,
    /// For copies of hot results.
    pub room: Arc<Room<DB>>,
    pub hasher: foldhash::fast::RandomState,
    plans: Plans<Shape<DB>>,
    known: ArcSwapOption<Known>,
    /// The versions of the database, from the first look at it.
    versions: OnceLock<Arc<Versions>>,
    /// The settings that results are kept under: those of the first session that was seen.
    session: Arc<OnceLock<Box<str>>>,
    /// Whether the connections of the pool may differ from each other.
    differ: AtomicBool,
    /// Whether some of them may even be connected to another database.
    elsewhere: AtomicBool,
    /// Whether transactions are begun so that the database can tell at their end what they wrote.
    measuring: AtomicBool,
    measuring_all: AtomicBool,
    replay: OnceCell<Option<DB::Replay>>,
    /// Why nothing is cached any more.
    off: OnceLock<Refusal>,
    /// Held by whoever looks at the database; when the last look failed. Whoever holds it has its connection already and
    /// waits for no other, so that a pool of one connection cannot come to a standstill.
    learning: Mutex<Option<Instant>>,
    /// Held by the one task that looks in the background.
    looking: Arc<Mutex<()>>,
    /// What stands before the database.
    pub gatehouse: Gatehouse,
    /// How far it was heard what other programs write.
    pub watch: Arc<Watch>,
    /// All tables, where what a statement writes may be committed at any time.
    late: OnceLock<Mark>,
}

/// After a look at the database failed, the next one waits this long.
const LEARN_AGAIN: Duration = Duration::from_secs(1);

impl<DB: Driver> Inner<DB> {
    /// Puts the rooms together around a pool. `session` may hold the settings of its first connection.
    pub fn new(pool: sqlx::Pool<DB>, settings: Settings, session: Arc<OnceLock<Box<str>>>) -> Arc<Self> {
        let counters = Counters::new(settings.statistics);
        let hearing = Arc::downgrade(&counters);
        let breaker = breaker_before("database", settings.breaker.clone(), move |turn| {
            if let Some(counters) = hearing.upgrade() {
                counters.event(EventKind::Breaker, format!("database: {turn}"));
            }
        });
        let moving = counters.clone();
        let inner = Self {
            pool,
            memory: Memory::new(settings.max_bytes, Arc::new(move |cause, bytes| moving.moved(cause, bytes))),
            room: Room::beside(settings.max_bytes),
            flights: Flights::new(),
            hasher: Default::default(),
            plans: Plans::new(counters.clone()),
            counters,
            known: ArcSwapOption::empty(),
            versions: OnceLock::new(),
            session,
            differ: AtomicBool::new(false),
            elsewhere: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            measuring_all: AtomicBool::new(false),
            replay: OnceCell::new(),
            off: OnceLock::new(),
            learning: Mutex::new(None),
            looking: Arc::default(),
            gatehouse: Gatehouse::new(breaker, &settings),
            watch: Arc::new(Watch::new(settings.watch_bound)),
            late: OnceLock::new(),
            settings,
        };
        if !DB::arguments_are_readable() {
            inner
                .turn_off(Reason::ArgumentsUnreadable, "this release of sqlx does not show bound arguments faithfully");
        }
        Arc::new(inner)
    }

    /// Why nothing is cached, if that is so.
    pub fn off(&self) -> Option<&Refusal> {
        self.off.get()
    }

    /// From now on nothing is cached. Writes go on invalidating, for the sake of other pools.
    pub fn turn_off(&self, reason: Reason, sentence: &str) {
        if matches!(reason, Reason::SessionChanged | Reason::SessionHook) {
            self.differ.store(true, SeqCst);
            if DB::COMMITS_UNSEEN {
                // One of them may be a session that commits late.
                self.hold_all_tables();
            }
        }
        if self.off.set(Refusal::new(reason, sentence)).is_ok() {
            tracing::warn!(target: "larder::pool", reason = reason.label(), sentence, "this pool caches nothing from now on");
            self.counters.event(EventKind::Cache, format!("nothing is cached from now on: {sentence}"));
            self.memory.clear();
        }
    }

    /// What is known of the database, if it is known and still holds. Nothing is, once sessions may differ: what a name
    /// stands for then depends on the connection.
    pub fn known(&self) -> Option<Arc<Known>> {
        self.known.load_full().filter(|known| known.holds() && !self.sessions_differ())
    }

    /// The same where connections may be to different databases.
    pub fn turn_off_elsewhere(&self, sentence: &str) {
        self.elsewhere.store(true, SeqCst);
        self.turn_off(Reason::SessionChanged, sentence);
    }

    /// Whether the connections of the pool may differ from each other, so that nothing is cached.
    pub fn sessions_differ(&self) -> bool {
        self.differ.load(SeqCst)
    }

    /// Transactions to come may do what is not seen.
    pub fn measure_from_now(&self) {
        self.measuring.store(true, Relaxed);
    }

    /// From now on the database is asked what each transaction wrote.
    pub fn measure_all(&self) {
        self.measuring_all.store(true, Relaxed);
        self.measure_from_now();
    }

    /// Whether the database is asked what each transaction wrote, also where that is known.
    pub fn measures_all(&self) -> bool {
        self.measuring_all.load(Relaxed)
    }

    /// Whether the database is to be asked what transactions wrote.
    pub fn measures(&self) -> bool {
        self.measuring.load(Relaxed)
    }

    /// The plan for a statement, under what is known now.
    pub fn plan(&self, sql: &str) -> Arc<Plan<Shape<DB>>> {
        match &*self.known.load() {
            Some(known) if known.holds() && !self.sessions_differ() => {
                let site = Site { dialect: DB::DIALECT, rules: &self.settings.rules, hasher: &self.hasher };
                self.plans.get(sql, known, site)
            }
            known => {
                let gate = known.as_ref().filter(|known| known.holds()).map(|known| &known.gate);
                self.plans.blind(sql, DB::DIALECT, &self.databases(), gate)
            }
        }
    }

    /// What the text of a statement says.
    pub fn facts(&self, sql: &str, known: Option<&Known>) -> Facts {
        let mode = known.map_or_else(|| SqlMode::unseen(DB::DIALECT), |known| known.mode);
        analysis::analyze_in(sql, DB::DIALECT, mode)
    }

    /// The plan for a statement that is about to run. A database is looked at before it is written for the first time:
    /// other pools may hold results of it, and until it has a name all that is cached anywhere would have to go.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`], which the statement itself would end with.
    pub async fn plan_to_run(&self, sql: &str) -> Result<Arc<Plan<Shape<DB>>>, sqlx::Error> {
        let plan = self.plan(sql);
        if !self.is_unseen_for(&plan) {
            return Ok(plan);
        }
        // Should it fail, the statement runs all the same. Boxed, so that a future that hardly ever does this is not as large
        // as all that.
        Box::pin(async {
            let lookout = self.connect_to_look().await?;
            let _ = self.learn_through(Through::Own(lookout)).await;
            Ok::<_, sqlx::Error>(())
        })
        .await?;
        Ok(self.plan(sql))
    }

    /// The same for a statement that is about to run on `connection`, which is not in a transaction: another one may not
    /// be had.
    pub async fn plan_to_run_on(&self, sql: &str, connection: &mut DB::Connection) -> Arc<Plan<Shape<DB>>> {
        let plan = self.plan(sql);
        if !self.is_unseen_for(&plan) {
            return plan;
        }
        let _ = Box::pin(self.learn_on(connection)).await;
        self.plan(sql)
    }

    /// Looks at the database if nobody did yet, before a connection is handed out: what its user does to its settings can
    /// be told only by comparison.
    pub async fn look_first(&self, connection: &mut DB::Connection) {
        let failed_lately = || self.learning.try_lock().is_ok_and(|failed| failed.is_some());
        if self.session.get().is_none() && self.off().is_none() && !failed_lately() {
            let _ = Box::pin(self.learn_on(connection)).await;
        }
    }

    fn is_unseen_for(&self, plan: &Plan<Shape<DB>>) -> bool {
        let failed_lately =
            || self.learning.try_lock().is_ok_and(|failed| failed.is_some_and(|at| at.elapsed() < LEARN_AGAIN));
        // What is opaque only as long as nothing is known would end what others are about to know, again and again.
        let ends_knowledge = plan.kind == Kind::Read && plan.change.as_ref().is_some_and(|change| change.schema);
        // Where others are told, what is not known to change nothing would cost them what they have.
        let tells_others = self.versions.get().is_some_and(|versions| versions.node().is_some());
        let unseen = self.versions.get().is_none() || ends_knowledge || tells_others;
        plan.known.is_none() && unseen && plan.changes_something() && !failed_lately()
    }

    /// The way back from bytes to rows.
    pub fn replay(&self) -> Option<&DB::Replay> {
        self.replay.get()?.as_ref()
    }

    /// Looks at the database, unless that was done already. `None`: the schema is being changed just now, or the
    /// database did not say enough; nothing is cached until the next look.
    pub async fn learn(&self) -> Result<Option<Arc<Known>>, sqlx::Error> {
        if let Some(known) = self.known() {
            return Ok(Some(known));
        }
        if self.versions.get().is_some_and(|versions| versions.catalog().is_none()) {
            // The schema is being changed: there is nothing to learn yet.
            return Ok(None);
        }
        let lookout = self.connect_to_look().await?;
        self.learn_through(Through::Own(lookout)).await
    }

    /// The same on a connection that is there already.
    pub async fn learn_on(&self, connection: &mut DB::Connection) -> Result<Option<Arc<Known>>, sqlx::Error> {
        self.learn_through(Through::Held(connection)).await
    }

    async fn learn_through(&self, mut through: Through<'_, DB>) -> Result<Option<Arc<Known>>, sqlx::Error> {
        // Who waits for somebody else's look holds a connection, and goes on without it rather than for ever.
        let Ok(turn) = timeout(LOOK_WITHIN, self.learning.lock()).await else { return Ok(None) };
        let mut turn = Some(turn);
        if let Some(known) = self.known() {
            return Ok(Some(known));
        }
        self.start_replay().await;
        let options = self.pool.connect_options();
        if self.versions.get().is_none() {
            // The stamp has to be older than what is learnt under it, but whose stamp it is, only the database can tell.
            match through.survey(&options, &mut turn).await {
                // What is seen within a transaction does not even name the database.
                Ok(survey) if survey.within_transaction => return Ok(self.seen_too_little(turn)),
                Ok(survey) => {
                    let _ = self.versions.set(Versions::of(&survey.database));
                    #[cfg(feature = "redis")]
                    self.share(&survey).await;
                }
                Err(error) => return self.not_learnt(turn, error),
            }
        }
        let Some((versions, stamp)) = self.versions.get().and_then(|v| Some((v.clone(), v.catalog()?))) else {
            return Ok(None);
        };
        let survey = match through.survey(&options, &mut turn).await {
            Ok(survey) if survey.within_transaction => return Ok(self.seen_too_little(turn)),
            Ok(survey) => survey,
            Err(error) => return self.not_learnt(turn, error),
        };
        #[cfg(feature = "redis")]
        if let Some(node) = versions.node() {
            node.set_incarnation(&survey.incarnation);
        }
        if !Arc::ptr_eq(&versions, &Versions::of(&survey.database)) {
            self.turn_off_elsewhere("this pool is connected to another database than it was");
        }
        if !is_first_or_like_it(&self.session, &survey.session) {
            self.turn_off(Reason::SessionChanged, "two connections of this pool have different settings");
        }
        if survey.commits_late {
            self.hold_all_tables();
        }
        if let Some(failed) = &mut turn {
            **failed = None;
        }
        let known = Arc::new(Known::new(survey, versions, stamp));
        if self.known.load().is_none() {
            self.settings.rules.warn_of_absent(&known.gate);
        }
        self.known.store(Some(known.clone()));
        self.plans.forget();
        self.watch.wake();
        Ok(Some(known).filter(|known| known.holds()))
    }

    /// Shares the versions with other nodes from now on.
    #[cfg(feature = "redis")]
    async fn share(&self, survey: &Survey) {
        let (Some(options), Some(versions)) = (&self.settings.redis, self.versions.get()) else { return };
        if DB::DIALECT == Dialect::Sqlite {
            tracing::warn!(target: "larder::tier", "a file of SQLite is on one machine, and nothing of it is shared through Redis");
            return;
        }
        let place = Place { database: survey.database.clone(), incarnation: survey.incarnation.clone() };
        let breaker = || breaker_before("redis", options.breaker.clone(), |_| {});
        let runtime = tokio::runtime::Handle::current;
        match versions.share(|cells| Node::join(options, &place, cells, breaker(), runtime())) {
            // With the first word from Redis, all that was known before is void.
            Ok(node) => {
                node.ready().await;
                if let Some(why) = self.contradiction() {
                    self.turn_off(Reason::TierDown, &why);
                }
            }
            Err(why) => self.turn_off(Reason::TierDown, &why.to_string()),
        }
    }

    /// Why the options for Redis cannot be followed, if that is so: another pool said first what this process does.
    #[cfg(feature = "redis")]
    pub fn contradiction(&self) -> Option<String> {
        let what = self.settings.redis.as_ref()?.contradiction(self.node()?.options())?;
        Some(format!(
            "another pool of this process was built first for this database, and for Redis with other options ({what} among them): give \
             both the same, or drop the other one before"
        ))
    }

    /// This process among the nodes that share results.
    #[cfg(feature = "redis")]
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.versions.get()?.node()
    }

    /// Looks at the database again whenever the versions turn out to have been used for another, or for this one before it was
    /// started again.
    #[cfg(feature = "redis")]
    pub fn watch_place(self: &Arc<Self>) {
        let (Ok(runtime), Some(_)) = (tokio::runtime::Handle::try_current(), &self.settings.redis) else { return };
        let watched = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(LEARN_AGAIN).await;
                let Some(inner) = watched.upgrade().filter(|inner| !inner.pool.is_closed()) else { return };
                let Some(node) = inner.versions.get().and_then(|versions| versions.node()) else { continue };
                if node.met_stranger() && !inner.is_elsewhere(node).await {
                    tracing::warn!(target: "larder::tier", "another database server uses the same place in this Redis, so that nothing stays there for long: give one of them a namespace of its own");
                }
            }
        });
    }

    /// Whether the database is another than it was, or was started again.
    #[cfg(feature = "redis")]
    async fn is_elsewhere(&self, node: &Node) -> bool {
        let Ok(mut lookout) = self.connect_to_look().await else { return true };
        match lookout.survey(&self.pool.connect_options()).await {
            Ok(survey) => survey.within_transaction || node.set_incarnation(&survey.incarnation),
            Err(_) => true,
        }
    }

    /// The longest time after which it is heard what others wrote.
    pub fn hears_within(&self) -> Duration {
        #[cfg(feature = "redis")]
        if let Some(node) = self.node() {
            return node.hears_within().max(self.watch.bound());
        }
        self.watch.bound()
    }

    /// Nothing that rests on a table of the database is kept any more, by whomever, while this pool lives.
    fn hold_all_tables(&self) {
        self.late.get_or_init(|| match self.versions.get() {
            Some(versions) => Mark::arm(versions.all_tables()),
            None => Mark::arm(self.all_tables()),
        });
    }

    fn not_learnt(&self, turn: Option<Turn<'_>>, error: sqlx::Error) -> Result<Option<Arc<Known>>, sqlx::Error> {
        tracing::warn!(target: "larder::catalog", %error, "the database could not be looked at; nothing is cached until it can");
        if let Some(mut failed) = turn {
            *failed = Some(Instant::now());
        }
        match error {
            sqlx::Error::Database(_) | sqlx::Error::ColumnDecode { .. } => Ok(None),
            error => Err(error),
        }
    }

    fn seen_too_little(&self, turn: Option<Turn<'_>>) -> Option<Arc<Known>> {
        tracing::warn!(target: "larder::catalog", "a connection of the pool is in a transaction that nobody ends; nothing is cached until another was looked at");
        if let Some(mut failed) = turn {
            *failed = Some(Instant::now());
        }
        None
    }

    /// Looks at the database though it is known, since other programs may have changed the schema. What is known goes on to be
    /// used meanwhile. If it is no longer so, everything is dropped and known anew.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`], and of the look itself.
    pub async fn look_again(&self) -> Result<(), sqlx::Error> {
        let Some(known) = self.known() else { return self.learn().await.map(drop) };
        let mut lookout = self.connect_to_look().await?;
        let survey = lookout.survey(&self.pool.connect_options()).await?;
        // What another session sees is compared by those who keep it; what a transaction sees is old.
        if survey.within_transaction || survey.digest == known.digest || survey.session != *known.session {
            return Ok(());
        }
        self.counters.invalidation(Reason::SchemaChange, "another program changed the schema", None::<[&str; 0]>);
        tracing::info!(target: "larder::catalog", "another program changed the schema, or somebody's rights");
        Mark::arm(self.everything()).finish().await;
        self.learn_through(Through::Own(lookout)).await.map(drop)
    }

    /// Looks at the schema from time to time, while the pool lives. Without a runtime, it is not looked at.
    pub fn watch_schema(self: &Arc<Self>, interval: Duration) {
        let (Ok(runtime), false) = (tokio::runtime::Handle::try_current(), interval.is_zero()) else { return };
        let watched = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = interval;
            loop {
                tokio::time::sleep(pause).await;
                let Some(inner) = watched.upgrade().filter(|inner| !inner.pool.is_closed()) else { return };
                // One that nobody asks anything keeps nothing, either.
                if inner.off().is_some() || inner.known().is_none() {
                    continue;
                }
                let begun = Instant::now();
                if let Err(error) = inner.look_again().await {
                    tracing::debug!(target: "larder::catalog", %error, "the schema could not be looked at");
                }
                pause = interval.max(begun.elapsed() * 100);
            }
        });
    }

    /// Looks at the database in the background.
    pub fn learn_soon(self: &Arc<Self>) {
        let Ok(failed) = self.learning.try_lock() else { return };
        // A pool that keeps nothing looks all the same: else each of its statements might change all that others keep.
        let is_learnt = self.off().is_some() && self.known.load().as_ref().is_some_and(|known| known.holds());
        if is_learnt || failed.is_some_and(|at| at.elapsed() < LEARN_AGAIN) {
            return;
        }
        drop(failed);
        let Ok(alone) = self.looking.clone().try_lock_owned() else { return };
        let inner = self.clone();
        tokio::spawn(async move {
            if inner.learn().await.is_err() {
                *inner.learning.lock().await = Some(Instant::now());
            }
            drop(alone);
        });
    }

    async fn start_replay(&self) {
        self.replay
            .get_or_init(async || match DB::Replay::start().await {
                Ok(replay) => Some(replay),
                Err(why) => {
                    self.turn_off(Reason::ReplayOff, &why.to_string());
                    None
                }
            })
            .await;
    }

    /// Whether a write is to be refused since other nodes ought to be told of it, and this process is none of them yet. If it is done, they
    /// are told of everything later.
    pub fn is_untold(&self) -> bool {
        #[cfg(feature = "redis")]
        if let (Some(redis), None) = (&self.settings.redis, self.node())
            && DB::DIALECT != Dialect::Sqlite
        {
            crate::versions::writes_unknown();
            return redis.consistency == crate::Consistency::Strict;
        }
        false
    }

    /// The versions of the database, or of every database that it may be.
    pub fn databases(&self) -> Vec<Arc<Versions>> {
        match self.versions.get() {
            Some(versions) if !self.elsewhere.load(SeqCst) => vec![versions.clone()],
            _ => Versions::all(),
        }
    }

    /// The cells of all tables, where it is not known which of them a write changes.
    pub fn all_tables(&self) -> Arc<[Arc<Cell>]> {
        self.databases().iter().flat_map(|versions| versions.all_tables().to_vec()).collect()
    }

    /// The cells of everything that may change when nothing is known of a write.
    pub fn everything(&self) -> Arc<[Arc<Cell>]> {
        self.databases().iter().flat_map(|versions| versions.everything().to_vec()).collect()
    }

    /// Whether a session that somebody may have changed has the settings that results are kept under.
    pub async fn is_unchanged(&self, connection: &mut DB::Connection) -> bool {
        match self.session.get() {
            Some(first) => DB::is_as_it_was(connection, first).await,
            None => false,
        }
    }

    /// Whether a connection on which code ran that nobody read may go on to be used by all.
    pub async fn is_fit(&self, connection: &mut DB::Connection) -> bool {
        // A connection that is dead does no harm.
        self.may_go_on(connection).await || connection.ping().await.is_err()
    }

    /// Whether a session that somebody may have changed is as it was, and holds nothing for what comes next.
    pub async fn may_go_on(&self, connection: &mut DB::Connection) -> bool {
        self.is_unchanged(connection).await && DB::let_go(connection).await
    }

    /// Keeps a connection from being used by others that is not known to have the settings that results are kept under.
    ///
    /// With one connection alone, what was set on it was perhaps set on purpose; and what lives in a connection must not be
    /// closed with it. Then it is the cache that has to go.
    pub fn discard(&self, connection: &mut PoolConnection<DB>) {
        if self.pool.options().get_max_connections() > 1 && DB::outlives_connections(&self.pool.connect_options()) {
            tracing::debug!(target: "larder::pool", "a connection came back with other settings and is closed");
            connection.close_on_drop();
        } else {
            self.turn_off(Reason::SessionChanged, "a connection came back with other settings than it had");
        }
    }
}

/// A breaker whose state is told in metrics.
fn breaker_before(
    backend: &'static str,
    options: BreakerOptions,
    told: impl Fn(&Transition) + Send + Sync + 'static,
) -> Arc<Breaker> {
    let gauges = BreakerGauges::new(backend, options.begins_as());
    Breaker::new(backend, options, move |turn| {
        gauges.turned(turn.from, turn.to);
        told(turn);
    })
}

/// Whether a session has the settings of the first that was seen, which it is if there was none.
pub(crate) fn is_first_or_like_it(first: &OnceLock<Box<str>>, session: &str) -> bool {
    **first.get_or_init(|| session.into()) == *session
}

impl<DB: Driver> Drop for Inner<DB> {
    fn drop(&mut self) {
        self.gatehouse.breaker.retire();
        if let Some(late) = self.late.take() {
            // With the pool go its connections, and with them what was not committed.
            drop(late.finish());
        }
    }
}

impl<DB: Driver> std::fmt::Debug for Inner<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("pool", &self.pool).field("rules", &self.settings.rules).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::versions::Mark;

    /// Else an application that clears its pool again and again holds as many pictures of its schema.
    #[tokio::test]
    async fn what_was_known_is_forgotten_with_its_plans() {
        let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap();
        sqlx::query("CREATE TABLE t (id INTEGER)").execute(&pool).await.unwrap();
        let inner = Inner::new(pool, Settings::default(), Default::default());
        let before = Arc::downgrade(&inner.learn().await.unwrap().unwrap());
        for n in 0..50 {
            assert!(inner.plan(&format!("SELECT id FROM t WHERE id = {n}")).known.is_some());
        }
        Mark::arm(inner.everything()).finish().await;
        inner.learn().await.unwrap().unwrap();
        // Memory is given back a moment later.
        let begun = Instant::now();
        while before.upgrade().is_some() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{} plans hold it", before.strong_count());
            inner.plans.settle();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
