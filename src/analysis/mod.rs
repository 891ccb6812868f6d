//! Reads the text of a statement: which tables it reads and writes, and whether its result may be kept.
//!
//! In: SQL text and a dialect. Out: [`Facts`].
//! It never connects to a database, never fails, and never guesses: what it cannot understand it calls unknown.

mod facts;
mod name;

pub use facts::{Dialect, Facts, Fingerprint, Kind, Mentions, Outcome, SessionEffect, TransactionControl, Writes};
pub use name::Name;

/// Analyses one statement text.
pub fn analyze(_sql: &str, _dialect: Dialect) -> Facts {
    todo!()
}
