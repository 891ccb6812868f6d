//! Asks PostgreSQL what stands behind the names.
//!
//! In: a connection. Out: a survey: which database, which session, which relations, functions, operators and casts.
//! It never leaves a prepared statement or a setting behind.
//!
//! **Which database.** A survey's identity must be equal for all roles, or their writes would not reach each other's
//! results. So it rests on what everybody may read: the database's oid (a name can be changed below a living pool), and
//! the cluster's system identifier where PUBLIC may ask for it, which is a fact about the cluster and not about the role
//! who looks. Where PUBLIC may not, nobody uses it, and databases of two clusters that happen to have the same oid
//! invalidate each other. The address and the start of the server are no part of it: a server has several addresses,
//! and a pool outlives a restart.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::code::{Code, Definition, Reaction, Source, Then};
use super::gate::LONGEST_NAME;
use super::relation::{Class, Kind, Traits};
use super::{Digest, Gate, Survey, Witness};
use crate::analysis::{Dialect, Language, SqlMode, Verbs};
use crate::reason::{Reason, Refusal};
use crate::watch;

/// The function that triggers call to tell Larder what is written.
const ANNOUNCE: (&str, &str) = ("larder", "announce");

/// In microseconds, whatever the time zone of the session: another one after a restart, and on another server.
const STARTED: &str = "SELECT 'started', '', \
    (pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8::text, '', '', '', ''";

/// Looks at the database and at this session of it. Two round trips.
///
/// Within a transaction it looks at the session alone, since what a transaction sees is not what others see.
pub(crate) async fn survey(connection: &mut PgConnection) -> Result<Survey, sqlx::Error> {
    let session = Session::read(connection).await?;
    let mut gate = session.gate();
    let (mut database, mut incarnation, mut digest) = (String::from("postgres"), String::new(), Digest::default());
    if !session.is("transaction") {
        let cluster = match session.is("identifiable") {
            true => "SELECT 'cluster', '', system_identifier::text, '', '', '', '' FROM pg_control_system()",
            false => "SELECT 'cluster', '', '', '', '', '', ''",
        };
        // Several statements in one text are one transaction, at whose end the search path is the old one again.
        let text = format!(
            "SELECT 'path', '', pg_catalog.set_config('search_path', 'pg_catalog', true), '', '', '', ''; {cluster}; {STARTED}; {}",
            session.survey()
        );
        let mut rows = Vec::new();
        for row in sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await? {
            let seen = Seen::of(&row)?;
            digest.add(seen.columns());
            rows.push(seen);
        }
        for row in rows.iter().filter(|row| row.is_of_itself()) {
            match &*row.what {
                "cluster" | "database" => database = format!("{database}/{}", row.name),
                "started" => incarnation.clone_from(&row.name),
                _ => row.tell(&mut gate),
            }
        }
        let announces = rows.iter().any(Seen::is_announcement);
        for row in rows.iter().filter(|row| !row.is_of_itself()) {
            if !announces || !row.only_announces() {
                row.tell(&mut gate);
            }
        }
    }
    Ok(Survey {
        database,
        incarnation,
        session: session.text(),
        refusal: session.refusal(),
        within_transaction: session.is("transaction"),
        commits_late: false,
        mode: SqlMode::default(),
        gate,
        digest,
    })
}

/// The settings of the session that change what a query returns. One round trip.
pub(crate) async fn session(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    Ok(Session::read(connection).await?.text())
}

/// What the open transaction wrote. One round trip, or three where triggers were put off to its end.
///
/// Every write locks its table until the transaction ends, whoever makes it: a trigger, a cascade, a function. Those locks,
/// and that the system catalogs were not written, are looked at within a savepoint, so that the transaction goes on as it
/// was even where the look fails. Before a `commit`, triggers that were put off to it are run, as it would run them.
pub(crate) async fn witness(connection: &mut PgConnection, commit: bool) -> Witness {
    const NOW: &str = "SAVEPOINT larder_witness; SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT larder_witness";
    let seen = async {
        let mut seen = look_at_locks(connection).await?;
        if commit && seen.same && !seen.unseen && seen.deferred {
            sqlx::raw_sql(NOW).execute(&mut *connection).await?;
            seen = look_at_locks(connection).await?;
        }
        Ok::<_, sqlx::Error>(seen)
    };
    match seen.await {
        Ok(Locks { same: false, .. }) => Witness::Nothing,
        Ok(Locks { unseen: true, .. }) => Witness::Anything,
        Ok(Locks { tables, .. }) => Witness::Tables(tables),
        Err(_) => {
            // Fails where the transaction had failed before, which is then as it was. What a trigger objects to is said again by
            // the COMMIT.
            let back = "ROLLBACK TO SAVEPOINT larder_witness; RELEASE SAVEPOINT larder_witness";
            let _ = sqlx::raw_sql(back).execute(connection).await;
            Witness::Nothing
        }
    }
}

/// What a look at the locks of a transaction told.
struct Locks {
    /// Whether it is the transaction that was begun.
    same: bool,
    /// Whether it did what its locks do not tell.
    unseen: bool,
    /// Whether triggers may have been put off to its end.
    deferred: bool,
    tables: Vec<(String, String)>,
}

async fn look_at_locks(connection: &mut PgConnection) -> Result<Locks, sqlx::Error> {
    const LOOK: &str = concat!(
        "SAVEPOINT larder_witness; SET LOCAL search_path TO pg_catalog, pg_temp; ",
        include_str!("postgres_witness.sql"),
        "; ROLLBACK TO SAVEPOINT larder_witness; RELEASE SAVEPOINT larder_witness"
    );
    let mut seen = Locks { same: false, unseen: false, deferred: false, tables: Vec::new() };
    for row in sqlx::raw_sql(LOOK).fetch_all(connection).await? {
        let (schema, name): (Option<String>, Option<String>) = (row.try_get(1)?, row.try_get(2)?);
        match (row.try_get(0)?, schema, name) {
            ("transaction", Some(mark), _) => seen.same = mark == "open",
            ("table", Some(schema), Some(name)) => seen.tables.push((schema, name)),
            ("deferred", ..) => seen.deferred = true,
            _ => seen.unseen = true,
        }
    }
    Ok(seen)
}

/// A row of the survey.
struct Seen {
    what: String,
    schema: String,
    name: String,
    details: String,
    flags: String,
    other_schema: String,
    other_name: String,
}

impl Seen {
    fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            what: row.try_get(0)?,
            schema: row.try_get(1)?,
            name: row.try_get(2)?,
            details: row.try_get(3)?,
            flags: row.try_get(4)?,
            other_schema: row.try_get(5)?,
            other_name: row.try_get(6)?,
        })
    }

    fn columns(&self) -> [&str; 7] {
        let Self { what, schema, name, details, flags, other_schema, other_name } = self;
        [what, schema, name, details, flags, other_schema, other_name]
    }

    /// Whether it is about one thing, and not about what ties two together.
    fn is_of_itself(&self) -> bool {
        matches!(&*self.what, "cluster" | "started" | "database" | "relation")
    }

    /// Whether it is the function of the triggers that tell Larder what is written, as it was installed.
    fn is_announcement(&self) -> bool {
        let (schema, name) = ANNOUNCE;
        (&*self.what, &*self.schema, &*self.name) == ("source", schema, name)
            && self.details.trim_end() == watch::announcement(Dialect::Postgres, schema, name).trim_end()
    }

    /// Whether it is that function or one of its triggers: what they write is of no concern to anybody else.
    fn only_announces(&self) -> bool {
        match &*self.what {
            "source" => (&*self.schema, &*self.name) == ANNOUNCE,
            "trigger" => (&*self.other_schema, &*self.other_name) == ANNOUNCE,
            _ => false,
        }
    }

    fn tell(&self, gate: &mut Gate) {
        let Self { schema, name, details, flags, other_schema, other_name, .. } = self;
        let (place, other) = ((&**schema, &**name), (&**other_schema, &**other_name));
        match &*self.what {
            "relation" => {
                let (kind, traits) = relation(schema, details);
                gate.see_relation(schema, name, kind, traits);
            }
            // It was dropped while it was looked at.
            "definition" if details.is_empty() => {}
            "definition" => gate.see_definition(place, query(format!("view {name}"), details)),
            "policy" => gate.see_policy(place, query(format!("policy {other_name} of {name}"), details)),
            // One that is temporary holds rows for its own session alone, which is seen by its temporary tables.
            "child" => gate.see_child(place, other),
            "cascade" => {
                let what = format!("foreign key {details}");
                if let Some(does) = action(flags.chars().next(), Verbs::DELETE) {
                    gate.see_cascade(place, other, what.clone(), Verbs::DELETE, does);
                }
                if let Some(does) = action(flags.chars().nth(1), Verbs::UPDATE) {
                    gate.see_cascade(place, other, what, Verbs::UPDATE, does);
                }
            }
            "trigger" => runs(gate, place, format!("trigger {details}"), fired_by(flags), &quoted(other_name)),
            "rule" if details.is_empty() => {
                let then = Then::Anything("is gone");
                gate.see_reaction(place, Reaction { on: Verbs::ALL, what: format!("rule {other_name}"), then });
            }
            "rule" => runs(gate, place, format!("rule {other_name}"), Verbs::ALL, details),
            "runs" => runs(gate, place, format!("function {other_name} in an expression"), Verbs::ALL, details),
            "function" => gate.see_function(name, class(details)),
            "source" => {
                // In SQL it would not be read either, where that is left out.
                let language = if other_schema == "sql" { Language::Sql } else { Language::PlPgSql };
                let callable = other_name == "called";
                gate.see_source(name, Source::new(Some(language), class(flags), code(details), callable));
            }
            "row_function" => gate.see_called_word(name),
            "operator" => {
                gate.see_operator(name, class(details));
                gate.see_operator_function(name, other_name);
            }
            "cast" => {
                gate.refuse_reads(Refusal::new(
                    Reason::UserCast,
                    format!(
                        "A user defined a cast from {schema} to {name} whose function is not declared immutable; it may \
                         run wherever such a value occurs. Declare the function IMMUTABLE if it is."
                    ),
                ));
                if details == "v" {
                    gate.widen_writes(format!("a cast from {schema} to {name} may run anything"));
                }
            }
            "domain" => gate.widen_writes(format!("the domain {name} calls a function that may write")),
            "elsewhere" => gate.distrust_witness(),
            _ => {}
        }
    }
}

/// A query that the server shows with all names in full, but those of its own.
fn query(what: String, text: &str) -> Definition {
    Definition::new(what, "pg_catalog", text.trim_end_matches(';'), Dialect::Postgres, SqlMode::default())
}

fn code(text: &str) -> Code {
    Code::new(text, Dialect::Postgres, SqlMode::default())
}

/// A name as a text writes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn runs(gate: &mut Gate, table: (&str, &str), what: String, on: Verbs, text: &str) {
    gate.see_reaction(table, Reaction { on, what, then: Then::Runs(code(text)) });
}

/// What a foreign key does to the rows that refer to one, of which `whole` is done to all of the row.
fn action(code: Option<char>, whole: Verbs) -> Option<Verbs> {
    match code {
        Some('c') => Some(whole),
        Some('n' | 'd') => Some(Verbs::UPDATE),
        _ => None,
    }
}

/// The verbs in the type of a trigger: see `pg_trigger.h`.
fn fired_by(tgtype: &str) -> Verbs {
    const BITS: [(u16, Verbs); 4] =
        [(1 << 2, Verbs::INSERT), (1 << 3, Verbs::DELETE), (1 << 4, Verbs::UPDATE), (1 << 5, Verbs::TRUNCATE)];
    let Ok(tgtype) = tgtype.parse::<u16>() else { return Verbs::ALL };
    BITS.iter().filter(|(bit, _)| tgtype & bit != 0).fold(Verbs::NONE, |verbs, (_, verb)| verbs | *verb)
}

struct Session {
    rows: Vec<(String, Option<String>)>,
}

impl Session {
    async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let rows = sqlx::raw_sql(include_str!("postgres_session.sql")).fetch_all(connection).await?;
        let mut rows = rows
            .into_iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<Vec<(String, Option<String>)>, sqlx::Error>>()?;
        for (what, value) in &mut rows {
            // Each session has another number, which says nothing about its answers.
            if what == "schema" && value.as_ref().is_some_and(|name| name.starts_with("pg_temp_")) {
                *value = Some("pg_temp".into());
            }
        }
        Ok(Self { rows })
    }

    fn text(&self) -> String {
        // Values are quoted, so that two sessions never read alike by what a value contains.
        self.rows.iter().map(|(what, value)| format!("{what}={value:?}\n")).collect()
    }

    fn value(&self, what: &str) -> &str {
        self.rows.iter().find(|(known, _)| known == what).and_then(|(_, value)| value.as_deref()).unwrap_or_default()
    }

    fn is(&self, what: &str) -> bool {
        self.value(what) == "true"
    }

    /// What is asked of the catalog of a server of this version.
    fn survey(&self) -> String {
        let survey = include_str!("postgres_survey.sql");
        match self.value("server_version_num").parse() {
            Ok(140_000_u32..) => survey.replace("/* sql body */ NULL", "pg_get_function_sqlbody(f.oid)"),
            _ => survey.to_owned(),
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.is("recovery") {
            return Some(Refusal::new(
                Reason::Replica,
                "The server is a replica, which may be behind the writes: cache over the primary.",
            ));
        }
        self.is("transaction")
            .then(|| Refusal::new(Reason::Transaction, "The session is in a transaction, and sees an old state."))
    }

    fn gate(&self) -> Gate {
        let schemas: Vec<String> =
            self.rows.iter().filter(|(what, _)| what == "schema").filter_map(|(_, value)| value.clone()).collect();
        // Types, functions and operators are never looked for in the temporary schema.
        let first = schemas.iter().find(|schema| *schema != "pg_temp").cloned();
        let mut gate = Gate::new(Dialect::Postgres, self.value("database"), schemas);
        if self.value("server_encoding") != "UTF8" {
            gate.trust_ascii_only();
        }
        if self.value("max_identifier_length") != LONGEST_NAME.to_string() {
            gate.refuse_reads(Refusal::new(
                Reason::NotUnderstood,
                format!("The server was built to cut names elsewhere than after {LONGEST_NAME} bytes."),
            ));
            gate.widen_writes("a");
        }
        if let Some(first) = first.filter(|first| first != "pg_catalog") {
            gate.refuse_reads(Refusal::new(
                Reason::UnknownType,
                format!(
                    "The search path looks into {first} before pg_catalog, so that the names of built-in types may mean \
                     others: take pg_catalog out of search_path, or put it first."
                ),
            ));
        }
        gate
    }
}

fn relation(schema: &str, details: &str) -> (Kind, Traits) {
    let (kind, traits) = details.split_at_checked(1).unwrap_or_default();
    let kind = match kind {
        "r" => Kind::Table,
        "v" => Kind::View,
        "m" => Kind::MaterializedView,
        "f" => Kind::Foreign,
        "p" => Kind::Partitioned,
        "S" => Kind::Sequence,
        _ => Kind::Other,
    };
    let traits = Traits {
        // No user can create a schema whose name begins like this.
        system: schema == "information_schema" || schema.starts_with("pg_") && schema != "pg_temp",
        temporary: traits.contains('t'),
        unusual_storage: traits.contains('a'),
        row_security: traits.contains('s'),
        reads_run_code: traits.contains('w'),
        time_of_day: traits.contains('d'),
        zoned_time_of_day: traits.contains('z'),
        ..Traits::default()
    };
    (kind, traits)
}

fn class(details: &str) -> Class {
    match details {
        "b" => Class::Vouched,
        "i" => Class::Immutable,
        "d" => Class::Declared,
        _ => Class::MayWrite,
    }
}
