//! Asks the database what stands behind the names in a statement.
//!
//! In: a connection, once; then the facts of statements. Out: the tables a read rests on, or why it may not be kept; the
//! tables a write changes, or everything.
//! It never lets a name pass that it has not seen, and never changes the session it looks at.
//!
//! One survey reads the whole catalog, so that a decision afterwards is a few hash lookups and no query. What the survey
//! cannot vouch for is refused for reads and widened to everything for writes: both cost speed, neither costs truth.
//!
//! - `gate` holds what was seen, by name;
//! - `reading` follows a read to the tables behind it, `widening` a write to all that it sets off;
//! - `digest` tells whether anything has changed;
//! - `limits` lists what cannot be kept, for people;
//! - `relation` and `code` are plain data: what was seen of a table, a view, a trigger, a function;
//! - `spelling` understands a table's name as a user writes it;
//! - `postgres`, `mysql` and `sqlite` ask the database.

#![cfg_attr(
    not(all(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(dead_code, reason = "each database has a part of the kinds and traits")
)]

mod code;
mod digest;
mod gate;
mod limits;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "mysql")]
mod mysql_grants;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod reading;
mod relation;
mod spelling;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(test)]
mod tests;
mod widening;

pub use digest::Digest;
pub use gate::Gate;
pub use limits::{Limit, LimitKind};
pub use reading::Reading;

use crate::analysis::{Dialect, Name, SqlMode};
use crate::reason::{Reason, Refusal};

/// A table by its full name (`schema.table`), the same for every session of one database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table(pub std::sync::Arc<str>);

impl Table {
    /// The schema and the name.
    pub fn parts(&self) -> Name {
        Name::displayed(&self.0)
    }
}

/// The parts of a name as a user writes it, whatever the database; none if it cannot be read.
pub fn name_parts(text: &str) -> Option<Name> {
    // SQLite knows all the quotes that the others have.
    Some(spelling::read(Dialect::Sqlite, text)?.literal)
}

/// What a write changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Widened {
    Tables {
        tables: Vec<Table>,
        /// Whether code runs that a user wrote, which may change the settings of the session.
        runs_code: bool,
    },
    /// Could be anything; the reason says why.
    Everything(Reason),
}

/// What a database says at the end of a transaction that did what was not seen.
#[derive(Debug, PartialEq, Eq)]
pub enum Witness {
    /// Nothing: it cannot tell, or the transaction that was begun is not the one that is open.
    Nothing,
    /// The transaction is the one that was begun, and may have written anything.
    Anything,
    /// It is the one that was begun, and wrote at most these, by schema and name.
    Tables(Vec<(String, String)>),
}

/// What one look at the database and at a session of it told.
#[derive(Debug)]
pub struct Survey {
    /// Names the database, the same for every pool on it in this process, whatever host name, role or path it uses.
    ///
    /// It may name two databases alike that cannot be told apart. Versions shared on its strength then invalidate too
    /// much, which is safe; results must never be shared on its strength.
    pub database: String,
    /// Tells when the server was started, or which of several servers it is: what was shared under another is void.
    pub incarnation: String,
    /// The settings of the session that change what a query returns. Equal text: equal answers.
    pub session: String,
    /// How the session reads the texts that it is sent.
    pub mode: SqlMode,
    /// Set where no result may be kept at all, whatever the statement.
    pub refusal: Option<Refusal>,
    /// Whether the session was in a transaction: then nothing but the session was looked at.
    pub within_transaction: bool,
    /// Whether what a statement of such a session wrote may be committed by a later one, or by none.
    pub commits_late: bool,
    pub gate: Gate,
    /// Of all that was seen of the schema, and of the rights that decide what is seen of it.
    pub digest: Digest,
}
