//! What in a database limits caching: tables and views that are not kept, writes that drop everything, code that is not read.
//!
//! In: what a survey saw. Out: a list for people.
//! It never says anything of the database system's own relations.

use std::fmt;

use super::gate::Gate;
use crate::analysis::Verbs;
use crate::reason::{Reason, Refusal};

/// Something in a database that limits caching.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Limit {
    /// What is limited.
    pub kind: LimitKind,
    /// The table, view or function it is about, by its full name; empty where it is about the whole database.
    pub name: String,
    /// Why, as a label for counting.
    pub reason: Reason,
    /// Why, in words.
    pub sentence: String,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LimitKind {
    /// Nothing is kept, whatever is read.
    Database,
    /// Reads of it are not kept.
    Reads,
    /// Reads of it are kept only under a scope: [`CachedPool::scoped`](crate::CachedPool::scoped).
    Scope,
    /// Writes to it drop everything that is kept.
    Writes,
    /// Reads that call it are not kept.
    Function,
}

impl LimitKind {
    /// The label used in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Reads => "reads",
            Self::Scope => "scope",
            Self::Writes => "writes",
            Self::Function => "function",
        }
    }
}

impl Limit {
    /// Nothing is kept for this reason.
    pub(crate) fn of_the_database(refusal: Refusal) -> Self {
        let Refusal { reason, sentence } = refusal;
        Self { kind: LimitKind::Database, name: String::new(), reason, sentence }
    }
}

/// As a sentence.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            LimitKind::Database => write!(f, "{}", self.sentence),
            LimitKind::Reads | LimitKind::Function => write!(f, "{}: not kept. {}", self.name, self.sentence),
            LimitKind::Scope => write!(f, "{}: kept only under a scope. {}.", self.name, self.sentence),
            LimitKind::Writes => write!(f, "{}: a write drops everything, since {}.", self.name, self.sentence),
        }
    }
}

impl Gate {
    /// All limits, sorted by kind and name.
    pub fn limits(&self) -> Vec<Limit> {
        let limit =
            |kind, name: &str, reason, sentence: String| Limit { kind, name: name.to_owned(), reason, sentence };
        let mut limits = Vec::new();
        if let Some(refusal) = &self.reads_refused {
            limits.push(limit(LimitKind::Database, "", refusal.reason, refusal.sentence.clone()));
        }
        if let Some(why) = &self.writes_widened {
            let sentence = format!("Every write drops everything: {why}.");
            limits.push(limit(LimitKind::Database, "", Reason::WidensUnknown, sentence));
        }
        for (id, relation) in (0..).zip(self.relations()).filter(|(_, relation)| !relation.system) {
            let name = &*relation.table.0;
            match self.reads_of(id) {
                Err(refusal) => limits.push(limit(LimitKind::Reads, name, refusal.reason, refusal.sentence)),
                Ok(reading) => {
                    let scope = reading.scope.map(|why| limit(LimitKind::Scope, name, Reason::RowSecurity, why));
                    limits.extend(scope);
                }
            }
            if let Some(why) = self.anything_by(id, Verbs::ALL) {
                limits.push(limit(LimitKind::Writes, name, Reason::WidensUnknown, why));
            }
        }
        for name in self.functions_of_users() {
            if let Err(refusal) = self.reads_by(name) {
                limits.push(limit(LimitKind::Function, name, refusal.reason, refusal.sentence));
            }
        }
        limits.sort();
        limits
    }
}
