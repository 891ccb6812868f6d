//! Why something was not cached, not served or dropped. Each reason is a metric label, a counter in the statistics and
//! a sentence that a person can read.

use std::fmt;

/// Where a reason is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Why a statement bypassed the cache.
    Bypass,
    /// Why a lookup found nothing.
    Miss,
    /// Why a loaded result was not stored.
    NotStored,
    /// Why entries were dropped.
    Invalidation,
}

macro_rules! reasons {
    ($($place:ident: $($(#[doc = $doc:literal])+ $name:ident = $label:literal,)+)+) => {
        /// Why a statement bypassed the cache, a lookup missed, a result was not stored, or entries were dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason { $($($(#[doc = $doc])+ $name,)+)+ }

        impl Reason {
            /// Every reason, in the order of declaration.
            pub const ALL: &'static [Reason] = &[$($(Reason::$name),+),+];

            /// The label used in metrics and JSON: lower case, words joined by underscores.
            pub const fn label(self) -> &'static str {
                match self { $($(Reason::$name => $label,)+)+ }
            }

            /// The reason with this label.
            pub fn of_label(label: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.label() == label)
            }

            /// The heading that it is declared under.
            const fn place(self) -> Place {
                match self { $($(Reason::$name)|+ => Place::$place,)+ }
            }
        }
    };
}

reasons! {
    Bypass:
    // What the text of a statement says (analysis).
    /// It is not a read: it writes, or sets something, or controls a transaction.
    NotARead = "not_a_read",
    /// It reads no table, so that nothing could invalidate it; a `SELECT 1` is a health check and must reach the server.
    NoTables = "no_tables",
    /// The text could not be parsed, or not understood well enough.
    NotUnderstood = "not_understood",
    /// The text is longer, or more deeply nested, than is analysed.
    TooComplex = "too_complex",
    /// Several statements in one text.
    SeveralStatements = "several_statements",
    /// It locks rows (FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE).
    Locks = "locks",
    /// It calls a function whose result may change while no table does (`now()`, `random()`).
    VolatileFunction = "volatile_function",
    /// It calls a function that is not known to depend on its arguments alone.
    UnknownFunction = "unknown_function",
    /// It uses an operator that is not known to be built in.
    UnknownOperator = "unknown_operator",
    /// It casts to a type that is not known to be built in.
    UnknownType = "unknown_type",
    /// A text such as `today` may become a date, or a value cast to a date may hold such a text.
    SpecialDate = "special_date",
    /// It reads a session or user variable (`@x`, `@@x`).
    Variable = "variable",
    /// It reads a random sample (TABLESAMPLE).
    Sample = "sample",
    /// It reads a system catalog, or a system column such as `ctid`.
    System = "system",
    /// It reads a temporary schema.
    Temporary = "temporary",

    // What the database says (catalog).
    /// A name does not stand for a plain table (a view, foreign table, partition, unknown name, ...).
    NotAPlainTable = "not_a_plain_table",
    /// A row-level security policy decides who sees what.
    RowSecurity = "row_security",
    /// A function of the same name was defined by a user.
    UserFunction = "user_function",
    /// An operator of the same name was defined by a user.
    UserOperator = "user_operator",
    /// A user-defined cast could run code anywhere.
    UserCast = "user_cast",

    // What pool, connection and arguments say.
    /// It ran inside a transaction.
    Transaction = "transaction",
    /// It ran on a connection taken from the pool.
    Connection = "connection",
    /// It was sent without bound arguments as plain text, whose result has another format.
    Unprepared = "unprepared",
    /// The query asked not to be kept (`persistent(false)`), or the pool keeps no prepared statements.
    NotPersistent = "not_persistent",
    /// The database was not looked at yet: no session of a lazily connected pool was seen, the schema was just changed, or
    /// looking at it failed.
    SessionUnseen = "session_unseen",
    /// The session was changed through the pool (SET, temporary table, BEGIN as text): connections may now differ.
    SessionChanged = "session_changed",
    /// A hook of the pool may change a connection each time it is taken or given back.
    SessionHook = "session_hook",
    /// The session is on a replica, which may be behind the writes.
    Replica = "replica",
    /// The session reads what others have not committed (SQLite's `read_uncommitted`).
    ReadUncommitted = "read_uncommitted",
    /// Each connection of the pool has a database of its own (SQLite's private memory).
    PrivateDatabase = "private_database",
    /// Cached rows cannot be replayed faithfully here: the self-test failed or the platform has no way.
    ReplayOff = "replay_off",
    /// The bound arguments cannot be read faithfully.
    ArgumentsUnreadable = "arguments_unreadable",
    /// It was not heard for too long what other programs write: see `larder watch`.
    Unwatched = "unwatched",
    /// A policy says that it is never to be cached.
    NeverCache = "never_cache",
    /// Statement and arguments together are too long for a key.
    KeyTooLarge = "key_too_large",

    Miss:
    // Why a lookup found nothing.
    /// No entry under this key.
    Absent = "absent",
    /// A table behind the entry was written since.
    Invalidated = "invalidated",
    /// The entry reached its time to live.
    Expired = "expired",
    /// A write to one of the tables is in flight.
    WriteInFlight = "write_in_flight",
    /// The caller asked for a fresh answer.
    Fresh = "fresh",
    /// The entry could not be turned back into rows; it was removed.
    Unreplayable = "unreplayable",
    /// Redis said nothing in time of what others wrote, or what the pool asks of it cannot be done.
    TierDown = "tier_down",
    /// What Redis holds is damaged, or was written by another release, or with another key.
    Unreadable = "unreadable",

    NotStored:
    // Why a loaded result was not stored.
    /// A table was written while the query ran.
    WrittenMeanwhile = "written_meanwhile",
    /// The result is larger than the largest entry allowed.
    TooLarge = "too_large",
    /// The result came in a form that cannot be given back faithfully.
    Unfaithful = "unfaithful",
    /// The query failed.
    Failed = "failed",
    /// Memory of the machine ran out: nothing is kept meanwhile.
    Emergency = "emergency",

    Invalidation:
    // Why entries were dropped.
    /// A statement wrote the tables.
    Write = "write",
    /// A transaction that wrote the tables was committed.
    Commit = "commit",
    /// A statement whose writes cannot be told ran.
    OpaqueStatement = "opaque_statement",
    /// A connection was handed out raw.
    OpaqueConnection = "opaque_connection",
    /// A written table has triggers, or others cascade from it, or it is no plain table.
    WidensUnknown = "widens_unknown",
    /// The schema changed.
    SchemaChange = "schema_change",
    /// Another program wrote the tables, as a trigger of `larder watch` told.
    ExternalWrite = "external_write",
    /// The user asked for it.
    Manual = "manual",
}

impl Reason {
    /// The position in [`Reason::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Whether it may be given there. A statement whose results were unfaithful too often is not tried again; where an older answer
    /// may be given in an outage, a read that was not heard of is a miss; a pool whose options for Redis cannot be followed caches nothing.
    pub(crate) fn occurs(self, place: Place) -> bool {
        self.place() == place
            || matches!(
                (self, place),
                (Reason::Unfaithful | Reason::TierDown, Place::Bypass) | (Reason::Unwatched, Place::Miss)
            )
    }
}

impl Reason {
    /// Whether a text objects for not knowing something that the catalog may know.
    pub(crate) const fn is_left_to_the_catalog(self) -> bool {
        matches!(self, Self::UnknownFunction | Self::UnknownOperator)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// As its label.
impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

/// From its label.
impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let label = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::of_label(&label).ok_or_else(|| serde::de::Error::custom(format!("no reason is called {label:?}")))
    }
}

/// A [`Reason`] with the thing it is about, as a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Refusal {
    /// The reason, for counting.
    pub reason: Reason,
    /// The whole sentence: names, but never a literal or a bound value.
    pub sentence: String,
}

impl Refusal {
    /// Joins a reason and its sentence.
    pub fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        Self { reason, sentence: sentence.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
