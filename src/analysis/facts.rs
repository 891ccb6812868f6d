//! What the text of a statement says: the words in which `analysis` answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::name::Name;
use super::verbs::Verbs;
use crate::reason::Refusal;

/// The SQL dialect a statement is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

/// What a statement does, seen from afar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It returns rows and its text names no write.
    Read,
    /// It changes data or schema, or may.
    Write,
    /// It does neither: session settings, transaction control, EXPLAIN, SHOW, LISTEN.
    Other,
}

/// How far the text told which tables are involved. "None" and "could not tell" are never the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The tables read and written are those listed, or fewer.
    Known,
    /// No table is involved.
    None,
    /// The text could not be understood well enough.
    Unknown,
}

/// Which tables a statement may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// None.
    Nothing,
    /// These, or fewer, and to each this, or less.
    Tables(BTreeMap<Name, Verbs>),
    /// Could be any.
    Everything,
}

/// What a statement may do to the settings of the session it runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionEffect {
    /// It leaves them alone.
    Keeps,
    /// It runs code that may change them (CALL, DO, EXECUTE, an unknown function, text that does not parse).
    MayChange,
    /// It changes them (SET, RESET, USE, SET ROLE, DISCARD, ATTACH, temporary tables, `set_config`), or begins or ends
    /// a transaction by text.
    Changes,
}

/// Transaction control written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionControl {
    /// BEGIN, START TRANSACTION, `SET autocommit`.
    Begin,
    /// COMMIT, END, ROLLBACK, ABORT: the transaction is over.
    End,
    /// SAVEPOINT, RELEASE, ROLLBACK TO: the transaction goes on.
    Savepoint,
    /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED, XA.
    TwoPhase,
}

/// What a statement mentions, so that the catalog can refuse what it cannot vouch for. Names are folded as the dialect
/// folds them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Last part of the name of each function called.
    pub functions: BTreeSet<String>,
    /// Functions and operators that are not known to depend on their arguments alone, nor to write nothing.
    pub unknown: BTreeSet<String>,
    /// Each operator, as written (`+`, `@>`), plus those that a keyword stands for (`~~` for LIKE in Postgres).
    pub operators: BTreeSet<String>,
    /// Every identifier that occurs anywhere, each part of a qualified name on its own.
    pub identifiers: BTreeSet<String>,
    /// In MySQL, those in lower case that stand anywhere but as a bare column among the results of the outermost query, or
    /// in what that is sorted or grouped by: they may meet other values. Key words are among them.
    pub met: BTreeSet<String>,
}

/// Everything that the text of a statement tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the statement does, seen from afar.
    pub kind: Kind,
    /// How far the tables are known.
    pub outcome: Outcome,
    /// The tables read: a superset where `outcome` is `Known`.
    pub reads: BTreeSet<Name>,
    /// The tables written.
    pub writes: Writes,
    /// What it may do to the session's settings.
    pub session: SessionEffect,
    /// Transaction control by text, the strongest where there are several statements.
    pub transaction: Option<TransactionControl>,
    /// Whether it changes the schema, so that what is known of the catalog must be read again.
    pub schema_change: bool,
    /// Whether a bound value may become the current time or date: in Postgres and SQLite a text such as `now` (`$1::date`,
    /// `date(?)`), in MySQL a time of day, to which today's date is added wherever a date is wanted.
    pub clock_by_argument: bool,
    /// Whether it may read columns of a table without naming them: `*`, a row as a whole, NATURAL JOIN, and the like. Where
    /// it does not, each column that its answer depends on is among the identifiers that it mentions.
    pub unnamed_columns: bool,
    /// Whether columns that it does not name may meet other values, which makes moments of times of day in MySQL; only told
    /// there.
    pub meets_unnamed: bool,
    /// The functions, operators and identifiers it mentions.
    pub mentions: Mentions,
    /// Why its result may not be cached; empty where the text has no objection.
    pub refusals: Vec<Refusal>,
    /// The text without comments, superfluous white space and trailing semicolons. Part of the key of a result.
    ///
    /// Between SELECT and FROM and after VALUES all of it stays in MySQL and SQLite, which name columns after the text of an expression.
    pub normal_form: String,
    /// Names the statement in statistics: equal for statements that differ in literals only. Never a key.
    pub fingerprint: Fingerprint,
}

impl Facts {
    /// Whether the text has no objection to caching the result. The catalog and the session may still object.
    pub fn cacheable(&self) -> bool {
        self.kind == Kind::Read
            && self.outcome == Outcome::Known
            && self.writes == Writes::Nothing
            && self.session == SessionEffect::Keeps
            && self.refusals.is_empty()
    }
}

/// A 64-bit name for a statement in statistics, shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// As it is shown.
impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is shown.
impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let is_one = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u64::from_str_radix(&digits, 16).ok().filter(|_| is_one);
        number.map(Self).ok_or_else(|| serde::de::Error::custom("a fingerprint is 16 hexadecimal digits"))
    }
}
