//! What a statement that was not understood may write, by its tokens alone.

use super::facts::{Dialect, SessionEffect, Writes};
use super::fold::{chain, fold};
use super::functions::{self, Class};
use super::lexer::{Token, TokenKind};
use super::verdict::Findings;
use super::word_set::WordSet;
use super::words::is_reserved;

/// Words that may stand before a bracket without being called.
static BEFORE_BRACKET: WordSet = WordSet::new("
    all and any array as between by case cast check cube distinct else except exists extract filter from group grouping
    having in insert interval into intersect is join key lateral like limit materialized not null offset on only or order
    over overlay partition position primary recursive references returning rollup row rows select set sets some substring
    table then to trim union unique unnest update using values when where window with within xmlelement xmlforest xmltable
    json_table conflict if varchar char numeric decimal bit time timestamp float interval
");

/// Adds what may be written to the findings of a statement that was not understood.
///
/// Every table that a statement writes by a verb that we know is named in it, so all identifiers are an upper bound. That
/// fails where a name cannot be read, and where a function runs that may do anything.
pub(super) fn widen(found: &mut Findings, tokens: &[Token<'_>], dialect: Dialect) {
    const WRITING: &[&str] = &["insert", "update", "delete", "merge", "replace", "into", "truncate", "copy"];
    // INTO alone is for variables and files.
    const MYSQL_WRITING: &[&str] = &["insert", "update", "delete", "replace"];
    if found.writes == Writes::Everything {
        return;
    }
    found.session(SessionEffect::MayChange);
    let unreadable = tokens.iter().any(|token| token.kind == TokenKind::Broken);
    if unreadable || calls_unknown(tokens, dialect) {
        found.writes = Writes::Everything;
        return;
    }
    for (name, _) in names(tokens, dialect) {
        if let Some(function) = name.parts().last() {
            found.mentions.functions.insert(function.clone());
        }
    }
    // A lock is no write, but a text that was not understood gets no benefit of the doubt.
    let writes = |words: &[&str]| tokens.iter().any(|token| token.is_any(words));
    match dialect {
        // MySQL and MariaDB reserve different words: one that is none to the other may be a table.
        Dialect::MySql if writes(MYSQL_WRITING) => found.writes = Writes::Everything,
        Dialect::Postgres | Dialect::Sqlite if writes(WRITING) => {
            names(tokens, dialect).into_iter().for_each(|(name, _)| found.write(name));
        }
        Dialect::Postgres | Dialect::MySql | Dialect::Sqlite => {}
    }
}

/// Every chain of identifiers, and the position after it.
pub(super) fn names(tokens: &[Token<'_>], dialect: Dialect) -> Vec<(super::name::Name, usize)> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match chain(tokens, at, dialect) {
            Some((name, end)) => {
                let word = tokens.get(at).filter(|token| token.kind == TokenKind::Word && end == at + 1);
                if !word.is_some_and(|token| is_reserved(token.text, dialect)) {
                    names.push((name, end));
                }
                at = end;
            }
            // MySQL sees a name or a text in double quotes, by `sql_mode`; SQLite takes a text for a name if it must.
            None => {
                if let Some(inner) = quoted(tokens, at, dialect) {
                    names.push((super::name::Name::new([inner]), at + 1));
                }
                at += 1;
            }
        }
    }
    names
}

fn quoted(tokens: &[Token<'_>], at: usize, dialect: Dialect) -> Option<String> {
    let token = tokens.get(at).filter(|token| token.kind == TokenKind::Text)?;
    let quote = match dialect {
        Dialect::Postgres => return None,
        Dialect::MySql => '"',
        Dialect::Sqlite => '\'',
    };
    let inner = token.text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote))?;
    Some(fold(inner, Some(quote), dialect))
}

/// Whether a function is called, or may be, that is on no list.
pub(super) fn calls_unknown(tokens: &[Token<'_>], dialect: Dialect) -> bool {
    unknown_calls(tokens, dialect).next().is_some()
}

/// The functions that are called, or may be, and are on no list.
pub(super) fn unknown_calls<'t>(
    tokens: &'t [Token<'t>],
    dialect: Dialect,
) -> impl Iterator<Item = super::name::Name> + 't {
    // What MySQL reserves may be a function in MariaDB.
    let is_callable = move |at: usize| dialect == Dialect::MySql || !is_reserved(tokens[at].text, dialect);
    let starts = (0..tokens.len()).filter(|&at| at == 0 || !tokens[at - 1].is("."));
    let calls = starts.filter_map(move |at| {
        let text = || Some((super::name::Name::new([quoted(tokens, at, dialect)?]), at + 1));
        let (name, end) = chain(tokens, at, dialect).or_else(text)?;
        (end > at + 1 || tokens[at].kind != TokenKind::Word || is_callable(at)).then_some((name, end))
    });
    let unknown = move |(name, end): &(super::name::Name, usize)| {
        if !tokens.get(*end).is_some_and(|next| next.is("(")) {
            return false;
        }
        // `INSERT INTO t (a, b)`, `WITH t (a) AS`, `FROM t AS u (a)`, `REFERENCES t (a)`: a list of columns.
        let before = end.checked_sub(name.parts().len() * 2).and_then(|at| tokens.get(at));
        let is_list = before.is_some_and(|token| token.is_any(&["into", "as", "references", "recursive", "table"]));
        let [parts @ .., last] = name.parts() else { return false };
        let is_syntax = parts.is_empty() && BEFORE_BRACKET.contains_lowered(last);
        !is_list && !is_syntax && functions::classify(name.parts(), 1, dialect) == Class::Unknown
    };
    calls.filter(unknown).map(|(name, _)| name)
}
