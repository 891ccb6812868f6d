//! A table's name as a user writes it: `users`, `shop.users`, `"We.Ird"`.
//!
//! In: the text and the dialect. Out: the name, folded as the dialect folds it and, beside it, as it was written.
//! It never looks anything up.

use crate::analysis::{Dialect, Name};

/// A name read both ways.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spelled {
    /// What SQL means by the text.
    pub folded: Name,
    /// The text to the letter, for names that were copied from a report instead of from SQL.
    pub literal: Name,
}

/// Splits `text` at its dots and takes the quotes off. `None` where a quote is left open or a part is empty.
pub(super) fn read(dialect: Dialect, text: &str) -> Option<Spelled> {
    let (mut folded, mut literal) = (Vec::new(), Vec::new());
    let mut rest = text.trim();
    loop {
        let close = match (rest.chars().next()?, dialect) {
            ('"', Dialect::Postgres | Dialect::Sqlite) => Some('"'),
            ('`', Dialect::MySql | Dialect::Sqlite) => Some('`'),
            ('[', Dialect::Sqlite) => Some(']'),
            _ => None,
        };
        let part = match close {
            Some(close) => {
                let (part, behind) = quoted(&rest[1..], close)?;
                rest = behind;
                // SQLite compares names without regard to case even when they are quoted.
                folded.push(if dialect == Dialect::Sqlite { part.to_ascii_lowercase() } else { part.clone() });
                part
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let part = rest[..end].trim_end();
                if part.contains(['"', '`', '\'', '[', ']']) || part.contains(char::is_whitespace) {
                    return None;
                }
                rest = &rest[end..];
                folded.push(if dialect == Dialect::MySql { part.to_owned() } else { part.to_ascii_lowercase() });
                part.to_owned()
            }
        };
        if part.is_empty() {
            return None;
        }
        literal.push(part);
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(Spelled { folded: Name::new(folded), literal: Name::new(literal) });
        }
        rest = rest.strip_prefix('.')?.trim_start();
    }
}

/// The quoted part that begins `text`, its doubled quotes undone, and what follows the closing quote.
fn quoted(text: &str, close: char) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let at = rest.find(close)?;
        part.push_str(&rest[..at]);
        rest = &rest[at + close.len_utf8()..];
        // `]` has no doubled form.
        match rest.strip_prefix(close) {
            Some(behind) if close != ']' => {
                part.push(close);
                rest = behind;
            }
            _ => return Some((part, rest)),
        }
    }
}
