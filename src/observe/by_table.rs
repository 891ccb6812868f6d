//! Counts by table. Names of tables are few, but nothing keeps an application from making one for each customer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use metrics::Counter;

use super::catalogue::{ALL_TABLES, Metric, OTHER_TABLES};
use super::counters::Count;

/// Most tables with a series of their own; those written first.
const MAX_TABLES: usize = 200;

/// A count for each table.
pub(super) struct ByTable {
    named: RwLock<HashMap<String, Count>>,
    all: Count,
    other: Count,
    metric: Option<&'static Metric>,
    labels: &'static [&'static str],
}

impl ByTable {
    /// Of a metric whose last label is the table, after these.
    pub fn new(metric: &'static Metric, labels: &'static [&'static str]) -> Self {
        let count = |table| Count::new(metric.counter(&[labels, &[table]].concat()));
        Self {
            named: RwLock::default(),
            all: count(ALL_TABLES),
            other: count(OTHER_TABLES),
            metric: Some(metric),
            labels,
        }
    }

    /// Of no metric.
    pub fn untold() -> Self {
        let count = || Count::new(Counter::noop());
        Self { named: RwLock::default(), all: count(), other: count(), metric: None, labels: &[] }
    }

    /// All tables at once.
    pub fn all(&self) {
        self.all.one();
    }

    pub fn one(&self, table: &str) {
        if let Some(count) = self.named.read().unwrap_or_else(PoisonError::into_inner).get(table) {
            count.one();
            return;
        }
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= MAX_TABLES && !named.contains_key(table) {
            self.other.one();
            return;
        }
        let grown = |metric: &Metric| metric.grown(self.labels, table.to_owned());
        let count = || Count::new(self.metric.map_or_else(Counter::noop, grown));
        named.entry(table.to_owned()).or_insert_with(count).one();
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let named = named.iter().map(|(table, count)| (table.clone(), count.get()));
        let rest = [(ALL_TABLES, &self.all), (OTHER_TABLES, &self.other)];
        let rest = rest.into_iter().map(|(table, count)| (table.to_owned(), count.get()));
        named.chain(rest).filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_beyond_the_limit_count_together() {
        let tables = ByTable::new(&super::super::catalogue::TABLE_INVALIDATIONS, &["local"]);
        for round in 0..3 {
            for n in 0..MAX_TABLES + 50 {
                tables.one(&format!("shop.t{n}"));
            }
            tables.all();
            assert_eq!(tables.named.read().unwrap().len(), MAX_TABLES, "{round}");
        }
        let counted = tables.snapshot();
        assert_eq!(counted.len(), MAX_TABLES + 2);
        assert_eq!((counted["shop.t0"], counted[OTHER_TABLES], counted[ALL_TABLES]), (3, 150, 3));
    }
}
