//! Lets calls through, or rejects them.
//!
//! The states and their pauses are those of failsafe's machine. That one lets everybody through once a pause is over and closes on the
//! first answer, so a gate stands before it: it admits a few probes, waits until as many were answered, and forgets what belongs to an
//! earlier state. Orders by hand go before both.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use failsafe::{FailurePolicy, StateMachine};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::window::{Calls, Tally};
use super::{BreakerOptions, Fate, Window};
use crate::chance::jittered;
use crate::json::{maybe_seconds, since_1970, to_the_millisecond};

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Lets them through, and looks how they end.
    Closed,
    /// Rejects them until a pause is over.
    Open,
    /// Lets a few through to see how they end.
    HalfOpen,
    /// Rejects them, by hand.
    ForcedOpen,
    /// Lets them through, by hand, however they end.
    ForcedClosed,
    /// Lets them through, and does not look how they end.
    Disabled,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::Open, Self::HalfOpen, Self::ForcedOpen, Self::ForcedClosed, Self::Disabled];

    /// As in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A breaker went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Transition {
    /// When. As JSON, in seconds since 1970.
    #[serde(with = "since_1970")]
    pub at: SystemTime,
    /// The state before.
    pub from: BreakerState,
    /// The state since then.
    pub to: BreakerState,
    /// Why, for people: no SQL, and no value.
    pub cause: String,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.cause)
    }
}

/// What a breaker sees and does. As JSON, times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BreakerStatus {
    /// What it stands before: `database` or `redis`.
    pub backend: String,
    /// What it does with calls.
    pub state: BreakerState,
    /// Since when.
    #[serde(with = "since_1970")]
    pub since: SystemTime,
    /// Calls that it judges by.
    pub calls: u32,
    /// How many it judges by at most; `None`: those of a time, however many.
    #[serde(default)]
    pub window_calls: Option<u32>,
    /// Of fewer it thinks nothing.
    pub minimum_calls: u32,
    /// The share of them that failed, from 0 to 1; `None` while they are too few.
    pub failure_rate: Option<f64>,
    /// The share at which it opens.
    pub failure_threshold: f64,
    /// The share of them that took too long.
    pub slow_rate: Option<f64>,
    /// The share at which it opens, if it does for that.
    pub slow_threshold: Option<f64>,
    /// Until calls are let through to see how they end.
    #[serde(rename = "next_probe_seconds", with = "maybe_seconds")]
    pub next_probe: Option<Duration>,
    /// How many calls it has rejected so far.
    pub rejected: u64,
    /// How many calls were given up by their callers.
    pub cancelled: u64,
    /// What was ordered by hand, if it still holds.
    pub forced: Option<Forced>,
    /// How the trouble began that keeps it open or half open: remembered for as long as that lasts.
    #[serde(default)]
    pub trouble: Option<Transition>,
    /// The last transitions, the oldest first.
    pub transitions: Vec<Transition>,
}

/// An order by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forced {
    /// Why.
    pub reason: String,
    /// For how long it still holds; `None`: until it is released.
    #[serde(rename = "left_seconds", with = "maybe_seconds")]
    pub left: Option<Duration>,
}

/// Transitions that are remembered.
const REMEMBERED: usize = 100;
/// While probes are under way, others are told to come again after this.
const PROBES_TAKE: Duration = Duration::from_millis(100);
/// When the last probe is this old, another is let through, however many do not end: one that never does must not decide for all.
const PROBES_OVERDUE: Duration = Duration::from_secs(1);

/// How long the machine stays open each time, told to the gate as well.
struct Pauses {
    next: Box<dyn FnMut(u32) -> Duration + Send>,
    /// How often it opened since it was closed.
    times: u32,
    told: Arc<AtomicU64>,
}

impl FailurePolicy for Pauses {
    fn record_success(&mut self) {}

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let pause = (self.next)(self.times);
        self.times += 1;
        self.told.store(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX), SeqCst);
        Some(pause)
    }

    fn revived(&mut self) {
        self.times = 0;
    }
}

/// Twice as long each time, and up to half of it by chance.
fn doubling(first: Duration, most: Duration) -> impl FnMut(u32) -> Duration + Send {
    move |times| jittered(first.saturating_mul(2_u32.saturating_pow(times.min(20))).min(most))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        running: u32,
        answered: u32,
        /// When the last probe was let through.
        last: Instant,
    },
}

#[derive(Debug, PartialEq, Eq)]
struct Order {
    state: BreakerState,
    reason: String,
    until: Option<Instant>,
}

impl Order {
    /// What holds where nothing is ordered by hand.
    fn by_options(options: &BreakerOptions) -> Option<Self> {
        let order = || Self { state: BreakerState::Disabled, reason: "by its options".into(), until: None };
        options.disabled.then(order)
    }
}

#[derive(Debug)]
struct Gate {
    phase: Phase,
    order: Option<Order>,
    /// Whether that was given by hand.
    by_hand: bool,
    /// Counts the states: a call that was admitted in an earlier one says nothing about this.
    generation: u64,
    since: SystemTime,
    calls: Calls,
    rejected: u64,
    cancelled: u64,
    history: VecDeque<Transition>,
    /// The one that opened it, until it is closed: of a long outage, probes have pushed it out of the others.
    trouble: Option<Transition>,
    /// What the log was not told yet.
    untold: Vec<Transition>,
}

impl Gate {
    fn state(&self) -> BreakerState {
        match (&self.order, self.phase) {
            (Some(order), _) => order.state,
            (None, Phase::Closed) => BreakerState::Closed,
            (None, Phase::Open { .. }) => BreakerState::Open,
            (None, Phase::HalfOpen { .. }) => BreakerState::HalfOpen,
        }
    }
}

type Told = Box<dyn Fn(&Transition) + Send + Sync>;

/// A circuit breaker before the database, or before Redis: see [`CachedPool::breaker`](crate::CachedPool::breaker).
///
/// What is ordered by hand goes before what it sees, has a reason, and ends by itself if a time is given.
pub struct Breaker {
    backend: &'static str,
    options: BreakerOptions,
    started: Instant,
    machine: StateMachine<Pauses, ()>,
    pause: Arc<AtomicU64>,
    gate: Mutex<Gate>,
    told: Told,
    /// Told when it turns, or nobody needs it any more.
    turned: Notify,
    /// Told when it opens.
    opened: Notify,
    retired: AtomicBool,
}

impl Breaker {
    /// A closed one. `told` hears of each transition.
    pub(crate) fn new(
        backend: &'static str,
        options: BreakerOptions,
        told: impl Fn(&Transition) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (first, most) = options.pause;
        Self::with_pauses(backend, options, told, doubling(first, most))
    }

    fn with_pauses(
        backend: &'static str,
        options: BreakerOptions,
        told: impl Fn(&Transition) + Send + Sync + 'static,
        pauses: impl FnMut(u32) -> Duration + Send + 'static,
    ) -> Arc<Self> {
        let mut options = options;
        if let Window::Calls(calls) = options.window {
            // More than it remembers it never sees.
            options.minimum_calls = options.minimum_calls.min(calls.max(1));
        }
        let pause = Arc::new(AtomicU64::new(0));
        let policy = Pauses { next: Box::new(pauses), times: 0, told: pause.clone() };
        let gate = Gate {
            phase: Phase::Closed,
            order: Order::by_options(&options),
            by_hand: false,
            generation: 0,
            since: to_the_millisecond(SystemTime::now()),
            calls: Calls::new(options.window),
            rejected: 0,
            cancelled: 0,
            history: VecDeque::new(),
            trouble: None,
            untold: Vec::new(),
        };
        Arc::new(Self {
            backend,
            options,
            started: Instant::now(),
            machine: StateMachine::new(policy, ()),
            pause,
            gate: Mutex::new(gate),
            told: Box::new(told),
            turned: Notify::new(),
            opened: Notify::new(),
            retired: AtomicBool::new(false),
        })
    }

    /// Lets a call through, or says after how long it may be worth another try.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Call, Duration> {
        let mut gate = self.gate();
        self.try_admit(&mut gate).inspect_err(|_| gate.rejected += 1)
    }

    /// The same where no caller is turned away: the call is made anyhow, or nobody asked for it. `None`: it says nothing here.
    pub(crate) fn admit_anyhow(self: &Arc<Self>) -> Option<Call> {
        self.try_admit(&mut self.gate()).ok()
    }

    fn try_admit(self: &Arc<Self>, gate: &mut Gate) -> Result<Call, Duration> {
        let now = Instant::now();
        self.expire(gate, now);
        let (running, answered) = match (&gate.order, gate.phase) {
            (Some(order), _) if order.state == BreakerState::ForcedOpen => {
                return Err(order.until.map_or(self.options.pause.1, |until| until.saturating_duration_since(now)));
            }
            (Some(_), _) | (None, Phase::Closed) => return Ok(self.call(gate)),
            (None, Phase::Open { until }) if !self.machine.is_call_permitted() => {
                return Err(until.saturating_duration_since(now));
            }
            (None, Phase::Open { .. }) => {
                self.turn(gate, Phase::HalfOpen { running: 0, answered: 0, last: now }, "the pause is over".into());
                (0, 0)
            }
            (None, Phase::HalfOpen { running, answered, last }) => {
                // As many as have to be answered: more would only be sent to be thrown away.
                let is_free = running + answered < self.options.probes;
                if !is_free && now.saturating_duration_since(last) < PROBES_OVERDUE {
                    return Err(PROBES_TAKE);
                }
                (running, answered)
            }
        };
        gate.phase = Phase::HalfOpen { running: running + 1, answered, last: now };
        Ok(self.call(gate))
    }

    fn call(self: &Arc<Self>, gate: &Gate) -> Call {
        let counts = gate.state() != BreakerState::Disabled;
        Call { breaker: self.clone(), generation: gate.generation, begun: None, took: None, counts, is_over: false }
    }

    fn is_slow(&self, call: &Call) -> bool {
        let took = call.took.or_else(|| Some(call.begun?.elapsed()));
        self.options.slow.zip(took).is_some_and(|((time, _), took)| took >= time)
    }

    fn end(&self, call: &Call, end: End<'_>) {
        let slow = self.is_slow(call);
        let mut gate = self.gate();
        if end == End::GivenUp {
            gate.cancelled += 1;
        }
        if !call.counts || call.generation != gate.generation {
            return;
        }
        // What is let through by hand is looked at, and decides nothing.
        let is_ordered = gate.order.is_some();
        match (gate.phase, end) {
            (_, End::NeverMade) if is_ordered => {}
            (_, End::GivenUp) if is_ordered && !slow => {}
            (_, end) if is_ordered => gate.calls.record(self.started.elapsed(), matches!(end, End::Failed(_)), slow),
            (Phase::Closed, End::NeverMade) => {}
            (Phase::Closed, End::GivenUp) if !slow => {}
            (Phase::Closed, end) => {
                let at = self.started.elapsed();
                gate.calls.record(at, matches!(end, End::Failed(_)), slow);
                let tally = gate.calls.tally(at);
                if let Some(mut cause) = self.verdict(tally) {
                    if let End::Failed(why) = end {
                        cause = format!("{cause}; the last one: {why}");
                    }
                    self.open(&mut gate, cause);
                }
            }
            (Phase::HalfOpen { .. }, End::Failed(why)) => self.open(&mut gate, format!("a probe failed: {why}")),
            (Phase::HalfOpen { .. }, _) if slow && end != End::NeverMade => {
                self.open(&mut gate, "a probe took too long".into());
            }
            (Phase::HalfOpen { answered, .. }, End::Answered) if answered + 1 >= self.options.probes => {
                self.machine.on_success();
                gate.calls.clear();
                self.turn(&mut gate, Phase::Closed, format!("{} probes were answered", answered + 1));
            }
            (Phase::HalfOpen { running, answered, last }, end) => {
                let answered = answered + u32::from(end == End::Answered);
                gate.phase = Phase::HalfOpen { running: running.saturating_sub(1), answered, last };
            }
            (Phase::Open { .. }, _) => {}
        }
    }

    /// Why it should open, if it should.
    fn verdict(&self, tally: Tally) -> Option<String> {
        if tally.calls < self.options.minimum_calls {
            return None;
        }
        let (failed, slow) = tally.rates();
        if failed >= self.options.failure_rate && tally.failed > 0 {
            return Some(format!("{} of {} calls failed", tally.failed, tally.calls));
        }
        let (time, threshold) = self.options.slow?;
        let too_slow = slow >= threshold && tally.slow > 0;
        too_slow.then(|| format!("{} of {} calls took longer than {time:?}", tally.slow, tally.calls))
    }

    fn open(&self, gate: &mut Gate, cause: String) {
        self.machine.on_error();
        let pause = Duration::from_nanos(self.pause.load(SeqCst));
        let until = Instant::now().checked_add(pause).unwrap_or_else(Instant::now);
        gate.calls.clear();
        self.turn(gate, Phase::Open { until }, cause);
    }

    fn turn(&self, gate: &mut Gate, phase: Phase, cause: String) {
        let from = gate.state();
        gate.phase = phase;
        self.turned(gate, from, cause);
    }

    fn turned(&self, gate: &mut Gate, from: BreakerState, cause: String) {
        gate.generation += 1;
        gate.since = to_the_millisecond(SystemTime::now());
        let transition = Transition { at: gate.since, from, to: gate.state(), cause };
        (self.told)(&transition);
        gate.trouble = match transition.to {
            BreakerState::Open | BreakerState::HalfOpen => gate.trouble.take().or_else(|| Some(transition.clone())),
            _ => None,
        };
        gate.history.push_back(transition.clone());
        gate.untold.push(transition);
        while gate.history.len() > REMEMBERED {
            gate.history.pop_front();
        }
        self.turned.notify_one();
        if matches!(gate.state(), BreakerState::Open | BreakerState::ForcedOpen) {
            self.opened.notify_waiters();
        }
    }

    /// Whether it rejects whoever comes now.
    pub(crate) fn is_open(&self) -> bool {
        let mut gate = self.gate();
        let now = Instant::now();
        self.expire(&mut gate, now);
        match (&gate.order, gate.phase) {
            (Some(order), _) => order.state == BreakerState::ForcedOpen,
            (None, Phase::Open { until }) => now < until,
            (None, _) => false,
        }
    }

    /// Resolves when it opens after this call.
    pub(crate) fn opens(&self) -> Notified<'_> {
        self.opened.notified()
    }

    /// What became of a call that was not asked for here, as of a statement in a transaction. It counts while the breaker is closed.
    pub(crate) fn witness(self: &Arc<Self>, fate: Fate, why: impl FnOnce() -> String) {
        let call = {
            let gate = self.gate();
            if gate.order.is_some() || gate.phase != Phase::Closed {
                return;
            }
            self.call(&gate)
        };
        call.ends(fate, why);
    }

    /// Rejects all calls, for `time` or until [`Breaker::release`]: for maintenance, or to take load off what it stands before. What is
    /// kept is given out as ever.
    pub fn force_open(&self, reason: impl Into<String>, time: Option<Duration>) {
        self.force(BreakerState::ForcedOpen, reason.into(), time);
    }

    /// Lets all calls through however they end, for `time` or until [`Breaker::release`].
    pub fn force_closed(&self, reason: impl Into<String>, time: Option<Duration>) {
        self.force(BreakerState::ForcedClosed, reason.into(), time);
    }

    /// Lets all calls through and counts none, for `time` or until [`Breaker::release`].
    pub fn disable(&self, reason: impl Into<String>, time: Option<Duration>) {
        self.force(BreakerState::Disabled, reason.into(), time);
    }

    fn force(&self, state: BreakerState, reason: String, time: Option<Duration>) {
        let mut gate = self.gate();
        let from = gate.state();
        let until = time.and_then(|time| Instant::now().checked_add(time));
        let cause = format!("by hand: {reason}");
        gate.order = Some(Order { state, reason, until });
        gate.by_hand = true;
        self.turned(&mut gate, from, cause);
    }

    /// Ends an order by hand. It is closed then, or disabled if its options say so, and has seen nothing yet.
    pub fn release(&self) {
        let mut gate = self.gate();
        if gate.by_hand {
            self.resume(&mut gate, "by hand: released");
        }
    }

    fn expire(&self, gate: &mut Gate, now: Instant) {
        if gate.order.as_ref().is_some_and(|order| order.until.is_some_and(|until| until <= now)) {
            self.resume(gate, "the order by hand is over");
        }
    }

    fn resume(&self, gate: &mut Gate, cause: &str) {
        let from = gate.state();
        gate.order = Order::by_options(&self.options);
        gate.by_hand = false;
        gate.calls.clear();
        gate.phase = Phase::Closed;
        self.machine.reset();
        self.turned(gate, from, cause.into());
    }

    /// Nobody needs it any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, SeqCst);
        self.turned.notify_one();
    }

    /// Returns when it is worth a probe though nobody calls: until it turns if it is closed or under an order, else until the pause is
    /// over. False: nobody needs it any more.
    pub(crate) async fn probe_is_due(&self) -> bool {
        while !self.retired.load(SeqCst) {
            let pause = {
                let mut gate = self.gate();
                let now = Instant::now();
                self.expire(&mut gate, now);
                match (&gate.order, gate.phase) {
                    (None, Phase::Open { until }) => Some(until.saturating_duration_since(now)),
                    (None, Phase::HalfOpen { .. }) => Some(PROBES_TAKE),
                    (None, Phase::Closed) => None,
                    (Some(order), _) => order.until.map(|until| until.saturating_duration_since(now)),
                }
            };
            let turned = self.turned.notified();
            match pause {
                None => turned.await,
                Some(pause) => {
                    // A moment more than the machine waits.
                    let pause = pause + Duration::from_millis(1);
                    if tokio::time::timeout(pause, turned).await.is_err() && self.is_in_doubt() {
                        return true;
                    }
                }
            }
        }
        false
    }

    fn is_in_doubt(&self) -> bool {
        let gate = self.gate();
        gate.order.is_none() && gate.phase != Phase::Closed
    }

    /// What it sees and does.
    pub fn status(&self) -> BreakerStatus {
        let mut gate = self.gate();
        let now = Instant::now();
        self.expire(&mut gate, now);
        let tally = gate.calls.tally(self.started.elapsed());
        let (failed, slow) = tally.rates();
        let enough = tally.calls >= self.options.minimum_calls;
        BreakerStatus {
            backend: self.backend.to_owned(),
            state: gate.state(),
            since: gate.since,
            calls: tally.calls,
            window_calls: match self.options.window {
                Window::Calls(calls) => Some(calls),
                Window::Time(_) => None,
            },
            minimum_calls: self.options.minimum_calls,
            failure_rate: enough.then_some(failed),
            failure_threshold: self.options.failure_rate,
            slow_rate: (enough && self.options.slow.is_some()).then_some(slow),
            slow_threshold: self.options.slow.map(|(_, threshold)| threshold),
            next_probe: match (&gate.order, gate.phase) {
                (None, Phase::Open { until }) => Some(until.saturating_duration_since(now)),
                _ => None,
            },
            rejected: gate.rejected,
            cancelled: gate.cancelled,
            forced: gate.order.as_ref().map(|order| Forced {
                reason: order.reason.clone(),
                left: order.until.map(|until| until.saturating_duration_since(now)),
            }),
            trouble: gate.trouble.clone(),
            transitions: gate.history.iter().cloned().collect(),
        }
    }

    fn gate(&self) -> Locked<'_> {
        Locked { backend: self.backend, gate: Some(self.gate.lock().unwrap_or_else(PoisonError::into_inner)) }
    }
}

/// The gate, locked. The log is told afterwards: whoever listens may ask the breaker something, or take his time.
struct Locked<'b> {
    backend: &'static str,
    gate: Option<MutexGuard<'b, Gate>>,
}

const LOCKED: &str = "it is locked until it is dropped";

impl Deref for Locked<'_> {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        self.gate.as_ref().expect(LOCKED)
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Gate {
        self.gate.as_mut().expect(LOCKED)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let untold = self.gate.take().map(|mut gate| std::mem::take(&mut gate.untold)).unwrap_or_default();
        for Transition { from, to, cause, .. } in untold {
            let (backend, from, state) = (self.backend, from.label(), to.label());
            match to {
                BreakerState::Open | BreakerState::ForcedOpen => {
                    tracing::warn!(target: "larder::guard", backend, from, to = state, cause, "the breaker opened");
                }
                _ => tracing::info!(target: "larder::guard", backend, from, to = state, cause, "the breaker turned"),
            }
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("backend", &self.backend).field("gate", &*self.gate()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End<'w> {
    Answered,
    Failed(&'w str),
    /// Its caller went away.
    GivenUp,
    /// It was not made after all.
    NeverMade,
}

/// A call that was let through. Dropped, it was given up by its caller.
#[derive(Debug)]
#[must_use = "a call that is dropped counts as given up"]
pub(crate) struct Call {
    breaker: Arc<Breaker>,
    generation: u64,
    /// When it was sent.
    begun: Option<Instant>,
    /// How long it was waited for, where that is known better.
    took: Option<Duration>,
    counts: bool,
    is_over: bool,
}

impl Call {
    /// From now on it waits for the backend alone.
    pub fn begins(&mut self) {
        self.begun = Some(Instant::now());
    }

    /// It was waited for so long, whatever its caller did besides.
    pub fn took(&mut self, time: Duration) {
        self.took = Some(time);
    }

    /// It is waited for no longer, though what it says is still to be found out. `false`: it took so long that it says enough.
    pub fn stops(&mut self) -> bool {
        self.took = self.took.or_else(|| Some(self.begun?.elapsed()));
        !self.breaker.is_slow(self)
    }

    /// It is not made after all, and says nothing.
    pub fn never_made(mut self) {
        self.is_over = true;
        self.breaker.end(&self, End::NeverMade);
    }

    /// What became of it, and why if it failed.
    pub fn ends(mut self, fate: Fate, why: impl FnOnce() -> String) {
        self.is_over = true;
        match fate {
            Fate::Answered => self.breaker.end(&self, End::Answered),
            Fate::Failed => self.breaker.end(&self, End::Failed(&why())),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            self.breaker.end(self, End::GivenUp);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(3600);

    fn options() -> BreakerOptions {
        BreakerOptions::new().window(Window::Calls(4)).minimum_calls(3).failure_rate(0.5).probes(2)
    }

    fn fail(call: Call) {
        call.ends(Fate::Failed, || "no route".into());
    }

    fn answer(call: Call) {
        call.ends(Fate::Answered, String::new);
    }

    /// What a breaker does, in as few words as possible.
    enum Model {
        /// The last calls, failed or not.
        Closed(Vec<bool>),
        /// Whether its pause is over at once, or never.
        Open(bool),
        /// How many probes are under way, and were answered.
        HalfOpen(usize, usize),
    }

    impl Model {
        fn state(&self) -> BreakerState {
            match self {
                Model::Closed(_) => BreakerState::Closed,
                Model::Open(_) => BreakerState::Open,
                Model::HalfOpen(..) => BreakerState::HalfOpen,
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// An order by hand; whether it is over at once, or never.
        Order(BreakerState, bool),
        Release,
        Admit,
        /// How the call ends that was admitted so many calls ago; `None`: given up, or not made at all.
        End(usize, Option<bool>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let end =
            (0_usize..6, prop::option::weighted(0.9, any::<bool>())).prop_map(|(which, how)| Step::End(which, how));
        let orders = [BreakerState::ForcedOpen, BreakerState::ForcedClosed, BreakerState::Disabled];
        let order = (prop::sample::select(orders.to_vec()), prop::bool::weighted(0.2));
        prop_oneof![
            20 => Just(Step::Admit),
            20 => end,
            1 => order.prop_map(|(state, over)| Step::Order(state, over)),
            2 => Just(Step::Release),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_the_model_does(
            steps in prop::collection::vec(step(), 1..300),
            ends_at_once in prop::collection::vec(prop::bool::weighted(0.8), 1..20),
            disabled in prop::bool::weighted(0.2),
        ) {
            let mut script = ends_at_once.clone().into_iter().cycle();
            let pauses = move |_| if script.next() == Some(true) { Duration::ZERO } else { FOR_EVER };
            let options = BreakerOptions { disabled, ..options() };
            let breaker = Breaker::with_pauses("test", options, |_| {}, pauses);
            let mut script = ends_at_once.into_iter().cycle();
            let (mut model, mut state) = (Model::Closed(Vec::new()), 0);
            // What holds instead of the model, and whether that was ordered by hand.
            let by_options = disabled.then_some((BreakerState::Disabled, false));
            let mut order = by_options;
            // Calls under way, with the state in which each was admitted.
            let mut running: Vec<(Call, usize)> = Vec::new();
            for step in steps {
                match step {
                    Step::Order(to, is_over) => {
                        breaker.force(to, "to see".into(), Some(if is_over { Duration::ZERO } else { FOR_EVER }));
                        (order, state) = (Some((to, true)), state + 1);
                        if is_over {
                            (order, model, state) = (by_options, Model::Closed(Vec::new()), state + 1);
                        }
                    }
                    Step::Release => {
                        breaker.release();
                        if order.is_some_and(|(_, by_hand)| by_hand) {
                            (order, model, state) = (by_options, Model::Closed(Vec::new()), state + 1);
                        }
                    }
                    Step::Admit => {
                        let expected = match &mut model {
                            _ if order.is_some() => order != Some((BreakerState::ForcedOpen, true)),
                            Model::Closed(_) => true,
                            Model::Open(true) => {
                                (model, state) = (Model::HalfOpen(1, 0), state + 1);
                                true
                            }
                            Model::Open(false) => false,
                            Model::HalfOpen(under_way, answered) if *under_way + *answered < 2 => {
                                *under_way += 1;
                                true
                            }
                            Model::HalfOpen(..) => false,
                        };
                        // A pause of no time at all is over a moment later.
                        std::thread::sleep(Duration::from_nanos(200));
                        let admitted = breaker.admit();
                        prop_assert_eq!(admitted.is_ok(), expected);
                        running.extend(admitted.ok().map(|call| (call, state)));
                    }
                    Step::End(which, how) => {
                        if which >= running.len() {
                            continue;
                        }
                        let (call, admitted_in) = running.remove(running.len() - 1 - which);
                        match how {
                            Some(true) => answer(call),
                            Some(false) => fail(call),
                            None if which % 2 == 0 => drop(call),
                            None => call.never_made(),
                        }
                        // Under an order, nothing is decided by how they end.
                        if admitted_in != state || order.is_some() {
                            continue;
                        }
                        let mut opens = false;
                        match (&mut model, how) {
                            (Model::Closed(_), None) => {}
                            (Model::Closed(calls), Some(good)) => {
                                calls.push(good);
                                let last = &calls[calls.len().saturating_sub(4)..];
                                let failed = last.iter().filter(|good| !**good).count();
                                opens = last.len() >= 3 && failed * 2 >= last.len();
                            }
                            (Model::HalfOpen(..), Some(false)) => opens = true,
                            (Model::HalfOpen(under_way, _), None) => *under_way -= 1,
                            (Model::HalfOpen(_, 1), Some(true)) => (model, state) = (Model::Closed(Vec::new()), state + 1),
                            (Model::HalfOpen(under_way, answered), Some(true)) => {
                                (*under_way, *answered) = (*under_way - 1, *answered + 1);
                            }
                            (Model::Open(_), _) => unreachable!("an open one admits nobody"),
                        }
                        if opens {
                            (model, state) = (Model::Open(script.next() == Some(true)), state + 1);
                        }
                    }
                }
                let expected = order.map_or(model.state(), |(state, _)| state);
                prop_assert_eq!(breaker.status().state, expected);
            }
        }
    }

    #[test]
    fn it_tells_what_it_did_and_why() {
        let breaker = Breaker::with_pauses("test", options(), |_| {}, |_| FOR_EVER);
        answer(breaker.admit().unwrap());
        fail(breaker.admit().unwrap());
        assert_eq!(breaker.status().failure_rate, None, "two calls are too few");
        let late = breaker.admit().unwrap();
        fail(breaker.admit().unwrap());
        let status = breaker.status();
        assert_eq!((status.state, status.transitions.len()), (BreakerState::Open, 1));
        assert_eq!(status.transitions[0].to_string(), "closed -> open: 2 of 3 calls failed; the last one: no route");
        let retry_after = breaker.admit().unwrap_err();
        assert!(retry_after > FOR_EVER / 2 && retry_after <= FOR_EVER, "{retry_after:?}");
        answer(late);
        assert_eq!((breaker.status().state, breaker.status().rejected), (BreakerState::Open, 1));
    }

    #[test]
    fn how_an_outage_began_is_known_for_as_long_as_it_lasts() {
        let breaker = Breaker::with_pauses("test", options(), |_| {}, |_| Duration::ZERO);
        assert_eq!(breaker.status().trouble, None);
        for _ in 0..3 {
            fail(breaker.admit().unwrap());
        }
        let began = breaker.status().transitions[0].clone();
        let begun = Instant::now();
        let probe = |end: fn(Call)| match breaker.admit() {
            Ok(call) => end(call),
            Err(_) => {
                assert!(begun.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        while breaker.status().transitions.contains(&began) {
            probe(fail);
        }
        assert_eq!(breaker.status().transitions.len(), REMEMBERED);
        assert_eq!(breaker.status().trouble, Some(began));
        while breaker.status().state != BreakerState::Closed {
            probe(answer);
        }
        assert_eq!(breaker.status().trouble, None);
    }

    #[test]
    fn slow_calls_open_it_and_so_do_those_that_nobody_waited_for() {
        let options = options().slow_calls(Duration::from_millis(5), 0.5);
        let breaker = Breaker::with_pauses("test", options, |_| {}, |_| FOR_EVER);
        for _ in 0..2 {
            let mut call = breaker.admit().unwrap();
            std::thread::sleep(Duration::from_millis(10));
            call.begins();
            answer(call);
        }
        assert_eq!(breaker.status().slow_rate, None);
        for _ in 0..2 {
            assert_eq!(breaker.status().state, BreakerState::Closed);
            let mut call = breaker.admit().unwrap();
            call.begins();
            std::thread::sleep(Duration::from_millis(10));
            drop(call);
            // It waited for others, not for the database.
            let call = breaker.admit().ok();
            std::thread::sleep(Duration::from_millis(10));
            drop(call);
        }
        let status = breaker.status();
        assert_eq!((status.state, status.cancelled), (BreakerState::Open, 3), "{status:?}");
        assert!(status.transitions[0].cause.contains("2 of 4 calls took longer than 5ms"), "{status:?}");
    }

    #[test]
    fn orders_go_before_everything() {
        let breaker = Breaker::with_pauses("test", options(), |_| {}, |_| FOR_EVER);
        breaker.force(BreakerState::ForcedOpen, "maintenance".into(), None);
        assert!(breaker.admit().is_err());
        breaker.force(BreakerState::ForcedClosed, "it has to work".into(), Some(FOR_EVER));
        for _ in 0..5 {
            fail(breaker.admit().unwrap());
        }
        assert_eq!(breaker.status().state, BreakerState::ForcedClosed);
        assert_eq!(breaker.status().failure_rate, Some(1.0));
        let before = breaker.admit().unwrap();
        breaker.gate().order.as_mut().unwrap().until = Some(Instant::now());
        assert_eq!(breaker.status().state, BreakerState::Closed);
        fail(before);
        assert_eq!(breaker.status().calls, 0);
        for _ in 0..3 {
            fail(breaker.admit().unwrap());
        }
        assert_eq!(breaker.status().state, BreakerState::Open);
        breaker.force(BreakerState::Disabled, "not now".into(), None);
        fail(breaker.admit().unwrap());
        assert_eq!(breaker.status().calls, 0);
        breaker.release();
        assert_eq!(breaker.status().state, BreakerState::Closed);
        assert!(breaker.admit().is_ok());
        let disabled = Breaker::new("test", BreakerOptions::disabled(), |_| {});
        (0..50).for_each(|_| fail(disabled.admit().unwrap()));
        assert_eq!(disabled.status().state, BreakerState::Disabled);
        disabled.force_open("maintenance", Some(Duration::ZERO));
        assert_eq!(disabled.status().state, BreakerState::Disabled, "as it was before");
        disabled.force_open("maintenance", None);
        disabled.release();
        let turns = disabled.status().transitions.len();
        disabled.release();
        assert_eq!((disabled.status().state, disabled.status().transitions.len()), (BreakerState::Disabled, turns));
        (0..50).for_each(|_| fail(disabled.admit().unwrap()));
        assert_eq!(disabled.status().state, BreakerState::Disabled);
    }

    fn half_open(probes: u32) -> (Arc<Breaker>, Call) {
        let breaker = Breaker::with_pauses("test", options().probes(probes), |_| {}, |_| Duration::ZERO);
        for _ in 0..3 {
            fail(breaker.admit().unwrap());
        }
        std::thread::sleep(Duration::from_millis(1));
        let probe = breaker.admit().unwrap();
        assert_eq!(breaker.status().state, BreakerState::HalfOpen);
        (breaker, probe)
    }

    #[test]
    fn what_is_let_through_by_hand_decides_nothing() {
        let (breaker, probe) = half_open(3);
        breaker.force_closed("it has to work", None);
        for _ in 0..3 {
            answer(breaker.admit().unwrap());
            fail(breaker.admit().unwrap());
            drop(breaker.admit().unwrap());
            breaker.admit().unwrap().never_made();
        }
        drop(probe);
        assert_eq!(breaker.status().state, BreakerState::ForcedClosed);
        assert_eq!(breaker.status().failure_rate, Some(0.5), "but it is looked at");
    }

    #[test]
    fn a_probe_without_end_does_not_decide_for_all() {
        let (breaker, without_end) = half_open(3);
        answer(breaker.admit().unwrap());
        answer(breaker.admit().unwrap());
        let begun = Instant::now();
        let third = loop {
            match breaker.admit() {
                Ok(call) => break call,
                Err(_) => std::thread::sleep(PROBES_TAKE / 2),
            }
            assert!(begun.elapsed() < PROBES_OVERDUE * 20);
        };
        answer(third);
        assert_eq!(breaker.status().state, BreakerState::Closed);
        drop(without_end);
    }

    #[test]
    fn a_window_of_fewer_calls_than_it_judges_by_is_judged_when_it_is_full() {
        let breaker = Breaker::new("test", BreakerOptions::new().window(Window::Calls(10)), |_| {});
        for _ in 0..10 {
            fail(breaker.admit().unwrap());
        }
        assert_eq!(breaker.status().state, BreakerState::Open);
    }

    #[test]
    fn who_listens_may_ask() {
        // A subscriber that asks the breaker would wait for itself if it were told under the lock.
        struct Asks(std::sync::Weak<Breaker>);
        impl std::io::Write for Asks {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let state = self.0.upgrade().map(|breaker| breaker.status().state);
                assert_eq!(state, Some(BreakerState::Disabled));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let breaker = Breaker::new("test", BreakerOptions::new(), |_| {});
        let asks = Arc::downgrade(&breaker);
        let subscriber = tracing_subscriber::fmt().with_writer(move || Asks(asks.clone())).finish();
        tracing::subscriber::with_default(subscriber, || breaker.disable("to see who listens", None));
        assert_eq!(breaker.status().transitions.len(), 1);
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut pauses = doubling(first, most);
        for times in 0..40 {
            let whole = first.saturating_mul(1 << times.min(20)).min(most);
            let pause = pauses(times);
            assert!(pause >= whole / 2 && pause <= whole, "{times}: {pause:?}");
        }
    }
}
