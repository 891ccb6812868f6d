//! Promises of the gate, on data made by hand and on real databases.

mod gate;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_names;
#[cfg(feature = "postgres")]
mod postgres_session;
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[allow(clippy::duplicate_mod, reason = "each room's tests load it for themselves: no room may use another's tests")]
#[path = "../../../tests/it/servers/mod.rs"]
mod servers;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::BTreeSet;

use super::{Gate, Reading, Table, Widened};
use crate::analysis::{Facts, Fingerprint, Kind, Mentions, Name, Outcome, SessionEffect, Verbs, Writes};
use crate::reason::{Reason, Refusal};

/// The name that these words make, split at the dots; a word in quotes keeps its dots.
fn name(text: &str) -> Name {
    match text.strip_prefix('"') {
        Some(quoted) => Name::new([quoted.trim_end_matches('"')]),
        None => Name::new(text.split('.')),
    }
}

fn names(texts: &[&str]) -> BTreeSet<Name> {
    texts.iter().map(|text| name(text)).collect()
}

fn words(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A read of these relations that the text has no objection to.
fn read(relations: &[&str]) -> Facts {
    Facts {
        kind: Kind::Read,
        outcome: Outcome::Known,
        reads: names(relations),
        writes: Writes::Nothing,
        session: SessionEffect::Keeps,
        transaction: None,
        schema_change: false,
        clock_by_argument: false,
        unnamed_columns: false,
        meets_unnamed: false,
        mentions: Mentions::default(),
        refusals: Vec::new(),
        normal_form: String::new(),
        fingerprint: Fingerprint(0),
    }
}

/// A write to these relations.
fn write(relations: &[&str]) -> Facts {
    Facts {
        kind: Kind::Write,
        writes: Writes::Tables(names(relations).into_iter().map(|name| (name, Verbs::ALL)).collect()),
        ..read(&[])
    }
}

fn with_functions(facts: Facts, functions: &[&str]) -> Facts {
    Facts { mentions: Mentions { functions: words(functions), ..facts.mentions }, ..facts }
}

fn with_operators(facts: Facts, operators: &[&str]) -> Facts {
    Facts { mentions: Mentions { operators: words(operators), ..facts.mentions }, ..facts }
}

fn with_identifiers(facts: Facts, identifiers: &[&str]) -> Facts {
    Facts { mentions: Mentions { identifiers: words(identifiers), ..facts.mentions }, ..facts }
}

/// A read that is opaque because it calls functions unknown to the text.
fn calling_unknown(functions: &[&str]) -> Facts {
    Facts {
        session: SessionEffect::MayChange,
        writes: Writes::Everything,
        refusals: vec![Refusal::new(Reason::UnknownFunction, "Not known.")],
        ..with_functions(read(&["t"]), functions)
    }
}

/// These tables, and no code.
fn only(names: &[&str]) -> Widened {
    Widened::Tables { tables: tables(names), runs_code: false }
}

/// The tables that a read rests on.
fn behind(reading: Result<Reading, Refusal>) -> Result<Vec<Table>, Refusal> {
    reading.map(|reading| reading.tables.into_keys().collect())
}

/// These tables, and code.
fn with_code(names: &[&str]) -> Widened {
    Widened::Tables { tables: tables(names), runs_code: true }
}

fn tables(names: &[&str]) -> Vec<Table> {
    names.iter().map(|name| Table((*name).into())).collect()
}

#[cfg(feature = "postgres")]
async fn connect(url: &str) -> sqlx::PgConnection {
    <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap()
}

/// A connection to a fresh database in which `sql` was run.
#[cfg(feature = "postgres")]
async fn database(sql: &'static str) -> sqlx::PgConnection {
    let mut connection = connect(&servers::postgres()).await;
    sqlx::Executor::execute(&mut connection, sql).await.unwrap();
    connection
}

#[cfg(feature = "postgres")]
async fn look(connection: &mut sqlx::PgConnection) -> super::Survey {
    super::postgres::survey(connection).await.unwrap()
}

/// The tables behind a read of these relations, or why it is refused.
fn reading(gate: &Gate, relations: &[&str]) -> Result<Vec<String>, Reason> {
    match gate.reads(&read(relations)) {
        Ok(reading) => Ok(reading.tables.into_keys().map(|table| table.0.to_string()).collect()),
        Err(refusal) => {
            assert!(refusal.sentence.ends_with('.'), "{refusal}");
            Err(refusal.reason)
        }
    }
}

/// Asserts that a write to this relation invalidates it alone.
fn assert_writes_itself(gate: &Gate, relation: &str, table: &str) {
    assert_eq!(gate.writes(&write(&[relation])), Some(only(&[table])), "{relation}");
}

fn assert_widens(gate: &Gate, relation: &str) {
    assert_eq!(gate.writes(&write(&[relation])), Some(Widened::Everything(Reason::WidensUnknown)), "{relation}");
}
