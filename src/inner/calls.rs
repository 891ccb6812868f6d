//! Calls to the database: let through or rejected, with a connection of the pool, and judged by how they end.
//!
//! In: whoever is about to ask the database. Out: a connection, and word of how it went; or why it is spared.
//! It never tries anything again.

use std::io;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::{self, Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sqlx::Connection;
use sqlx::pool::PoolConnection;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::analysis::Dialect;
use crate::backend::{Driver, InStep, Options, leave};
use crate::chance::dice;
use crate::guard::{Breaker, Call, Emergency, Fate, Pressure};
use crate::inner::look::Lookout;
use crate::inner::{Inner, Settings, Statement, UnderWay, in_time};
use crate::observe::PoolTimeout;
use crate::rejected::{Guard, Rejected};

/// A wait for a connection that takes this long is looked into: a pool goes on trying when nobody answers.
const LOOKED_INTO: Duration = Duration::from_millis(500);
/// A connection that takes longer to be made is not made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For how long the answer to that holds.
const ANSWER_HOLDS: Duration = Duration::from_millis(500);

/// A statement that runs for this long holds up others by itself, and not because there are too many of them. Where a connection is not
/// waited for twice as long, half of that.
const SLOW: Duration = Duration::from_secs(1);

/// In an emergency, a read that is not made is worth another try after this.
const SOON: Duration = Duration::from_secs(1);

/// What stands before the database.
#[derive(Debug)]
pub(crate) struct Gatehouse {
    pub breaker: Arc<Breaker>,
    /// Loads at a time, and how long one may wait for others to end.
    loads: Option<(Arc<Semaphore>, Duration)>,
    /// What reads of each scope are left to send.
    rates: Option<DefaultKeyedRateLimiter<Option<Arc<str>>>>,
    /// One answer is compared with the database's at a time.
    audits: Arc<Semaphore>,
    emergency: Emergency,
    pub under_way: Arc<UnderWay>,
    /// Whoever has a connection of the pool has a copy of it.
    pub handed_out: Arc<()>,
    reach: Arc<Reach>,
}

/// What is known of whether a new connection can be made.
#[derive(Debug, Default)]
struct Reach {
    /// Held by whoever looks.
    looking: Mutex<()>,
    found: sync::Mutex<Option<Found>>,
}

#[derive(Debug, Clone)]
struct Found {
    at: Instant,
    why_not: Option<WhyNot>,
}

/// Why no connection can be made.
type WhyNot = (io::ErrorKind, String);

impl Reach {
    fn found(&self) -> Option<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn finds(&self, why_not: Option<WhyNot>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Found { at: Instant::now(), why_not });
    }
}

impl Gatehouse {
    pub fn new(breaker: Arc<Breaker>, settings: &Settings) -> Self {
        let loads = settings.limit_loads.map(|(most, wait)| (Arc::new(Semaphore::new(most.max(1))), wait));
        let quota = |(per_second, burst)| Quota::per_second(per_second).allow_burst(burst);
        let rates = settings.limit_rate.map(quota).map(RateLimiter::keyed);
        let (emergency, under_way, handed_out, reach) = Default::default();
        let audits = Arc::new(Semaphore::new(1));
        Self { breaker, loads, rates, audits, emergency, under_way, handed_out, reach }
    }
}

/// A call that the database is at.
pub(crate) struct Asking<DB: Driver> {
    driver: PhantomData<fn() -> DB>,
    call: Option<Call>,
    _under_way: Statement,
    _handed_out: Arc<()>,
    /// Its place among the loads that may run at a time.
    place: Option<OwnedSemaphorePermit>,
}

impl<DB: Driver> Asking<DB> {
    /// It is over.
    pub fn ends(mut self, failure: Option<&sqlx::Error>) {
        if let Some(call) = self.call.take() {
            judge::<DB>(call, failure);
        }
    }

    /// It is over, and the database was waited for so long: whatever its caller did between two rows.
    pub fn ends_after(mut self, waited: Duration, failure: Option<&sqlx::Error>) {
        if let Some(call) = &mut self.call {
            call.took(waited);
        }
        self.ends(failure);
    }

    /// Its caller went away, and the database was waited for so long until then.
    pub fn left_after(mut self, waited: Duration) {
        if let Some(call) = &mut self.call {
            call.took(waited);
        }
    }

    /// Nothing was asked after all.
    pub fn never_made(mut self) {
        self.call.take().into_iter().for_each(Call::never_made);
    }

    /// Its rows go to the caller as fast as he takes them: others need not wait for that.
    pub fn gives_up_its_place(&mut self) {
        self.place = None;
    }
}

pub(super) fn judge<DB: Driver>(call: Call, failure: Option<&sqlx::Error>) {
    match failure {
        // It never reached the database.
        Some(error) if Rejected::of(error).is_some() => call.never_made(),
        Some(error) if DB::is_outage(error) => call.ends(Fate::Failed, || said::<DB>(error)),
        _ => call.ends(Fate::Answered, String::new),
    }
}

/// A call that waits for its connection.
struct Connecting<'i, DB: Driver> {
    inner: &'i Inner<DB>,
    call: Option<Call>,
}

impl<DB: Driver> Drop for Connecting<'_, DB> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.inner.judge_given_up(call);
        }
    }
}

/// What is the matter, without what a driver says besides: addresses, names, perhaps values.
fn said<DB: Driver>(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.kind().to_string(),
        sqlx::Error::Database(error) => format!("the database said {}", DB::code_in_words(&**error)),
        sqlx::Error::Tls(_) => "TLS failed".into(),
        sqlx::Error::Configuration(_) => "there is no connecting with these options".into(),
        sqlx::Error::WorkerCrashed => "the database's thread ended".into(),
        _ => "an answer that makes no sense".into(),
    }
}

impl<DB: Driver> Inner<DB> {
    /// Lets a call through.
    ///
    /// # Errors
    /// The database is spared.
    pub fn admit(&self) -> Result<Call, sqlx::Error> {
        self.gatehouse.breaker.admit().map_err(|retry_after| self.rejects(Guard::Breaker, Some(retry_after)))
    }

    /// Lets a read through that would go to the database: of this scope, and with or without an older answer to give out instead.
    ///
    /// # Errors
    /// The database is spared.
    pub fn admit_read(&self, scope: Option<&Arc<str>>, has_stale: bool) -> Result<Call, sqlx::Error> {
        let Gatehouse { rates, emergency, .. } = &self.gatehouse;
        if emergency.is(Pressure::Database) && (has_stale || self.is_full()) {
            return Err(self.rejects(Guard::Emergency, Some(SOON)));
        }
        // First, so that what the breaker rejects takes nothing from what its scope may still send.
        let call = self.admit()?;
        if let Some(rates) = rates
            && let Err(until) = rates.check_key(&scope.cloned())
        {
            call.never_made();
            return Err(self.rejects(Guard::RateLimit, Some(until.wait_time_from(rates.clock().now()))));
        }
        Ok(call)
    }

    /// Whether a read is not even to wait for somebody else's load.
    pub fn is_spared(&self, has_stale: bool) -> bool {
        (has_stale && self.is_short_of(Pressure::Database)) || self.gatehouse.breaker.is_open()
    }

    /// An answer, or a rejection if the breaker opens before it is there.
    pub async fn unless_it_opens<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let opens = pin!(self.gatehouse.breaker.opens());
        if !self.gatehouse.breaker.is_open()
            && let Either::Left((answer, _)) = select(pin!(answer), opens).await
        {
            return answer;
        }
        Err(self.rejects(Guard::Breaker, None))
    }

    fn is_full(&self) -> bool {
        self.settings.emergency.waiting.is_some_and(|most| self.counters.waiting() >= most)
    }

    /// Whether what nobody waits for is put off.
    pub fn is_emergency(&self) -> bool {
        self.gatehouse.emergency.is_any()
    }

    /// Whether an answer from the cache is one of those that are looked into.
    pub fn audits_this(&self) -> Option<OwnedSemaphorePermit> {
        let is_due = self.settings.audit > 0.0 && dice() < self.settings.audit;
        if !is_due || self.is_emergency() || self.counters.waiting() > 0 {
            return None;
        }
        self.gatehouse.audits.clone().try_acquire_owned().ok()
    }

    /// Whether something has to be shed for want of this.
    pub fn is_short_of(&self, pressure: Pressure) -> bool {
        self.gatehouse.emergency.is(pressure)
    }

    /// Looks whether an emergency begins or ends. `memory` is the share of it that is in use, where that is known.
    pub fn look_for_emergency(&self, memory: Option<f64>) {
        let (Gatehouse { rates, emergency, .. }, options) = (&self.gatehouse, self.settings.emergency);
        if let Some(rates) = rates {
            // Those who have all of it left are as good as new.
            rates.retain_recent();
        }
        let waiting = options.waiting.map(|most| (self.counters.waiting() as f64 / most as f64, 0.5));
        let memory = options.memory.zip(memory).map(|(most, memory)| (memory / most, 0.95));
        for (pressure, is) in [(Pressure::Database, waiting), (Pressure::Memory, memory)] {
            let Some((share, well_below)) = is else { continue };
            let Some(begins) = emergency.looked(pressure, share >= 1.0, share < well_below) else { continue };
            self.counters.emergency(pressure, begins);
            if begins && pressure == Pressure::Memory {
                self.memory.clear();
            }
        }
    }

    /// The server answered a statement on a connection that somebody holds, who is not rejected, or failed to.
    pub fn witness(&self, failure: Option<&sqlx::Error>) {
        match failure {
            // It was not even asked.
            Some(sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) | sqlx::Error::InvalidSavePointStatement) => {
            }
            Some(error) if DB::is_outage(error) => self.gatehouse.breaker.witness(Fate::Failed, || said::<DB>(error)),
            _ => self.gatehouse.breaker.witness(Fate::Answered, String::new),
        }
    }

    fn rejects(&self, by: Guard, retry_after: Option<Duration>) -> sqlx::Error {
        self.counters.rejected(by);
        Rejected::new(by, retry_after).into()
    }

    /// Waits until a load may begin.
    ///
    /// # Errors
    /// There are as many as there may be, and none of them ended soon enough.
    async fn load_begins(&self) -> Result<Option<OwnedSemaphorePermit>, sqlx::Error> {
        let Some((loads, wait)) = &self.gatehouse.loads else { return Ok(None) };
        match tokio::time::timeout(*wait, loads.clone().acquire_owned()).await {
            Ok(permit) => Ok(permit.ok()),
            Err(_) => Err(self.rejects(Guard::LoadLimit, Some(*wait))),
        }
    }

    /// Takes a connection for a call of its own.
    ///
    /// # Errors
    /// Those of [`Inner::admit`] and [`Inner::connect_for`].
    pub async fn connect(self: &Arc<Self>) -> Result<(PoolConnection<DB>, Asking<DB>), sqlx::Error> {
        self.connect_for(self.admit()?).await
    }

    /// Takes a connection for a call that was let through.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`]; sooner where no new connection can be made, and then with the reason for that.
    pub async fn connect_for(
        self: &Arc<Self>,
        mut call: Call,
    ) -> Result<(PoolConnection<DB>, Asking<DB>), sqlx::Error> {
        if (self.pool.size() as usize) < self.most() || self.pool.num_idle() > 0 {
            // Nobody has to give one back: what is waited for is the database.
            call.begins();
        }
        let mut connecting = Connecting { inner: self, call: Some(call) };
        let acquired = Box::pin(self.acquire()).await;
        let mut call = connecting.call.take().expect("it is there until its caller goes away");
        match acquired {
            Ok(connection) => {
                call.begins();
                let asking = Asking {
                    driver: PhantomData,
                    call: Some(call),
                    _under_way: self.gatehouse.under_way.begins(),
                    _handed_out: self.gatehouse.handed_out.clone(),
                    place: None,
                };
                Ok((connection, asking))
            }
            Err(error) => {
                self.judge_unconnected(call, &error);
                Err(error)
            }
        }
    }

    /// A caller went away while he waited for a connection. Where none can be made, that was the database's doing.
    fn judge_given_up(&self, mut call: Call) {
        if DB::DIALECT == Dialect::Sqlite || !call.stops() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let looked = self.look(CONNECT_WITHIN);
        tokio::spawn(async move {
            if let Ok(Some((kind, _))) = looked.await {
                call.ends(Fate::Failed, || format!("no connection can be made: {kind}"));
            }
        });
    }

    /// A call ends without a connection. That is never its caller's mistake, whatever the server said: it asked nothing yet.
    fn judge_unconnected(&self, call: Call, error: &sqlx::Error) {
        match error {
            sqlx::Error::PoolClosed => call.never_made(),
            sqlx::Error::PoolTimedOut if self.is_unreachable() => {
                call.ends(Fate::Failed, || "no connection can be made".into());
            }
            sqlx::Error::PoolTimedOut => {
                call.never_made();
                if DB::DIALECT != Dialect::Sqlite {
                    // For the sake of those who come next.
                    drop(self.look(CONNECT_WITHIN));
                }
            }
            error => call.ends(Fate::Failed, || said::<DB>(error)),
        }
    }

    /// The same for a read, in its turn.
    ///
    /// # Errors
    /// Those of [`Inner::connect_for`], and that as many reads as may be are at the database.
    pub async fn connect_to_load(
        self: &Arc<Self>,
        call: Call,
    ) -> Result<(PoolConnection<DB>, Asking<DB>), sqlx::Error> {
        let place = match self.load_begins().await {
            Ok(place) => place,
            Err(error) => {
                call.never_made();
                return Err(error);
            }
        };
        let (connection, mut asking) = self.connect_for(call).await?;
        asking.place = place;
        Ok((connection, asking))
    }

    /// The same as a connection that is closed if it is left in the middle of an answer.
    pub async fn connect_in_step(self: &Arc<Self>) -> Result<(InStep<DB>, Asking<DB>), sqlx::Error> {
        let (connection, asking) = self.connect().await?;
        Ok((InStep::of(connection), asking))
    }

    /// The same for a read that is not kept.
    ///
    /// # Errors
    /// Those of [`Inner::admit_read`] and [`Inner::connect_for`].
    pub async fn connect_to_read(
        self: &Arc<Self>,
        scope: Option<&Arc<str>>,
    ) -> Result<(InStep<DB>, Asking<DB>), sqlx::Error> {
        let (connection, asking) = self.connect_to_load(self.admit_read(scope, false)?).await?;
        Ok((InStep::of(connection), asking))
    }

    /// Takes a connection to look at the database.
    ///
    /// # Errors
    /// Those of [`Inner::connect`].
    pub async fn connect_to_look(&self) -> Result<Lookout<DB>, sqlx::Error> {
        let mut connecting = Connecting { inner: self, call: Some(self.admit()?) };
        let acquired = self.acquire().await;
        let call = connecting.call.take().expect("it is there until its caller goes away");
        match acquired {
            Ok(connection) => Ok(Lookout::new(InStep::of(connection), call)),
            Err(error) => {
                self.judge_unconnected(call, &error);
                Err(error)
            }
        }
    }

    async fn acquire(&self) -> Result<PoolConnection<DB>, sqlx::Error> {
        let _waiting = self.counters.waits_for_connection();
        let mut acquiring = pin!(self.pool.acquire());
        // The answer to the look should be there before the pool gives up, where that leaves it time enough.
        let patience = self.pool.options().get_acquire_timeout();
        let within = if patience > LOOKED_INTO * 2 { CONNECT_WITHIN.min(patience / 2) } else { CONNECT_WITHIN };
        let acquired = match tokio::time::timeout(LOOKED_INTO, &mut acquiring).await {
            Ok(acquired) => acquired,
            // A file is always within reach.
            Err(_) if DB::DIALECT == Dialect::Sqlite => acquiring.await,
            Err(_) => match select(acquiring, pin!(self.is_out_of_reach(within))).await {
                Either::Left((acquired, _)) => acquired,
                Either::Right((error, _)) => Err(error),
            },
        };
        acquired.inspect_err(|error| {
            let cause = match error {
                sqlx::Error::PoolTimedOut => self.cause_of_timeout(),
                sqlx::Error::PoolClosed => return,
                _ => PoolTimeout::CannotConnect,
            };
            self.counters.pool_timeout(cause);
        })
    }

    /// Never returns while new connections can be made.
    async fn is_out_of_reach(&self, within: Duration) -> sqlx::Error {
        loop {
            match self.look(within).await {
                Ok(Some((kind, why))) => return sqlx::Error::Io(io::Error::new(kind, why)),
                _ => tokio::time::sleep(ANSWER_HOLDS).await,
            }
        }
    }

    /// Looks whether a connection can be made, unless somebody did just now. In a task: a caller who goes away meanwhile leaves the answer
    /// to the next.
    fn look(&self, within: Duration) -> JoinHandle<Option<WhyNot>> {
        let (reach, pool) = (self.gatehouse.reach.clone(), self.pool.clone());
        let handed_out = Arc::downgrade(&self.gatehouse.handed_out);
        tokio::spawn(async move {
            let _looking = reach.looking.lock().await;
            if let Some(found) = reach.found().filter(|found| found.at.elapsed() < ANSWER_HOLDS) {
                return found.why_not;
            }
            // One copy is the gatehouse's own.
            let has_any = || pool.num_idle() > 0 || handed_out.strong_count() > 1;
            let why_not = try_to_connect::<DB>(&pool.connect_options(), within, has_any).await;
            reach.finds(why_not.clone());
            why_not
        })
    }

    /// Whether no connection could be made a moment ago.
    fn is_unreachable(&self) -> bool {
        let reach = &self.gatehouse.reach;
        // While somebody looks, what was found before is all that is known.
        let holds = |found: &Found| found.at.elapsed() < CONNECT_WITHIN || reach.looking.try_lock().is_err();
        reach.found().is_some_and(|found| found.why_not.is_some() && holds(&found))
    }

    fn most(&self) -> usize {
        self.pool.options().get_max_connections() as usize
    }

    /// Why nobody gave a connection back in time.
    fn cause_of_timeout(&self) -> PoolTimeout {
        let most = self.most();
        let slow = SLOW.min(self.pool.options().get_acquire_timeout() / 2);
        let are_at = |time| self.gatehouse.under_way.for_at_least(time) * 2 >= most;
        match () {
            () if (self.pool.size() as usize) < most || self.is_unreachable() => PoolTimeout::CannotConnect,
            // Most connections are with callers who do nothing with them, as far as is seen.
            () if !are_at(Duration::ZERO) => PoolTimeout::LeakSuspected,
            () if are_at(slow) => PoolTimeout::SlowQueries,
            () => PoolTimeout::Backlog,
        }
    }

    /// Asks the database whether it is there, as often as the breaker wants to know: where most reads are answered from memory,
    /// callers alone would let it know late.
    pub fn watch_recovery(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (watched, breaker) = (Arc::downgrade(self), self.gatehouse.breaker.clone());
        runtime.spawn(async move {
            while breaker.probe_is_due().await {
                let Some(inner) = watched.upgrade().filter(|inner| !inner.pool.is_closed()) else { return };
                let Some(call) = inner.gatehouse.breaker.admit_anyhow() else { continue };
                if let Ok((mut connection, asking)) = inner.connect_for(call).await {
                    let answered = in_time(connection.ping(), Some(CONNECT_WITHIN)).await;
                    if answered.is_err() {
                        leave::<DB>(&mut connection);
                    }
                    asking.ends(answered.as_ref().err());
                }
            }
        });
    }
}

/// `has_any` tells whether the pool has connections to give.
async fn try_to_connect<DB: Driver>(
    options: &Options<DB>,
    within: Duration,
    has_any: impl Fn() -> bool,
) -> Option<WhyNot> {
    match tokio::time::timeout(within, DB::Connection::connect_with(options)).await {
        Ok(Ok(connection)) => {
            drop(connection.close().await);
            None
        }
        Ok(Err(sqlx::Error::Io(error))) => Some((error.kind(), error.to_string())),
        // What the server has no room for does not matter to who waits for a connection that is there.
        Ok(Err(error)) if DB::takes_no_more(&error) && has_any() => None,
        // It starts, it ends, or all it has room for is with others: the pool would try again and again.
        Ok(Err(error)) if DB::is_outage(&error) => Some((io::ErrorKind::ConnectionRefused, error.to_string())),
        // A server that objects is there, and the pool hears of it at once.
        Ok(Err(_)) => None,
        Err(_) => Some((io::ErrorKind::TimedOut, format!("no connection could be made within {within:?}"))),
    }
}
