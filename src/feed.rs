//! What other programs write, as triggers tell it in a table of the database.
//!
//! In: the table of versions that `larder watch install` makes, read again and again. Out: tables whose numbers grew, of which
//! everything is dropped.
//! It never calls itself up to date on a look at the table that began longer ago than was promised.
//!
//! A trigger announces in the transaction of the writer, so that a look at the table tells of all that was committed before it.
//! What the database pushes only has the next look taken sooner. See docs/watch.md.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::recency::Recency;

/// Looks within the bound, so that one may be late.
const LOOKS_PER_BOUND: u32 = 4;
/// Before a pool that was just built is used, the first look is waited for so long.
const READY_WITHIN: Duration = Duration::from_millis(500);

/// How far a pool has heard of what other programs write.
#[derive(Debug)]
pub(crate) struct Watch {
    bound: Duration,
    looked: Recency,
    /// Told when there may be something to watch.
    changed: Notify,
    /// Told when the first look was answered.
    first: Notify,
}

impl Watch {
    pub fn new(bound: Duration) -> Self {
        Self { bound, looked: Recency::new(), changed: Notify::new(), first: Notify::new() }
    }

    /// How long ago the last look began that was answered.
    pub fn age(&self) -> Option<Duration> {
        self.looked.age()
    }

    /// Whether everything was heard of that was written longer ago than the bound.
    pub fn is_current(&self) -> bool {
        self.bound.is_zero() || self.age().is_some_and(|age| age < self.bound)
    }

    /// What is known of the database changed.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until the first look was answered, but not for long.
    pub async fn ready(&self) {
        let first = self.first.notified();
        if self.age().is_none() && !self.bound.is_zero() {
            let _ = tokio::time::timeout(READY_WITHIN, first).await;
        }
    }

    /// Returns when what is known of the database changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Within what time it is heard.
    pub fn bound(&self) -> Duration {
        self.bound
    }

    /// How long to wait from one look to the next.
    pub fn pause(&self) -> Duration {
        self.bound / LOOKS_PER_BOUND
    }

    /// Takes note of a look that was answered, and of which all that changed was dropped.
    pub fn looked(&self, begun: Instant) {
        self.looked.answered(begun);
        self.first.notify_waiters();
    }
}

/// A connection of its own that hears what the triggers announce.
pub trait Feed: Send {
    /// Looks at the versions, unless their sum is still this one.
    fn look<'f>(&'f mut self, sum: &'f str) -> BoxFuture<'f, Result<Look, sqlx::Error>>;

    /// Returns after this time, or sooner if something is pushed.
    fn pause(&mut self, at_most: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(at_most))
    }
}

/// What a look told.
#[derive(Debug, Default)]
pub struct Look {
    /// The sum of all versions.
    pub sum: String,
    /// The sum of each table, by schema and name; none if nothing changed.
    pub tables: HashMap<(String, String), String>,
}

/// What changed from one look to the next.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    Tables(Vec<(String, String)>),
    /// The table of versions is another one.
    Everything,
}

impl Look {
    /// Follows to what is seen now.
    pub fn follow(&mut self, now: Self) -> News {
        if now.sum == self.sum {
            return News::Nothing;
        }
        let before = std::mem::replace(self, now);
        let installation = (String::new(), String::new());
        if before.tables.get(&installation) != self.tables.get(&installation) {
            return News::Everything;
        }
        let grown = self.tables.iter().filter(|(table, version)| before.tables.get(*table) != Some(version));
        let gone = before.tables.keys().filter(|table| !self.tables.contains_key(*table));
        News::Tables(grown.map(|(table, _)| table).chain(gone).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(sum: &str, tables: &[(&str, &str)]) -> Look {
        let tables = tables.iter().map(|(name, version)| {
            let schema = if name.is_empty() { "" } else { "public" };
            ((schema.to_owned(), (*name).to_owned()), (*version).to_owned())
        });
        Look { sum: sum.into(), tables: tables.collect() }
    }

    #[test]
    fn what_changed_is_told_once() {
        let mut heard = Look::default();
        assert_eq!(heard.follow(look("7", &[("", "5"), ("a", "1"), ("b", "1")])), News::Everything);
        assert_eq!(heard.follow(look("7", &[])), News::Nothing);
        let table = |name: &str| ("public".to_owned(), name.to_owned());
        assert_eq!(heard.follow(look("8", &[("", "5"), ("a", "2"), ("b", "1")])), News::Tables(vec![table("a")]));
        assert_eq!(
            heard.follow(look("9", &[("", "5"), ("a", "2"), ("b", "1"), ("c", "1")])),
            News::Tables(vec![table("c")])
        );
        assert_eq!(heard.follow(look("8", &[("", "5"), ("a", "2"), ("b", "1")])), News::Tables(vec![table("c")]));
        assert_eq!(heard.follow(look("9", &[("", "6"), ("a", "2"), ("b", "1")])), News::Everything);
    }

    #[test]
    fn it_is_current_no_longer_than_promised() {
        let watch = Watch::new(Duration::from_millis(50));
        assert!(!watch.is_current());
        watch.looked(Instant::now());
        assert!(watch.is_current());
        std::thread::sleep(Duration::from_millis(60));
        assert!(!watch.is_current());
        assert!(Watch::new(Duration::ZERO).is_current());
    }
}
