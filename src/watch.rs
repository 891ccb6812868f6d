//! The statements that make a database tell what other programs write, and those that undo it: the files in `sql`, with names
//! put in.
//!
//! `larder watch install` makes that table and the triggers; a service that keeps its schema in migrations may take the statements
//! from here instead:
//!
//! ```
//! use larder::{analysis::Dialect, watch};
//!
//! let migration = format!("{}{}", watch::install(Dialect::Postgres), watch::watch(Dialect::Postgres, "public", "orders"));
//! assert!(migration.contains("AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON \"public\".\"orders\""));
//! ```
//!
//! In: the names of tables. Out: texts for the database.
//! It never runs them.

use crate::analysis::Dialect;

/// Where the versions are, by schema and name. An empty schema is the current database.
pub const fn place(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::Postgres => ("larder", "versions"),
        Dialect::MySql => ("", "larder_versions"),
        Dialect::Sqlite => ("main", "larder_versions"),
    }
}

struct Files {
    install: &'static str,
    table: &'static str,
    announce: &'static str,
    remove_table: &'static str,
    remove: &'static str,
}

macro_rules! files {
    ($folder:literal, $announce:expr) => {
        Files {
            install: include_str!(concat!("../sql/", $folder, "/install.sql")),
            table: include_str!(concat!("../sql/", $folder, "/table.sql")),
            announce: $announce,
            remove_table: include_str!(concat!("../sql/", $folder, "/remove_table.sql")),
            remove: include_str!(concat!("../sql/", $folder, "/remove.sql")),
        }
    };
}

const fn files(dialect: Dialect) -> Files {
    match dialect {
        Dialect::Postgres => files!("postgres", ""),
        Dialect::MySql => files!("mysql", include_str!("../sql/mysql/announce.sql")),
        Dialect::Sqlite => files!("sqlite", include_str!("../sql/sqlite/announce.sql")),
    }
}

/// The statements that make the table of versions. Safe to repeat.
pub const fn install(dialect: Dialect) -> &'static str {
    files(dialect).install
}

/// The statements that remove it again. No table may be watched any more.
pub const fn remove(dialect: Dialect) -> &'static str {
    files(dialect).remove
}

/// The statements that have writes of a table announced, by its schema and name, in MySQL and SQLite by its name alone. Safe to
/// repeat.
pub fn watch(dialect: Dialect, schema: &str, name: &str) -> String {
    filled(files(dialect).table, dialect, schema, name)
}

/// The statements that end that.
pub fn unwatch(dialect: Dialect, schema: &str, name: &str) -> String {
    filled(files(dialect).remove_table, dialect, schema, name)
}

/// What a trigger does that announces writes of a table: what the catalog of MySQL or SQLite shows of it. In PostgreSQL, what
/// the function does that all triggers call.
pub fn announcement(dialect: Dialect, schema: &str, name: &str) -> String {
    let files = files(dialect);
    match dialect {
        Dialect::Postgres => files.install.split("$larder$").nth(1).unwrap_or_default().to_owned(),
        _ => filled(files.announce.trim_end(), dialect, schema, name),
    }
}

/// The names of the triggers of a table.
pub fn triggers(dialect: Dialect, name: &str) -> Vec<String> {
    match dialect {
        Dialect::Postgres => vec!["larder_announce".into()],
        _ => ["insert", "update", "delete"].map(|verb| format!("larder_{verb}_{}", id(name))).into(),
    }
}

fn filled(text: &str, dialect: Dialect, schema: &str, name: &str) -> String {
    let quoted = |mark: char, part: &str| format!("{mark}{}{mark}", part.replace(mark, &format!("{mark}{mark}")));
    let (table, literal) = match dialect {
        Dialect::Postgres => (format!("{}.{}", quoted('"', schema), quoted('"', name)), String::new()),
        // As bytes, whatever the character set and the mode of the session.
        Dialect::MySql => {
            let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
            (quoted('`', name), format!("X'{hex}'"))
        }
        Dialect::Sqlite => (quoted('"', name), quoted('\'', name)),
    };
    // One pass, so that what a name contains is never taken for a place.
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (place, after) = after.split_once('}').unwrap_or((after, ""));
        match place {
            "table" => out.push_str(&table),
            "name" => out.push_str(&literal),
            "id" => out.push_str(&id(name)),
            "announce" => out.push_str(&announcement(dialect, schema, name)),
            _ => {}
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A name of a trigger has no more room than the one of a table.
fn id(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_never_taken_for_places() {
        let text = watch(Dialect::Postgres, "s", "a\"; DROP TABLE {table}; --");
        assert!(text.contains("ON \"s\".\"a\"\"; DROP TABLE {table}; --\"\n"), "{text}");
        let text = watch(Dialect::MySql, "", "a`{name}'");
        assert!(text.contains("ON `a``{name}'` FOR EACH ROW BEGIN"), "{text}");
        assert!(text.contains("table_name = X'61607b6e616d657d27' AND"), "{text}");
        let text = watch(Dialect::Sqlite, "", "it's");
        assert!(text.contains("table_name = 'it''s'; END;"), "{text}");
        for dialect in [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite] {
            for text in [watch(dialect, "s", "t"), unwatch(dialect, "s", "t"), announcement(dialect, "s", "t")] {
                assert!(!text.is_empty() && !text.contains(['{', '}']), "{text}");
            }
            assert!(triggers(dialect, "t").iter().all(|name| watch(dialect, "s", "t").contains(name)));
        }
    }
}
