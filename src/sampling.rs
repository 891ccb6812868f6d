//! Tells once a second how many connections a pool has, and how far it has heard of what others write.
//!
//! In: the pool and its feeds. Out: metrics.
//! It never asks anybody anything: it tells what is known.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Driver;
use crate::inner::Inner;
use crate::observe::Feed;

const EVERY: Duration = Duration::from_secs(1);

/// Does so from now on, while the pool lives.
pub(crate) fn start<DB: Driver>(inner: &Arc<Inner<DB>>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let sampled = Arc::downgrade(inner);
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(inner) = sampled.upgrade().filter(|inner| !inner.pool.is_closed()) else { return };
            sample(&inner);
        }
    });
}

fn sample<DB: Driver>(inner: &Inner<DB>) {
    inner.counters.pool(inner.pool.size(), inner.pool.num_idle(), inner.pool.options().get_max_connections());
    let is_watched = inner.known().is_some_and(|known| known.gate.is_watched());
    let watch = is_watched.then(|| (inner.watch.age(), inner.watch.is_current()));
    inner.counters.heard(Feed::Triggers, watch);
    #[cfg(feature = "redis")]
    if let Some(node) = inner.node() {
        inner.counters.heard(Feed::Redis, Some((node.age(), node.is_current())));
        inner.counters.redis(node.connections(), node.replicas(), node.unpublished());
    }
}
