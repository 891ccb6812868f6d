//! Asks SQLite what stands behind the names.
//!
//! In: a connection and the options it was opened with. Out: a survey: which database, which session, which tables,
//! triggers and functions.
//! It never leaves a transaction open, and never trusts a name that a user could have taken.
//!
//! **Which database.** On Unix, a file is its device and inode, so that symbolic and hard links lead to the same database.
//! A number that is used again after a file was deleted joins two databases, which is safe. A file that is replaced
//! below an open pool is beyond SQLite itself. Elsewhere it is the canonical path.
//! A database in memory is shared only by name and only where the options say so; any doubt makes it a private one,
//! of which each connection has its own.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Column, Connection, Row, SqliteConnection};

use super::code::{Code, Definition, Reaction, Then};
use super::relation::{Class, Kind, Traits};
use super::{Digest, Gate, Survey};
use crate::analysis::{self, Dialect, SqlMode, Verbs};
use crate::reason::{Reason, Refusal};

/// What a session's answers depend on besides the data. Statements, not table-valued functions: a table of the user's
/// could have the name of such a function. A pragma that this build of SQLite lacks yields no row.
const SESSION: &str = "\
    PRAGMA database_list; PRAGMA encoding; PRAGMA foreign_keys; PRAGMA defer_foreign_keys; PRAGMA recursive_triggers; \
    PRAGMA reverse_unordered_selects; PRAGMA read_uncommitted; PRAGMA query_only; PRAGMA writable_schema; \
    PRAGMA trusted_schema; PRAGMA ignore_check_constraints; PRAGMA legacy_alter_table; PRAGMA full_column_names; \
    PRAGMA short_column_names; PRAGMA count_changes; PRAGMA empty_result_callbacks; PRAGMA collation_list; \
    SELECT 'a' LIKE 'A' AS case_insensitive_like; SELECT sqlite_version() AS version; \
    SELECT type AS temporary, name, sql FROM temp.sqlite_schema; PRAGMA function_list";

/// Functions that come with SQLite's own extensions. They write nothing, though they are not declared deterministic.
const BUNDLED: &[&str] = &[
    "bm25",
    "fts3_tokenizer",
    "fts5",
    "fts5_get_locale",
    "fts5_insttoken",
    "fts5_locale",
    "fts5_source_id",
    "highlight",
    "match",
    "matchinfo",
    "offsets",
    "optimize",
    "rtreecheck",
    "rtreedepth",
    "rtreenode",
    "snippet",
];

/// Looks at the database and at this session of it.
pub(crate) async fn survey(
    connection: &mut SqliteConnection,
    options: &SqliteConnectOptions,
) -> Result<Survey, sqlx::Error> {
    let (session, seen) = look(connection, true).await?;
    let (database, private) = match identity(&session.file, options) {
        Some(database) => (database, false),
        None => (String::from("sqlite/private"), true),
    };
    let refusal = if private {
        Some(Refusal::new(
            Reason::PrivateDatabase,
            "Each connection has a database of its own, in memory or in a file without a name: use a file, or \
             `sqlite::memory:`, whose connections share one.",
        ))
    } else {
        session.refusal()
    };
    Ok(Survey {
        database,
        incarnation: String::new(),
        session: session.text(),
        refusal,
        within_transaction: session.transaction,
        commits_late: false,
        mode: SqlMode::default(),
        digest: seen.digest(),
        gate: seen.gate(&session),
    })
}

/// The settings of the session that change what a query returns.
pub(crate) async fn session(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    Ok(look(connection, false).await?.0.text())
}

/// Reads the session, and the schema where that is wanted, within one transaction.
async fn look(connection: &mut SqliteConnection, schema: bool) -> Result<(Session, Schema), sqlx::Error> {
    let within = connection.is_in_transaction();
    // SQLite has no other word for a transaction that was begun by text than that another cannot begin. The guard
    // rolls back if this future is dropped.
    let Ok(mut transaction) = connection.begin().await else {
        let session = Session::read(connection, true).await?;
        return Ok((session, Schema::default()));
    };
    let session = Session::read(&mut transaction, within).await?;
    let seen = if schema && !within { Schema::read(&mut transaction).await? } else { Schema::default() };
    transaction.rollback().await?;
    Ok((session, seen))
}

#[derive(Default)]
struct Session {
    /// `name=value` lines, sorted, since hash tables within SQLite order some of them.
    lines: BTreeSet<String>,
    /// The file of the main database as SQLite names it; empty for one in memory.
    file: String,
    attached: Vec<String>,
    /// Functions that are not SQLite's own, and whether they were declared deterministic.
    functions: Vec<(String, bool)>,
    built_in: Vec<String>,
    transaction: bool,
    read_uncommitted: bool,
}

impl Session {
    async fn read(connection: &mut SqliteConnection, transaction: bool) -> Result<Self, sqlx::Error> {
        let mut session = Self { transaction, ..Self::default() };
        session.lines.insert(format!("transaction={transaction}"));
        for row in sqlx::raw_sql(SESSION).fetch_all(connection).await? {
            match row.column(0).name() {
                "name" if row.columns().len() > 2 => session.see_function(&row)?,
                "seq" if row.columns().len() == 3 => session.see_database(&row)?,
                what => {
                    session.read_uncommitted |= what == "read_uncommitted" && text(&row, 0)? != "0";
                    session.see_line(&row)?;
                }
            }
        }
        Ok(session)
    }

    fn see_line(&mut self, row: &SqliteRow) -> Result<(), sqlx::Error> {
        let mut line = String::new();
        for (i, column) in row.columns().iter().enumerate() {
            // The numbers of collations depend on the order of their registration.
            if !(column.name() == "seq" && row.columns().len() == 2) {
                line += &format!("{}={:?} ", column.name(), text(row, i)?);
            }
        }
        self.lines.insert(line);
        Ok(())
    }

    fn see_database(&mut self, row: &SqliteRow) -> Result<(), sqlx::Error> {
        match text(row, 1)? {
            name if name.eq_ignore_ascii_case("main") => self.file = text(row, 2)?,
            // It shows up once it was looked into. What matters is what lies in it.
            name if name.eq_ignore_ascii_case("temp") => return Ok(()),
            name => self.attached.push(name),
        }
        self.see_line(row)
    }

    /// A row of `function_list`: name, builtin, type, enc, narg, flags.
    fn see_function(&mut self, row: &SqliteRow) -> Result<(), sqlx::Error> {
        const DETERMINISTIC: u32 = 0x800;
        let name = text(row, 0)?;
        if text(row, 1)? == "1" {
            self.built_in.push(name);
        } else {
            let flags = text(row, 5)?;
            self.lines.insert(format!("function={name:?} arguments={} flags={flags}", text(row, 4)?));
            self.functions.push((name, flags.parse::<u32>().unwrap_or(0) & DETERMINISTIC != 0));
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.trim_end(), "\n"]).collect()
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.transaction {
            return Some(Refusal::new(Reason::Transaction, "The session is in a transaction, and sees an old state."));
        }
        self.read_uncommitted.then(|| {
            Refusal::new(
                Reason::ReadUncommitted,
                "The session reads what others have not committed: turn `PRAGMA read_uncommitted` off.",
            )
        })
    }
}

#[derive(Default)]
struct Schema {
    /// Schema, name and type of each relation.
    relations: Vec<(String, String, String)>,
    /// Name of the relation it belongs to, name, and text of each view, trigger and table.
    texts: Vec<Text>,
    /// Name of the table, of the one it refers to, what happens to it when that one's key is updated, and when a row of that one is deleted.
    keys: Vec<[String; 4]>,
    /// A relation that hides one of SQLite's own table-valued functions.
    hiding: Option<String>,
}

struct Text {
    kind: String,
    table: String,
    name: String,
    sql: String,
}

impl Schema {
    async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let mut schema = Self::default();
        for row in sqlx::raw_sql("PRAGMA table_list").fetch_all(&mut *connection).await? {
            let (outer, name, kind) = (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?);
            if name.to_ascii_lowercase().starts_with("pragma_") {
                schema.hiding = Some(name.clone());
            }
            schema.relations.push((outer, name, kind));
        }
        // A temporary trigger may stand on a table of another database.
        let texts = "SELECT type, tbl_name, name, sql FROM main.sqlite_schema WHERE type IN ('trigger', 'view', 'table') \
             UNION ALL SELECT type, tbl_name, name, sql FROM temp.sqlite_schema WHERE type = 'trigger'";
        for row in sqlx::raw_sql(texts).fetch_all(&mut *connection).await? {
            let (kind, table, name, sql) = (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?, text(&row, 3)?);
            schema.texts.push(Text { kind, table, name, sql });
        }
        if schema.hiding.is_none() {
            let keys = "SELECT s.name, k.\"table\", k.on_update, k.on_delete \
                 FROM main.sqlite_schema AS s, pragma_foreign_key_list(s.name, 'main') AS k WHERE s.type = 'table'";
            for row in sqlx::raw_sql(keys).fetch_all(&mut *connection).await? {
                schema.keys.push([text(&row, 0)?, text(&row, 1)?, text(&row, 2)?, text(&row, 3)?]);
            }
        }
        Ok(schema)
    }

    /// Reports what writes to tables set off, and what stands behind views.
    fn tie(&self, gate: &mut Gate) {
        let mode = SqlMode::default();
        // Where a constraint says so, an INSERT deletes the rows that are in its way.
        let replaces = |table: &str| {
            let text = self.texts.iter().find(|text| text.kind == "table" && text.name.eq_ignore_ascii_case(table));
            text.is_none_or(|text| text.sql.to_ascii_lowercase().contains("replace"))
        };
        let on = |table: &str, verbs: Verbs| if replaces(table) { Verbs::ALL } else { verbs };
        for Text { kind, table, name, sql } in &self.texts {
            match &**kind {
                "view" => {
                    if let Some(query) = analysis::query_of_view(sql, Dialect::Sqlite) {
                        let what = format!("view {name}");
                        gate.see_definition(
                            ("main", name),
                            Definition::new(what, "main", &query, Dialect::Sqlite, mode),
                        );
                    }
                }
                "trigger" => {
                    let then = match analysis::trigger_of(sql, Dialect::Sqlite) {
                        Some((_, body)) => Then::Runs(Code::new(body, Dialect::Sqlite, mode)),
                        None => Then::Anything("cannot be read"),
                    };
                    let verbs = analysis::trigger_of(sql, Dialect::Sqlite).map_or(Verbs::ALL, |(verbs, _)| verbs);
                    let reaction = Reaction { on: on(table, verbs), what: format!("trigger {name}"), then };
                    gate.see_reaction_anywhere(table, reaction);
                }
                _ => {}
            }
        }
        for [child, parent, on_update, on_delete] in &self.keys {
            let what = || format!("foreign key of {child}");
            let mut cascade =
                |on: Verbs, does: Verbs| gate.see_cascade(("main", parent), ("main", child), what(), on, does);
            match &**on_delete {
                "NO ACTION" | "RESTRICT" => {}
                "CASCADE" => cascade(on(parent, Verbs::DELETE), Verbs::DELETE),
                _ => cascade(on(parent, Verbs::DELETE), Verbs::UPDATE),
            }
            if !matches!(&**on_update, "NO ACTION" | "RESTRICT") {
                cascade(on(parent, Verbs::UPDATE), Verbs::UPDATE);
            }
        }
    }

    fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.relations.iter().for_each(|(schema, name, kind)| digest.add([&**schema, name, kind]));
        self.texts.iter().for_each(|Text { kind, table, name, sql }| digest.add([&**kind, table, name, sql]));
        self.keys.iter().for_each(|key| digest.add(key.iter().map(String::as_str)));
        digest
    }

    fn gate(&self, session: &Session) -> Gate {
        let mut path = vec![String::from("temp"), String::from("main")];
        path.extend(session.attached.iter().map(|name| name.to_ascii_lowercase()));
        let mut gate = Gate::new(Dialect::Sqlite, "", path);
        if let Some(name) = &self.hiding {
            gate.refuse_reads(Refusal::new(
                Reason::System,
                format!(
                    "The table {name} hides one of SQLite's own, without which the schema cannot be read: rename it."
                ),
            ));
            gate.widen_writes(format!("the table {name} hides one of SQLite's own"));
        }
        for (schema, name, kind) in &self.relations {
            let (schema, name) = (schema.to_ascii_lowercase(), name.to_ascii_lowercase());
            let kind = match &**kind {
                "table" => Kind::Table,
                "view" => Kind::View,
                "virtual" | "shadow" => Kind::Virtual,
                _ => Kind::Other,
            };
            let traits = Traits {
                system: name.starts_with("sqlite_"),
                temporary: schema == "temp",
                attached: schema != "main" && schema != "temp",
                ..Traits::default()
            };
            gate.see_relation(&schema, &name, kind, traits);
        }
        self.tie(&mut gate);
        // Words that call a function of that name, which a user may have replaced.
        for word in ["like", "glob", "regexp", "match"] {
            gate.see_called_word(word);
        }
        for name in &session.built_in {
            gate.see_function(name, Class::Vouched);
        }
        for (name, deterministic) in &session.functions {
            let harmless = *deterministic || BUNDLED.contains(&&**name);
            gate.see_function(name, if harmless { Class::Declared } else { Class::MayWrite });
        }
        gate
    }
}

/// Names the database behind a connection; `None` where each connection has its own, or where that is in doubt.
fn identity(file: &str, options: &SqliteConnectOptions) -> Option<String> {
    let name = options.get_filename().to_str()?;
    let memory = memory(options)?;
    // Anything may be in the parameters of a URI, in several spellings.
    if name.starts_with("file:") && name.contains(['?', '%', '#']) {
        return None;
    }
    if memory {
        // SQLite shares memory under the names of URIs alone.
        let name = name.strip_prefix("file:")?;
        return (file.is_empty() && !name.is_empty() && !name.starts_with("//"))
            .then(|| format!("sqlite/memory/{name}"));
    }
    on_disk(Path::new(file))
}

/// Whether the options ask for a database in memory that connections share; `None` where it cannot be told, or where
/// connections do not share it.
///
/// Of the options, only the file's name is public, and their URL cannot be made of every name. The debug form tells; a
/// form that is not the expected one tells nothing.
fn memory(options: &SqliteConnectOptions) -> Option<bool> {
    let debug = format!("{options:?}");
    let behind = debug.strip_prefix(&format!("SqliteConnectOptions {{ filename: {:?}, ", options.get_filename()))?;
    let mut fields = behind.split(", ");
    let mut field = |name: &str| fields.find_map(|field| field.strip_prefix(name));
    let in_memory = field("in_memory: ")?;
    let shared = field("shared_cache: ")?;
    // Another file system than the usual one may mean anything by a name.
    let vfs = field("vfs: ")?;
    match (in_memory, shared, vfs) {
        ("false", _, "None") => Some(false),
        ("true", "true", "None") => Some(true),
        _ => None,
    }
}

/// Whether the options are known to ask for a file, which is there however many connections are.
pub(crate) fn is_on_disk(options: &SqliteConnectOptions) -> bool {
    memory(options) == Some(false) && !options.get_filename().as_os_str().is_empty()
}

#[cfg(unix)]
fn on_disk(file: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    if !file.is_absolute() {
        return None;
    }
    let metadata = std::fs::metadata(file).ok()?;
    Some(format!("sqlite/file/{}/{}", metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn on_disk(file: &Path) -> Option<String> {
    if !file.is_absolute() {
        return None;
    }
    Some(format!("sqlite/file/{}", std::fs::canonicalize(file).ok()?.to_str()?))
}

fn text(row: &SqliteRow, column: usize) -> Result<String, sqlx::Error> {
    Ok(row.try_get_unchecked::<Option<String>, _>(column)?.unwrap_or_default())
}
