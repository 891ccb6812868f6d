//! What one pool holds: the rooms put together, and what is known of the database.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use sqlx::Connection;
use tokio::sync::{Mutex, OnceCell};

use crate::backend::Driver;
use crate::entry::Entry;
use crate::flight::Flights;
use crate::observe::Counters;
use crate::plan::{Known, Plan, Plans};
use crate::policy::Policy;
use crate::reason::{Reason, Refusal};
use crate::replay::Replay;
use crate::replay::spares::Room;
use crate::stamp::Cell;
use crate::tier::Memory;
use crate::versions::Versions;

/// The columns of a result.
pub(crate) type Shape<DB> = <<DB as Driver>::Replay as Replay<DB>>::Shape;

/// What one pool and all its clones share.
pub(crate) struct Inner<DB: Driver> {
    pub pool: sqlx::Pool<DB>,
    pub policy: Policy,
    pub counters: Counters,
    pub memory: Memory<DB>,
    pub flights: Flights<Entry<DB>>,
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
    /// Held by whoever looks at the database; when the last look failed.
    learning: Mutex<Option<Instant>>,
}

/// After a look at the database failed, the next one waits this long.
const LEARN_AGAIN: Duration = Duration::from_secs(1);

impl<DB: Driver> Inner<DB> {
    pub fn new(pool: sqlx::Pool<DB>, policy: Policy) -> Arc<Self> {
        let inner = Self {
            pool,
            counters: Counters::new(),
            memory: Memory::new(&policy),
            room: Room::beside(policy.max_bytes),
            policy,
            flights: Flights::new(),
            hasher: Default::default(),
            plans: Plans::new(),
            known: ArcSwapOption::empty(),
            versions: OnceLock::new(),
            replay: OnceCell::new(),
            off: OnceLock::new(),
            learning: Mutex::new(None),
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
        match self.known() {
            Some(known) => self.plans.get(sql, DB::DIALECT, &known),
            None => Arc::new(Plan::blind(sql, DB::DIALECT, &self.databases())),
        }
    }

    /// The plan for a statement that is about to run. A database is looked at before it is written for the first time:
    /// other pools may hold results of it, and until it has a name all that is cached anywhere would have to go.
    pub async fn plan_to_run(&self, sql: &str) -> Arc<Plan<Shape<DB>>> {
        let plan = self.plan(sql);
        if plan.known.is_some() || self.versions.get().is_some() || !plan.changes_something() {
            return plan;
        }
        // Should it fail, the statement itself will tell why, or run all the same. Boxed, so that a future that hardly ever
        // does this is not as large as all that.
        let _ = Box::pin(self.learn()).await;
        self.plan(sql)
    }

    /// The way back from bytes to rows.
    pub fn replay(&self) -> Option<&DB::Replay> {
        self.replay.get()?.as_ref()
    }

    /// Looks at the database, unless that was done already. `None`: the schema is being changed just now, or the
    /// database did not say enough; nothing is cached until the next look.
    pub async fn learn(&self) -> Result<Option<Arc<Known>>, sqlx::Error> {
        let mut failed = self.learning.lock().await;
        if let Some(known) = self.known() {
            return Ok(Some(known));
        }
        self.start_replay().await;
        let mut connection = self.pool.acquire().await?;
        let options = self.pool.connect_options();
        if self.versions.get().is_none() {
            // The stamp has to be older than what is learnt under it, but whose stamp it is, only the database can tell.
            match DB::survey(&mut connection, &options).await {
                Ok(survey) => {
                    let _ = self.versions.set(Versions::of(&survey.database));
                }
                Err(error) => return self.not_learnt(&mut failed, error),
            }
        }
        let Some((versions, stamp)) = self.versions.get().and_then(|v| Some((v.clone(), v.catalog()?))) else {
            return Ok(None);
        };
        let survey = match DB::survey(&mut connection, &options).await {
            Ok(survey) => survey,
            Err(error) => return self.not_learnt(&mut failed, error),
        };
        if self.known.load().as_ref().is_some_and(|last| *last.session != *survey.session) {
            self.turn_off(Reason::SessionChanged, "two connections of this pool have different settings");
        }
        *failed = None;
        let known = Arc::new(Known::new(survey, versions, stamp));
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

    /// Looks at the database in the background.
    pub fn learn_soon(self: &Arc<Self>) {
        let Ok(failed) = self.learning.try_lock() else { return };
        if self.off().is_some() || failed.is_some_and(|at| at.elapsed() < LEARN_AGAIN) {
            return;
        }
        drop(failed);
        let inner = self.clone();
        tokio::spawn(async move {
            let _ = inner.learn().await;
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
    fn databases(&self) -> Vec<Arc<Versions>> {
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

impl<DB: Driver> std::fmt::Debug for Inner<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("pool", &self.pool).field("policy", &self.policy).finish_non_exhaustive()
    }
}
