//! A second pair of eyes: finds by tokens alone where the names of tables stand, and looks whether the walk saw them all.
//!
//! A parser that misreads a statement in silence is the one danger that no amount of care in the walk removes. The scan
//! here is far simpler than a parser, and its mistakes are others.

use std::collections::HashSet;

use super::facts::Dialect;
use super::fold::chain;
use super::lexer::{Token, TokenKind};
use super::words::is_reserved;

/// Where the scan stands within one pair of brackets.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// In a FROM list, where a comma is followed by another table.
    in_list: bool,
    /// FROM belongs to `EXTRACT(... FROM ...)` and the like.
    in_call: bool,
}

/// Words that end a FROM list.
const ENDS: &[&str] = &[
    "where",
    "group",
    "having",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "window",
    "set",
    "returning",
    "select",
    "values",
    "when",
    "into",
    "procedure",
    "lock",
    "do",
];

/// The last part of the first name in the place of a table that is not among `seen`.
pub(super) fn missed(tokens: &[Token<'_>], dialect: Dialect, seen: &HashSet<String>) -> Option<String> {
    let mut levels = vec![Level::default()];
    let mut expected = false;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let level = levels.last().copied().unwrap_or_default();
        if token.is("(") {
            let called = before.is_some_and(|before| {
                before.is_any(&[
                    "extract",
                    "trim",
                    "substring",
                    "overlay",
                    "position",
                    "convert",
                    "substr",
                    "mid",
                    "weight_string",
                ])
            });
            // `FROM (a JOIN b)`: tables within; a subquery begins with SELECT, which ends the list.
            levels.push(Level { in_list: expected, in_call: called });
            continue;
        }
        if token.is(")") {
            expected = false;
            levels.pop();
            if levels.is_empty() {
                levels.push(Level::default());
            }
            continue;
        }
        // `a.from b` is a column under an alias, or a slip; nobody writes the first.
        if token.is_word("from") && before.is_some_and(|before| before.is(".")) {
            return Some(token.text.to_owned());
        }
        let is_clause = token.kind == TokenKind::Word && !before.is_some_and(|before| before.is("."));
        if is_clause && let Some(list) = opens(token, before, tokens.get(at + 1), level) {
            expected = true;
            if let Some(level) = levels.last_mut() {
                level.in_list |= list;
            }
            continue;
        }
        if is_clause && token.is_any(ENDS) {
            expected = false;
            if let Some(level) = levels.last_mut() {
                level.in_list = false;
            }
            continue;
        }
        if token.is(",") {
            expected = level.in_list;
            continue;
        }
        const BEFORE_NAME: &[&str] = &[
            "lateral",
            "only",
            "table",
            "ignore",
            "low_priority",
            "delayed",
            "high_priority",
            "quick",
            "rows",
            "temp",
            "temporary",
            "unlogged",
            "or",
            "replace",
            "rollback",
            "abort",
            "fail",
        ];
        let names_it = tokens.get(at + 1).is_some_and(|after| after.is_identifier() || after.is("("));
        if expected && token.is_word("with") {
            expected = false;
            if let Some(level) = levels.last_mut() {
                level.in_list = false;
            }
            continue;
        }
        if !expected || (is_clause && names_it && token.is_any(BEFORE_NAME)) {
            continue;
        }
        expected = false;
        if token.kind == TokenKind::Word && is_reserved(token.text, dialect) {
            continue;
        }
        if token.kind == TokenKind::Text {
            // SQLite takes 'a' for a name here; in MySQL it depends on `sql_mode`.
            return Some("a text".to_owned());
        }
        if let Some((name, _)) = chain(tokens, at, dialect)
            && let Some(last) = name.parts().last()
            && !seen.contains(last)
        {
            return Some(last.clone());
        }
    }
    None
}

/// Whether a name of a table comes after this word, and whether it begins a list of them.
fn opens(token: &Token<'_>, before: Option<&Token<'_>>, after: Option<&Token<'_>>, level: Level) -> Option<bool> {
    let after_any = |words: &[&str]| before.is_some_and(|before| before.is_any(words));
    if token.is_word("from") {
        return (!level.in_call && !after_any(&["distinct"])).then_some(true);
    }
    // Not `USE INDEX FOR JOIN`, nor the modifier of a SELECT.
    if token.is_any(&["join", "straight_join"]) {
        return (!after_any(&["for", "select", "distinct", "all", "high_priority"])).then_some(false);
    }
    if token.is_word("into") {
        return (!after.is_some_and(|after| after.is_any(&["outfile", "dumpfile"]))).then_some(false);
    }
    // Not `FOR UPDATE`, `DO UPDATE`, `ON UPDATE`, `THEN UPDATE`, `KEY UPDATE`.
    if token.is_word("update") {
        return (!after_any(&["for", "do", "on", "then", "key", "as"])).then_some(false);
    }
    // `DELETE ... USING t`, `MERGE ... USING t`, not `JOIN ... USING (a)`, nor `ORDER BY a USING <`.
    if token.is_word("using") {
        return (!level.in_call && after.is_some_and(Token::is_identifier)).then_some(true);
    }
    None
}
