//! An open transaction.

use std::fmt;
use std::ops::{Deref, DerefMut};

use sqlx::SqlStr;
use sqlx_core::transaction::TransactionManager;

use crate::analysis::{self, SqlMode, TransactionControl, Writes};
use crate::backend::Backend;
use crate::connection::CachedConnection;
use crate::ledger::{Asking, Ledger};
use crate::reason::Reason;

/// An open transaction or savepoint, begun on a [`CachedPool`](crate::CachedPool), a [`CachedConnection`] or another
/// transaction.
///
/// It reads from the database, and nothing it reads is kept. What it writes invalidates when it is committed: until
/// then nobody else can see it. Rolled back or dropped, it invalidates nothing.
///
/// `&mut *tx` is an [`sqlx::Executor`]; `&mut tx` also coerces to the [`CachedConnection`], and, for helpers that want
/// one, to a `&mut sqlx::PgConnection`, at the price described there: the database is then asked at the commit what was
/// written, and where it cannot tell, everything is invalidated.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<'c, DB: Backend> {
    /// `None` once it was committed or rolled back.
    held: Option<Held<'c, DB>>,
    /// Changes that were there before a savepoint.
    before: usize,
}

#[expect(clippy::large_enum_variant, reason = "there are few, and each transaction would take memory for it")]
enum Held<'c, DB: Backend> {
    Owned(CachedConnection<DB>),
    Borrowed(&'c mut CachedConnection<DB>),
}

impl<DB: Backend> Deref for Held<'_, DB> {
    type Target = CachedConnection<DB>;

    fn deref(&self) -> &Self::Target {
        match self {
            Held::Owned(connection) => connection,
            Held::Borrowed(connection) => connection,
        }
    }
}

impl<DB: Backend> DerefMut for Held<'_, DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Held::Owned(connection) => connection,
            Held::Borrowed(connection) => connection,
        }
    }
}

impl<'c, DB: Backend> Transaction<'c, DB> {
    pub(crate) async fn begin_owned(
        connection: CachedConnection<DB>,
        statement: Option<SqlStr>,
    ) -> Result<Transaction<'static, DB>, sqlx::Error> {
        Transaction::begin_held(Held::Owned(connection), statement).await
    }

    pub(crate) async fn begin_on(
        connection: &'c mut CachedConnection<DB>,
        statement: Option<SqlStr>,
    ) -> Result<Transaction<'c, DB>, sqlx::Error> {
        Transaction::begin_held(Held::Borrowed(connection), statement).await
    }

    async fn begin_held(mut held: Held<'c, DB>, statement: Option<SqlStr>) -> Result<Self, sqlx::Error> {
        let (connection, ledger) = held.parts();
        ledger.settle(connection).await?;
        ledger.begin_transaction(connection).await;
        let by_text = ledger.is_opaque();
        if let Some(statement) = &statement {
            let facts = analysis::analyze_in(statement.as_str(), DB::DIALECT, SqlMode::unseen(DB::DIALECT));
            let several = facts.refusals.iter().any(|refusal| refusal.reason == Reason::SeveralStatements);
            let only_begins = facts.transaction == Some(TransactionControl::Begin) && facts.writes == Writes::Nothing;
            if !only_begins || several {
                // It does more than to begin, whether or not sqlx then finds a transaction open.
                ledger.opaque_from_now(Reason::OpaqueStatement);
            }
        }
        let outermost = ledger.transaction.is_none() && DB::TransactionManager::get_transaction_depth(connection) == 0;
        let mark = DB::MARKED_BEGIN.filter(|_| statement.is_none() && outermost && ledger.inner.measures());
        let begun = Begins { ledger, by_text, begun: false };
        let answer = DB::TransactionManager::begin(connection, statement.or(mark.map(SqlStr::from_static))).await;
        begun.ledger.heard(answer.as_ref().err());
        answer?;
        begun.begun();
        ledger.asking = Asking::Nothing;
        let writes = ledger.transaction.get_or_insert_default();
        writes.marked |= mark.is_some();
        writes.depth += 1;
        let before = writes.changes.len();
        Ok(Self { held: Some(held), before })
    }

    /// Begins a transaction within this one: a savepoint.
    ///
    /// # Errors
    /// Those of [`sqlx::Connection::begin`].
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, sqlx::Error> {
        Transaction::begin_on(self, None).await
    }

    /// Commits. It is seen through to its end even if this future is dropped.
    ///
    /// # Errors
    /// Those of [`sqlx::Transaction::commit`]; the transaction is then rolled back.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        match self.held.take().expect(OPEN) {
            Held::Owned(mut connection) if connection.wrote() => {
                let (inner, schema) = (connection.ledger.inner.clone(), connection.changes_schema());
                let committing = tokio::spawn(async move {
                    RollbackOnDrop(Some(&mut connection)).commit().await?;
                    if schema && connection.ledger.may_have_changed_session() {
                        // What this session sees is perhaps for itself alone: a temporary table, another current database.
                        inner.learn_soon();
                    } else if schema {
                        // Whoever changes the schema waits a moment longer, so that what he asks next can be cached.
                        let _ = Box::pin(inner.learn_on(connection.parts().0)).await;
                    }
                    Ok(())
                });
                committing.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
            }
            mut held => {
                // Should this future be dropped, the ledger keeps what was announced until the outcome is known.
                RollbackOnDrop(Some(&mut *held)).commit().await
            }
        }
    }

    /// Rolls back.
    ///
    /// # Errors
    /// Those of [`sqlx::Transaction::rollback`].
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        let before = self.before;
        let connection = self.held.as_mut().expect(OPEN);
        let (raw, ledger) = connection.parts();
        ledger.settle(raw).await?;
        ledger.measure_rollback(raw).await;
        let answer = DB::TransactionManager::rollback(raw).await;
        ledger.heard(answer.as_ref().err());
        answer?;
        connection.forget(before);
        let ledger = connection.parts().1;
        ledger.conclude(None);
        ledger.published().await;
        self.held = None;
        Ok(())
    }
}

const OPEN: &str = "the transaction is open until it is committed or rolled back";

/// A BEGIN or SAVEPOINT under way. sqlx tells the server nothing if its future is dropped or fails, or ends the transaction
/// around it.
struct Begins<'l, DB: Backend> {
    ledger: &'l mut Ledger<DB>,
    /// A transaction may be open that was begun by text and is not ours to end.
    by_text: bool,
    begun: bool,
}

impl<DB: Backend> Begins<'_, DB> {
    fn begun(mut self) {
        self.begun = true;
    }
}

impl<DB: Backend> Drop for Begins<'_, DB> {
    fn drop(&mut self) {
        match (self.begun, &self.ledger.transaction) {
            (true, _) => {}
            (false, None) => self.ledger.half_begun = !self.by_text,
            (false, Some(_)) => self.ledger.opaque_from_now(Reason::OpaqueConnection),
        }
    }
}

/// A commit under way. Rolls back if it fails or is dropped, as sqlx does.
struct RollbackOnDrop<'h, DB: Backend>(Option<&'h mut CachedConnection<DB>>);

impl<DB: Backend> RollbackOnDrop<'_, DB> {
    async fn commit(mut self) -> Result<(), sqlx::Error> {
        if let Some(connection) = &mut self.0 {
            connection.try_commit().await?;
        }
        self.0 = None;
        Ok(())
    }
}

impl<DB: Backend> Drop for RollbackOnDrop<'_, DB> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            // What was sent may have been done, and SQLite then takes no rollback: nothing that was written is forgotten.
            connection.start_rollback(usize::MAX);
        }
    }
}

impl<DB: Backend> CachedConnection<DB> {
    /// Whether the open transaction has anything to announce.
    fn wrote(&self) -> bool {
        let writes = self.ledger.transaction.as_ref();
        writes.is_some_and(|writes| !writes.changes.is_empty() || writes.everything.or(writes.opaque).is_some())
    }

    fn changes_schema(&self) -> bool {
        let writes = self.ledger.transaction.as_ref();
        writes.is_some_and(|writes| writes.changes.iter().any(|change| change.reason == Reason::SchemaChange))
    }

    async fn try_commit(&mut self) -> Result<(), sqlx::Error> {
        let (raw, ledger) = self.parts();
        ledger.settle(raw).await?;
        let savepoint = ledger.transaction.as_ref().is_some_and(|writes| writes.depth > 1);
        if !savepoint {
            ledger.measure_commit(raw).await;
            ledger.begin_commit().await?;
        }
        let committed = DB::TransactionManager::commit(raw).await;
        ledger.answered(committed.as_ref().err());
        ledger.published().await;
        if let (Ok(()), Some(writes)) = (&committed, &mut ledger.transaction) {
            writes.depth -= 1;
        }
        committed
    }

    /// Forgets what was written since there were `before` changes.
    fn forget(&mut self, before: usize) {
        let (_, ledger) = self.parts();
        match &mut ledger.transaction {
            Some(writes) if writes.depth > 1 => {
                if !writes.marked_by_text {
                    writes.changes.truncate(before);
                }
                writes.depth -= 1;
            }
            transaction => {
                if let Some(reason) = transaction.take().and_then(|writes| writes.everything) {
                    ledger.begin_unseen(reason);
                }
            }
        }
    }

    fn start_rollback(&mut self, before: usize) {
        DB::TransactionManager::start_rollback(self.parts().0);
        self.forget(before);
    }
}

impl<DB: Backend> Drop for Transaction<'_, DB> {
    fn drop(&mut self) {
        if let Some(held) = &mut self.held {
            held.start_rollback(self.before);
        }
    }
}

impl<DB: Backend> Deref for Transaction<'_, DB> {
    type Target = CachedConnection<DB>;

    fn deref(&self) -> &Self::Target {
        self.held.as_ref().expect(OPEN)
    }
}

impl<DB: Backend> DerefMut for Transaction<'_, DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.held.as_mut().expect(OPEN)
    }
}

impl<DB: Backend> fmt::Debug for Transaction<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}
