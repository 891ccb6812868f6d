//! Folds identifiers as the server does, so that names can be compared.

use super::facts::Dialect;
use super::lexer::{Token, TokenKind};
use super::name::Name;

/// Postgres cuts identifiers to this many bytes.
const POSTGRES_LONGEST: usize = 63;

/// Folds the text of an identifier without its quotes, in which a doubled closing quote may still stand for one.
///
/// MySQL compares table names with or without regard to case, by a setting of the server; they are kept as written.
pub(super) fn fold(raw: &str, quote: Option<char>, dialect: Dialect) -> String {
    let plain = match quote {
        Some(quote @ ('"' | '`' | '\'')) => raw.replace(&[quote, quote].iter().collect::<String>(), &quote.to_string()),
        _ => raw.to_owned(),
    };
    match dialect {
        Dialect::Postgres => {
            let mut name = if quote.is_some() { plain } else { plain.to_ascii_lowercase() };
            let end = (0..=POSTGRES_LONGEST.min(name.len())).rev().find(|&at| name.is_char_boundary(at));
            name.truncate(end.unwrap_or(0));
            name
        }
        Dialect::Sqlite => plain.to_ascii_lowercase(),
        Dialect::MySql => plain,
    }
}

/// Folds an identifier token.
pub(super) fn fold_token(token: &Token<'_>, dialect: Dialect) -> String {
    if token.kind != TokenKind::Quoted {
        return fold(token.text, None, dialect);
    }
    let quote = token.text.chars().next();
    let inner = token.text.get(1..token.text.len().saturating_sub(1)).unwrap_or_default();
    fold(inner, quote, dialect)
}

/// The chain of identifiers that begins at `at` (`a`, `a.b`, `a.b.c`) and the position after it.
///
/// `tokens` hold no blanks.
pub(super) fn chain(tokens: &[Token<'_>], at: usize, dialect: Dialect) -> Option<(Name, usize)> {
    let mut parts = vec![fold_token(tokens.get(at).filter(|token| token.is_identifier())?, dialect)];
    let mut end = at + 1;
    while tokens.get(end).is_some_and(|token| token.is("."))
        && let Some(next) = tokens.get(end + 1).filter(|token| token.is_identifier())
    {
        parts.push(fold_token(next, dialect));
        end += 2;
    }
    Some((Name::new(parts), end))
}
