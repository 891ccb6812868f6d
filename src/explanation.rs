//! What would become of a statement, told to people.
//!
//! In: a text, and what is known of the database. Out: what its result rests on and what it changes, each with how that came in.
//! It never runs the statement.

use std::collections::BTreeMap;
use std::fmt;

use crate::analysis::Facts;
use crate::backend::Backend;
use crate::catalog::{Limit, Table};
use crate::pool::CachedPool;
use crate::reason::{Reason, Refusal};

/// A table that a statement concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Dependency {
    /// Its full name.
    pub table: String,
    /// What it came in through, such as `view order_totals` or `trigger audit of public.orders`; nothing if the statement names it.
    pub through: Option<String>,
}

/// `orders` or `orders: through view order_totals`.
impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.through {
            None => f.write_str(&self.table),
            Some(through) => write!(f, "{}: through {through}", self.table),
        }
    }
}

/// What a statement changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changes {
    /// Nothing.
    Nothing,
    /// These tables, or fewer.
    Tables(Vec<Dependency>),
    /// Perhaps any table: why.
    Everything(String),
}

/// What would become of a statement: see [`CachedPool::explain`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// What its text says.
    pub facts: Facts,
    /// The tables that its result rests on, or why the result is not kept.
    pub reads: Result<Vec<Dependency>, Refusal>,
    /// Why its result is kept only under a scope, if that is so.
    pub scope: Option<String>,
    /// What it changes, and so drops.
    pub writes: Changes,
}

impl<DB: Backend> CachedPool<DB> {
    /// Tells what would become of a statement: what its result rests on, what it changes, and why, with all that the text does
    /// not say. The statement is not run; the database is looked at if it was not yet.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let pool = larder::SqlitePool::connect("sqlite::memory:").await?;
    /// sqlx::query("CREATE TABLE orders (total INTEGER)").execute(&pool).await?;
    /// sqlx::query("CREATE VIEW totals AS SELECT sum(total) AS total FROM orders").execute(&pool).await?;
    /// let explanation = pool.explain("SELECT total FROM totals").await?;
    /// assert_eq!(explanation.reads.unwrap()[0].to_string(), "main.orders: through view totals");
    /// # Ok::<_, sqlx::Error>(()) }).unwrap(); }
    /// ```
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`], where the database has to be looked at.
    pub async fn explain(&self, sql: &str) -> Result<Explanation, sqlx::Error> {
        let known = self.inner.learn().await?;
        let facts = self.inner.facts(sql, known.as_deref());
        let Some(known) = known else {
            let sentence = "The database could not be looked at, so that nothing is known of what its names stand for.";
            let reads = Err(Refusal::new(Reason::SessionUnseen, sentence));
            return Ok(Explanation { facts, reads, scope: None, writes: Changes::Everything(sentence.into()) });
        };
        let writes = match known.gate.spread(&facts) {
            None => Changes::Nothing,
            Some((_, spread)) => match spread.anything {
                Some(why) => Changes::Everything(why),
                None => Changes::Tables(dependencies(spread.tables)),
            },
        };
        let objection = facts.refusals.iter().find(|refusal| !refusal.reason.is_left_to_the_catalog()).cloned();
        let objection = objection.or_else(|| self.inner.off().cloned()).or_else(|| known.refusal.clone());
        let reading = match objection {
            Some(refusal) => Err(refusal),
            None => known.gate.reads(&facts),
        };
        let rules = &self.inner.settings.rules;
        let reading = reading.and_then(|reading| rules.policy(&facts, &reading, &known.gate).map(|_| reading));
        let (reads, scope) = match reading {
            Ok(reading) => (Ok(dependencies(reading.tables)), reading.scope),
            Err(refusal) => (Err(refusal), None),
        };
        Ok(Explanation { facts, reads, scope, writes })
    }

    /// Lists what limits caching in the database: tables and views that are not kept, writes that drop everything, functions that are
    /// not followed. The database is looked at if it was not yet.
    ///
    /// # Errors
    /// Those of [`sqlx::Pool::acquire`], where the database has to be looked at.
    pub async fn limits(&self) -> Result<Vec<Limit>, sqlx::Error> {
        let known = self.inner.learn().await?;
        let mut limits = known.as_ref().map(|known| known.gate.limits()).unwrap_or_default();
        let refusal = self.inner.off().or_else(|| known.as_ref().and_then(|known| known.refusal.as_ref()));
        if let Some(refusal) = refusal {
            limits.insert(0, Limit::of_the_database(refusal.clone()));
        }
        Ok(limits)
    }
}

fn dependencies(tables: BTreeMap<Table, String>) -> Vec<Dependency> {
    let named = |(table, through): (Table, String)| Dependency {
        table: table.0.to_string(),
        through: Some(through).filter(|through| !through.is_empty()),
    };
    tables.into_iter().map(named).collect()
}
