//! Looks once a second how a pool is: how many connections it has, how far it has heard of what others write, and whether there is an
//! emergency.
//!
//! In: the pool, its feeds, and the machine. Out: metrics, and what is to be shed.
//! It never asks a server anything: it tells what is known.

use std::sync::Arc;
use std::time::Duration;

use sysinfo::{MemoryRefreshKind, System};

use crate::backend::Driver;
use crate::inner::Inner;
use crate::observe::Feed;

const EVERY: Duration = Duration::from_secs(1);

/// Does so from now on, while the pool lives.
pub(crate) fn start<DB: Driver>(inner: &Arc<Inner<DB>>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let sampled = Arc::downgrade(inner);
    let mut machine = System::new();
    let wants_memory = inner.settings.emergency.needs_memory();
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(inner) = sampled.upgrade().filter(|inner| !inner.pool.is_closed()) else { return };
            sample(&inner);
            inner.counters.tick(inner.memory.size());
            inner.look_for_emergency(if wants_memory { memory_in_use(&mut machine) } else { None });
        }
    });
}

/// The share of the memory of the machine, or of the container where that has less, that is in use.
fn memory_in_use(machine: &mut System) -> Option<f64> {
    machine.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let of_machine = share(machine.used_memory(), machine.total_memory());
    let of_container = machine.cgroup_limits().map(|limits| (limits.rss, limits.total_memory));
    let of_container = of_container.filter(|(_, most)| *most < machine.total_memory());
    of_container.and_then(|(used, most)| share(used, most)).or(of_machine)
}

fn share(used: u64, most: u64) -> Option<f64> {
    (most > 0).then(|| used as f64 / most as f64)
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
