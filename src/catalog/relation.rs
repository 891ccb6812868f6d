//! What was seen of a relation or a routine, and what follows from it for reads and for writes.
//!
//! In: the kind and the traits that a database reported. Out: an objection in words, or none.
//! It never asks the database and never looks at a statement.

use super::Table;
use super::code::{Definition, Id, Reaction};
use crate::reason::Reason;

/// What a relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    View,
    MaterializedView,
    Foreign,
    Partitioned,
    Sequence,
    /// A virtual table of SQLite, or a table that keeps the data of one.
    Virtual,
    /// Something this room has no word for.
    Other,
}

/// What else is known of a relation. Each of these may make it more, or less, than rows that only statements naming it
/// change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// It belongs to the database system.
    pub system: bool,
    /// It is temporary: each session has its own.
    pub temporary: bool,
    /// It lies in another SQLite file.
    pub attached: bool,
    /// It is stored by an access method or engine other than the usual one, whose workings are unknown.
    pub unusual_storage: bool,
    /// It is stored by an engine that knows no transactions.
    pub without_transactions: bool,
    pub row_security: bool,
    /// It may have triggers, and tables that refer to it, which are not shown to this user.
    pub triggers_hidden: bool,
    /// A foreign key changes this table when a row of a table in another MySQL database changes, or may be hidden: to whoever
    /// does that, this one may not be shown.
    pub cascades_from_afar: bool,
    /// A column of it is made when it is read, by more than its row.
    pub volatile_columns: bool,
    /// To read it runs a user's volatile function, which may write elsewhere.
    pub reads_run_code: bool,
    /// It has a column of a time of day, which takes today's offset where a time zone is put to it.
    pub time_of_day: bool,
    /// It has a column of a time of day with a zone: what is compared with it takes today's offset.
    pub zoned_time_of_day: bool,
}

/// A relation, with the verdicts on it and what it is tied to.
#[derive(Debug)]
pub(super) struct Relation {
    pub table: Table,
    pub kind: Kind,
    /// Why a read of it may not be kept: the reason, and what the relation is.
    pub reading: Option<(Reason, &'static str)>,
    /// Why a write to it may change any table.
    pub writing: Option<&'static str>,
    /// Whether it belongs to the database system.
    pub system: bool,
    /// Whether to read it may change any table.
    pub reading_writes: bool,
    /// Whether who asks decides what is seen of it.
    pub row_security: bool,
    /// Whether to put a time zone to one of its columns may read the clock.
    pub time_of_day: bool,
    /// Its columns of a time of day in MySQL, in lower case: one that meets a date takes today's.
    pub times: Vec<String>,
    /// The query behind a view.
    pub definition: Option<Definition>,
    /// The conditions of row-level security.
    pub policies: Vec<Definition>,
    /// Tables whose rows are also rows of this one, such as partitions.
    pub children: Vec<Id>,
    /// Tables whose rows this one's are.
    pub parents: Vec<Id>,
    /// What writes to it set off.
    pub reactions: Vec<Reaction>,
}

impl Relation {
    pub fn new(table: Table, kind: Kind, traits: Traits) -> Self {
        Self {
            table,
            kind,
            reading: reading(kind, traits),
            writing: writing(kind, traits),
            system: traits.system,
            reading_writes: traits.reads_run_code,
            row_security: traits.row_security,
            time_of_day: traits.time_of_day,
            times: Vec::new(),
            definition: None,
            policies: Vec::new(),
            children: Vec::new(),
            parents: Vec::new(),
            reactions: Vec::new(),
        }
    }

    /// Whether it holds rows of its own, so that it can be written and read as a whole.
    pub fn holds_rows(&self) -> bool {
        matches!(self.kind, Kind::Table | Kind::Partitioned | Kind::MaterializedView)
    }
}

fn reading(kind: Kind, traits: Traits) -> Option<(Reason, &'static str)> {
    if traits.system {
        return Some((Reason::System, "belongs to the database system, which changes it without a statement"));
    }
    if traits.temporary {
        return Some((Reason::Temporary, "is temporary, so that each session sees its own"));
    }
    let what = match kind {
        Kind::Foreign => "is a foreign table, whose rows change outside this database",
        Kind::Sequence => "is a sequence, which changes without a write",
        Kind::Virtual => "is a virtual table, whose rows come from code, or the storage of one",
        Kind::Other => "is not a table",
        _ if traits.attached => "lies in an attached database: open a pool on that file",
        _ if traits.unusual_storage => "is stored by an access method or engine other than the usual one",
        _ if traits.without_transactions => {
            "is stored by an engine without transactions, which shows a write before it is complete: use InnoDB"
        }
        _ if traits.cascades_from_afar => {
            "has a foreign key that cascades from a table in another database, or is shown to this user in part"
        }
        _ if traits.volatile_columns => {
            let what = "has a generated column that may be another one while its row is the same: let it be STORED";
            return Some((Reason::VolatileFunction, what));
        }
        _ if traits.zoned_time_of_day => {
            let what = "has a column of a time of day with a zone, and what is compared with it takes today's offset";
            return Some((Reason::SpecialDate, what));
        }
        Kind::Table | Kind::View | Kind::MaterializedView | Kind::Partitioned => return None,
    };
    Some((Reason::NotAPlainTable, what))
}

fn writing(kind: Kind, traits: Traits) -> Option<&'static str> {
    match kind {
        Kind::Table | Kind::Partitioned | Kind::View | Kind::MaterializedView => {}
        Kind::Foreign => return Some("is a foreign table, and what lies behind it is not known"),
        Kind::Sequence | Kind::Virtual | Kind::Other => return Some("is not a plain table"),
    }
    [
        (traits.system, "belongs to the database system"),
        (traits.temporary, "is temporary"),
        (traits.attached, "lies in an attached database"),
        (traits.unusual_storage, "is stored by an unusual access method"),
        (traits.triggers_hidden, "may have triggers that this user cannot see"),
    ]
    .into_iter()
    .find_map(|(applies, why)| applies.then_some(why))
}

/// What calling something may do. Where several share a name, the worst of them counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Built in, or as good as that: an immutable function of an extension that everyone knows. Whether its result
    /// depends on more than its arguments is `analysis`'s knowledge.
    Vouched,
    /// A user added it, and it is known to depend on its arguments alone.
    Immutable,
    /// A user defined it and declared that it does not write.
    Declared,
    /// A user defined it and it may do anything, or it runs a text as SQL.
    MayWrite,
}
