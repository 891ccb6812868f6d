//! A look at the database: what it and a session of it are like.
//!
//! In: a connection. Out: the survey, within a time that others can wait for.
//! It never keeps what was seen.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::calls::judge;
use super::{Driver, in_time, is_late};
use crate::analysis::Dialect;
use crate::backend::{InStep, Options};
use crate::catalog::Survey;
use crate::guard::Call;

/// One that takes longer is none, and others do not wait for it.
pub(super) const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// Held by whoever looks so that something can be known; when the last such look failed.
pub(super) type Turn<'i> = MutexGuard<'i, Option<Instant>>;

/// A connection of its own to look at the database, and the call that is judged by the first look.
pub(crate) struct Lookout<DB: Driver> {
    connection: InStep<DB>,
    call: Option<Call>,
}

impl<DB: Driver> Lookout<DB> {
    pub fn new(connection: InStep<DB>, call: Call) -> Self {
        Self { connection, call: Some(call) }
    }

    /// Looks. The connection is closed if that takes too long.
    pub async fn survey(&mut self, options: &Options<DB>) -> Result<Survey, sqlx::Error> {
        // Dropped meanwhile, it was given up.
        let call = self.call.take();
        let survey =
            self.connection.answer(|connection| in_time(DB::survey(connection, options), most::<DB>()).boxed());
        let seen = survey.await;
        if seen.as_ref().is_err_and(is_late) {
            self.connection.leave();
        }
        if let Some(call) = call {
            judge::<DB>(call, seen.as_ref().err());
        }
        seen
    }
}

impl<DB: Driver> Drop for Lookout<DB> {
    fn drop(&mut self) {
        // Nothing was asked after all.
        self.call.take().into_iter().for_each(Call::never_made);
    }
}

/// Through what the database is looked at.
pub(super) enum Through<'c, DB: Driver> {
    Own(Lookout<DB>),
    /// Somebody goes on with it.
    Held(&'c mut DB::Connection),
}

impl<DB: Driver> Through<'_, DB> {
    /// Looks. If that takes too long, the turn goes to others.
    pub async fn survey(&mut self, options: &Options<DB>, turn: &mut Option<Turn<'_>>) -> Result<Survey, sqlx::Error> {
        let connection = match self {
            Self::Own(lookout) => return lookout.survey(options).await,
            Self::Held(connection) => connection,
        };
        let mut survey = DB::survey(connection, options);
        let Some(most) = most::<DB>() else { return survey.await };
        if let Ok(seen) = timeout(most, &mut survey).await {
            return seen;
        }
        if let Some(mut turn) = turn.take() {
            *turn = Some(Instant::now());
        }
        // Left in the middle, the answer would be taken for that to the next question. By now others may know better.
        survey.await.and(Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }
}

/// A file is always within reach.
fn most<DB: Driver>() -> Option<Duration> {
    (DB::DIALECT != Dialect::Sqlite).then_some(LOOK_WITHIN)
}
