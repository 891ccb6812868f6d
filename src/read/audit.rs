//! A look at whether an answer from the cache was right.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use sqlx::Either;
use tokio::sync::OwnedSemaphorePermit;

use super::Load;
use crate::backend::{Driver, Request, leave, release};
use crate::inner::{InTime, Kept, is_late};
use crate::observe::Audit;
use crate::replay::Replay;

/// What others wrote just before is heard of by then.
const SETTLED: Duration = Duration::from_secs(2);

impl<DB: Driver> Load<DB> {
    /// Asks the database for what was just answered from an entry, and compares the two.
    ///
    /// What is written meanwhile makes them differ without fault: it voids the stamp of the entry, if only after the time within which
    /// this node hears of it. Rows in another order are no fault, either.
    ///
    /// The database is asked by one at a time, in its `turn`: what callers ask goes first.
    pub(super) async fn audit(self, entry: Arc<Kept<DB>>, request: Request<DB>, turn: OwnedSemaphorePermit) {
        let differs = self.differs(&entry, request).await;
        drop(turn);
        let outcome = match differs {
            Some(false) => Audit::Good,
            Some(true) => {
                tokio::time::sleep(SETTLED.max(self.inner.hears_within() * 2)).await;
                match entry.life.stamp.holds() && self.plan.holds() {
                    true => Audit::Stale,
                    false => Audit::Undecided,
                }
            }
            None => Audit::Undecided,
        };
        let tables = self.plan.reads.as_ref().map(|reads| reads.cells.clone()).unwrap_or_default();
        let tables = tables.iter().filter_map(|cell| cell.name().strip_prefix(':'));
        self.inner.counters.audited(outcome, &self.plan.statement, tables);
    }

    /// Whether the database answers something else, as far as can be told.
    async fn differs(&self, entry: &Kept<DB>, request: Request<DB>) -> Option<bool> {
        let replay = self.inner.replay()?;
        let (mut connection, asking) = self.inner.connect().await.ok()?;
        let sql = request.sql.clone();
        let types = request.arguments.as_ref().map(DB::argument_types).unwrap_or_default();
        let (mut rows, mut failure) = (Vec::new(), None);
        // Nobody waits for it.
        let most = self.inner.settings.read_timeout.or(Some(self.patience));
        let mut items = InTime::new(DB::fetch_many(&mut connection, request), most);
        while let Some(item) = items.next().await {
            match item {
                Ok(Either::Right(row)) => rows.push(row),
                Ok(Either::Left(_)) => {}
                Err(error) => failure = Some(error),
            }
        }
        drop(items);
        asking.ends(failure.as_ref());
        let is_late = failure.as_ref().is_some_and(is_late);
        let stored = match failure {
            None => replay.store(&mut connection, &sql, &types, &rows, Some(&entry.stored.shape)).await.ok(),
            Some(_) => None,
        };
        drop(rows);
        match is_late {
            true => leave::<DB>(&mut connection),
            false => release::<DB>(connection).await,
        }
        let stored = stored?;
        if stored.bytes == entry.stored.bytes {
            return Some(false);
        }
        let in_another_order = stored.rows == entry.stored.rows && census(&stored.bytes) == census(&entry.stored.bytes);
        (!in_another_order).then_some(true)
    }
}

/// How often each byte occurs: the same for the same rows in whatever order.
fn census(bytes: &[u8]) -> [u64; 256] {
    let mut census = [0; 256];
    bytes.iter().for_each(|byte| census[usize::from(*byte)] += 1);
    census
}
