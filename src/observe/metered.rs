//! How long a statement waits for the database.
//!
//! Only the time is counted in which the database was asked and had not answered: neither the wait for a connection, nor
//! what the caller does between two rows. A row behind the first that is there already costs no look at the clock.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::{Stream, StreamExt};
use sqlx::Either;

use super::{Counters, Subject};

/// What is asked of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Read,
    /// What writes, or may.
    Write,
    /// What does neither, and is not counted: SET, for one.
    Other,
}

/// The answer to a statement, which tells the counters what it took when it is dropped.
pub(crate) struct Metered<S> {
    items: S,
    meter: Meter,
}

struct Meter {
    counters: Arc<Counters>,
    subject: Subject,
    sent: Sent,
    waited: Duration,
    /// Set while it waits, and before anything was asked.
    since: Since,
    rows: u64,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    /// Not asked yet.
    Never,
    Then(Instant),
    /// There was an answer, and more may be there already.
    Answered,
}

impl<S> Metered<S> {
    pub(super) fn new(counters: Arc<Counters>, subject: Subject, sent: Sent, items: S) -> Self {
        Self { items, meter: Meter::new(counters, subject, sent) }
    }

    /// Time waited so far.
    pub fn waited(&self) -> Duration {
        match self.meter.since {
            Since::Then(since) => self.meter.waited + since.elapsed(),
            Since::Never | Since::Answered => self.meter.waited,
        }
    }
}

impl Meter {
    fn new(counters: Arc<Counters>, subject: Subject, sent: Sent) -> Self {
        Self { counters, subject, sent, waited: Duration::ZERO, since: Since::Never, rows: 0 }
    }

    fn poll<T>(&mut self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        if let Since::Never = self.since {
            // The first answer may be there before this returns.
            self.since = Since::Then(Instant::now());
        }
        let polled = poll();
        match (&polled, self.since) {
            (Poll::Pending, Since::Then(_)) => {}
            (Poll::Pending, _) => self.since = Since::Then(Instant::now()),
            (Poll::Ready(_), _) => self.answered(),
        }
        polled
    }

    fn answered(&mut self) {
        if let Since::Then(since) = self.since {
            self.waited += since.elapsed();
        }
        self.since = Since::Answered;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // Cancelled: the database was at it until now.
        self.answered();
        self.counters.asked(&self.subject, self.sent, self.waited, self.rows);
    }
}

impl<S, Q, R, E> Stream for Metered<S>
where
    S: Stream<Item = Result<Either<Q, R>, E>> + Unpin,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let Self { items, meter } = &mut *self;
        let poll = meter.poll(|| items.poll_next_unpin(context));
        if let Poll::Ready(Some(Ok(Either::Right(_)))) = &poll {
            meter.rows += 1;
        }
        poll
    }
}

/// The same for a statement that gives one row at most.
pub(super) async fn one<R, E>(
    counters: Arc<Counters>,
    subject: Subject,
    sent: Sent,
    answer: impl Future<Output = Result<Option<R>, E>>,
) -> Result<Option<R>, E> {
    let mut meter = Meter::new(counters, subject, sent);
    let mut answer = std::pin::pin!(answer);
    let answer = std::future::poll_fn(|context| meter.poll(|| answer.as_mut().poll(context))).await;
    meter.rows = u64::from(matches!(answer, Ok(Some(_))));
    answer
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::super::Counters;
    use super::*;
    use crate::analysis::Fingerprint;

    #[tokio::test]
    async fn only_waiting_is_counted() {
        let counters = Counters::new(true);
        let subject = Subject::new("SELECT 1".into(), Fingerprint(1), counters.queries(), String::new);
        let nap = Duration::from_millis(30);
        let items = stream::unfold(0, |n| async move {
            // Rows 0 and 2 take their time, row 1 is there.
            if n != 1 {
                tokio::time::sleep(nap).await;
            }
            (n < 3).then_some((Ok::<_, sqlx::Error>(Either::<(), _>::Right(n)), n + 1))
        });
        let mut items = counters.metered(&subject, Sent::Read, items.boxed());
        while items.next().await.is_some_and(|row| row.unwrap().right() < Some(2)) {
            // The caller dawdles.
            tokio::time::sleep(10 * nap).await;
        }
        assert!(items.waited() >= 2 * nap && items.waited() < 10 * nap, "{:?}", items.waited());
        let waited = items.waited();
        drop(items);
        let row = counters.by_query().remove(0);
        assert_eq!((row.database_time, row.rows_from_database), (waited, 3));
        assert_eq!(counters.snapshot((0, 0)).database_time, waited);
    }

    #[tokio::test]
    async fn what_is_given_up_was_waited_for_until_then() {
        let counters = Counters::new(true);
        let subject = Subject::new("SELECT 1".into(), Fingerprint(1), counters.queries(), String::new);
        let never = std::future::pending::<Result<Option<()>, ()>>();
        let nap = Duration::from_millis(30);
        let asked = counters.metered_one(&subject, Sent::Read, never);
        assert!(tokio::time::timeout(nap, asked).await.is_err());
        let asked = counters.metered(&subject, Sent::Write, stream::pending::<Result<Either<(), ()>, ()>>());
        // Never asked: nothing waited.
        drop(asked);
        let row = counters.by_query().remove(0);
        assert!(row.database_time >= nap && row.database_time < 10 * nap && row.rows_from_database == 0, "{row}");
    }
}
