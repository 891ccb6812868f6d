//! Which functions are known, and what is known of them. Two lists per dialect: what is on neither may do anything.

mod mysql;
mod postgres;
mod sqlite;

use super::facts::Dialect;
use super::word_set::WordSet;

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Its result depends on its arguments, the settings of the session and the schema alone.
    Cacheable,
    /// Its result may change while no table does, but it writes to no table.
    Harmless,
    /// It may read the clock, depending on its arguments.
    Dates,
    /// It changes the session.
    Session,
    /// Anything.
    Unknown,
}

/// The known functions of a dialect, by name in lower case.
struct Lists {
    cacheable: &'static WordSet,
    harmless: &'static WordSet,
    dates: &'static WordSet,
    /// The one that changes the session, if there is one.
    session: Option<&'static str>,
}

/// The known functions that a server of MySQL or MariaDB of a version does not have.
#[cfg(feature = "mysql")]
pub(crate) fn not_built_in(version: &str) -> impl Iterator<Item = &'static str> {
    mysql::not_built_in(version)
}

/// What is known of a function by its folded name, outermost part first, and its number of arguments.
pub(super) fn classify(name: &[String], arguments: usize, dialect: Dialect) -> Class {
    let function = match (name, dialect) {
        ([function], _) => function,
        ([schema, function], Dialect::Postgres) if schema == "pg_catalog" => function,
        _ => return Class::Unknown,
    };
    // In MySQL function names have no case; in Postgres and SQLite they are folded already.
    let function = if dialect == Dialect::MySql { function.to_ascii_lowercase() } else { function.clone() };
    match (dialect, function.as_str(), arguments) {
        (Dialect::Postgres, "age", 2) => return Class::Cacheable,
        (Dialect::Postgres, "age", _) => return Class::Harmless,
        // With two arguments its second is a query that it runs.
        (Dialect::Postgres, "ts_rewrite", 3) => return Class::Cacheable,
        (Dialect::MySql, "unix_timestamp", 0) => return Class::Harmless,
        // With one argument these are casts.
        (
            Dialect::Postgres,
            "daterange" | "tsrange" | "tstzrange" | "datemultirange" | "tsmultirange" | "tstzmultirange",
            1,
        ) => return Class::Dates,
        _ => {}
    }
    let lists = match dialect {
        Dialect::Postgres => &postgres::LISTS,
        Dialect::MySql => &mysql::LISTS,
        Dialect::Sqlite => &sqlite::LISTS,
    };
    if lists.dates.contains(&function) {
        Class::Dates
    } else if lists.cacheable.contains(&function) {
        Class::Cacheable
    } else if lists.harmless.contains(&function) {
        Class::Harmless
    } else if lists.session == Some(&*function) {
        Class::Session
    } else {
        Class::Unknown
    }
}
