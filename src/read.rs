//! The journey of a read: plan, key, memory, flight, database, store.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{self, FutureExt, select};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::Either;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use crate::backend::{Driver, Item, Request, leave, release};
use crate::chance::dice;
use crate::entry::{Entry, Life, Value};
use crate::flight::{Pilot, Seat};
use crate::guard::{Call, Pressure};
use crate::inner::{Asking, InTime, Inner, Kept, Shape, is_late};
use crate::key::{Bound, Key, Lookup, TooLong};
use crate::observe::{Metered, Subject, Tier};
use crate::plan::{Known, Plan, Reads};
use crate::policy::{Age, Policy, Terms};
use crate::reason::{Reason, Refusal};
use crate::replay::Replay;
use crate::replay::spares::Spares;
use crate::stamp::Stamp;
use crate::tier::Found;

mod audit;
#[cfg_attr(not(feature = "redis"), path = "read/no_others.rs")]
mod others;

/// How a pool is looked at: the part that differs between its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub scope: Option<Arc<str>>,
    pub fresh: bool,
    /// Laid over what the rules say of a query.
    pub policy: Option<Arc<Policy>>,
}

/// What became of a read.
pub(crate) enum Answer<DB: Driver> {
    /// All rows, from wherever.
    Rows(Rows<DB>),
    /// The first rows of a result too large to keep, and the rest as the database sends it.
    Stream(BoxStream<'static, Result<Item<DB>, sqlx::Error>>),
    /// What a write yields. It has to be read to its end: only then is published what was written.
    Written(BoxStream<'static, Result<Item<DB>, sqlx::Error>>),
    /// The caller is to ask the database.
    Direct(Request<DB>, Subject),
}

/// A whole result, and how it ended.
pub(crate) struct Rows<DB: Driver> {
    pub rows: Vec<DB::Row>,
    pub end: Result<Option<DB::QueryResult>, sqlx::Error>,
    /// What is kept of it, if it may be kept.
    pub kept: Option<Arc<Kept<DB>>>,
}

impl<DB: Driver> Rows<DB> {
    /// As `fetch_many` yields it.
    pub fn into_stream(self) -> BoxStream<'static, Result<Item<DB>, sqlx::Error>> {
        let end = self.end.map(|result| result.map(Either::Left)).transpose();
        stream::iter(self.rows.into_iter().map(|row| Ok(Either::Right(row))).chain(end)).boxed()
    }
}

/// The first row; with `to_the_end`, after an error behind it was ruled out.
pub(crate) async fn first_row<DB: Driver>(
    mut items: BoxStream<'_, Result<Item<DB>, sqlx::Error>>,
    to_the_end: bool,
) -> Result<Option<DB::Row>, sqlx::Error> {
    let mut first = None;
    while let Some(item) = items.try_next().await? {
        if let Either::Right(row) = item {
            first.get_or_insert(row);
            if !to_the_end {
                break;
            }
        }
    }
    Ok(first)
}

/// Answers a read from memory, from somebody else's load, or by a load of its own.
pub(crate) async fn read<DB: Driver>(
    inner: &Arc<Inner<DB>>,
    view: &View,
    plan: Arc<Plan<Shape<DB>>>,
    mut request: Request<DB>,
) -> Result<Answer<DB>, sqlx::Error> {
    let begun = inner.counters.begins(Tier::Memory);
    if plan.known.is_none() {
        inner.learn_soon();
    }
    let asked = match Asked::new(inner, view, &plan, &mut request) {
        Ok(asked) => asked,
        Err(refusal) => {
            inner.counters.bypass(refusal.reason, &refusal.sentence, &plan.statement);
            return Ok(Answer::Direct(request, plan.statement.clone()));
        }
    };
    // For an outage.
    let mut unwatched = None;
    if asked.is_unwatched {
        if !view.fresh && !asked.terms.stale_if_error.is_zero() {
            unwatched = inner.memory.any(&asked.lookup());
        }
        if unwatched.is_none() {
            let why = "it was not heard for too long what other programs write";
            inner.counters.bypass(Reason::Unwatched, why, &plan.statement);
            return Ok(Answer::Direct(request, plan.statement.clone()));
        }
    }
    let node = asked.known.versions.node().filter(|_| !asked.is_unwatched);
    // Without word from others for too long, this node cannot tell what of its own is still good.
    let knows = node.is_none_or(|node| node.may_answer());
    let mut found = match view.fresh {
        _ if unwatched.is_some() => Found::Nothing(Reason::Unwatched, unwatched),
        true => Found::Nothing(Reason::Fresh, None),
        false if knows => inner.memory.find(&asked.lookup(), &asked.terms, dice),
        false => Found::Nothing(Reason::Absent, None),
    };
    let mut load = None;
    let mut tier = Tier::Memory;
    if let (Found::Nothing(..), Some(node)) = (&found, node) {
        let mut asking = asked.load(inner);
        let waiting = inner.counters.waits_for_redis();
        let said = asking.ask_others(node, view.fresh).await;
        drop(waiting);
        if said.heard && !knows && !view.fresh {
            found = inner.memory.find(&asked.lookup(), &asked.terms, dice);
        }
        if let (Found::Nothing(reason, stale), false) = (&mut found, view.fresh) {
            *reason = said.missed.unwrap_or(*reason);
            if let Some(entry) = said.entry {
                if !inner.is_short_of(Pressure::Memory) {
                    inner.memory.insert(asking.key.clone(), entry.clone());
                }
                (found, tier) = (Found::Good(entry), Tier::Redis);
            } else if stale.is_none() && said.missed == Some(Reason::TierDown) {
                *stale = inner.memory.any(&asked.lookup());
            }
        }
        load = Some(asking);
    }
    if let Found::Good(entry) | Found::Due(entry) = &found {
        match give_back(inner, asked.replay, entry).await {
            Some(rows) => {
                inner.counters.hit(&plan.statement, tier, &**entry);
                inner.counters.hit_took(begun);
                match found {
                    Found::Due(entry) if !inner.is_emergency() && entry.may_be_replaced() => {
                        refresh(asked.load(inner), &entry, request);
                    }
                    Found::Good(entry) => {
                        if let Some(turn) = inner.audits_this() {
                            tokio::spawn(asked.load(inner).audit(entry, request, turn));
                        }
                    }
                    _ => {}
                }
                return Ok(Answer::Rows(rows));
            }
            None => inner.memory.remove(&asked.lookup()),
        }
    }
    let (missed, stale) = match found {
        Found::Nothing(reason, stale) => (reason, stale.filter(|_| !asked.terms.stale_if_error.is_zero())),
        _ => (Reason::Unreplayable, None),
    };

    let mut load = load.unwrap_or_else(|| asked.load(inner));
    let missed = match missed {
        Reason::TierDown | Reason::Unwatched => missed,
        _ if load.stamp.is_none() => Reason::WriteInFlight,
        _ => missed,
    };
    if view.fresh && load.stamp.is_none() {
        // What is kept may be older than what its caller is about to see, and is not replaced.
        inner.memory.remove(&asked.lookup());
    }
    let missed = inner.counters.missed(missed, &plan.statement);
    inner.counters.loads(&plan.statement, load.key.name());
    let has_stale = stale.as_ref().is_some_and(|entry| may_be_stale(entry, &asked.terms));
    // A query that took longer than its result may live is of use to nobody but its caller.
    if !view.fresh
        && let Some(entry) = Box::pin(load.board(has_stale)).await
        && asked.terms.age(&entry.life, Instant::now, || 1.0) != Age::Over
        && let Some(rows) = give_back(inner, asked.replay, &entry).await
    {
        missed.coalesced(&*entry);
        return Ok(Answer::Rows(rows));
    }
    let of_use_to_others = load.pilot.is_some() || (view.fresh && load.stamp.is_some());
    if !of_use_to_others && stale.is_none() {
        return Ok(Answer::Direct(request, plan.statement.clone()));
    }
    // Without anything else to give out, a miss it is.
    let missed = stale.is_some().then_some(missed);
    let answer = match inner.admit_read(view.scope.as_ref(), has_stale) {
        Ok(call) => {
            let (deliver, delivered) = oneshot::channel();
            tokio::spawn(load.run(request, call, deliver));
            let delivered = delivered.map(|answer| answer.unwrap_or(Err(sqlx::Error::WorkerCrashed)));
            match has_stale {
                // Rather that than wait for what may never come.
                true => Box::pin(inner.unless_it_opens(delivered)).await,
                false => delivered.await,
            }
        }
        Err(rejected) => {
            drop(load);
            Err(rejected)
        }
    };
    if let (Some(missed), Some(entry)) = (missed, stale)
        && is_outage(&answer)
        && may_be_stale(&entry, &asked.terms)
        && let Some(rows) = give_back(inner, asked.replay, &entry).await
    {
        missed.stale(&*entry);
        return Ok(Answer::Rows(Rows { kept: None, ..rows }));
    }
    answer
}

fn is_outage<DB: Driver>(answer: &Result<Answer<DB>, sqlx::Error>) -> bool {
    match answer {
        // Nothing was asked: there was no connection, or the call was rejected.
        Err(error) => !matches!(error, sqlx::Error::PoolClosed),
        Ok(Answer::Rows(Rows { end: Err(error), .. })) => DB::is_outage(error),
        _ => false,
    }
}

/// A change of the schema or of somebody's rights ends a result for good.
fn may_be_stale<S, C>(entry: &Entry<S, C>, terms: &Terms) -> bool {
    entry.life.stamp.first_holds() && terms.may_be_stale(&entry.life, Instant::now())
}

/// Replaces an entry in the background, unless somebody is at it or it was done just now.
fn refresh<DB: Driver>(mut load: Load<DB>, due: &Arc<Kept<DB>>, request: Request<DB>) {
    let Some(stamp) = &load.stamp else { return };
    let Seat::Pilot(pilot) = load.inner.flights.join(&load.key, stamp, tokio::time::Instant::now()) else { return };
    if load.inner.memory.holds(&load.key, due)
        && let Ok(call) = load.inner.admit()
    {
        load.inner.counters.refresh(&load.plan.statement);
        load.pilot = Some(pilot);
        load.patience = load.patience.max(due.life.cost * 2);
        tokio::spawn(load.run(request, call, oneshot::channel().0));
    }
}

/// The value that `mapper` made of the rows of this request before, or the key of the rows. `None`: not cacheable.
pub(crate) fn find_value<DB: Driver>(
    inner: &Inner<DB>,
    view: &View,
    plan: &Arc<Plan<Shape<DB>>>,
    request: &mut Request<DB>,
    mapper: TypeId,
) -> Option<Result<Arc<dyn Any + Send + Sync>, Key>> {
    let begun = inner.counters.begins(Tier::Typed);
    let asked = Asked::new(inner, view, plan, request).ok().filter(|asked| !asked.is_unwatched)?;
    let key = asked.lookup();
    let knows = asked.known.versions.node().is_none_or(|node| node.may_answer());
    // One that is due is left to the rows, which are replaced in the background.
    if !view.fresh
        && knows
        && let Found::Good(entry) = inner.memory.find(&key, &asked.terms, dice)
        && let Some(value) = entry.value(mapper)
    {
        inner.counters.hit(&plan.statement, Tier::Typed, &*entry);
        inner.counters.hit_took(begun);
        return Some(Ok(value.clone()));
    }
    Some(Err(key.to_key()))
}

/// Keeps a value with the rows it was made of, if they are still kept. It takes about `bytes` bytes besides those of the rows.
pub(crate) fn keep_value<DB: Driver>(
    inner: &Inner<DB>,
    key: Key,
    kept: &Arc<Kept<DB>>,
    mapper: TypeId,
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
) {
    let value = Value { mapper, value, bytes: bytes + kept.stored.bytes.len() };
    inner.memory.exchange(key, kept, Arc::new(kept.with(value)));
}

/// A request that may be kept, and all it takes to look it up.
struct Asked<'a, DB: Driver> {
    plan: &'a Arc<Plan<Shape<DB>>>,
    reads: &'a Reads,
    known: &'a Known,
    replay: &'a DB::Replay,
    terms: Cow<'a, Terms>,
    bound: Bound,
    /// It was not heard for too long what other programs write: nothing is kept, nor given out unless in an outage.
    is_unwatched: bool,
    hasher: &'a foldhash::fast::RandomState,
}

impl<'a, DB: Driver> Asked<'a, DB> {
    /// Or why it is not cached.
    fn new(
        inner: &'a Inner<DB>,
        view: &View,
        plan: &'a Arc<Plan<Shape<DB>>>,
        request: &mut Request<DB>,
    ) -> Result<Self, Refusal> {
        let refuse = |reason: Reason, sentence: &str| Err(Refusal::new(reason, sentence));
        if let Some(refusal) = inner.off() {
            return Err(refusal.clone());
        }
        let reads = plan.reads.as_ref().map_err(Refusal::clone)?;
        if let (Some(why), None) = (&reads.scope, &view.scope) {
            let sentence = format!("{why}: name a scope for each who may see something else, by `pool.scoped(..)`.");
            return Err(Refusal::new(Reason::RowSecurity, sentence));
        }
        let Some(known) = &plan.known else {
            return refuse(Reason::SessionUnseen, "the database was not looked at yet");
        };
        if let Some(refusal) = &known.refusal {
            return Err(refusal.clone());
        }
        let Some(replay) = inner.replay() else { return refuse(Reason::ReplayOff, "cached rows cannot be given back") };
        if plan.is_unfaithful() {
            return refuse(Reason::Unfaithful, "results of this statement cannot be given back faithfully");
        }
        if let Some(reason) = DB::refuses(request) {
            return refuse(reason, "it is not sent as a prepared statement that is kept");
        }
        let terms = match &view.policy {
            Some(policy) => Cow::Owned(Terms::of(&policy.over(&reads.policy))),
            None => Cow::Borrowed(&reads.terms),
        };
        if terms.never {
            return refuse(Reason::NeverCache, "a policy says that it is never to be cached");
        }
        let too_long = |TooLong| Refusal::new(Reason::KeyTooLarge, "the bound arguments are too long for a key");
        let (prepared, has_arguments) = (request.statement.is_some(), request.arguments.is_some());
        let mut bound = Bound::new(prepared, has_arguments, view.scope.as_deref(), &terms.tags).map_err(too_long)?;
        if let Some(arguments) = &mut request.arguments {
            let start = bound.bytes().len();
            DB::write_arguments(arguments, &mut bound).map_err(too_long)?;
            if plan.clock_by_argument && DB::may_be_the_clock(arguments, &bound.bytes()[start..]) {
                return refuse(Reason::SpecialDate, "a bound value may come to stand for the current time or date");
            }
        }
        let is_unwatched = known.gate.is_watched() && !inner.watch.is_current();
        Ok(Self { plan, reads, known, replay, terms, bound, is_unwatched, hasher: &inner.hasher })
    }

    fn lookup(&self) -> Lookup<'_> {
        Lookup::new(self.hasher, &self.reads.stem, &self.bound)
    }

    /// A load of it, under the versions as they are now.
    fn load(&self, inner: &Arc<Inner<DB>>) -> Load<DB> {
        // The stamp first: if the plan still holds after it, what the plan says held when it was taken.
        let stamp = match self.terms.tags.is_empty() {
            true => self.reads.stamp(),
            false => Stamp::take(&self.known.versions.tagged(&self.reads.cells, &self.terms.tags)),
        };
        Load {
            inner: inner.clone(),
            plan: self.plan.clone(),
            key: self.lookup().to_key(),
            terms: self.terms.clone().into_owned(),
            stamp: stamp.filter(|_| !self.is_unwatched && self.plan.holds()),
            shared: None,
            pilot: None,
            patience: PATIENCE,
        }
    }
}

/// Rows of an entry that was just found good.
async fn give_back<DB: Driver>(inner: &Inner<DB>, replay: &DB::Replay, entry: &Arc<Kept<DB>>) -> Option<Rows<DB>> {
    // A hit never waits, so that a loop of hits would never let other tasks run.
    tokio::task::coop::consume_budget().await;
    match entry.spares.take(replay, &entry.stored, &inner.room).await {
        Ok(replayed) => Some(Rows { rows: replayed.rows, end: Ok(Some(replayed.result)), kept: Some(entry.clone()) }),
        Err(why) => {
            tracing::warn!(target: "larder::replay", %why, "a cached result could not be given back");
            None
        }
    }
}

/// A load: a task of its own, so that neither a slow nor a vanished caller holds up those who wait for it.
struct Load<DB: Driver> {
    inner: Arc<Inner<DB>>,
    plan: Arc<Plan<Shape<DB>>>,
    key: Key,
    terms: Terms,
    /// What its result rests on. `None`: something that nothing may be kept on.
    stamp: Option<Stamp>,
    /// Under what others find it.
    shared: Option<others::Shared>,
    pilot: Option<Pilot<Kept<DB>>>,
    /// After that, it only goes on for those who wait for it.
    patience: Duration,
}

/// An answer that takes longer may be one that never comes: its connection may be gone without a word.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a load ended.
enum Outcome<DB: Driver> {
    Ended(Result<Option<DB::QueryResult>, sqlx::Error>),
    TooLarge,
    /// Nobody waits for it any longer.
    GivenUp,
}

type Deliver<DB> = oneshot::Sender<Result<Answer<DB>, sqlx::Error>>;

impl<DB: Driver> Load<DB> {
    /// The result of somebody else's load. Otherwise others may wait for this one, if there is a pilot: there is none where the
    /// other gave nothing, or the database is to be spared.
    async fn board(&mut self, has_stale: bool) -> Option<Arc<Kept<DB>>> {
        let (inner, stamp) = (&self.inner, self.stamp.as_ref()?);
        let mut waiting = None;
        loop {
            // First: it must not open unheard between the look and the wait.
            let opens = pin!(inner.gatehouse.breaker.opens());
            if inner.is_spared(has_stale) {
                return None;
            }
            let passenger = match inner.flights.join(&self.key, stamp, tokio::time::Instant::now()) {
                Seat::Passenger(passenger) => passenger,
                Seat::Pilot(pilot) => {
                    self.pilot = Some(pilot);
                    return None;
                }
            };
            waiting.get_or_insert_with(|| inner.counters.waits_for_load());
            let landed = pin!(timeout_at(passenger.due, passenger.wait()));
            if let future::Either::Left((Ok(landed), _)) = select(landed, opens).await {
                return landed;
            }
        }
    }

    async fn run(self, request: Request<DB>, call: Call, mut deliver: Deliver<DB>) {
        // Time to live counts from here: the answer cannot be older.
        let begun = Instant::now();
        let (mut connection, mut asking) = match self.inner.connect_to_load(call).await {
            Ok(connected) => connected,
            Err(error) => return drop(deliver.send(Err(error))),
        };
        let sql = request.sql.clone();
        let types = request.arguments.as_ref().map(DB::argument_types).unwrap_or_default();
        let (mut rows, mut bytes, mut result, mut results) = (Vec::new(), 0, None, 0);
        let answer = DB::fetch_many(&mut connection, request);
        let answer = InTime::new(answer, self.inner.settings.read_timeout).boxed();
        let mut stream = self.inner.counters.metered(&self.plan.statement, self.plan.sent(), answer);
        let outcome: Outcome<DB> = {
            let mut given_up = pin!(async {
                tokio::time::sleep(self.patience).await;
                // Others need not wait for what may never end.
                asking.gives_up_its_place();
                deliver.closed().await;
                if let Some(pilot) = &self.pilot {
                    pilot.is_alone().await;
                }
            });
            loop {
                let item = match select(stream.next(), given_up.as_mut()).await {
                    future::Either::Left((item, _)) => item,
                    future::Either::Right(_) => break Outcome::GivenUp,
                };
                match item {
                    Some(Ok(Either::Right(row))) => {
                        bytes += DB::Replay::row_bytes(&row);
                        rows.push(row);
                        if bytes > self.terms.max_entry_bytes {
                            break Outcome::TooLarge;
                        }
                    }
                    Some(Ok(Either::Left(completed))) => {
                        results += 1;
                        result = Some(completed);
                    }
                    Some(Err(error)) => break Outcome::Ended(Err(error)),
                    None => break Outcome::Ended(Ok(result)),
                }
            }
        };
        let end = match outcome {
            Outcome::Ended(end) => end,
            Outcome::TooLarge => {
                if !self.overflow(rows, stream, asking, deliver).await {
                    leave::<DB>(&mut connection);
                }
                return;
            }
            Outcome::GivenUp => {
                drop(stream);
                self.give_up(Reason::Failed, "nobody waited for it any longer");
                return leave::<DB>(&mut connection);
            }
        };
        let cost = stream.waited();
        drop(stream);
        asking.ends_after(cost, end.as_ref().err());
        let is_late = end.as_ref().is_err_and(is_late);
        let kept = if end.is_err() {
            self.give_up(Reason::Failed, "the query failed")
        } else if results != 1 {
            self.give_up(Reason::Unfaithful, "the statement gave several results")
        } else {
            let life = self.stamp.clone().map(|stamp| Life {
                stamp,
                begun,
                cost,
                dice: dice() as f32,
                empty: rows.is_empty(),
            });
            match life {
                Some(life) => Box::pin(self.store(&mut connection, &sql, &types, &rows, life)).await,
                None => None,
            }
        };
        let _ = deliver.send(Ok(Answer::Rows(Rows { rows, end, kept })));
        match is_late {
            // Not given back: that would wait for the answer that nobody wants any more.
            true => leave::<DB>(&mut connection),
            false => release::<DB>(connection).await,
        }
    }

    async fn store(
        self,
        connection: &mut DB::Connection,
        sql: &sqlx::SqlStr,
        types: &str,
        rows: &[DB::Row],
        life: Life,
    ) -> Option<Arc<Kept<DB>>> {
        let replay = self.inner.replay()?;
        let stored = match replay.store(connection, sql, types, rows, self.plan.shape().as_ref()).await {
            Ok(stored) => stored,
            Err(why) => {
                self.plan.count_unfaithful();
                return self.give_up(Reason::Unfaithful, &why.to_string());
            }
        };
        self.plan.set_shape(&stored.shape);
        let of_use = self.terms.of_use(&life);
        let entry = Arc::new(Entry::new(stored, Spares::none(), life, of_use));
        if self.inner.is_short_of(Pressure::Memory) {
            self.not_stored(Reason::Emergency, "too little memory is left");
        } else if entry.life.stamp.holds() {
            self.inner.counters.stored(&self.plan.statement, entry.weight());
            self.inner.memory.insert(self.key.clone(), entry.clone());
            self.share(&entry);
        } else {
            self.not_stored(Reason::WrittenMeanwhile, "a table was written while the query ran");
        }
        // Those who wait joined before that write: they may have the result even if nobody after them may.
        if let Some(pilot) = self.pilot {
            pilot.land(entry.clone());
        }
        Some(entry)
    }

    /// A result too large to keep: the caller gets it at his own pace, the others load for themselves. Whether it was read to its end.
    async fn overflow(
        self,
        rows: Vec<DB::Row>,
        mut stream: Metered<BoxStream<'_, Result<Item<DB>, sqlx::Error>>>,
        mut asking: Asking<DB>,
        deliver: Deliver<DB>,
    ) -> bool {
        asking.gives_up_its_place();
        // What is kept is older than this.
        self.inner.memory.remove(&self.key);
        self.give_up(Reason::TooLarge, "the result is larger than the largest entry allowed");
        let (send, mut receive) = mpsc::channel(64);
        let rest = stream::poll_fn(move |context| receive.poll_recv(context));
        let all = stream::iter(rows.into_iter().map(|row| Ok(Either::Right(row)))).chain(rest).boxed();
        let mut is_there = deliver.send(Ok(Answer::Stream(all))).is_ok();
        while is_there {
            let item = match select(stream.next(), pin!(send.closed())).await {
                future::Either::Left((item, _)) => item,
                future::Either::Right(_) => {
                    is_there = false;
                    break;
                }
            };
            match item {
                Some(Ok(item)) => is_there = send.send(Ok(item)).await.is_ok(),
                Some(Err(error)) => {
                    asking.ends_after(stream.waited(), Some(&error));
                    let is_late = is_late(&error);
                    let _ = send.send(Err(error)).await;
                    return !is_late;
                }
                None => break,
            }
        }
        asking.ends_after(stream.waited(), None);
        is_there
    }

    /// Ends the flight without a result that could be kept.
    fn give_up(self, reason: Reason, sentence: &str) -> Option<Arc<Kept<DB>>> {
        self.not_stored(reason, sentence);
        None
    }

    fn not_stored(&self, reason: Reason, sentence: &str) {
        self.inner.counters.not_stored(reason, sentence, &self.plan.statement);
    }
}
