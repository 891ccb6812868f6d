//! The journey of a write: plan, arm, database, finish.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use sqlx::pool::PoolConnection;
use tokio::sync::mpsc;

use crate::analysis::{Kind, SessionEffect};
use crate::backend::{Driver, Item, Request, drain, release};
use crate::inner::{Asking, Inner, Shape};
use crate::observe::Sent;
use crate::plan::{Change, Known, Plan};
use crate::reason::Reason;
use crate::rejected::{Guard, Rejected};
use crate::versions::{Finished, Mark};

/// A write that was announced and is not over.
#[derive(Debug)]
#[must_use = "what it may change stays in flight until it is concluded"]
pub(crate) struct Armed {
    mark: Mark,
    /// What was known when it was armed; `None` where everything was armed anyway.
    known: Option<Arc<Known>>,
    /// Others have to be told, and nobody is.
    untold: bool,
}

impl Armed {
    /// Announces the changes of a statement or of a transaction.
    pub fn changes<'p, DB: Driver>(
        inner: &Inner<DB>,
        known: Option<&Arc<Known>>,
        changes: impl IntoIterator<Item = &'p Change>,
        reason: Reason,
        what: &str,
    ) -> Self {
        let (mut cells, mut schema) = (Vec::new(), false);
        let mut tables = Some(BTreeSet::new());
        for change in changes {
            schema |= change.schema;
            cells.push(change.cells.clone());
            match (&mut tables, &change.tables) {
                (Some(all), Some(more)) => all.extend(more.iter().map(|table| &*table.0)),
                _ => tables = None,
            }
        }
        let mut mark = Mark::arm_all(cells);
        // Armed before this look: a schema change that begins after it finds the mark and is found by `finish`.
        let known = known.filter(|known| known.holds()).cloned();
        inner.counters.invalidation(reason, what, tables.filter(|_| known.is_some()));
        if known.is_none() {
            // The database may have got its name from another pool since the changes were planned.
            mark.extend(if schema { inner.everything() } else { inner.all_tables() });
        }
        let untold = inner.is_untold();
        Self { mark, known, untold }
    }

    /// Announces that anything may change.
    pub fn everything<DB: Driver>(inner: &Inner<DB>, reason: Reason) -> Self {
        inner.counters.invalidation(reason, "everything", None::<[&str; 0]>);
        let mark = Mark::arm(inner.everything());
        let untold = inner.is_untold();
        Self { mark, known: None, untold }
    }

    /// Returns when other nodes know of it, or cannot be told.
    ///
    /// # Errors
    /// They cannot be told, and what is not told must not be done.
    pub async fn sent(&mut self) -> Result<(), sqlx::Error> {
        match self.mark.sent().await && !self.untold {
            true => Ok(()),
            false => Err(Rejected::new(Guard::Consistency, Some(Duration::from_secs(1))).into()),
        }
    }

    /// The outcome is definite.
    pub fn finish(mut self) -> Finished {
        if let Some(known) = self.known.take_if(|known| !known.holds()) {
            // The schema was changed meanwhile: the write may have fired a trigger that was not there when it was armed.
            self.mark.extend(known.versions.everything());
        }
        self.mark.finish()
    }

    /// Finishes now if the outcome is definite, else once the server is known to be done with it.
    pub fn conclude<DB: Driver>(self, inner: &Arc<Inner<DB>>, failure: Option<&sqlx::Error>) -> Finished {
        match failure {
            Some(error) if !DB::is_definite(error) => {
                tracing::warn!(target: "larder::write", %error, "the outcome of a write is unknown; what it may have changed is not cached until the server is done with it");
                let inner = inner.clone();
                tokio::spawn(async move {
                    DB::settled(&inner.pool).await;
                    self.finish().await;
                });
                Finished::default()
            }
            _ => self.finish(),
        }
    }
}

/// Runs a statement that may change something, in a task that owns its connection: it goes on when its caller is gone,
/// as it does on the server.
pub(crate) async fn write<DB: Driver>(
    inner: &Arc<Inner<DB>>,
    plan: Arc<Plan<Shape<DB>>>,
    request: Request<DB>,
) -> Result<BoxStream<'static, Result<Item<DB>, sqlx::Error>>, sqlx::Error> {
    if plan.session == SessionEffect::Changes {
        inner.turn_off(
            Reason::SessionChanged,
            "a statement through the pool changed the settings of one of its sessions",
        );
    }
    let (connection, asking) = inner.connect().await?;
    let (send, mut receive) = mpsc::channel(64);
    tokio::spawn(run(inner.clone(), plan, request, connection, asking, send));
    Ok(stream::poll_fn(move |context| receive.poll_recv(context)).boxed())
}

async fn run<DB: Driver>(
    inner: Arc<Inner<DB>>,
    plan: Arc<Plan<Shape<DB>>>,
    request: Request<DB>,
    mut connection: PoolConnection<DB>,
    asking: Asking<DB>,
    send: mpsc::Sender<Result<Item<DB>, sqlx::Error>>,
) {
    let change = plan.change.as_ref();
    let mut armed =
        change.map(|change| Armed::changes(&inner, plan.known.as_ref(), [change], change.reason, &plan.statement.text));
    if let Some(armed_now) = &mut armed
        && let Err(error) = armed_now.sent().await
    {
        inner.counters.rejected(Guard::Consistency);
        asking.ends(Some(&error));
        armed.into_iter().for_each(|armed| drop(armed.finish()));
        let _ = send.send(Err(error)).await;
        return release::<DB>(connection).await;
    }
    let mut failure = None;
    let mut gone = false;
    if plan.sent() == Sent::Write {
        inner.counters.write(&plan.statement);
    }
    let mut items = inner.counters.metered(&plan.statement, plan.sent(), DB::fetch_many(&mut connection, request));
    while let Some(item) = items.next().await {
        match item {
            // The caller may be gone. A write is run to its end all the same; what only reads, as far as its text says,
            // ends with the caller, as with sqlx.
            Ok(item) => {
                let ends = item.is_left();
                gone = send.send(Ok(item)).await.is_err() && plan.kind == Kind::Read;
                // Left at the end of a result, sqlx would wait for that end for ever.
                if gone && !ends {
                    break;
                }
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let waited = items.waited();
    drop(items);
    if gone {
        failure = drain::<DB>(&mut connection).await.err();
    }
    asking.ends_after(waited, failure.as_ref());
    // Nobody knows what it would answer next: it is asked nothing more.
    let lost = failure.as_ref().is_some_and(|error| !DB::is_definite(error));
    let may_change = plan.may_change_session(DB::DIALECT) && plan.session != SessionEffect::Changes && !lost;
    let looked_at = may_change && (plan.session == SessionEffect::MayChange || plan.known.is_some());
    let fit = !looked_at || inner.is_fit(&mut connection).await;
    if let Some(armed) = armed {
        // Who hears of the write hears of it after all others can.
        armed.conclude(&inner, failure.as_ref()).await;
    }
    if fit && failure.is_none() && change.is_some_and(|change| change.reason == Reason::SchemaChange) {
        // Whoever changes the schema waits a moment longer, so that what he asks next can be cached. Not on another
        // connection: he may have to wait long for that one.
        let _ = Box::pin(inner.learn_on(&mut connection)).await;
    }
    if let Some(error) = failure {
        let _ = send.send(Err(error)).await;
    }
    drop(send);
    match fit {
        true if lost && DB::outlives_connections(&inner.pool.connect_options()) => connection.close_on_drop(),
        true => release::<DB>(connection).await,
        false => inner.discard(&mut connection),
    }
}
