//! Counts hits by class of question. The pool counts them too, but for all questions together.
//!
//! In: a future that asks a question, and its class. Out: hits per class.
//! It never guesses from how long an answer took: it listens to the pool's own metrics. The pool counts a hit while it is
//! polled by the task that asked, so that what is counted during a poll belongs to the question of that task.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::mix::Class;

thread_local! {
    /// Hits counted on this thread while the innermost [`count_hits`] was polled.
    static HITS: Cell<u64> = const { Cell::new(0) };
}

/// Hits by class, in the order of [`Class::ALL`].
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Class::ALL.len()]);

impl Tally {
    pub fn add(&self, class: Class, hits: u64) {
        self.0[class as usize].fetch_add(hits, Ordering::Relaxed);
    }

    pub fn hits(&self, class: Class) -> u64 {
        self.0[class as usize].load(Ordering::Relaxed)
    }
}

/// Runs a future in which a pool is built, and listens to what the pool will count.
pub async fn listen<F: Future>(build: F) -> F::Output {
    let mut build = pin!(build);
    std::future::poll_fn(|context| metrics::with_local_recorder(&Listener, || build.as_mut().poll(context))).await
}

/// Runs a future and tells how many hits it had.
pub async fn count_hits<F: Future>(future: F) -> (F::Output, u64) {
    let mut future = pin!(future);
    let mut hits = 0;
    let output = std::future::poll_fn(|context| {
        HITS.set(0);
        let poll = future.as_mut().poll(context);
        hits += HITS.get();
        poll
    })
    .await;
    (output, hits)
}

/// Hands out counters that do nothing, but for hits.
struct Listener;

struct Hits;

impl CounterFn for Hits {
    fn increment(&self, value: u64) {
        HITS.set(HITS.get() + value);
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        // A question that waited for the same one of another reader was answered without a query, too.
        let is_saved = |outcome: &str| outcome == "hit" || outcome == "coalesced";
        let saved = key.name() == "larder_requests_total"
            && key.labels().any(|label| label.key() == "outcome" && is_saved(label.value()));
        if saved { Counter::from_arc(Arc::new(Hits)) } else { Counter::noop() }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
