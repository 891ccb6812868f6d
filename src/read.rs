//! The journey of a read: plan, key, memory, flight, database, store.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::{Database, Either};
use tokio::sync::{mpsc, oneshot};

use crate::backend::{Driver, Item, Request};
use crate::entry::Entry;
use crate::flight::{Pilot, Seat};
use crate::inner::{Inner, Kept, Shape};
use crate::key::{Bound, Key};
use crate::plan::Plan;
use crate::reason::{Reason, Refusal};
use crate::replay::Replay;
use crate::replay::spares::Spares;
use crate::stamp::Stamp;

/// How a pool is looked at: the part that differs between its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub scope: Option<Arc<str>>,
    pub fresh: bool,
}

/// What became of a read.
pub(crate) enum Answer<DB: Database> {
    /// All rows, from wherever.
    Rows(Rows<DB>),
    /// The first rows of a result too large to keep, and the rest as the database sends it.
    Stream(BoxStream<'static, Result<Item<DB>, sqlx::Error>>),
    /// What a write yields. It has to be read to its end: only then is published what was written.
    Written(BoxStream<'static, Result<Item<DB>, sqlx::Error>>),
    /// The caller is to ask the database.
    Direct(Request<DB>),
}

/// A whole result, and how it ended.
pub(crate) struct Rows<DB: Database> {
    pub rows: Vec<DB::Row>,
    pub end: Result<Option<DB::QueryResult>, sqlx::Error>,
}

impl<DB: Database> Rows<DB> {
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
    request: Request<DB>,
) -> Result<Answer<DB>, sqlx::Error> {
    if plan.known.is_none() {
        inner.learn_soon();
    }
    let (replay, key) = match key(inner, view, &plan, &request) {
        Ok(found) => found,
        Err(refusal) => {
            inner.counters.bypass(refusal.reason, &refusal.sentence, &plan.statement);
            return Ok(Answer::Direct(request));
        }
    };
    let missed = if view.fresh {
        Reason::Fresh
    } else {
        match inner.memory.find(&key, Instant::now()) {
            Err(reason) => reason,
            Ok(entry) => match give_back(inner, replay, &entry).await {
                Some(rows) => {
                    inner.counters.hit(&plan.statement);
                    return Ok(Answer::Rows(rows));
                }
                None => {
                    inner.memory.remove(&key);
                    Reason::Unreplayable
                }
            },
        }
    };

    // The stamp first: if the plan still holds after it, what the plan says held when it was taken.
    let stamp = plan.reads.as_ref().ok().and_then(Stamp::take).filter(|_| plan.holds());
    let Some(stamp) = stamp else {
        inner.counters.miss(Reason::WriteInFlight, &plan.statement);
        return Ok(Answer::Direct(request));
    };
    let pilot = if view.fresh {
        None
    } else {
        match inner.flights.join(&key, &stamp) {
            Seat::Pilot(pilot) => Some(pilot),
            Seat::Passenger(passenger) => {
                // A query that took longer than its result may live is of use to nobody but its caller.
                if let Some(entry) = passenger.wait().await.filter(|entry| !entry.is_expired(Instant::now()))
                    && let Some(rows) = give_back(inner, replay, &entry).await
                {
                    inner.counters.coalesced(&plan.statement);
                    return Ok(Answer::Rows(rows));
                }
                inner.counters.miss(missed, &plan.statement);
                return Ok(Answer::Direct(request));
            }
        }
    };
    inner.counters.miss(missed, &plan.statement);
    let (deliver, delivered) = oneshot::channel();
    let load = Load { inner: inner.clone(), plan, key, stamp, pilot };
    tokio::spawn(load.run(request, deliver));
    delivered.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// The key of a request, and the machinery to give its result back; or why it is not cached.
fn key<'i, DB: Driver>(
    inner: &'i Inner<DB>,
    view: &View,
    plan: &Plan<Shape<DB>>,
    request: &Request<DB>,
) -> Result<(&'i DB::Replay, Key), Refusal> {
    let refuse = |reason: Reason, sentence: &str| Err(Refusal::new(reason, sentence));
    if let Some(refusal) = inner.off().or(plan.reads.as_ref().err()) {
        return Err(refusal.clone());
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
    let mut bound = Bound::new(request.statement.is_some(), request.arguments.is_some(), view.scope.as_deref());
    if let Some(arguments) = &request.arguments {
        if DB::write_arguments(arguments, &mut bound).is_err() {
            return refuse(Reason::KeyTooLarge, "the bound arguments are too long for a key");
        }
        if plan.clock_by_argument && DB::may_be_the_clock(bound.arguments()) {
            return refuse(Reason::SpecialDate, "a bound text is cast to a date and may stand for the current time");
        }
    }
    Ok((replay, Key::new(&inner.hasher, &known.session, &plan.statement, bound)))
}

/// Rows of an entry that was just found good.
async fn give_back<DB: Driver>(inner: &Inner<DB>, replay: &DB::Replay, entry: &Kept<DB>) -> Option<Rows<DB>> {
    // A hit never waits, so that a loop of hits would never let other tasks run.
    tokio::task::coop::consume_budget().await;
    match entry.spares.take(replay, &entry.stored, &inner.room).await {
        Ok(replayed) => Some(Rows { rows: replayed.rows, end: Ok(Some(replayed.result)) }),
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
    stamp: Stamp,
    pilot: Option<Pilot<Kept<DB>>>,
}

type Deliver<DB> = oneshot::Sender<Result<Answer<DB>, sqlx::Error>>;

impl<DB: Driver> Load<DB> {
    async fn run(self, request: Request<DB>, deliver: Deliver<DB>) {
        // Time to live counts from here: the answer cannot be older.
        let begun = Instant::now();
        // Boxed, since it is eight times as large as all the rest and would be moved about with it.
        let mut connection = match Box::pin(self.inner.pool.acquire()).await {
            Ok(connection) => connection,
            Err(error) => return drop(deliver.send(Err(error))),
        };
        let sql = request.sql.clone();
        let (mut rows, mut bytes, mut result, mut results) = (Vec::new(), 0, None, 0);
        let mut stream = DB::fetch_many(&mut connection, request);
        let end = loop {
            match stream.next().await {
                Some(Ok(Either::Right(row))) => {
                    bytes += DB::Replay::row_bytes(&row);
                    rows.push(row);
                    if bytes > self.inner.policy.max_entry_bytes {
                        return self.overflow(rows, stream, deliver).await;
                    }
                }
                Some(Ok(Either::Left(completed))) => {
                    results += 1;
                    result = Some(completed);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(result),
            }
        };
        drop(stream);
        if end.is_err() {
            self.give_up(Reason::Failed, "the query failed");
        } else if results != 1 {
            self.give_up(Reason::Unfaithful, "the statement gave several results");
        } else {
            Box::pin(self.store(&mut connection, &sql, &rows, begun)).await;
        }
        drop(connection);
        let _ = deliver.send(Ok(Answer::Rows(Rows { rows, end })));
    }

    async fn store(self, connection: &mut DB::Connection, sql: &sqlx::SqlStr, rows: &[DB::Row], begun: Instant) {
        let Some(replay) = self.inner.replay() else { return };
        let stored = match replay.store(connection, sql, self.key.arguments(), rows, self.plan.shape().as_ref()).await {
            Ok(stored) => stored,
            Err(why) => {
                self.plan.count_unfaithful();
                return self.give_up(Reason::Unfaithful, &why.to_string());
            }
        };
        self.plan.set_shape(&stored.shape);
        let expires = self.inner.policy.expires(begun, dice());
        let entry = Arc::new(Entry { stored, spares: Spares::none(), stamp: self.stamp.clone(), expires });
        if entry.stamp.holds() {
            self.inner.counters.stored(&self.plan.statement, entry.weight());
            self.inner.memory.insert(self.key.clone(), entry.clone());
        } else {
            self.not_stored(Reason::WrittenMeanwhile, "a table was written while the query ran");
        }
        // Those who wait joined before that write: they may have the result even if nobody after them may.
        if let Some(pilot) = self.pilot {
            pilot.land(entry);
        }
    }

    /// A result too large to keep: the caller gets it at his own pace, the others load for themselves.
    async fn overflow(
        self,
        rows: Vec<DB::Row>,
        mut stream: BoxStream<'_, Result<Item<DB>, sqlx::Error>>,
        deliver: Deliver<DB>,
    ) {
        self.give_up(Reason::TooLarge, "the result is larger than the largest entry allowed");
        let (send, mut receive) = mpsc::channel(64);
        let rest = stream::poll_fn(move |context| receive.poll_recv(context));
        let all = stream::iter(rows.into_iter().map(|row| Ok(Either::Right(row)))).chain(rest).boxed();
        if deliver.send(Ok(Answer::Stream(all))).is_err() {
            return;
        }
        while let Some(item) = stream.next().await {
            if send.send(item).await.is_err() {
                return;
            }
        }
    }

    /// Ends the flight without a result.
    fn give_up(self, reason: Reason, sentence: &str) {
        self.not_stored(reason, sentence);
    }

    fn not_stored(&self, reason: Reason, sentence: &str) {
        self.inner.counters.not_stored(reason, sentence, &self.plan.statement);
    }
}

/// A number between 0 and 1.
fn dice() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
