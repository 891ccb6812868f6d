//! What was seen of a relation or a routine, and what follows from it for reads and for writes.
//!
//! In: the kind and the traits that a database reported. Out: an objection in words, or none.
//! It never asks the database and never looks at a statement.

use super::Table;
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
    /// It is a partition, or has a parent or children.
    pub inherits: bool,
    pub row_security: bool,
    pub rules: bool,
    pub triggers: bool,
    /// It may have triggers, and tables that refer to it, which are not shown to this user.
    pub triggers_hidden: bool,
    /// A foreign key changes another table when a row of this one is deleted or gets another key.
    pub cascades: bool,
    /// A foreign key changes this table when a row of a table in another MySQL database changes, or may be hidden: to whoever
    /// does that, this one may not be shown.
    pub cascades_from_afar: bool,
    /// A column of it is made when it is read, by more than its row.
    pub volatile_columns: bool,
    /// A default, constraint, policy or index of it calls a user's volatile function, which may write elsewhere.
    pub runs_code: bool,
    /// To read it runs a user's volatile function, which may write elsewhere.
    pub reads_run_code: bool,
    /// It has a column of a time of day, which takes today's offset where a time zone is put to it.
    pub time_of_day: bool,
    /// It has a column of a time of day with a zone: what is compared with it takes today's offset.
    pub zoned_time_of_day: bool,
}

/// A relation, with the verdicts on it.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub table: Table,
    /// Why a read of it may not be kept: the reason, and what the relation is.
    pub reading: Option<(Reason, &'static str)>,
    /// Why a write to it may change other tables.
    pub writing: Option<&'static str>,
    /// Whether what writes to it change is its own rows, and only what writes to it changes them.
    pub alone: bool,
    /// Whether to read it may change any table.
    pub reading_writes: bool,
    /// Whether to put a time zone to one of its columns may read the clock.
    pub time_of_day: bool,
    /// Its columns of a time of day in MySQL, in lower case: one that meets a date takes today's.
    pub times: Vec<String>,
}

impl Relation {
    pub fn new(table: Table, kind: Kind, traits: Traits) -> Self {
        Self {
            table,
            reading: reading(kind, traits),
            writing: writing(kind, traits),
            alone: alone(kind, traits),
            reading_writes: traits.reads_run_code,
            time_of_day: traits.time_of_day,
            times: Vec::new(),
        }
    }
}

fn alone(kind: Kind, traits: Traits) -> bool {
    kind == Kind::Table
        && !(traits.system || traits.temporary || traits.attached || traits.unusual_storage || traits.inherits)
}

fn reading(kind: Kind, traits: Traits) -> Option<(Reason, &'static str)> {
    if traits.system {
        return Some((Reason::System, "belongs to the database system, which changes it without a statement"));
    }
    if traits.temporary {
        return Some((Reason::Temporary, "is temporary, so that each session sees its own"));
    }
    let what = match kind {
        Kind::View => "is a view, and the tables behind a view are not followed yet: query the tables themselves",
        Kind::MaterializedView => {
            "is a materialized view, whose refresh is not followed yet: query the tables themselves"
        }
        Kind::Foreign => "is a foreign table, whose rows change outside this database",
        Kind::Partitioned => "is partitioned, and writes to its partitions are not followed yet",
        Kind::Sequence => "is a sequence",
        Kind::Virtual => "is a virtual table, whose rows come from code, or the storage of one",
        Kind::Other => "is not a table",
        Kind::Table if traits.attached => "lies in an attached database: open a pool on that file",
        Kind::Table if traits.unusual_storage => "is stored by an access method or engine other than the usual one",
        Kind::Table if traits.without_transactions => {
            "is stored by an engine without transactions, which shows a write before it is complete: use InnoDB"
        }
        Kind::Table if traits.cascades_from_afar => {
            "has a foreign key that cascades from a table in another database, or is shown to this user in part"
        }
        Kind::Table if traits.inherits => {
            "is a partition, or inherits or is inherited from, and such families are not followed yet"
        }
        Kind::Table if traits.volatile_columns => {
            let what = "has a generated column that may be another one while its row is the same: let it be STORED";
            return Some((Reason::VolatileFunction, what));
        }
        Kind::Table if traits.rules => "has rules, which may read or write other tables",
        Kind::Table if traits.row_security => {
            return Some((Reason::RowSecurity, "has row-level security, so that who asks decides what is seen"));
        }
        Kind::Table if traits.zoned_time_of_day => {
            let what = "has a column of a time of day with a zone, and what is compared with it takes today's offset";
            return Some((Reason::SpecialDate, what));
        }
        Kind::Table => return None,
    };
    Some((Reason::NotAPlainTable, what))
}

fn writing(kind: Kind, traits: Traits) -> Option<&'static str> {
    if kind != Kind::Table {
        return Some("is not a plain table");
    }
    [
        (traits.system, "belongs to the database system"),
        (traits.temporary, "is temporary"),
        (traits.attached, "lies in an attached database"),
        (traits.unusual_storage, "is stored by an unusual access method"),
        (traits.inherits, "has partitions, parents or children"),
        (traits.rules, "has rules"),
        (traits.triggers, "has triggers"),
        (traits.triggers_hidden, "may have triggers that this user cannot see"),
        (traits.cascades, "is referenced by a foreign key that cascades"),
        (traits.runs_code, "calls a user's volatile function in a default, constraint, policy or index"),
    ]
    .into_iter()
    .find_map(|(applies, why)| applies.then_some(why))
}

/// What calling something by its name may do. Where several share a name, the worst of them counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Routine {
    /// Built in, or as good as that: an immutable function of an extension that everyone knows. Whether its result
    /// depends on more than its arguments is `analysis`'s knowledge.
    Vouched,
    /// A user defined it and declared that it does not write.
    Declared,
    /// A user defined it and it may do anything, or it runs a text as SQL.
    MayWrite,
}
