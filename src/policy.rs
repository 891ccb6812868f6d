//! How results are kept: what a user asks for, and the terms that follow for one query.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::entry::Life;

/// How the results of some queries are kept. What it leaves open, the next wider policy decides: that of a query is laid
/// over that of its fingerprint, over those of its tables, over that of the pool.
///
/// ```
/// use std::time::Duration;
/// use larder::Policy;
///
/// let home = Policy::ttl(Duration::from_secs(30)).soft_ttl(Duration::from_secs(20)).tag("home");
/// assert_eq!(home, Policy::default().tag("home").with_ttl(Duration::from_secs(30)).soft_ttl(Duration::from_secs(20)));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    pub(crate) never: bool,
    pub(crate) ttl: Option<Duration>,
    pub(crate) soft_ttl: Option<Duration>,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) early_refresh: Option<f64>,
    pub(crate) max_entry_bytes: Option<usize>,
    pub(crate) tags: BTreeSet<Arc<str>>,
}

impl Policy {
    /// Results may be given out for that long after their query was begun, if nothing they rest on is written before. A
    /// tenth of that time is a matter of chance, so that results which were loaded together do not end together.
    /// [`Duration::MAX`]: without end.
    pub fn ttl(ttl: Duration) -> Self {
        Self::default().with_ttl(ttl)
    }

    /// Results are neither kept nor taken from the cache. Stands against every narrower policy.
    pub fn never() -> Self {
        Self { never: true, ..Self::default() }
    }

    /// The same with another time to live: see [`Policy::ttl`].
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// A result older than this is still given out until its time to live ends, but the first to ask for it sets off one
    /// query in the background that replaces it, so that nobody waits.
    pub fn soft_ttl(mut self, ttl: Duration) -> Self {
        self.soft_ttl = Some(ttl);
        self
    }

    /// Time to live of a result without rows, if that is shorter than the one of others.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// While the database cannot be reached, a result may be given out until it is that old, **even if it is known to be
    /// wrong by now**: its time to live is over, tables behind it were written, or somebody dropped them or its tags by
    /// hand. After a change of the schema or of rights it is not. Zero, the default: never.
    ///
    /// It counts as out of reach as well while the pool itself does not ask it: the breaker is open, a limit of loads or of a rate is
    /// reached, a read took longer than [`Builder::read_timeout`](crate::Builder::read_timeout), or there is an
    /// [emergency](crate::Builder::emergency). What its caller wrote just before may then be missing in the answer.
    pub fn stale_if_error(mut self, age: Duration) -> Self {
        self.stale_if_error = Some(age);
        self
    }

    /// Replaces results in the background a random time before they grow too old, on average `beta` times as long as their
    /// query takes, so that those who ask at the same time do not all find them gone. 1 is a good value; 0, the default,
    /// turns it off.
    ///
    /// The rule is XFetch, from Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention",
    /// VLDB 2015.
    ///
    /// # Panics
    /// If `beta` is negative, infinite or not a number.
    pub fn early_refresh(mut self, beta: f64) -> Self {
        assert!(beta >= 0.0 && beta.is_finite(), "early refresh takes a finite number of 0 or more, not {beta}");
        self.early_refresh = Some(beta);
        self
    }

    /// Most bytes of one result; a larger one is streamed through and not kept.
    pub fn max_entry_bytes(mut self, bytes: usize) -> Self {
        self.max_entry_bytes = Some(bytes);
        self
    }

    /// A name under which results can be dropped: [`CachedPool::invalidate_tags`](crate::CachedPool::invalidate_tags).
    /// Results of the same query under other tags are kept apart.
    pub fn tag(mut self, tag: impl Into<Arc<str>>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// What holds where nobody says anything.
    pub(crate) fn usual() -> Self {
        Self::ttl(Terms::DEFAULT_TTL).stale_if_error(Duration::ZERO).max_entry_bytes(Terms::DEFAULT_MAX_ENTRY_BYTES)
    }

    /// Lays this policy over a wider one.
    pub(crate) fn over(&self, wider: &Self) -> Self {
        Self {
            never: self.never || wider.never,
            ttl: self.ttl.or(wider.ttl),
            soft_ttl: self.soft_ttl.or(wider.soft_ttl),
            negative_ttl: self.negative_ttl.or(wider.negative_ttl),
            stale_if_error: self.stale_if_error.or(wider.stale_if_error),
            early_refresh: self.early_refresh.or(wider.early_refresh),
            max_entry_bytes: self.max_entry_bytes.or(wider.max_entry_bytes),
            tags: self.tags.union(&wider.tags).cloned().collect(),
        }
    }

    /// What is allowed by both: for a query of several tables, each of which has a policy.
    pub(crate) fn strictest(&self, other: &Self) -> Self {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            never: self.never || other.never,
            ttl: least(self.ttl, other.ttl),
            soft_ttl: least(self.soft_ttl, other.soft_ttl),
            negative_ttl: least(self.negative_ttl, other.negative_ttl),
            stale_if_error: least(self.stale_if_error, other.stale_if_error),
            early_refresh: match (self.early_refresh, other.early_refresh) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            },
            max_entry_bytes: least(self.max_entry_bytes, other.max_entry_bytes),
            tags: self.tags.union(&other.tags).cloned().collect(),
        }
    }
}

/// The terms under which the results of one query are kept: a policy with nothing left open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Terms {
    pub never: bool,
    /// `None`: without end.
    pub ttl: Option<Duration>,
    pub soft_ttl: Option<Duration>,
    pub negative_ttl: Option<Duration>,
    pub stale_if_error: Duration,
    pub early_refresh: f64,
    pub max_entry_bytes: usize,
    pub tags: BTreeSet<Arc<str>>,
}

/// How old a result is, by the terms of who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Young enough.
    Good,
    /// Young enough, but due to be replaced.
    Due,
    /// Too old.
    Over,
}

impl Terms {
    /// Long enough to take the load of a busy page off the database, short enough that a person who changed a row by
    /// hand sees it at the next glance.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(10);
    /// Room for a page of a listing with its texts.
    pub const DEFAULT_MAX_ENTRY_BYTES: usize = 1 << 20;
    /// Part of the time to live by which entries differ, so that those loaded together do not expire together.
    const JITTER: f64 = 0.1;

    /// What a policy means where it leaves something open.
    pub fn of(policy: &Policy) -> Self {
        Self {
            never: policy.never,
            ttl: Some(policy.ttl.unwrap_or(Self::DEFAULT_TTL)).filter(|ttl| *ttl != Duration::MAX),
            soft_ttl: policy.soft_ttl.filter(|ttl| *ttl != Duration::MAX),
            negative_ttl: policy.negative_ttl.filter(|ttl| *ttl != Duration::MAX),
            stale_if_error: policy.stale_if_error.unwrap_or_default(),
            early_refresh: policy.early_refresh.unwrap_or_default(),
            max_entry_bytes: policy.max_entry_bytes.unwrap_or(Self::DEFAULT_MAX_ENTRY_BYTES),
            tags: policy.tags.clone(),
        }
    }

    /// How old a result is `now`. The clock is read, and `dice` thrown between 0 and 1, only where it can matter.
    pub fn age(&self, life: &Life, now: impl FnOnce() -> Instant, dice: impl FnOnce() -> f64) -> Age {
        let end = self.end(life);
        let due = self.soft_ttl.map_or(end, |soft| end.min(shortened(soft, life)));
        if due.is_infinite() {
            return Age::Good;
        }
        let age = now().saturating_duration_since(life.begun).as_secs_f64();
        if age >= end {
            return Age::Over;
        }
        let (left, lead) = (due - age, life.cost.as_secs_f64() * self.early_refresh);
        // The lead is multiplied by less than 40, if dice show multiples of 2^-53.
        if left <= 0.0 || left < lead * 40.0 && left <= lead * -dice().max(f64::EPSILON / 2.0).ln() {
            return Age::Due;
        }
        Age::Good
    }

    /// Whether a result that is no longer good may be given out at `now` because the database is out of reach.
    pub fn may_be_stale(&self, life: &Life, now: Instant) -> bool {
        now.saturating_duration_since(life.begun) < self.stale_if_error
    }

    /// For how long after its query was begun a result may be of use. `None`: without end.
    pub fn of_use(&self, life: &Life) -> Option<Duration> {
        let end = Duration::try_from_secs_f64(self.end(life)).ok()?;
        Some(end.max(self.stale_if_error))
    }

    /// Age in seconds at which the result is too old.
    fn end(&self, life: &Life) -> f64 {
        let negative = self.negative_ttl.filter(|_| life.empty);
        let end = |ttl: Option<Duration>| ttl.map_or(f64::INFINITY, |ttl| shortened(ttl, life));
        end(self.ttl).min(end(negative))
    }
}

/// In seconds. Jitter only ever shortens.
fn shortened(ttl: Duration, life: &Life) -> f64 {
    ttl.as_secs_f64() * (1.0 - Terms::JITTER * f64::from(life.dice.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    const S: Duration = Duration::from_secs(1);

    fn life(begun: Instant) -> Life {
        Life { stamp: Stamp::take(&Vec::new().into()).unwrap(), begun, cost: S / 10, dice: 0.0, empty: false }
    }

    fn age(policy: &Policy, life: &Life, after: Duration) -> Age {
        Terms::of(policy).age(life, || life.begun + after, || 1.0)
    }

    #[test]
    fn a_result_ends_with_its_time() {
        let life = life(Instant::now());
        assert_eq!(age(&Policy::default(), &life, 9 * S), Age::Good);
        assert_eq!(age(&Policy::default(), &life, 10 * S), Age::Over);
        assert_eq!(age(&Policy::ttl(100 * S), &life, 99 * S), Age::Good);
        assert_eq!(age(&Policy::ttl(Duration::ZERO), &life, Duration::ZERO), Age::Over);
        assert_eq!(age(&Policy::ttl(Duration::MAX), &life, 1_000_000_000 * S), Age::Good);
    }

    #[test]
    fn jitter_never_lengthens_a_life() {
        let (early, late) = (Life { dice: 1.0, ..life(Instant::now()) }, Life { dice: 0.0, ..life(Instant::now()) });
        let policy = Policy::ttl(100 * S);
        assert_eq!(age(&policy, &early, 89 * S), Age::Good);
        assert_eq!(age(&policy, &early, 91 * S), Age::Over);
        assert_eq!(age(&policy, &late, 99 * S), Age::Good);
        assert_eq!(age(&policy, &late, 100 * S), Age::Over);
        // As long as can be counted.
        assert_eq!(age(&Policy::ttl(Duration::MAX - S), &early, 1_000_000_000 * S), Age::Good);
    }

    #[test]
    fn softly_ended_is_due_and_hard_ended_is_over() {
        let life = life(Instant::now());
        let policy = Policy::ttl(10 * S).soft_ttl(5 * S);
        assert_eq!(age(&policy, &life, 4 * S), Age::Good);
        assert_eq!(age(&policy, &life, 5 * S), Age::Due);
        assert_eq!(age(&policy, &life, 10 * S), Age::Over);
        assert_eq!(age(&Policy::ttl(Duration::MAX).soft_ttl(5 * S), &life, 6 * S), Age::Due);
        assert_eq!(age(&Policy::ttl(5 * S).soft_ttl(10 * S), &life, 5 * S), Age::Over);
    }

    #[test]
    fn nothing_found_has_a_life_of_its_own() {
        let policy = Policy::ttl(10 * S).negative_ttl(2 * S);
        let some = life(Instant::now());
        let none = Life { empty: true, ..life(some.begun) };
        assert_eq!(age(&policy, &some, 3 * S), Age::Good);
        assert_eq!(age(&policy, &none, 3 * S), Age::Over);
        assert_eq!(age(&Policy::ttl(S).negative_ttl(5 * S), &none, 2 * S), Age::Over);
    }

    #[test]
    fn early_refresh_is_likelier_the_nearer_the_end_and_the_dearer_the_query() {
        let policy = Policy::ttl(10 * S).early_refresh(1.0);
        let life = life(Instant::now());
        let share = |life: &Life, after: Duration| {
            let dice = (1..1000).map(|n| f64::from(n) / 1000.0);
            let due = dice.filter(|dice| Terms::of(&policy).age(life, || life.begun + after, || *dice) == Age::Due);
            due.count()
        };
        assert_eq!(share(&life, 5 * S), 0, "far from the end it is never thrown");
        // One load's time before the end: the chance is that a logarithm exceeds 1, which is 1/e.
        assert!((350..=385).contains(&share(&life, 10 * S - life.cost)));
        assert!(share(&life, 10 * S - life.cost / 10) > 900);
        let dearer = Life { cost: S, ..life.clone() };
        assert!(share(&dearer, 9 * S) > share(&life, 9 * S));
        assert_eq!(age(&Policy::ttl(10 * S), &dearer, 10 * S - life.cost / 100), Age::Good, "off by default");
    }

    #[test]
    fn narrower_policies_go_over_wider_ones() {
        let wide = Policy::ttl(10 * S).soft_ttl(5 * S).tag("all");
        let narrow = Policy::ttl(20 * S).negative_ttl(S).tag("one");
        let both = narrow.over(&wide);
        assert_eq!(both, Policy::ttl(20 * S).soft_ttl(5 * S).negative_ttl(S).tag("all").tag("one"));
        assert!(Policy::ttl(S).over(&Policy::never()).never, "never is never taken back");
    }

    #[test]
    fn of_two_tables_the_stricter_counts() {
        let a = Policy::ttl(10 * S).stale_if_error(S).early_refresh(1.0);
        let b = Policy::ttl(5 * S).stale_if_error(2 * S).early_refresh(2.0).max_entry_bytes(10);
        assert_eq!(a.strictest(&b), Policy::ttl(5 * S).stale_if_error(S).early_refresh(2.0).max_entry_bytes(10));
        assert!(a.strictest(&Policy::never()).never);
        let usual = Policy::usual();
        let generous = Policy::ttl(3_600 * S).stale_if_error(S).max_entry_bytes(usize::MAX).over(&usual);
        assert_eq!(generous.strictest(&usual), usual, "of a table without a word of its own, the usual");
    }

    #[test]
    fn what_may_be_stale_stays_as_long() {
        let life = life(Instant::now());
        let terms = Terms::of(&Policy::ttl(S).stale_if_error(60 * S));
        assert!(terms.may_be_stale(&life, life.begun + 59 * S));
        assert!(!terms.may_be_stale(&life, life.begun + 60 * S));
        assert_eq!(terms.of_use(&life), Some(60 * S));
        assert_eq!(Terms::of(&Policy::ttl(S)).of_use(&life), Some(S));
        assert!(!Terms::of(&Policy::ttl(S)).may_be_stale(&life, life.begun));
    }
}
