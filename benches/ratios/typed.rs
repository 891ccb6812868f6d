//! A hit on a decoded value against the least that a cache of values can do.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use crate::{NUMBERED, Row};

type Key = (Arc<str>, [i64; 2]);

/// Hashes the statement and the arguments, and looks into moka.
pub struct Bare {
    statement: Arc<str>,
    entries: moka::sync::Cache<Key, Arc<Vec<Row>>, foldhash::fast::RandomState>,
}

impl Bare {
    pub fn with(value: Arc<Vec<Row>>) -> Self {
        let entries = moka::sync::Cache::builder().max_capacity(1 << 20).build_with_hasher(Default::default());
        let statement: Arc<str> = NUMBERED.rows.into();
        for (a, b) in [(1, 1), (1, 10), (1, 100)].into_iter().chain((1..=16).map(|n| (n, n))) {
            entries.insert((statement.clone(), [a, b]), value.clone());
        }
        Self { statement, entries }
    }

    pub fn get(&self, a: i64, b: i64) {
        drop(black_box(self.entries.get(&(black_box(self.statement.clone()), black_box([a, b]))).unwrap()));
    }
}

/// Runs all three in turn, in blocks of which each is timed as a whole.
pub async fn against_bare<B, F>(what: &str, bare: impl Fn(), typed: B, query: impl Fn())
where
    B: Fn() -> F,
    F: Future<Output = ()>,
{
    const BLOCK: u32 = 200;
    let mut samples = [const { Vec::new() }; 3];
    let mut take = |n: usize, start: Instant| samples[n].push(start.elapsed().as_nanos() as f64 / f64::from(BLOCK));
    for _ in 0..500 {
        let start = Instant::now();
        (0..BLOCK).for_each(|_| bare());
        take(0, start);
        let start = Instant::now();
        for _ in 0..BLOCK {
            typed().await;
        }
        take(1, start);
        let start = Instant::now();
        (0..BLOCK).for_each(|_| query());
        take(2, start);
    }
    let [bare, typed, query] = samples.map(|mut sample| {
        sample.sort_by(f64::total_cmp);
        sample[sample.len() / 2]
    });
    println!(
        "{what:<44} moka {bare:>6.0} ns   larder {typed:>6.0} ns, {query:.0} ns of which to make the query   ratio {:>6.2}, {:.2} without",
        typed / bare,
        (typed - query) / bare
    );
}
