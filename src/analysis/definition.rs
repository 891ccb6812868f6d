//! Statements that define or empty tables. Their grammar is wide and their tables are few, so the tables are found by the
//! words before them.

use super::facts::{Dialect, Kind, SessionEffect, TransactionControl, Writes};
use super::fold::chain;
use super::lexer::Token;
use super::statement::{self, Statement, everything};
use super::verdict::Findings;

/// Looks at a statement that begins with `verb`.
pub(super) fn analyse(verb: &str, statement: Statement<'_>) -> Findings {
    let mut found = match verb {
        "create" => create(statement),
        "drop" => drop(statement),
        "alter" => alter(statement),
        "rename" if statement.dialect == Dialect::MySql && statement.word_at(1, &["table", "tables"]) => {
            let mut found = definition();
            list(statement, 2, &mut found, &["to"]);
            found
        }
        "truncate" => truncate(statement),
        "refresh" if statement.word_at(1, &["materialized"]) => {
            let mut found = Findings::new(Kind::Write);
            write_at(statement, if statement.word_at(3, &["concurrently"]) { 4 } else { 3 }, &mut found);
            found
        }
        "cluster" if statement.dialect == Dialect::Postgres && statement.tokens.len() > 1 => {
            let mut found = Findings::new(Kind::Write);
            // `CLUSTER t USING i`, `CLUSTER i ON t`, `CLUSTER (VERBOSE) t`.
            let table =
                statement.find(&["on"]).map_or(if statement.word_at(1, &["verbose"]) { 2 } else { 1 }, |on| on + 1);
            write_at(statement, table, &mut found);
            found
        }
        "comment" if statement.dialect == Dialect::Postgres => Findings::new(Kind::Other),
        _ => everything(true),
    };
    // It commits what was open, unless it is about a temporary table.
    let kind = skip(statement, 1, &["or", "replace"]);
    let temporary = statement.word_at(kind, &["temporary"]) && statement.word_at(kind + 1, &["table", "tables"]);
    if statement.dialect == Dialect::MySql && !temporary {
        found.transaction = Some(TransactionControl::End);
    }
    found
}

fn definition() -> Findings {
    let mut found = Findings::new(Kind::Write);
    found.schema_change = true;
    found
}

/// Notes the table whose name begins at `at`; every table if there is none.
fn write_at(statement: Statement<'_>, at: usize, found: &mut Findings) -> usize {
    match chain(statement.tokens, at, statement.dialect) {
        Some((name, end)) => {
            found.write(name);
            end
        }
        None => {
            found.unknown = true;
            found.writes = Writes::Everything;
            at + 1
        }
    }
}

/// Skips `IF [NOT] EXISTS` and the like.
fn skip(statement: Statement<'_>, mut at: usize, words: &[&str]) -> usize {
    while statement.word_at(at, words) {
        at += 1;
    }
    at
}

/// Notes the tables of a list that begins at `at`; `separators` may stand between them besides a comma.
fn list(statement: Statement<'_>, at: usize, found: &mut Findings, separators: &[&str]) -> usize {
    let mut at = skip(statement, at, &["if", "exists", "only"]);
    loop {
        at = write_at(statement, at, found);
        if statement.token(at).is_some_and(|token| token.is("*")) {
            at += 1;
        }
        let goes_on = statement.token(at).is_some_and(|token| token.is(",") || token.is_any(separators));
        if !goes_on {
            return at;
        }
        at = skip(statement, at + 1, &["only"]);
    }
}

/// Notes the tables that follow one of `words`.
fn named_after(statement: Statement<'_>, words: &[&str], found: &mut Findings) {
    for (at, token) in statement.tokens.iter().enumerate() {
        if token.is_any(words)
            && let Some((name, _)) = chain(statement.tokens, at + 1, statement.dialect)
        {
            found.write(name);
        }
    }
}

fn create(statement: Statement<'_>) -> Findings {
    const MODIFIERS: &[&str] = &[
        "or",
        "replace",
        "global",
        "local",
        "temp",
        "temporary",
        "unlogged",
        "unique",
        "fulltext",
        "spatial",
        "virtual",
        "materialized",
        "online",
        "offline",
        "recursive",
    ];
    let object = skip(statement, 1, MODIFIERS);
    let name = skip(statement, object + 1, &["if", "not", "exists", "concurrently"]);
    let modified = statement.part(1, object);
    let mut found = definition();
    if modified.has(&["temp", "temporary"]) {
        found.session(SessionEffect::Changes);
    }
    let materialized = modified.has(&["materialized"]);
    if statement.word_at(object, &["table"]) || (statement.word_at(object, &["view"]) && materialized) {
        let end = write_at(statement, name, &mut found);
        named_after(statement.from(end), &["references", "like", "of"], &mut found);
        if let Some(inherits) = statement.find(&["inherits"]) {
            list(statement, inherits + 2, &mut found, &[]);
        }
        if let Some(query) = query_of(statement.from(end)) {
            let inner = statement::within(query);
            found.merge(inner);
            found.kind = Kind::Write;
        } else if statement.has(&["execute", "select"]) {
            found.merge(Findings::opaque(Kind::Write, "The query behind the new table could not be told."));
        }
        return found;
    }
    if statement.word_at(object, &["view"]) {
        write_at(statement, name, &mut found);
        return found;
    }
    if statement.word_at(object, &["index"]) {
        return match statement.find(&["on"]) {
            Some(on) => {
                write_at(statement, skip(statement, on + 1, &["only"]), &mut found);
                found
            }
            None => everything(true),
        };
    }
    let mut found = everything(true);
    if modified.has(&["temp", "temporary"]) {
        found.session(SessionEffect::Changes);
    }
    found
}

/// The query in `CREATE TABLE t [AS] SELECT ...`.
fn query_of(rest: Statement<'_>) -> Option<Statement<'_>> {
    let begins_query = |at: usize| {
        let opening = rest.tokens.iter().skip(at).take_while(|token| token.is("(")).count();
        rest.word_at(at + opening, &["select", "with", "values", "table"])
    };
    let after_as = rest
        .tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.is_word("as"))
        .map(|(at, _)| at + 1)
        .find(|&at| begins_query(at));
    let start = after_as.or_else(|| rest.find(&["select"]).filter(|_| rest.dialect == Dialect::MySql))?;
    // What follows the query in Postgres is no part of it.
    let no_data = rest
        .tokens
        .len()
        .checked_sub(2)
        .filter(|&at| rest.word_at(at, &["with", "no"]) && rest.word_at(at + 1, &["data"]));
    let end = match no_data {
        Some(at) if rest.word_at(at, &["no"]) => at.saturating_sub(1),
        Some(at) => at,
        None => rest.tokens.len(),
    };
    Some(rest.part(start, end))
}

fn drop(statement: Statement<'_>) -> Findings {
    let object = skip(statement, 1, &["temporary", "temp"]);
    if statement.word_at(object, &["table", "tables"]) {
        let mut found = definition();
        if object > 1 {
            found.session(SessionEffect::Changes);
        }
        list(statement, object + 1, &mut found, &[]);
        if statement.has(&["cascade"]) {
            found.unknown = true;
            found.writes = Writes::Everything;
        }
        return found;
    }
    if statement.word_at(object, &["index"])
        && statement.dialect == Dialect::MySql
        && let Some(on) = statement.find(&["on"])
    {
        let mut found = definition();
        write_at(statement, on + 1, &mut found);
        return found;
    }
    everything(true)
}

fn alter(statement: Statement<'_>) -> Findings {
    let object = skip(statement, 1, &["online", "offline", "ignore", "foreign"]);
    if !statement.word_at(object, &["table"]) || statement.word_at(object + 1, &["all"]) {
        return everything(true);
    }
    let mut found = definition();
    let name = skip(statement, object + 1, &["if", "exists", "only"]);
    let end = write_at(statement, name, &mut found);
    let rest = statement.from(end);
    named_after(rest, &["references", "inherit"], &mut found);
    for (at, token) in rest.tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| rest.token(at));
        let is_named = |words: &[&str]| before.is_some_and(|before: &Token<'_>| before.is_any(words));
        let renames = rest.dialect == Dialect::MySql
            && token.is_word("rename")
            && !rest.word_at(at + 1, &["to", "as", "column", "index", "key"]);
        // RENAME [TO] new, ATTACH PARTITION part, EXCHANGE PARTITION p WITH TABLE other.
        let named = renames
            || (token.is_any(&["to", "as"]) && is_named(&["rename"]))
            || (token.is_word("partition") && is_named(&["attach", "detach"]))
            || (token.is_word("table") && is_named(&["with"]));
        if named && let Some((name, _)) = chain(rest.tokens, at + 1, rest.dialect) {
            found.write(name);
        }
    }
    found
}

fn truncate(statement: Statement<'_>) -> Findings {
    let mut found = Findings::new(Kind::Write);
    let first = skip(statement, 1, &["table"]);
    list(statement, first, &mut found, &[]);
    if statement.has(&["cascade"]) {
        found.writes = Writes::Everything;
    }
    found
}
