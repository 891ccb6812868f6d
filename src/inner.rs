//! What one pool holds: the rooms put together, and what is known of the database.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use sqlx::Connection;
use tokio::sync::{Mutex, OnceCell};

use crate::backend::Driver;
use crate::catalog::Survey;
use crate::entry::Entry;
use crate::flight::Flights;
use crate::observe::Counters;
use crate::plan::{Known, Plan, Plans, Site};
use crate::reason::{Reason, Refusal};
use crate::replay::Replay;
use crate::replay::spares::{Room, Spares};
use crate::rules::Rules;
use crate::stamp::Cell;
use crate::tier::Memory;
use crate::versions::Versions;

/// The columns of a result.
pub(crate) type Shape<DB> = <<DB as Driver>::Replay as Replay<DB>>::Shape;

/// A kept result.
pub(crate) type Kept<DB> = Entry<Shape<DB>, Spares<DB>>;

/// What one pool and all its clones share.
pub(crate) struct Inner<DB: Driver> {
    pub pool: sqlx::Pool<DB>,
    pub rules: Rules,
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
    replay: OnceCell<Option<DB::Replay>>,
    /// Why nothing is cached any more.
    off: OnceLock<Refusal>,
    /// Held by whoever looks at the database; when the last look failed. Whoever holds it has its connection already and
    /// waits for no other, so that a pool of one connection cannot come to a standstill.
    learning: Mutex<Option<Instant>>,
    /// Held by the one task that looks in the background.
    looking: Arc<Mutex<()>>,
}

/// After a look at the database failed, the next one waits this long.
const LEARN_AGAIN: Duration = Duration::from_secs(1);

impl<DB: Driver> Inner<DB> {
    pub fn new(pool: sqlx::Pool<DB>, rules: Rules, max_bytes: u64, statistics: bool) -> Arc<Self> {
        let counters = Counters::new(statistics);
        let moving = counters.clone();
        let inner = Self {
            pool,
            memory: Memory::new(max_bytes, Arc::new(move |cause, bytes| moving.moved(cause, bytes))),
            room: Room::beside(max_bytes),
            rules,
            flights: Flights::new(),
            hasher: Default::default(),
            plans: Plans::new(counters.clone()),
            counters,
            known: ArcSwapOption::empty(),
            versions: OnceLock::new(),
            replay: OnceCell::new(),
            off: OnceLock::new(),
            learning: Mutex::new(None),
            looking: Arc::default(),
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
        if self.off.set(Refusal::new(reason, sentence)).is_ok() {
            tracing::warn!(target: "larder::pool", reason = reason.label(), sentence, "this pool caches nothing from now on");
            self.memory.clear();
        }
    }

    /// What is known of the database, if it is known and still holds.
    pub fn known(&self) -> Option<Arc<Known>> {
        self.known.load_full().filter(|known| known.holds())
    }

    /// The plan for a statement, under what is known now.
    pub fn plan(&self, sql: &str) -> Arc<Plan<Shape<DB>>> {
        match &*self.known.load() {
            Some(known) if known.holds() => {
                let site = Site { dialect: DB::DIALECT, rules: &self.rules, hasher: &self.hasher };
                self.plans.get(sql, known, site)
            }
            _ => self.plans.blind(sql, DB::DIALECT, &self.databases()),
        }
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
            let mut connection = self.pool.acquire().await?;
            let _ = self.learn_on(&mut connection).await;
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

    fn is_unseen_for(&self, plan: &Plan<Shape<DB>>) -> bool {
        let failed_lately =
            || self.learning.try_lock().is_ok_and(|failed| failed.is_some_and(|at| at.elapsed() < LEARN_AGAIN));
        plan.known.is_none() && self.versions.get().is_none() && plan.changes_something() && !failed_lately()
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
        let mut connection = self.pool.acquire().await?;
        self.learn_on(&mut connection).await
    }

    /// The same on a connection that is there already.
    pub async fn learn_on(&self, connection: &mut DB::Connection) -> Result<Option<Arc<Known>>, sqlx::Error> {
        let mut failed = self.learning.lock().await;
        if let Some(known) = self.known() {
            return Ok(Some(known));
        }
        self.start_replay().await;
        let options = self.pool.connect_options();
        if self.versions.get().is_none() {
            // The stamp has to be older than what is learnt under it, but whose stamp it is, only the database can tell.
            match DB::survey(connection, &options).await {
                // What is seen within a transaction does not even name the database.
                Ok(survey) if in_transaction(&survey) => return Ok(self.seen_too_little(&mut failed)),
                Ok(survey) => {
                    let _ = self.versions.set(Versions::of(&survey.database));
                }
                Err(error) => return self.not_learnt(&mut failed, error),
            }
        }
        let Some((versions, stamp)) = self.versions.get().and_then(|v| Some((v.clone(), v.catalog()?))) else {
            return Ok(None);
        };
        let survey = match DB::survey(connection, &options).await {
            Ok(survey) if in_transaction(&survey) => return Ok(self.seen_too_little(&mut failed)),
            Ok(survey) => survey,
            Err(error) => return self.not_learnt(&mut failed, error),
        };
        if !Arc::ptr_eq(&versions, &Versions::of(&survey.database)) {
            self.turn_off(Reason::SessionChanged, "this pool is connected to another database than it was");
        }
        if self.known.load().as_ref().is_some_and(|last| *last.session != *survey.session) {
            self.turn_off(Reason::SessionChanged, "two connections of this pool have different settings");
        }
        *failed = None;
        let known = Arc::new(Known::new(survey, versions, stamp));
        if self.known.load().is_none() {
            self.rules.warn_of_absent(&known.gate);
        }
        self.known.store(Some(known.clone()));
        Ok(Some(known).filter(|known| known.holds()))
    }

    fn not_learnt(&self, failed: &mut Option<Instant>, error: sqlx::Error) -> Result<Option<Arc<Known>>, sqlx::Error> {
        tracing::warn!(target: "larder::catalog", %error, "the database could not be looked at; nothing is cached until it can");
        *failed = Some(Instant::now());
        match error {
            sqlx::Error::Database(_) | sqlx::Error::ColumnDecode { .. } => Ok(None),
            error => Err(error),
        }
    }

    fn seen_too_little(&self, failed: &mut Option<Instant>) -> Option<Arc<Known>> {
        tracing::warn!(target: "larder::catalog", "a connection of the pool is in a transaction that nobody ends; nothing is cached until another was looked at");
        *failed = Some(Instant::now());
        None
    }

    /// Looks at the database in the background.
    pub fn learn_soon(self: &Arc<Self>) {
        let Ok(failed) = self.learning.try_lock() else { return };
        if self.off().is_some() || failed.is_some_and(|at| at.elapsed() < LEARN_AGAIN) {
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

    /// The versions of the database, or of every database that it may be.
    pub fn databases(&self) -> Vec<Arc<Versions>> {
        let elsewhere = self.off().is_some_and(|off| off.reason == Reason::SessionChanged);
        match self.versions.get() {
            Some(versions) if !elsewhere => vec![versions.clone()],
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

    /// Compares the settings of a session that somebody may have changed with those that results are kept under.
    pub async fn verify_session(&self, connection: &mut DB::Connection) {
        let Some(known) = self.known.load_full() else { return };
        match DB::session(connection).await {
            Ok(session) if *session == *known.session => {}
            Ok(_) => self.turn_off(Reason::SessionChanged, "the settings of a session were changed on its connection"),
            // A connection that is dead does no harm; one that answers with an error is in no state to be shared.
            Err(_) if connection.ping().await.is_err() => {}
            Err(_) => {
                self.turn_off(Reason::SessionChanged, "a connection was given back in the middle of a transaction")
            }
        }
    }
}

fn in_transaction(survey: &Survey) -> bool {
    survey.refusal.as_ref().is_some_and(|refusal| refusal.reason == Reason::Transaction)
}

impl<DB: Driver> std::fmt::Debug for Inner<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("pool", &self.pool).field("rules", &self.rules).finish_non_exhaustive()
    }
}
