//! Asks the database what stands behind the names in a statement. Today a gate: only plain tables pass.
//!
//! In: a connection, once; then the facts of statements. Out: the tables a read rests on, or why it may not be kept; the
//! tables a write changes, or everything.
//! It never lets a name pass that it has not seen.

use crate::analysis::Facts;
use crate::reason::{Reason, Refusal};

/// A table by its full name (`schema.table`), the same for every session of one database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Table(pub std::sync::Arc<str>);

/// What a write changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Widened {
    Tables(Vec<Table>),
    /// Could be anything; the reason says why.
    Everything(Reason),
}

/// What one look at the database and at a session of it told.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Names the database, the same for every pool on it in this process.
    pub database: String,
    /// The settings of the session that change what a query returns. Equal text: equal answers.
    pub session: String,
    /// Set where each connection has a database of its own.
    pub private: bool,
    pub gate: Gate,
}

/// What may pass.
#[derive(Debug)]
pub(crate) struct Gate {}

impl Gate {
    /// The tables behind a read that the text has no objection to, or why it may not be kept.
    pub fn reads(&self, _facts: &Facts) -> Result<Vec<Table>, Refusal> {
        todo!()
    }

    /// What a statement may change. `None`: nothing.
    pub fn writes(&self, _facts: &Facts) -> Option<Widened> {
        todo!()
    }

    /// The table a user means by `name` (quoted as in SQL, or plain), if it is a plain one.
    pub fn table(&self, _name: &str) -> Option<Table> {
        todo!()
    }
}
