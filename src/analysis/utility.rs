//! Statements that neither query nor define: settings, transactions, EXPLAIN, COPY, maintenance. A verb that is not known
//! here may do anything.

use super::facts::{Dialect, Kind, SessionEffect, TransactionControl, Writes};
use super::fold::chain;
use super::guess;
use super::statement::{self, PARSED, Statement, everything, transaction};
use super::verdict::Findings;
use crate::reason::Reason;

/// Looks at a statement that begins with `verb`.
pub(super) fn analyse(verb: &str, statement: Statement<'_>) -> Findings {
    use Dialect::{MySql, Postgres, Sqlite};
    let dialect = statement.dialect;
    let next = |words: &[&str]| statement.word_at(1, words);
    match (verb, dialect) {
        ("explain", _) | ("describe" | "desc", MySql) => explain(statement),
        ("analyze", MySql) if statement.has(&["select", "insert", "update", "delete", "replace", "with"]) => {
            explain(statement)
        }
        ("set", Postgres | MySql) => set(statement),
        ("reset" | "discard", Postgres) | ("use", MySql) | ("attach" | "detach", Sqlite) | ("load", Postgres) => {
            session(SessionEffect::Changes)
        }

        ("begin", MySql) if next(&["not"]) => Findings::opaque(Kind::Write, "It is a block of statements."),
        ("begin", _) => transaction(TransactionControl::Begin),
        ("start", Postgres | MySql) if next(&["transaction"]) => transaction(TransactionControl::Begin),
        ("commit", Postgres) if next(&["prepared"]) => {
            let mut found = everything(false);
            found.merge(transaction(TransactionControl::TwoPhase));
            found
        }
        ("rollback", Postgres) if next(&["prepared"]) => transaction(TransactionControl::TwoPhase),
        ("prepare", Postgres) if next(&["transaction"]) => transaction(TransactionControl::TwoPhase),
        ("xa", MySql) => {
            let mut found = if next(&["commit"]) { everything(false) } else { Findings::new(Kind::Other) };
            found.merge(transaction(TransactionControl::TwoPhase));
            found
        }
        ("rollback", _) if statement.has(&["to"]) => transaction(TransactionControl::Savepoint),
        ("commit" | "rollback", _) | ("end", Postgres | Sqlite) | ("abort", Postgres) => {
            transaction(TransactionControl::End)
        }
        ("savepoint" | "release", _) => transaction(TransactionControl::Savepoint),

        ("copy", Postgres) => copy(statement),
        ("declare", Postgres) => inner(statement, statement.find(&["for"]).map(|at| at + 1)),
        // It is analysed when it is executed, which counts as opaque.
        ("prepare" | "deallocate", Postgres | MySql) => Findings::new(Kind::Other),
        ("fetch" | "move" | "close" | "listen" | "unlisten" | "notify" | "checkpoint" | "reindex", Postgres)
        | ("analyze" | "analyse" | "show", Postgres | MySql)
        | ("analyze" | "reindex", Sqlite)
        | ("lock", Postgres)
        | ("check" | "checksum" | "flush" | "kill" | "help", MySql) => Findings::new(Kind::Other),
        ("lock" | "unlock", MySql) => {
            let mut found = session(SessionEffect::Changes);
            found.transaction = Some(TransactionControl::End);
            found
        }
        ("vacuum", Postgres) if !statement.has(&["full"]) => Findings::new(Kind::Other),
        ("optimize" | "repair", MySql) => match statement.find(&["table", "tables"]) {
            Some(at) => table(statement, at + 1),
            None => everything(false),
        },
        ("load", MySql) => load(statement),
        ("pragma", Sqlite) => pragma(statement),
        ("vacuum", _) => everything(false),
        ("grant" | "revoke" | "reassign" | "security" | "import", _) => everything(true),
        ("call" | "do" | "execute" | "handler", _) => {
            Findings::opaque(Kind::Write, format!("{} runs what the text does not show.", verb.to_uppercase()))
        }
        _ => Findings::opaque(Kind::Write, "It begins with no word that is known."),
    }
}

fn session(effect: SessionEffect) -> Findings {
    let mut found = Findings::new(Kind::Other);
    found.session(effect);
    found
}

/// Writes the table whose name begins at a token.
fn table(statement: Statement<'_>, at: usize) -> Findings {
    let mut found = Findings::new(Kind::Write);
    match chain(statement.tokens, at, statement.dialect) {
        Some((name, _)) => found.write(name),
        None => return everything(false),
    }
    found
}

/// A statement within the statement, which returns no rows of its own.
fn inner(statement: Statement<'_>, at: Option<usize>) -> Findings {
    let Some(at) = at else {
        return Findings::opaque(Kind::Write, "The statement within could not be found.");
    };
    let mut found = statement::within(statement.from(at));
    if found.kind == Kind::Read {
        found.kind = Kind::Other;
    }
    found
}

/// EXPLAIN looks at nothing but the plan, unless it is told to ANALYZE: then the statement runs.
fn explain(statement: Statement<'_>) -> Findings {
    const RUNS: &[&str] = &["analyze", "analyse"];
    const RUNNABLE: &[&str] = &["execute", "declare", "create", "refresh"];
    let start = statement.tokens.iter().position(|token| token.is_any(PARSED) || token.is_any(RUNNABLE));
    let options = statement.part(0, start.unwrap_or(statement.tokens.len()));
    if statement.dialect == Dialect::Sqlite || !options.has(RUNS) {
        return Findings::new(Kind::Other);
    }
    match start {
        // The brackets that open a query belong to it.
        Some(start) => {
            let opening = options.tokens.iter().rev().take_while(|token| token.is("(")).count();
            inner(statement, Some(start - opening))
        }
        None if statement.tokens.first().is_some_and(|token| token.is_word("explain")) => {
            Findings::opaque(Kind::Write, "The statement that it runs could not be found.")
        }
        None => Findings::new(Kind::Other),
    }
}

fn set(statement: Statement<'_>) -> Findings {
    let mut found = session(SessionEffect::Changes);
    if statement.dialect == Dialect::MySql {
        let names_autocommit =
            |text: &str| text.rsplit(['.', '@']).next().is_some_and(|last| last.eq_ignore_ascii_case("autocommit"));
        if statement.tokens.iter().any(|token| names_autocommit(token.text.trim_matches('`'))) {
            found.transaction = Some(TransactionControl::Begin);
        }
        if statement.has(PARSED) {
            found.not_understood("It sets a variable from a query.");
            guess::names(statement.tokens, statement.dialect).into_iter().for_each(|(name, _)| found.read(name));
        }
        if guess::calls_unknown(statement.tokens, statement.dialect) {
            found.unknown = true;
            found.writes = Writes::Everything;
        }
    }
    found
}

fn copy(statement: Statement<'_>) -> Findings {
    if statement.token(1).is_some_and(|token| token.is("(")) {
        // `COPY (query) TO ...`: the query ends with the bracket.
        let mut depth = 0_usize;
        let close = statement.tokens.iter().position(|token| {
            if token.is("(") {
                depth += 1;
            } else if token.is(")") {
                depth = depth.saturating_sub(1);
            }
            depth == 0 && token.is(")")
        });
        let Some(close) = close else {
            return Findings::opaque(Kind::Write, "The query of the COPY could not be told.");
        };
        let mut found = statement::within(statement.part(2, close));
        found.refuse(Reason::NotARead, "COPY sends its rows in a form of its own.");
        if statement.from(close).has(&["program"]) {
            found.writes = Writes::Everything;
        }
        return found;
    }
    let start = if statement.word_at(1, &["binary"]) { 2 } else { 1 };
    let Some((name, end)) = chain(statement.tokens, start, statement.dialect) else {
        return Findings::opaque(Kind::Write, "The table of the COPY could not be told.");
    };
    let rest = statement.from(end);
    let direction = rest.tokens.iter().find(|token| token.is_any(&["from", "to"]));
    match direction {
        Some(token) if token.is_word("to") => {
            let mut found = Findings::new(Kind::Read);
            found.read(name);
            found.refuse(Reason::NotARead, "COPY sends its rows in a form of its own.");
            if rest.has(&["program"]) {
                found.writes = Writes::Everything;
            }
            found
        }
        Some(_) => {
            let mut found = Findings::new(Kind::Write);
            found.write(name);
            found
        }
        None => Findings::opaque(Kind::Write, "The direction of the COPY could not be told."),
    }
}

/// `LOAD DATA ... INTO TABLE t`.
fn load(statement: Statement<'_>) -> Findings {
    let into = statement
        .tokens
        .windows(2)
        .position(|pair| pair.iter().zip(["into", "table"]).all(|(token, word)| token.is_word(word)));
    match into {
        Some(at) if !statement.has(&["select"]) && !guess::calls_unknown(statement.tokens, statement.dialect) => {
            table(statement, at + 2)
        }
        _ => everything(false),
    }
}

fn pragma(statement: Statement<'_>) -> Findings {
    const ASKING: &[&str] = &[
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "integrity_check",
        "quick_check",
        "wal_checkpoint",
        "optimize",
        "incremental_vacuum",
    ];
    if statement.has(&["writable_schema", "schema_version"]) {
        let mut found = everything(true);
        found.session(SessionEffect::Changes);
        return found;
    }
    let asks = !statement.tokens.iter().any(|token| token.is("=") || token.is("(")) || statement.has(ASKING);
    session(if asks { SessionEffect::Keeps } else { SessionEffect::Changes })
}
