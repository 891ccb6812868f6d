//! Counters by outcome and reason: the one place that hears of everything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::Stream;
use metrics::{Counter, Gauge, Histogram};
use moka::notification::RemovalCause;

use super::audit::Audit;
use super::by_table::ByTable;
use super::events::{Event, EventKind, Events};
use super::feed::{Feed, Hearing};
use super::history::{History, Now, Recent, Totals};
use super::pool_gauges::{PoolGauges, Waiting};
use super::record::{Given, Spared};
use super::striped::{STRIPES, of_this_thread};
use super::waits::{Sum, Wait};
use super::{
    Metered, PoolTimeout, Queries, QueryStats, Sent, Stats, Subject, Tier, Waits, catalogue, metered, nanos, removal,
    unit,
};
use crate::entry::Entry;
use crate::guard::Pressure;
use crate::json::to_the_millisecond;
use crate::reason::{Place, Reason};
use crate::rejected::Guard;

/// One number, kept for `stats()` and told to the `metrics` recorder that was installed when the pool was built.
pub(super) struct Count {
    value: AtomicU64,
    metric: Counter,
}

impl Count {
    pub fn new(metric: Counter) -> Self {
        metric.increment(0);
        Self { value: AtomicU64::new(0), metric }
    }

    pub fn one(&self) {
        self.metric.increment(1);
        self.value.fetch_add(1, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.value.load(Relaxed)
    }
}

/// The same for what many threads count at once.
struct Often {
    values: [Line; STRIPES],
    metric: Counter,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

impl Often {
    fn new(metric: Counter) -> Self {
        metric.increment(0);
        Self { values: Default::default(), metric }
    }

    fn one(&self) {
        self.metric.increment(1);
        self.values[of_this_thread()].0.fetch_add(1, Relaxed);
    }

    /// How many this thread, and those that share its stripe, counted.
    fn of_this_thread(&self) -> u64 {
        self.values[of_this_thread()].0.load(Relaxed)
    }

    fn get(&self) -> u64 {
        self.values.iter().map(|line| line.0.load(Relaxed)).sum()
    }
}

/// A sum of durations, in nanoseconds; the metric is in microseconds.
struct Time {
    nanos: AtomicU64,
    metric: Counter,
}

impl Time {
    fn new(metric: Counter) -> Self {
        Self { nanos: AtomicU64::new(0), metric }
    }

    fn add(&self, time: Duration) {
        let time = nanos(time);
        let before = self.nanos.fetch_add(time, Relaxed);
        // What is left of a microsecond counts with the next.
        self.metric.increment(before.wrapping_add(time) / 1_000 - before / 1_000);
    }

    /// It is so long by now, in all.
    fn is(&self, time: Duration) {
        let time = nanos(time);
        let before = self.nanos.fetch_max(time, Relaxed);
        self.metric.increment(time.max(before) / 1_000 - before / 1_000);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed))
    }
}

/// A count for each reason.
struct ByReason {
    counts: Vec<OnceLock<Count>>,
    metric: fn(Reason) -> Counter,
}

impl ByReason {
    fn new(place: Place, metric: fn(Reason) -> Counter) -> Self {
        let count = |reason: &Reason| match reason.occurs(place) {
            true => Count::new(metric(*reason)).into(),
            // Should it occur all the same, it is counted all the same.
            false => OnceLock::new(),
        };
        Self { counts: Reason::ALL.iter().map(count).collect(), metric }
    }

    fn one(&self, reason: Reason) {
        self.counts[reason.index()].get_or_init(|| Count::new((self.metric)(reason))).one();
    }

    fn sum(&self) -> u64 {
        self.counts.iter().filter_map(OnceLock::get).map(Count::get).sum()
    }

    fn snapshot(&self) -> BTreeMap<Reason, u64> {
        let counted = Reason::ALL.iter().zip(&self.counts);
        let counted = counted.filter_map(|(reason, count)| Some((*reason, count.get()?.get())));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

/// A number that goes up and down, and its share in a gauge that all pools move.
pub(super) struct Level {
    value: AtomicI64,
    gauge: Gauge,
}

impl Level {
    pub fn new(gauge: Gauge) -> Self {
        Self { value: AtomicI64::new(0), gauge }
    }

    pub fn set(&self, value: i64) {
        self.add(value - self.value.load(Relaxed));
    }

    pub fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    pub fn add(&self, more: i64) {
        self.value.fetch_add(more, Relaxed);
        self.gauge.increment(more as f64);
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.gauge.decrement(*self.value.get_mut() as f64);
    }
}

/// A read that is not answered yet. Dropped, it is a miss: so it is counted once, whatever becomes of it and its caller.
#[must_use = "it is a miss when it is dropped"]
pub(crate) struct Missed<'c> {
    counters: &'c Counters,
    subject: &'c Subject,
    reason: Option<Reason>,
}

impl Missed<'_> {
    /// It was answered by the load of another.
    pub fn coalesced(mut self, given: impl Into<Given>) {
        self.reason = None;
        self.counters.coalesced(self.subject, given);
    }

    /// It was answered with a result that was no longer good, since the database is out of reach.
    pub fn stale(mut self, given: impl Into<Given>) {
        self.reason = None;
        self.counters.stale(self.subject, given);
    }
}

impl Drop for Missed<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason {
            self.counters.miss(reason, self.subject);
        }
    }
}

/// What is measured with statistics only.
struct Detail {
    queries: Queries,
    database_time: Time,
    /// Told now and then: the records add it up, and to do so once more would cost each hit.
    saved_time: Time,
    reads: Sum,
    writes: Sum,
    request_seconds: Histogram,
}

/// One of so many hits is timed.
const HITS_PER_TIMED: u64 = 256;

/// What one pool did so far.
pub(crate) struct Counters {
    /// When the pool was built.
    pub since: SystemTime,
    hits: [Often; Tier::ALL.len()],
    coalesced: Count,
    stale: Count,
    refreshes: Count,
    writes: Count,
    stored: Count,
    misses: ByReason,
    bypasses: ByReason,
    not_stored: ByReason,
    invalidations: ByReason,
    by_table: ByTable,
    audits: [Count; Audit::ALL.len()],
    audited_by_table: ByTable,
    stale_by_table: ByTable,
    removals: [Count; removal::LABELS.len()],
    entries: Level,
    bytes: Level,
    rejections: [Count; Guard::ALL.len()],
    emergencies: [Level; Pressure::ALL.len()],
    pool_timeouts: [Count; PoolTimeout::ALL.len()],
    pool: PoolGauges,
    loads_waited: Sum,
    redis_waited: Sum,
    hearing: [Hearing; Feed::ALL.len()],
    unpublished: Level,
    connections: Level,
    replicas: Level,
    events: Events,
    recent: Recent,
    detail: Option<Detail>,
}

impl Counters {
    /// All at zero, and published so. Without `statistics` events are counted, but not by statement, and nothing is timed.
    pub fn new(statistics: bool) -> Arc<Self> {
        catalogue::publish(statistics);
        let request = |outcome, tier| Count::new(catalogue::REQUESTS.counter(&[outcome, "", tier]));
        let memory = Tier::Memory.label();
        Arc::new(Self {
            since: to_the_millisecond(SystemTime::now()),
            hits: Tier::ALL.map(|tier| Often::new(catalogue::REQUESTS.counter(&["hit", "", tier.label()]))),
            coalesced: request("coalesced", memory),
            stale: request("stale", memory),
            refreshes: Count::new(catalogue::REFRESHES.counter(&[])),
            writes: Count::new(catalogue::WRITES.counter(&[])),
            stored: Count::new(catalogue::STORES.counter(&[""])),
            misses: ByReason::new(Place::Miss, |reason| catalogue::REQUESTS.counter(&["miss", reason.label(), ""])),
            bypasses: ByReason::new(Place::Bypass, |reason| {
                catalogue::REQUESTS.counter(&["bypass", reason.label(), ""])
            }),
            not_stored: ByReason::new(Place::NotStored, |reason| catalogue::STORES.counter(&[reason.label()])),
            invalidations: ByReason::new(Place::Invalidation, |reason| {
                catalogue::INVALIDATIONS.counter(&["local", reason.label()])
            }),
            by_table: ByTable::new(&catalogue::TABLE_INVALIDATIONS, &["local"]),
            audits: Audit::ALL.map(|audit| Count::new(catalogue::AUDITS.counter(&[audit.label()]))),
            audited_by_table: ByTable::untold(),
            stale_by_table: ByTable::new(&catalogue::STALE_TABLES, &[]),
            removals: removal::LABELS.map(|cause| Count::new(catalogue::REMOVALS.counter(&[cause]))),
            entries: Level::new(catalogue::ENTRIES.gauge(&[memory])),
            bytes: Level::new(catalogue::BYTES.gauge(&[memory])),
            rejections: Guard::ALL.map(|guard| Count::new(catalogue::REJECTIONS.counter(&[guard.label()]))),
            emergencies: Pressure::ALL.map(|pressure| Level::new(catalogue::EMERGENCIES.gauge(&[pressure.label()]))),
            pool_timeouts: PoolTimeout::LABELS.map(|cause| Count::new(catalogue::POOL_TIMEOUTS.counter(&[cause]))),
            pool: PoolGauges::new(),
            loads_waited: Sum::default(),
            redis_waited: Sum::default(),
            hearing: Feed::ALL.map(Hearing::new),
            unpublished: Level::new(catalogue::UNPUBLISHED.gauge(&[])),
            connections: Level::new(catalogue::CONNECTIONS.gauge(&[])),
            replicas: Level::new(catalogue::REPLICAS.gauge(&[])),
            events: Events::default(),
            recent: Recent::new(),
            detail: statistics.then(|| Detail {
                queries: Queries::new(),
                database_time: Time::new(catalogue::DATABASE_TIME.counter(&[])),
                saved_time: Time::new(catalogue::SAVED_TIME.counter(&[])),
                reads: Sum::default(),
                writes: Sum::default(),
                request_seconds: catalogue::REQUEST_SECONDS.histogram(&["database"]),
            }),
        })
    }

    /// Where the records of statements are kept, if they are.
    pub fn queries(&self) -> Option<&Queries> {
        self.detail.as_ref().map(|detail| &detail.queries)
    }

    /// A statement is asked for, in the task of who does. Of shared values that are found, that is known already.
    pub fn asks(&self, subject: &Subject) {
        unit::asks(subject);
    }

    /// A read was answered from `tier`.
    pub fn hit(&self, subject: &Subject, tier: Tier, given: impl Into<Given>) {
        self.hits[tier.index()].one();
        if tier == Tier::Typed {
            self.asks(subject);
        }
        self.spared(subject, Spared::Hit(tier), given.into());
        tracing::trace!(target: "larder::read", outcome = "hit", tier = tier.label(), statement = &*subject.text);
    }

    /// When a read begins that is to be timed should it be a hit, which one of many is.
    pub fn begins(&self, tier: Tier) -> Option<Instant> {
        self.detail.as_ref()?;
        // Two at once may both be timed, or neither: no matter. Nothing is written for it.
        self.hits[tier.index()].of_this_thread().is_multiple_of(HITS_PER_TIMED).then(Instant::now)
    }

    /// It was a hit.
    pub fn hit_took(&self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.recent.hit(begun);
        }
    }

    /// Something happened that somebody on call would want to know of.
    pub fn event(&self, kind: EventKind, text: impl Into<String>) {
        self.events.push(Event::now(kind, text));
    }

    /// The last events, the oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.events.snapshot()
    }

    /// What was done lately.
    pub fn history(&self) -> History {
        self.recent.snapshot()
    }

    /// A second is over, at the end of which so many entries of so many bytes are in memory.
    pub fn tick(&self, (entries, bytes): (u64, u64)) {
        let time = |time: fn(&Detail) -> &Time| self.detail.as_ref().map(|detail| time(detail).get());
        // Hits go by this: a look at the clock takes as long as all else that is counted of one.
        self.queries().map(Queries::now);
        let (audited, audited_stale) = self.audited_so_far();
        let totals = Totals {
            hits: self.hits.iter().map(Often::get).sum(),
            coalesced: self.coalesced.get(),
            stale: self.stale.get(),
            misses: self.misses.sum(),
            bypasses: self.bypasses.sum(),
            writes: self.writes.get(),
            invalidations: self.invalidations.sum(),
            rejections: self.rejections.iter().map(Count::get).sum(),
            audited,
            audited_stale,
            database_time: time(|detail| &detail.database_time).unwrap_or_default(),
            saved_time: time(|detail| &detail.saved_time).unwrap_or_default(),
        };
        let (used, idle) = self.pool.connections();
        let waiting = u32::try_from(self.waiting()).unwrap_or(u32::MAX);
        self.recent.tick(totals, Now { used, idle, waiting, entries, bytes }, Instant::now());
    }

    /// A read that could have been answered from the cache goes to the database, unless something else comes of it.
    pub fn missed<'c>(&'c self, reason: Reason, subject: &'c Subject) -> Missed<'c> {
        Missed { counters: self, subject, reason: Some(reason) }
    }

    /// A read was answered by the load of another.
    fn coalesced(&self, subject: &Subject, given: impl Into<Given>) {
        self.coalesced.one();
        self.spared(subject, Spared::Coalesced, given.into());
        tracing::trace!(target: "larder::read", outcome = "coalesced", statement = &*subject.text);
    }

    /// A read was answered with a result that was no longer good, since the database is out of reach.
    fn stale(&self, subject: &Subject, given: impl Into<Given>) {
        self.stale.one();
        // The database would not have answered: nothing was saved.
        self.spared(subject, Spared::Stale, Given { saved: Duration::ZERO, ..given.into() });
        tracing::warn!(target: "larder::read", outcome = "stale", statement = &*subject.text);
    }

    fn spared(&self, subject: &Subject, how: Spared, given: Given) {
        if let (Some(detail), Some(record)) = (&self.detail, &subject.record) {
            record.spared(how, given, detail.queries.lately());
        }
    }

    fn miss(&self, reason: Reason, subject: &Subject) {
        self.misses.one(reason);
        self.gave(subject, Place::Miss, reason);
        tracing::debug!(target: "larder::read", outcome = "miss", reason = reason.label(), statement = &*subject.text);
    }

    /// A read that is not cached goes to the database.
    pub fn bypass(&self, reason: Reason, sentence: &str, subject: &Subject) {
        self.bypasses.one(reason);
        self.gave(subject, Place::Bypass, reason);
        tracing::debug!(target: "larder::read", outcome = "bypass", reason = reason.label(), sentence, statement = &*subject.text);
    }

    fn gave(&self, subject: &Subject, place: Place, reason: Reason) {
        if let (Some(detail), Some(record)) = (&self.detail, &subject.record) {
            record.gave(place, reason, detail.queries.now());
        }
    }

    /// A result is loaded anew that nobody waits for.
    pub fn refresh(&self, subject: &Subject) {
        self.refreshes.one();
        if let Some(record) = &subject.record {
            record.refreshes();
        }
        tracing::debug!(target: "larder::read", outcome = "refresh", statement = &*subject.text);
    }

    /// A statement that writes, or may, is about to run.
    pub fn write(&self, subject: &Subject) {
        self.writes.one();
        if let (Some(detail), Some(record)) = (&self.detail, &subject.record) {
            record.wrote(detail.queries.now());
        }
    }

    /// A read that may be kept asks the database, by a key of this hash.
    pub fn loads(&self, subject: &Subject, key: u64) {
        if let Some(record) = &subject.record {
            record.loads(key);
        }
    }

    /// A loaded result is kept, and takes that many bytes.
    pub fn stored(&self, subject: &Subject, bytes: usize) {
        self.stored.one();
        if let Some(record) = &subject.record {
            record.stored(bytes);
        }
        tracing::debug!(target: "larder::tier", outcome = "stored", bytes, statement = &*subject.text);
    }

    /// An entry came into memory, or left it for a cause.
    pub fn moved(&self, left: Option<RemovalCause>, bytes: usize) {
        let sign = match left {
            None => 1,
            Some(cause) => {
                self.removals[removal::index(cause)].one();
                -1
            }
        };
        self.entries.add(sign);
        self.bytes.add(sign * bytes as i64);
    }

    /// A loaded result is not kept.
    pub fn not_stored(&self, reason: Reason, sentence: &str, subject: &Subject) {
        self.not_stored.one(reason);
        self.gave(subject, Place::NotStored, reason);
        tracing::debug!(target: "larder::tier", outcome = "not stored", reason = reason.label(), sentence, statement = &*subject.text);
    }

    /// Cached results are voided: those that rest on `tables`, by their full names, or all of them.
    pub fn invalidation<'t>(&self, reason: Reason, what: &str, tables: Option<impl IntoIterator<Item = &'t str>>) {
        self.invalidations.one(reason);
        match reason {
            Reason::SchemaChange => self.event(EventKind::Cache, "everything was dropped: the schema changed"),
            // Names of tags are the application's, and may be those of people.
            Reason::Manual if tables.is_some() => self.event(EventKind::Cache, "by hand, some results were dropped"),
            Reason::Manual => self.event(EventKind::Cache, "by hand, everything was dropped"),
            _ => {}
        }
        match tables {
            Some(tables) => tables.into_iter().for_each(|table| self.by_table.one(table)),
            None => self.by_table.all(),
        }
        tracing::debug!(target: "larder::write", outcome = "invalidation", reason = reason.label(), what);
    }

    /// A call was not made.
    pub fn rejected(&self, by: Guard) {
        self.rejections[by as usize].one();
        tracing::debug!(target: "larder::guard", outcome = "rejected", guard = by.label());
    }

    /// An emergency began or ended.
    pub fn emergency(&self, pressure: Pressure, begins: bool) {
        self.emergencies[pressure as usize].set(begins.into());
        let text = if begins { "began: work is shed until it is over" } else { "is over" };
        self.event(EventKind::Emergency, format!("the emergency for want of {} {text}", pressure.lack()));
        match begins {
            true => {
                tracing::warn!(target: "larder::guard", pressure = pressure.label(), "an emergency began: work is shed until it is over");
            }
            false => tracing::info!(target: "larder::guard", pressure = pressure.label(), "the emergency is over"),
        }
    }

    /// How many wait for a connection.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// A wait for a connection ended without one.
    pub fn pool_timeout(&self, cause: PoolTimeout) {
        self.pool_timeouts[cause as usize].one();
        tracing::debug!(target: "larder::guard", outcome = "no connection", cause = PoolTimeout::LABELS[cause as usize]);
    }

    /// Somebody waits for a connection of the pool, until what is returned is dropped.
    pub fn waits_for_connection(&self) -> Waiting<'_> {
        self.pool.wait()
    }

    /// Somebody waits for the load of another, until what is returned is dropped.
    pub fn waits_for_load(&self) -> Wait<'_> {
        self.loads_waited.begin()
    }

    /// Somebody waits for Redis, until what is returned is dropped.
    pub fn waits_for_redis(&self) -> Wait<'_> {
        self.redis_waited.begin()
    }

    fn tell_saved(&self) {
        if let Some(detail) = &self.detail {
            detail.saved_time.is(detail.queries.saved());
        }
    }

    /// The pool has so many connections, of which so many are idle, and may have so many.
    pub fn pool(&self, connections: u32, idle: usize, most: u32) {
        self.pool.tell(connections, idle, most);
        self.tell_saved();
    }

    /// How long ago something was heard of what others write, and whether that is soon enough. `None`: nothing is to be heard.
    pub fn heard(&self, feed: Feed, how: Option<(Option<Duration>, bool)>) {
        self.hearing[feed as usize].heard(how);
    }

    /// So many connections lead to Redis, which has so many replicas, and so many tables were written here of which others were
    /// not told yet.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "nothing is shared"))]
    pub fn redis(&self, connections: usize, replicas: u64, unpublished: usize) {
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        self.replicas.set(i64::try_from(replicas).unwrap_or(i64::MAX));
        self.unpublished.set(i64::try_from(unpublished).unwrap_or(i64::MAX));
    }

    /// How many answers from the cache were compared with the database's, and how many of them were stale.
    fn audited_so_far(&self) -> (u64, u64) {
        let stale = self.audits[Audit::Stale as usize].get();
        (self.audits[Audit::Good as usize].get() + stale, stale)
    }

    /// An answer from the cache was looked into, which rests on these tables.
    pub fn audited<'t>(&self, outcome: Audit, subject: &Subject, tables: impl Iterator<Item = &'t str>) {
        self.audits[outcome as usize].one();
        if outcome == Audit::Undecided {
            return;
        }
        let tables: Vec<&str> = tables.inspect(|table| self.audited_by_table.one(table)).collect();
        if outcome == Audit::Stale {
            tables.iter().for_each(|table| self.stale_by_table.one(table));
            self.event(
                EventKind::Audit,
                format!(
                    "an answer from the cache was stale, which rests on {}: somebody writes who is not seen",
                    tables.join(", ")
                ),
            );
            tracing::error!(target: "larder::audit", ?tables, statement = &*subject.text, "an answer from the cache was stale: somebody writes who is not seen");
        }
    }

    /// `items`, with the time counted that they are waited for.
    pub fn metered<S>(self: &Arc<Self>, subject: &Subject, sent: Sent, items: S) -> Metered<S>
    where
        Metered<S>: Stream,
    {
        Metered::new(self.clone(), subject.clone(), sent, items)
    }

    /// The same for a statement that gives one row at most.
    pub fn metered_one<R, E>(
        self: &Arc<Self>,
        subject: &Subject,
        sent: Sent,
        answer: impl Future<Output = Result<Option<R>, E>>,
    ) -> impl Future<Output = Result<Option<R>, E>> {
        metered::one(self.clone(), subject.clone(), sent, answer)
    }

    /// The database was asked, and waited for.
    pub(super) fn asked(&self, subject: &Subject, sent: Sent, time: Duration, rows: u64) {
        let (Some(detail), Some(record)) = (&self.detail, &subject.record) else { return };
        match sent {
            Sent::Read => detail.reads.add(time),
            Sent::Write => detail.writes.add(time),
            Sent::Other => return,
        }
        detail.database_time.add(time);
        record.asked(time, rows, detail.queries.now());
        if sent == Sent::Read {
            detail.request_seconds.record(time.as_secs_f64());
            self.recent.asked(time);
        }
    }

    /// What was counted by statement, the most database time first.
    pub fn by_query(&self) -> Vec<QueryStats> {
        self.queries().map(Queries::snapshot).unwrap_or_default()
    }

    /// What was counted, with the entries and bytes there are.
    pub fn snapshot(&self, (entries, bytes): (u64, u64)) -> Stats {
        self.tell_saved();
        let (misses_by_reason, bypasses_by_reason) = (self.misses.snapshot(), self.bypasses.snapshot());
        let invalidations_by_reason = self.invalidations.snapshot();
        let (audited, audited_stale) = self.audited_so_far();
        let hits = Tier::ALL.into_iter().map(|tier| (tier, self.hits[tier.index()].get()));
        let hits_by_tier: BTreeMap<_, _> = hits.filter(|(_, hits)| *hits > 0).collect();
        let time = |time: fn(&Detail) -> &Time| self.detail.as_ref().map(|detail| time(detail).get());
        Stats {
            hits: hits_by_tier.values().sum(),
            coalesced: self.coalesced.get(),
            stale: self.stale.get(),
            misses: misses_by_reason.values().sum(),
            bypasses: bypasses_by_reason.values().sum(),
            writes: self.writes.get(),
            units_of_work: super::unit::ended(),
            stored: self.stored.get(),
            refreshes: self.refreshes.get(),
            invalidations: invalidations_by_reason.values().sum(),
            hits_by_tier,
            misses_by_reason,
            bypasses_by_reason,
            not_stored_by_reason: self.not_stored.snapshot(),
            invalidations_by_reason,
            invalidations_by_table: self.by_table.snapshot(),
            audited,
            audited_by_table: self.audited_by_table.snapshot(),
            audited_stale,
            audited_stale_by_table: self.stale_by_table.snapshot(),
            database_time: time(|detail| &detail.database_time).unwrap_or_default(),
            saved_time: time(|detail| &detail.saved_time).unwrap_or_default(),
            waits: Waits {
                connection: self.pool.waited.get(),
                load: self.loads_waited.get(),
                redis: self.redis_waited.get(),
                reads: self.detail.as_ref().map(|detail| detail.reads.get()).unwrap_or_default(),
                writes: self.detail.as_ref().map(|detail| detail.writes.get()).unwrap_or_default(),
            },
            removals_by_cause: removal::LABELS
                .iter()
                .zip(&self.removals)
                .map(|(cause, count)| ((*cause).to_owned(), count.get()))
                .filter(|(_, count)| *count > 0)
                .collect(),
            entries,
            bytes,
        }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.tell_saved();
    }
}

impl<S, C> From<&Entry<S, C>> for Given {
    fn from(entry: &Entry<S, C>) -> Self {
        Self { saved: entry.life.cost, rows: entry.stored.rows, bytes: entry.stored.bytes.len() }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").field("hits", &self.hits.each_ref().map(Often::get)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Fingerprint;

    fn subject(counters: &Counters) -> Subject {
        Subject::new("SELECT a FROM t WHERE b = 'x'".into(), Fingerprint(1), counters.queries(), || {
            "select ?".to_owned()
        })
    }

    fn everything_once(counters: &Arc<Counters>) {
        let subject = subject(counters);
        let given = Given { saved: Duration::from_nanos(1_500), rows: 2, bytes: 20 };
        counters.hit(&subject, Tier::Memory, given);
        counters.hit(&subject, Tier::Typed, given);
        counters.missed(Reason::Absent, &subject).coalesced(given);
        counters.missed(Reason::Expired, &subject).stale(given);
        counters.refresh(&subject);
        drop(counters.missed(Reason::Absent, &subject));
        counters.bypass(Reason::Locks, "it locks", &subject);
        counters.write(&subject);
        counters.stored(&subject, 400);
        counters.moved(None, 400);
        counters.moved(Some(RemovalCause::Size), 100);
        counters.not_stored(Reason::Failed, "it failed", &subject);
        counters.asked(&subject, Sent::Read, Duration::from_nanos(2_700), 3);
        counters.asked(&subject, Sent::Other, Duration::from_secs(1), 3);
        counters.invalidation(Reason::Write, "", Some(["shop.a", "shop.b"]));
        counters.invalidation(Reason::Manual, "", None::<[&str; 0]>);
    }

    #[test]
    fn totals_are_the_sums_of_what_is_told_by_statement() {
        let counters = Counters::new(true);
        everything_once(&counters);
        everything_once(&counters);
        let (stats, rows) = (counters.snapshot((2, 600)), counters.by_query());
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((stats.hits, stats.coalesced, stats.stale, stats.misses, stats.bypasses), (4, 2, 2, 2, 2));
        assert_eq!((stats.refreshes, stats.writes, stats.stored, stats.invalidations), (2, 2, 2, 4));
        assert_eq!(stats.hits_by_tier, [(Tier::Memory, 2), (Tier::Typed, 2)].into());
        assert_eq!((row.hits, row.coalesced, row.stale, row.misses, row.bypasses), (4, 2, 2, 2, 2));
        assert_eq!((row.calls, row.writes, row.refreshes, row.stored), (14, 2, 2, 2));
        // A stale answer saves nothing: the database would have given none.
        assert_eq!(stats.saved_time, Duration::from_nanos(6 * 1_500));
        assert_eq!(stats.database_time, Duration::from_nanos(2 * 2_700));
        assert_eq!((row.saved_time, row.database_time), (stats.saved_time, stats.database_time));
        assert_eq!((row.rows_from_cache, row.bytes_from_cache, row.rows_from_database), (16, 160, 6));
        let tables = [("*", 2), ("shop.a", 2), ("shop.b", 2)].map(|(table, count)| (table.to_owned(), count));
        assert_eq!(stats.invalidations_by_table, tables.into());
        assert_eq!(stats.hit_rate(), Some(0.5));
        assert_eq!(row.hit_rate(), Some(0.5));
        assert_eq!((row.churn(), row.hits_per_store()), (Some(0.0), Some(2.0)));
    }

    #[test]
    fn without_statistics_events_are_counted_all_the_same() {
        let counters = Counters::new(false);
        everything_once(&counters);
        let stats = counters.snapshot((1, 300));
        assert_eq!((stats.hits, stats.stale, stats.misses, stats.writes), (2, 1, 1, 1));
        assert_eq!((stats.saved_time, stats.database_time), Default::default());
        assert!(counters.by_query().is_empty());
    }

    #[test]
    fn a_row_is_one_line_and_plain_json() {
        let counters = Counters::new(true);
        everything_once(&counters);
        drop(counters.missed(Reason::Invalidated, &subject(&counters)));
        drop(counters.missed(Reason::Invalidated, &subject(&counters)));
        let row = counters.by_query().remove(0);
        assert_eq!(
            row.to_string(),
            "0000000000000001 9 calls: 2 hits, 1 coalesced, 1 stale, 3 misses (invalidated 2, absent 1), \
             1 bypasses (locks 1), 1 writes; database 2.7µs (p50 2.0µs, p99 2.0µs), saved 4.5µs; select ?"
        );
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["fingerprint"], "0000000000000001");
        assert_eq!(json["misses_by_reason"], serde_json::json!({"absent": 1, "invalidated": 2}));
        assert_eq!(json["hits_by_tier"], serde_json::json!({"memory": 1, "typed": 1}));
        assert!(json["database_seconds"].is_f64() && json["first_seen"].is_f64(), "{json}");
    }
}
