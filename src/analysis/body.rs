//! Code that a database keeps: the bodies of functions and triggers, the queries behind views.
//!
//! In: its text and its language. Out: what it mentions, which is a superset of what it may write; or its statements, if each of
//! them can be told, for those that only read.

use std::collections::BTreeSet;

use super::facts::{Dialect, Facts, Kind, SessionEffect, Writes};
use super::fold::{chain, fold_token};
use super::guess;
use super::lexer::{self, Token, TokenKind};
use super::mode::SqlMode;
use super::name::Name;
#[cfg(feature = "sqlite")]
use super::verbs::Verbs;
use crate::reason::{Reason, Refusal};

/// What a body of code mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Every identifier, folded, each part of a qualified name on its own; key words among them.
    pub identifiers: BTreeSet<String>,
    /// The names that stand where those of tables do, and perhaps others.
    pub tables: BTreeSet<Name>,
    /// The routines that it calls, but those that are known to be built in; and perhaps other names.
    pub calls: BTreeSet<String>,
    /// Why it may do anything, whatever it mentions.
    pub opaque: Option<&'static str>,
}

/// The language of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Statements of SQL; in MySQL what stands in a routine.
    Sql,
    /// PL/pgSQL.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "no other database has it"))]
    PlPgSql,
}

/// Words of statements that run a text, change the schema or rights, or write what they do not name.
const OPAQUE: &[&str] = &[
    "alter", "attach", "cluster", "create", "detach", "do", "drop", "execute", "grant", "handler", "import", "load",
    "prepare", "reassign", "refresh", "rename", "revoke", "security", "vacuum", "xa",
];

/// Of those, what is an ordinary word in a dialect: `INSTEAD OF .. DO`, `ON CONFLICT DO UPDATE`, a loop's `DO`.
const HARMLESS_BEFORE: &[&str] = &["update", "nothing", "also", "instead"];

/// What a body mentions: all tables that it may write, and all functions and procedures that it may call, are among its identifiers,
/// unless it is opaque.
pub(crate) fn mentioned(text: &str, dialect: Dialect, mode: SqlMode) -> Body {
    const BEFORE_TABLE: &[&str] =
        &["from", "ignore", "into", "join", "only", "replace", "straight_join", "table", "truncate", "update", "using"];
    const BEFORE_INTO: &[&str] = &["delayed", "high_priority", "ignore", "insert", "low_priority", "merge", "replace"];
    let Some(spelled) = mode.respell(text) else {
        return Body { opaque: Some("is written for another sql_mode"), ..Body::default() };
    };
    let tokens = lexer::tokens(&spelled, dialect);
    let tokens: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_blank()).collect();
    let (mut body, mut procedures) = (Body::default(), BTreeSet::new());
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        if matches!(token.kind, TokenKind::Broken | TokenKind::Executable) {
            body.opaque.get_or_insert("cannot be read");
        }
        if is_opaque(token, before, tokens.get(at + 1), dialect) {
            body.opaque.get_or_insert("may run a text, or change the schema");
        }
        if token.is_identifier() {
            body.identifiers.insert(fold_token(token, dialect));
        }
        let follows = |words: &[&str]| before.is_some_and(|before| before.is_any(words));
        // `SELECT .. INTO variable`, `ON DUPLICATE KEY UPDATE column`.
        let other = (token.is_word("into") && !follows(BEFORE_INTO))
            || (token.is_word("update") && follows(&["key", "do", "for", "on"]));
        if token.is_word("call")
            && let Some((name, _)) = chain(&tokens, at + 1, dialect)
        {
            procedures.extend(name.parts().last().cloned());
        }
        if token.is_any(BEFORE_TABLE)
            && !other
            && let Some((name, _)) = chain(&tokens, at + 1, dialect)
        {
            body.tables.insert(name);
        }
    }
    let tables: BTreeSet<&String> = body.tables.iter().filter_map(|name| name.parts().last()).collect();
    // Words of MySQL's blocks that may stand before a bracket.
    const SYNTAX: &[&str] = &["elseif", "return", "until", "while"];
    let called = guess::unknown_calls(&tokens, dialect).filter_map(|name| name.parts().last().cloned());
    let is_call = |name: &String| !tables.contains(name) && !SYNTAX.contains(&&*name.to_ascii_lowercase());
    body.calls = called.filter(is_call).chain(procedures).collect();
    body
}

fn is_opaque(token: &Token<'_>, before: Option<&Token<'_>>, after: Option<&Token<'_>>, dialect: Dialect) -> bool {
    if token.kind != TokenKind::Word || !token.is_any(OPAQUE) || before.is_some_and(|before| before.is(".")) {
        return false;
    }
    // In MySQL and SQLite code is no text: there a block after DO, or an expression.
    let loops =
        token.is_word("do") && (dialect != Dialect::Postgres || after.is_some_and(|a| a.is_any(HARMLESS_BEFORE)));
    // A rule's `DO INSERT` and the like.
    let ruled =
        token.is_word("do") && after.is_some_and(|a| a.is_any(&["insert", "delete", "notify", "select"]) || a.is("("));
    !(loops || ruled)
}

/// The statements that a body runs, each a read to which its text has no objection but that it does not know a function, or why
/// that cannot be told. All that the body evaluates is in one of them.
pub(crate) fn reads_of(text: &str, language: Language, dialect: Dialect, mode: SqlMode) -> Result<Vec<Facts>, Refusal> {
    let refuse = |why: &str| Err(Refusal::new(Reason::UserFunction, why));
    if language != Language::Sql {
        return refuse(
            "it is in PL/pgSQL, of which only what it may write is read: a function in SQL would be followed.",
        );
    }
    let Some(spelled) = mode.respell(text) else { return refuse("it is written for another sql_mode.") };
    let all = lexer::tokens(&spelled, dialect);
    let tokens: Vec<Token<'_>> = all.into_iter().filter(|token| !token.is_blank()).collect();
    let mut statements = Vec::new();
    for piece in tokens.split(|token| token.is(";")) {
        let rest = match piece {
            [] => continue,
            [first, rest @ ..] if first.is_word("return") => {
                statements.push(format!("SELECT {}", text_of(&spelled, rest)));
                continue;
            }
            [begin, atomic, rest @ ..] if begin.is_word("begin") && atomic.is_word("atomic") => rest,
            [end] if end.is_word("end") => continue,
            piece => piece,
        };
        statements.push(text_of(&spelled, rest).to_owned());
    }
    let facts: Vec<Facts> = statements.iter().map(|sql| super::analyze_in(sql, dialect, mode)).collect();
    for facts in &facts {
        let objection = facts
            .refusals
            .iter()
            .find(|refusal| refusal.reason != Reason::NoTables && !refusal.reason.is_left_to_the_catalog())
            .map(|refusal| refusal.sentence.as_str());
        let calls = !facts.mentions.unknown.is_empty();
        match objection {
            Some(sentence) => return refuse(sentence),
            None if facts.kind != Kind::Read => return refuse("it does more than to read."),
            None if facts.clock_by_argument => {
                return refuse("it makes a date of an argument, which may be the text 'now'.");
            }
            None if !calls && (facts.writes != Writes::Nothing || facts.session != SessionEffect::Keeps) => {
                return refuse("it may do more than to read.");
            }
            None => {}
        }
    }
    Ok(facts)
}

/// The text from the first of these tokens to the last.
fn text_of<'t>(text: &'t str, tokens: &[Token<'t>]) -> &'t str {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return "" };
    let start = (first.text.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let end = (last.text.as_ptr() as usize).saturating_sub(text.as_ptr() as usize) + last.text.len();
    text.get(start..end).unwrap_or_default()
}

/// The verbs that set off the trigger in `CREATE TRIGGER t .. ON table .. BEGIN .. END` of SQLite, and what it runs.
#[cfg(feature = "sqlite")]
pub(crate) fn trigger_of(sql: &str, dialect: Dialect) -> Option<(Verbs, &str)> {
    let tokens = lexer::tokens(sql, dialect);
    let tokens: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_blank()).collect();
    let name = tokens.iter().position(|token| token.is_word("trigger"))? + 1;
    // `IF NOT EXISTS` is left out of the text that is kept. Of the name may come two parts.
    let mut at = match (chain(&tokens, name, dialect), tokens.get(name)?.kind) {
        (Some((_, end)), _) => end,
        (None, TokenKind::Text) => name + 1,
        (None, _) => return None,
    };
    while tokens.get(at)?.is_any(&["before", "after", "instead", "of"]) {
        at += 1;
    }
    let verbs = match tokens.get(at)? {
        verb if verb.is_word("insert") => Verbs::INSERT,
        verb if verb.is_word("update") => Verbs::UPDATE,
        verb if verb.is_word("delete") => Verbs::DELETE,
        _ => return None,
    };
    let on = at + tokens.get(at..)?.iter().position(|token| token.is_word("on"))?;
    let body = match (chain(&tokens, on + 1, dialect), tokens.get(on + 1)?.kind) {
        (Some((_, end)), _) => end,
        (None, TokenKind::Text) => on + 2,
        (None, _) => return None,
    };
    // The condition runs as well.
    Some((verbs, text_of(sql, tokens.get(body..)?)))
}

/// The query in `CREATE VIEW v AS query`.
#[cfg(feature = "sqlite")]
pub(crate) fn query_of_view(sql: &str, dialect: Dialect) -> Option<String> {
    let tokens = lexer::tokens(sql, dialect);
    let tokens: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_blank()).collect();
    let view = tokens.iter().position(|token| token.is_word("view"))?;
    let mut at = view + 1;
    while tokens.get(at).is_some_and(|token| token.is_any(&["if", "not", "exists"])) {
        at += 1;
    }
    // Of a name that is none, such as a text, nothing is known.
    at = match (chain(&tokens, at, dialect), tokens.get(at)?.kind) {
        (Some((_, end)), _) => end,
        (None, TokenKind::Text) => at + 1,
        (None, _) => return None,
    };
    if tokens.get(at)?.is("(") {
        at += tokens[at..].iter().position(|token| token.is(")"))? + 1;
    }
    if !tokens.get(at)?.is_word("as") {
        return None;
    }
    match tokens.get(at + 1..)? {
        [query @ .., end] if end.is(";") => Some(text_of(sql, query).to_owned()),
        query => Some(text_of(sql, query).to_owned()),
    }
}
