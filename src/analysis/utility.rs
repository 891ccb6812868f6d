//! Statements that neither query nor define: settings, transactions, EXPLAIN, COPY, maintenance. A verb that is not known
//! here may do anything.

use super::facts::{Dialect, Kind, SessionEffect, TransactionControl, Writes};
use super::fold::chain;
use super::guess;
use super::lexer::Token;
use super::statement::{self, PARSED, Statement, everything, transaction};
use super::verbs::Verbs;
use super::verdict::Findings;
use crate::reason::Reason;

/// Looks at a statement that begins with `verb`.
pub(super) fn analyse(verb: &str, statement: Statement<'_>) -> Findings {
    use Dialect::{MySql, Postgres, Sqlite};
    let dialect = statement.dialect;
    let next = |words: &[&str]| statement.word_at(1, words);
    match (verb, dialect) {
        ("explain", _) | ("describe" | "desc", MySql) => explain(statement),
        ("analyze" | "check" | "optimize" | "repair", MySql) if maintained(statement).is_some() => maintain(statement),
        ("analyze", MySql) => explain(statement),
        ("set", MySql) if next(&["statement"]) => set_for(statement),
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
        // An expression in it runs now, whatever the statement does otherwise.
        ("prepare" | "deallocate" | "show" | "kill" | "checksum", MySql)
            if guess::calls_unknown(statement.tokens, dialect) =>
        {
            Findings::opaque(Kind::Write, "It calls a function that is not known.")
        }
        // It is analysed when it is executed, which counts as opaque.
        ("prepare" | "deallocate", Postgres | MySql) => Findings::new(Kind::Other),
        ("fetch" | "move" | "close" | "listen" | "unlisten" | "notify" | "checkpoint" | "reindex", Postgres)
        | ("analyze" | "analyse", Postgres)
        | ("show", Postgres | MySql)
        | ("analyze" | "reindex", Sqlite)
        | ("lock", Postgres)
        | ("checksum" | "kill" | "help", MySql) => Findings::new(Kind::Other),
        ("lock" | "unlock", MySql) => {
            let mut found = session(SessionEffect::Changes);
            found.transaction = Some(TransactionControl::End);
            found
        }
        ("flush", MySql) => {
            // Some of it locks tables as well.
            let mut found = session(SessionEffect::MayChange);
            found.transaction = Some(TransactionControl::End);
            found
        }
        ("vacuum", Postgres) if !statement.has(&["full"]) => Findings::new(Kind::Other),
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

/// Where the tables of `ANALYZE TABLE t` and the like begin.
fn maintained(statement: Statement<'_>) -> Option<usize> {
    let at = if statement.word_at(1, &["local", "no_write_to_binlog"]) { 2 } else { 1 };
    statement.word_at(at, &["table", "tables", "view"]).then_some(at + 1)
}

/// Maintenance of tables, which commits what was open.
fn maintain(statement: Statement<'_>) -> Findings {
    let mut found = match statement.word_at(0, &["analyze", "check"]) {
        true => Findings::new(Kind::Other),
        false => everything(false),
    };
    found.transaction = Some(TransactionControl::End);
    found
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
    let runs = options.has(RUNS);
    if statement.dialect == Dialect::MySql && !runs {
        return mysql_explain(statement, start);
    }
    if statement.dialect == Dialect::Sqlite || !runs {
        return Findings::new(Kind::Other);
    }
    match start {
        // The brackets that open a query belong to it.
        Some(start) => {
            let opening = options.tokens.iter().rev().take_while(|token| token.is("(")).count();
            inner(statement, Some(start - opening))
        }
        None => Findings::opaque(Kind::Write, "The statement that it runs could not be found."),
    }
}

/// MySQL runs functions that it takes for constant, and subqueries, to see how many rows there are.
fn mysql_explain(statement: Statement<'_>, start: Option<usize>) -> Findings {
    if guess::calls_unknown(statement.tokens, statement.dialect) {
        return Findings::opaque(Kind::Write, "It calls a function that is not known.");
    }
    let mut found = Findings::new(Kind::Other);
    // The body of a view may call one.
    if let Some(start) = start {
        found.reads = statement::within(statement.from(start)).reads;
    }
    found
}

/// `SET STATEMENT max_statement_time = 1 FOR SELECT ...`: the settings hold for one statement, which runs.
fn set_for(statement: Statement<'_>) -> Findings {
    // What it runs may be read in the mode that is set.
    const MODES: &[&str] = &["sql_mode", "character_set_client"];
    let hides = |token: &Token<'_>| token.is("(") || MODES.iter().any(|mode| names(token, mode));
    match statement.find(&["for"]) {
        Some(at) if !statement.part(0, at).tokens.iter().any(hides) => inner(statement, Some(at + 1)),
        _ => Findings::opaque(Kind::Write, "The statement that it runs could not be found."),
    }
}

/// Whether a token names a setting, quoted or with `@@` or as it is.
fn names(token: &Token<'_>, setting: &str) -> bool {
    token.text.split(['.', '@', '`', '"']).any(|word| word.eq_ignore_ascii_case(setting))
}

fn set(statement: Statement<'_>) -> Findings {
    let mut found = session(SessionEffect::Changes);
    if statement.dialect == Dialect::MySql {
        if statement.tokens.iter().any(|token| names(token, "autocommit")) {
            found.transaction = Some(TransactionControl::Begin);
        }
        if statement.word_at(1, &["password", "default"]) {
            found.transaction = Some(TransactionControl::End);
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
            found.write_by(name, Verbs::INSERT);
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
