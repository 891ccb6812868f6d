//! Follows what other programs write while a pool lives, and drops what rests on the tables that were written.
//!
//! In: looks at the table of versions. Out: marks on the cells of what changed.
//! It never ends before its pool does.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::backend::Driver;
use crate::feed::{Feed, Look, News};
use crate::inner::Inner;
use crate::plan::Known;
use crate::reason::Reason;
use crate::versions::Mark;

/// Between attempts to reach the database.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// While there is nothing to watch.
const IDLE: Duration = Duration::from_secs(1);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows them from now on, for as long as the pool lives and whenever its database is watched. Without a runtime, nothing of a
/// database that is watched is given out.
pub(crate) fn start<DB: Driver>(inner: &Arc<Inner<DB>>) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(follow(Arc::downgrade(inner)));
    }
}

async fn follow<DB: Driver>(watched: Weak<Inner<DB>>) {
    let mut feed: Option<Box<dyn Feed>> = None;
    let (mut heard, mut retry) = (Look::default(), FIRST_RETRY);
    loop {
        let Some(inner) = watched.upgrade().filter(|inner| !inner.pool.is_closed()) else { return };
        let Some(known) = inner.known().filter(|known| known.gate.is_watched()) else {
            if inner.known().is_some() {
                (feed, heard) = (None, Look::default());
            }
            // Not to keep the pool alive meanwhile.
            let watch = inner.watch.clone();
            drop(inner);
            let _ = tokio::time::timeout(IDLE, watch.changed()).await;
            continue;
        };
        let begun = Instant::now();
        let looked = tokio::time::timeout(PATIENCE, async {
            let feed = match &mut feed {
                Some(feed) => feed,
                None => feed.insert(DB::feed(&inner.pool.connect_options()).await?),
            };
            feed.look(&heard.sum).await
        });
        match looked.await {
            Ok(Ok(now)) => {
                let news = heard.follow(now);
                drop_what_changed(&inner, &known, news).await;
                inner.watch.looked(begun);
                retry = FIRST_RETRY;
            }
            failed => {
                let why = failed.map_or_else(
                    |_| "no answer".into(),
                    |looked| looked.map_or_else(|e| e.to_string(), |_| String::new()),
                );
                match retry {
                    FIRST_RETRY => {
                        tracing::warn!(target: "larder::watch", why, "what other programs write cannot be followed; nothing is given out from memory until it can")
                    }
                    _ => tracing::debug!(target: "larder::watch", why, "what other programs write cannot be followed"),
                }
                feed = None;
                // It may have been removed.
                let _ = tokio::time::timeout(PATIENCE, inner.look_again()).await;
                drop((inner, known));
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(LAST_RETRY);
                continue;
            }
        }
        let pause = inner.watch.pause();
        drop((inner, known));
        match &mut feed {
            Some(feed) => feed.pause(pause).await,
            None => tokio::time::sleep(pause).await,
        }
    }
}

async fn drop_what_changed<DB: Driver>(inner: &Inner<DB>, known: &Known, news: News) {
    let tables = match news {
        News::Nothing => return,
        News::Tables(names) => {
            let written = names.iter().map(|(schema, name)| known.gate.written_by_others(schema, name));
            written.collect::<Option<Vec<_>>>().map(|tables| tables.concat())
        }
        News::Everything => None,
    };
    let cells = match &tables {
        Some(tables) => known.versions.write_cells(tables.iter().map(|table| &*table.0)),
        None => known.versions.all_tables(),
    };
    let names = tables.as_ref().map(|tables| tables.iter().map(|table| &*table.0));
    inner.counters.invalidation(Reason::ExternalWrite, "another program wrote", names);
    let mut mark = Mark::arm(cells);
    if !known.holds() {
        // The schema was changed meanwhile: the write may have reached further than was known.
        mark.extend(known.versions.all_tables());
    }
    mark.finish().await;
}
