//! What a connection did that is not settled, and how it is settled.
//!
//! In: the statements and transactions of one connection, and how they ended. Out: writes announced before they are sent and
//! concluded when their outcome is definite, and a connection that is fit for others or closed.
//! It never sends what the user sends: only questions of its own, and the ROLLBACK of a transaction that was half begun.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::StreamExt;
use sqlx::SqlStr;

use crate::analysis::{Kind, SqlMode, TransactionControl};
use crate::backend::{Driver, Request, drain};
use crate::catalog::Witness;
use crate::inner::{Inner, Statement};
use crate::observe::{Sent, Subject};
use crate::plan::{Change, Known};
use crate::reason::Reason;
use crate::rejected::Guard;
use crate::versions::Finished;
use crate::write::Armed;

/// What a connection did that is not settled.
pub(crate) struct Ledger<DB: Driver> {
    pub inner: Arc<Inner<DB>>,
    _handed_out: Arc<()>,
    /// The statement that the database is at, as far as is known.
    under_way: Option<Statement>,
    /// Writes whose callers went away before the outcome was known.
    unsettled: Vec<Armed>,
    /// Writes that are over and that other nodes are being told of.
    publishing: Vec<Finished>,
    /// Set from the moment the connection was handed out raw.
    opaque: Option<Armed>,
    /// Whether its settings have to be compared before anybody else gets the connection.
    verify: bool,
    /// Set while a transaction is being begun: sqlx leaves it open on the server if the future is dropped or fails.
    pub half_begun: bool,
    doubt: Doubt,
    /// What the server was asked and may not have answered yet. Nobody may be waiting for it any more.
    pub asking: Asking,
    /// Set once sqlx no longer knows which answer of the server belongs to which question.
    out_of_step: bool,
    /// Set while something runs on the connection that leaves more behind than settings if it stops half way.
    pub unfinished: bool,
    /// Whether the connection was handed out raw in the open transaction: that may have ended it, too.
    raw: bool,
    pub transaction: Option<Writes>,
}

/// Whether the open transaction may have been ended by the database itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Doubt {
    No,
    /// A statement in it failed, or nobody heard how it ended.
    Failed,
    /// The database is being asked.
    Asking,
}

/// How long an answer may take that the server has sent.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What the server is being asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asking {
    Nothing,
    /// To prepare a statement, which changes nothing.
    ToPrepare,
    /// To prepare and run it.
    Both,
    /// To run it.
    ToRun,
}

/// What an open transaction wrote.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub changes: Vec<Change>,
    /// What the changes were planned under: the oldest of it.
    known: Option<Arc<Known>>,
    /// Whether it was begun so that the database can tell what it wrote.
    pub marked: bool,
    /// Whether a savepoint was set or left by text: which of them a rollback goes back to is no longer known.
    pub marked_by_text: bool,
    /// 1 in the transaction itself, 2 in a savepoint of it, and so on.
    pub depth: usize,
    /// Set once something happened that was not seen or not understood.
    pub everything: Option<Reason>,
    /// Set once a statement was run in it that may have written anything.
    pub opaque: Option<Reason>,
}

impl<DB: Driver> Ledger<DB> {
    pub fn new(inner: Arc<Inner<DB>>) -> Self {
        Self {
            _handed_out: inner.gatehouse.handed_out.clone(),
            inner,
            under_way: None,
            unsettled: Vec::new(),
            publishing: Vec::new(),
            opaque: None,
            verify: false,
            half_begun: false,
            doubt: Doubt::No,
            asking: Asking::Nothing,
            out_of_step: false,
            unfinished: false,
            raw: false,
            transaction: None,
        }
    }

    /// Announces what a statement changes, or puts it off to the commit. Tells what to count it as.
    ///
    /// # Errors
    /// Those of [`Armed::sent`].
    pub async fn begin_statement(
        &mut self,
        sql: &str,
        connection: &mut DB::Connection,
    ) -> Result<(Subject, Sent), sqlx::Error> {
        let counted = self.plan_statement(sql, connection).await;
        self.sent().await?;
        Ok(counted)
    }

    /// Waits until other nodes know of what is about to be done. What they cannot be told of is then not begun.
    async fn sent(&mut self) -> Result<(), sqlx::Error> {
        for armed in self.unsettled.iter_mut().chain(&mut self.opaque) {
            if let Err(error) = armed.sent().await {
                self.inner.counters.rejected(Guard::Consistency);
                self.conclude(None);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits until other nodes know that what was done is over.
    pub async fn published(&mut self) {
        std::future::poll_fn(|context| self.poll_published(context)).await;
    }

    /// The same where nothing can be awaited.
    pub fn poll_published(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.publishing.retain_mut(|finished| Pin::new(finished).poll(context).is_pending());
        if self.publishing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    async fn plan_statement(&mut self, sql: &str, connection: &mut DB::Connection) -> (Subject, Sent) {
        let plan = match self.transaction.is_some() || self.opaque.is_some() {
            // What is seen within a transaction is not what others see.
            true => self.inner.plan(sql),
            false => self.inner.plan_to_run_on(sql, connection).await,
        };
        let counted = (plan.statement.clone(), plan.sent());
        if plan.sent() != Sent::Other {
            self.inner.counters.asks(&plan.statement);
        }
        if plan.sent() == Sent::Write {
            self.inner.counters.write(&plan.statement);
        }
        let reads_may_write = || plan.known.as_ref().is_some_and(|known| known.gate.reads_may_write());
        let elsewhere = (plan.change.is_some() || reads_may_write()) && self.may_mean_other_tables(connection).await;
        // The plan is for sessions as they were when they were looked at.
        let misread = SqlMode::unseen(DB::DIALECT).matters_to(sql) && self.may_mean_other_tables(connection).await;
        self.verify |= plan.may_change_session(DB::DIALECT);
        if self.transaction.is_some() {
            // Until it is known to have succeeded: its caller may go away before he hears that it failed.
            self.doubt = Doubt::Failed;
        }
        match plan.transaction {
            _ if misread => {
                self.opaque_from_now(Reason::OpaqueStatement);
                return counted;
            }
            Some(TransactionControl::Savepoint) if self.transaction.is_some() => {
                if let Some(writes) = &mut self.transaction {
                    writes.marked_by_text = true;
                }
                return counted;
            }
            Some(_) if plan.commits_first && self.transaction.is_none() => {}
            // Where a transaction begins and ends is no longer known: until it is given back, anything may happen.
            Some(_) => {
                self.opaque_from_now(Reason::OpaqueStatement);
                return counted;
            }
            None => {}
        }
        if plan.kind == Kind::Read && plan.sent() == Sent::Read {
            let reason = if self.transaction.is_some() { Reason::Transaction } else { Reason::Connection };
            self.inner.counters.bypass(reason, "it ran on a connection of its own", &plan.statement);
        }
        let opaque = plan.change.as_ref().is_some_and(|change| change.reason == Reason::OpaqueStatement);
        if let (Some(writes), Some(_), true) = (&mut self.transaction, DB::MARKED_BEGIN, opaque) {
            // The database can tell at the COMMIT what it did.
            writes.opaque.get_or_insert(Reason::OpaqueStatement);
            self.inner.measure_from_now();
            return counted;
        }
        if DB::COMMITS_UNSEEN && self.transaction.is_some() && opaque {
            // Others may see at once what was written here, and not only at the COMMIT.
            self.opaque_from_now(Reason::OpaqueStatement);
            return counted;
        }
        if elsewhere && DB::COMMITS_UNSEEN {
            // Its settings may be such that what it writes is committed later.
            self.opaque_from_now(Reason::OpaqueStatement);
            return counted;
        }
        if elsewhere {
            match &mut self.transaction {
                Some(writes) => {
                    writes.everything.get_or_insert(Reason::OpaqueStatement);
                    self.inner.measure_from_now();
                }
                None => self.unsettled.push(Armed::everything(&self.inner, Reason::OpaqueStatement)),
            }
            return counted;
        }
        let Some(change) = &plan.change else { return counted };
        match &mut self.transaction {
            Some(writes) => {
                if writes.changes.is_empty() {
                    writes.known = plan.known.clone();
                }
                if !writes.changes.iter().any(|known| known.cells.as_ptr() == change.cells.as_ptr()) {
                    writes.changes.push(change.clone());
                }
            }
            None => self.unsettled.push(Armed::changes(
                &self.inner,
                plan.known.as_ref(),
                [change],
                change.reason,
                &plan.statement.text,
            )),
        }
        counted
    }

    /// A transaction is about to be begun, which commits what is open.
    pub async fn begin_transaction(&mut self, connection: &mut DB::Connection) {
        if DB::COMMITS_UNSEEN && self.transaction.is_none() && self.may_mean_other_tables(connection).await {
            self.opaque_from_now(Reason::OpaqueStatement);
        }
    }

    /// Whether the names in a statement may stand for other tables than is known, since settings of the session were
    /// changed.
    async fn may_mean_other_tables(&mut self, connection: &mut DB::Connection) -> bool {
        // Within a transaction, a session reads as one that is in a transaction.
        if !self.verify || self.opaque.is_some() || self.transaction.is_some() {
            return self.verify;
        }
        let changed = !self.inner.is_unchanged(connection).await;
        // What is set for the next transaction alone does not show, and is looked after when the connection is given back.
        self.verify = changed || DB::COMMITS_UNSEEN;
        changed
    }

    /// Asks the database what the open transaction wrote, where that was not seen or is always asked. To be called as the last
    /// thing before its COMMIT; until it is answered, the transaction counts as having written anything.
    pub async fn measure_commit(&mut self, connection: &mut DB::Connection) {
        let all = DB::MARKED_BEGIN.is_some() && self.inner.measures_all();
        let Some(writes) = &mut self.transaction else { return };
        if all {
            writes.opaque.get_or_insert(Reason::OpaqueStatement);
        }
        if !writes.marked || (writes.everything.is_none() && writes.opaque.is_none()) {
            return;
        }
        let (None, Some(known)) = (&self.opaque, self.inner.known()) else { return };
        let Witness::Tables(names) = DB::witness(connection, true).await else { return };
        let Some(tables) = known.gate.witnessed(&names) else { return };
        (writes.everything, writes.opaque) = (None, None);
        if !tables.is_empty() {
            let cells = known.versions.write_cells(tables.iter().map(|table| &*table.0));
            if writes.changes.is_empty() {
                writes.known = Some(known);
            }
            writes.changes.push(Change {
                cells,
                tables: Some(tables.into()),
                reason: Reason::Commit,
                schema: false,
                runs_code: false,
            });
        }
    }

    /// Asks the database whether the open transaction is the one that was begun. To be called as the last thing before its
    /// ROLLBACK.
    pub async fn measure_rollback(&mut self, connection: &mut DB::Connection) {
        let writes = self.transaction.as_mut();
        let Some(writes) = writes.filter(|w| w.depth == 1 && w.marked && w.everything.is_some()) else { return };
        // What was written through other sessions is not rolled back.
        let alone = self.inner.known().is_some_and(|known| known.gate.witnessed(&[]).is_some());
        if alone && self.opaque.is_none() && DB::witness(connection, false).await != Witness::Nothing {
            writes.everything = None;
        }
    }

    /// Anything may happen on this connection from now on, at any time.
    pub fn opaque_from_now(&mut self, reason: Reason) {
        self.verify = true;
        if self.opaque.is_none() {
            self.opaque = Some(Armed::everything(&self.inner, reason));
        }
    }

    /// The connection is handed out raw: what happens there is not seen.
    pub fn hand_out_raw(&mut self) {
        self.verify = true;
        match &mut self.transaction {
            Some(writes) if self.doubt == Doubt::No && !DB::COMMITS_UNSEEN => {
                writes.everything = Some(Reason::OpaqueConnection);
                self.raw = true;
                self.inner.measure_from_now();
            }
            _ => self.opaque_from_now(Reason::OpaqueConnection),
        }
    }

    /// Announces what the open transaction wrote. To be called before its COMMIT is sent.
    ///
    /// # Errors
    /// Those of [`Armed::sent`].
    pub async fn begin_commit(&mut self) -> Result<(), sqlx::Error> {
        self.announce_commit();
        self.sent().await
    }

    fn announce_commit(&mut self) {
        let Some(writes) = self.transaction.take() else { return };
        let armed = match writes.everything.or(writes.opaque) {
            Some(reason) => Armed::everything(&self.inner, reason),
            None if writes.changes.is_empty() => return,
            None => {
                // A change that is more than a write to its tables is worth the name.
                let more = writes.changes.iter().map(|change| change.reason).find(|reason| *reason != Reason::Write);
                let reason = more.unwrap_or(Reason::Commit);
                Armed::changes(&self.inner, writes.known.as_ref(), &writes.changes, reason, "a transaction")
            }
        };
        self.unsettled.push(armed);
    }

    /// Something that was not seen may have ended a transaction that is rolled back now.
    pub fn begin_unseen(&mut self, reason: Reason) {
        self.unsettled.push(Armed::everything(&self.inner, reason));
    }

    /// The statement or commit under way is over, and this is what the server answered.
    pub fn answered(&mut self, failure: Option<&sqlx::Error>) {
        self.heard(failure);
        self.conclude(failure);
    }

    /// The server answered what it was asked last, or failed to. What nobody heard an answer to says nothing of the server.
    pub fn heard(&mut self, failure: Option<&sqlx::Error>) {
        self.inner.witness(failure);
        self.is_over();
    }

    /// The database is not at anything any more, as far as is known.
    pub fn is_over(&mut self) {
        self.under_way = None;
    }

    /// What was announced is settled, whether or not anybody heard how it ended.
    pub fn conclude(&mut self, failure: Option<&sqlx::Error>) {
        if failure.is_none() {
            self.doubt = Doubt::No;
        }
        self.asking = Asking::Nothing;
        self.is_over();
        self.out_of_step |= DB::LOSES_STEP && failure.is_some_and(|error| !DB::is_definite(error));
        for armed in self.unsettled.drain(..) {
            let finished = armed.conclude(&self.inner, failure);
            if !finished.is_over() {
                self.publishing.push(finished);
            }
        }
    }

    /// Nothing that is sent or heard on this connection can be trusted any more: it is closed instead of given back.
    #[cfg(feature = "postgres")]
    pub fn out_of_step(&mut self) {
        self.out_of_step = true;
    }

    /// Whether nobody waits for the answer to the last question, which others must not get.
    fn left_waiting(&self) -> bool {
        DB::LOSES_STEP && self.asking != Asking::Nothing
    }

    /// Whether a statement is under way that may change something.
    pub fn has_announced(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Whether the session may have other settings than it had when it was handed out.
    pub fn may_have_changed_session(&self) -> bool {
        self.verify
    }

    /// Whether anything may happen on the connection without being seen.
    pub fn is_opaque(&self) -> bool {
        self.opaque.is_some()
    }

    /// Whether nothing is left to be done before others may have the connection.
    pub fn is_clean(&self) -> bool {
        self.unsettled.is_empty()
            && self.opaque.is_none()
            && !self.verify
            && !self.half_begun
            && !self.out_of_step
            && !self.left_waiting()
            && self.transaction.is_none()
    }

    /// Something is about to be asked.
    ///
    /// # Errors
    /// [`sqlx::Error::Protocol`] if it can no longer be told what is answered to what.
    pub fn ask(&mut self, what: Asking) -> Result<(), sqlx::Error> {
        self.out_of_step |= DB::LOSES_STEP && matches!(self.asking, Asking::ToPrepare | Asking::Both);
        if self.out_of_step {
            let sentence = "a statement on this connection was dropped in the middle of its answer, so that what it answers \
                next may be meant for that one: take another connection";
            return Err(sqlx::Error::Protocol(sentence.into()));
        }
        self.asking = what;
        self.under_way = Some(self.inner.gatehouse.under_way.begins());
        Ok(())
    }

    /// Ends what is under way on `connection` whose callers went away, before something else is asked.
    ///
    /// # Errors
    /// Those of [`Ledger::ask`].
    pub async fn settle(&mut self, connection: &mut DB::Connection) -> Result<(), sqlx::Error> {
        let left_waiting = self.left_waiting();
        self.ask(Asking::ToRun)?;
        if !self.unsettled.is_empty() || left_waiting {
            let answered = unless_done(&self.inner.pool, drain::<DB>(connection)).await;
            self.conclude(answered.as_ref().err());
            self.ask(Asking::ToRun)?;
        }
        self.roll_back_half_begun(connection).await;
        let raw = std::mem::take(&mut self.raw);
        if (raw || self.doubt != Doubt::No) && self.transaction.is_some() {
            // Asked before, and never heard the answer: the question itself may have left something open.
            let asked = std::mem::replace(&mut self.doubt, Doubt::Asking) == Doubt::Asking;
            if asked || DB::has_lost_transaction(connection).await {
                self.opaque_from_now(Reason::OpaqueConnection);
            }
        }
        self.doubt = Doubt::No;
        Ok(())
    }

    async fn roll_back_half_begun(&mut self, connection: &mut DB::Connection) {
        if self.half_begun {
            let request =
                Request { sql: SqlStr::from_static("ROLLBACK"), arguments: None, statement: None, persistent: false };
            // Fails where there is nothing to roll back.
            DB::fetch_many(connection, request).for_each(async |_| {}).await;
        }
        self.half_begun = false;
    }

    /// Makes the connection fit to be given back.
    pub fn close(mut self, connection: sqlx::pool::PoolConnection<DB>) -> impl Future<Output = ()> + Send + 'static {
        // Nothing came of a statement that was not even prepared.
        if DB::LOSES_STEP && self.asking == Asking::ToPrepare {
            self.conclude(None);
            self.out_of_step = true;
        }
        self.out_of_step |= DB::LOSES_STEP && self.asking == Asking::Both;
        // Not fit before it is known to be as it was: the future may be dropped.
        let (inner, broken) = (self.inner.clone(), self.out_of_step || self.unfinished);
        let returned = Returned { connection, inner, broken, fit: !self.verify && !broken };
        self.settle_at_last(returned)
    }

    async fn settle_at_last(mut self, mut returned: Returned<DB>) {
        self.out_of_step |= DB::LOSES_STEP && self.unfinished;
        let answered = match self.out_of_step {
            true => Err(sqlx::Error::WorkerCrashed),
            false => {
                let inner = self.inner.clone();
                unless_done(&inner.pool, self.make_fit(&mut returned)).await
            }
        };
        if DB::LOSES_STEP && answered.is_err() {
            (returned.broken, returned.fit) = (true, false);
        }
        self.conclude(answered.as_ref().err());
        if let Some(opaque) = self.opaque.take() {
            self.publishing.push(opaque.conclude(&self.inner, answered.as_ref().err()));
        }
        self.published().await;
    }

    /// Hears the server out, and finds out whether others may have the connection.
    async fn make_fit(&mut self, returned: &mut Returned<DB>) -> Result<(), sqlx::Error> {
        let connection = &mut *returned.connection;
        let answered = drain::<DB>(connection).await;
        if answered.is_ok() {
            self.roll_back_half_begun(connection).await;
        }
        // A transaction that nobody can end any more, since its guard was leaked, shows in the session. A connection that is
        // dead does no harm.
        let unproved = (self.verify || self.transaction.is_some()) && !self.inner.sessions_differ();
        returned.fit = !self.unfinished && (answered.is_err() || !unproved || self.inner.may_go_on(connection).await);
        match returned.fit {
            true => answered,
            // What it left open ends with it.
            false => drain::<DB>(connection).await,
        }
    }
}

/// Waits for an answer. Where a connection may be out of step, that is until the server is done with all it was asked: what was
/// not heard by then cannot be told from the answers to something else.
async fn unless_done<DB: Driver, T>(
    pool: &sqlx::Pool<DB>,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    if !DB::LOSES_STEP {
        return answer.await;
    }
    let done = async {
        DB::settled(pool).await;
        tokio::time::sleep(LAST_WORD).await;
    };
    match select(pin!(answer), pin!(done)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(sqlx::Error::Protocol("the server is done, but its answer cannot be read".into())),
    }
}

/// A connection on its way back to the pool. Others get it only if it is as it was.
struct Returned<DB: Driver> {
    connection: sqlx::pool::PoolConnection<DB>,
    inner: Arc<Inner<DB>>,
    /// It has to be closed, whatever its settings are.
    broken: bool,
    fit: bool,
}

impl<DB: Driver> Drop for Returned<DB> {
    fn drop(&mut self) {
        match self.fit {
            true => {}
            false if self.broken => self.connection.close_on_drop(),
            false => self.inner.discard(&mut self.connection),
        }
    }
}
