//! Tells whether a statement may read columns that it does not name.
//!
//! In: the tokens, and what the walk found rows to come from. Out: a yes wherever it is not clearly no.
//! It never asks which columns a table has.
//!
//! A statement reads a column without its name by an asterisk, by a row as a whole (`SELECT u FROM users u`), by what
//! spells out the columns on its own (`NATURAL JOIN`, `TABLE users`, SQLite's `x IN users`), by another name that it gives to
//! it (`users AS u (a, b)`), and by one that the server knows (`rowid`). Asterisks and rows are looked for among the
//! tokens rather than in the tree: there are more places for an expression than anybody remembers, and some syntax is
//! rewritten before it is parsed.

use std::collections::HashMap;

use super::facts::Dialect;
use super::fold::fold_token;
use super::lexer::{Token, TokenKind};
use super::words;

/// What rows come from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// How often each name is introduced: as that of a table, as an alias, as that of a WITH query.
    introduced: HashMap<String, usize>,
    /// Those of tables and joins.
    tables: Vec<String>,
    /// Something was met that may spread columns out.
    spread: bool,
    /// Asterisks among results.
    asterisks: usize,
}

impl Sources {
    /// A name that stands for rows made of what the statement names elsewhere.
    pub(super) fn note(&mut self, name: &str) {
        *self.introduced.entry(name.to_lowercase()).or_default() += 1;
    }

    /// A name that stands for the rows of a table.
    pub(super) fn table(&mut self, name: &str) {
        self.note(name);
        self.tables.push(name.to_lowercase());
    }

    /// An asterisk among results.
    pub(super) fn asterisk(&mut self) {
        self.asterisks += 1;
    }

    /// Something that may spread out the columns of a table.
    pub(super) fn spread(&mut self) {
        self.spread = true;
    }
}

/// Whether a statement may read columns that it does not name, by anything but so many asterisks. `tokens` hold no blanks.
pub(super) fn may_be_unnamed(tokens: &[Token<'_>], dialect: Dialect, sources: &Sources, asterisks: usize) -> bool {
    let is_asterisk =
        |at: &usize| tokens[*at].text == "*" && !counts_rows(tokens, *at) && !multiplies(tokens, *at, dialect);
    let spreads = |at: usize| tokens[at].is_word("natural") || reads_by_another_name(tokens, at, dialect);
    sources.spread
        || sources.asterisks.max((0..tokens.len()).filter(is_asterisk).count()) > asterisks
        || (0..tokens.len()).any(spreads)
        || uses_rows(tokens, dialect, sources)
}

/// `count(*)`.
fn counts_rows(tokens: &[Token<'_>], at: usize) -> bool {
    at >= 2
        && tokens[at - 2].is_word("count")
        && tokens[at - 1].is("(")
        && tokens.get(at + 1).is_some_and(|next| next.is(")"))
}

/// Whether an asterisk stands between two operands. No name follows one that stands for columns.
fn multiplies(tokens: &[Token<'_>], at: usize, dialect: Dialect) -> bool {
    const BEGIN_OPERAND: &[&str] = &["array", "case", "cast", "interval", "null", "row"];
    let is_operand = |token: &Token<'_>| match token.kind {
        TokenKind::Number | TokenKind::Text | TokenKind::Parameter | TokenKind::Quoted => true,
        TokenKind::Word => !words::is_reserved(token.text, dialect),
        _ => false,
    };
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    let after = tokens.get(at + 1);
    before.is_some_and(|token| is_operand(token) || token.is(")") || token.is("]"))
        && after.is_some_and(|token| is_operand(token) || token.is("(") || token.is("-") || token.is_any(BEGIN_OPERAND))
}

/// Functions of Postgres and of extensions that can be given a row of any table: `u.to_jsonb` means `to_jsonb(u)`. Those that
/// users define are known to the catalog.
const TAKE_ROWS: &[&str] = &[
    "any_out",
    "any_value",
    "anycompatible_out",
    "anycompatiblenonarray_out",
    "anyelement_out",
    "anynonarray_out",
    "array_agg",
    "concat",
    "count",
    "hash_record",
    "hstore",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_build_object",
    "max",
    "min",
    "num_nonnulls",
    "num_nulls",
    "pg_collation_for",
    "pg_column_compression",
    "pg_column_size",
    "pg_column_toast_chunk_id",
    "pg_typeof",
    "quote_literal",
    "quote_nullable",
    "record_out",
    "record_send",
    "row_to_json",
    "st_asgeojson",
    "to_json",
    "to_jsonb",
];

/// Whether a token is, or may be, another name of a column.
fn reads_by_another_name(tokens: &[Token<'_>], at: usize, dialect: Dialect) -> bool {
    let token = &tokens[at];
    let follows = |mark: &str| at > 0 && tokens[at - 1].is(mark);
    let is_one_of = |names: &[&str]| {
        token.is_identifier() && names.iter().any(|name| fold_token(token, dialect).eq_ignore_ascii_case(name))
    };
    match dialect {
        Dialect::Postgres => follows(".") && is_one_of(TAKE_ROWS),
        // The key, if it is an integer.
        Dialect::MySql => is_one_of(&["_rowid"]),
        // The key, if it is an integer. Where no text may stand, SQLite takes one in single quotes for a name.
        Dialect::Sqlite => {
            let in_using = || tokens.iter().any(|token| token.is_word("using"));
            is_one_of(&["rowid", "_rowid_", "oid"])
                || (token.kind == TokenKind::Text && (follows(".") || (follows("(") || follows(",")) && in_using()))
        }
    }
}

/// Whether the name of a table or its alias stands anywhere but where it is introduced or before a dot.
fn uses_rows(tokens: &[Token<'_>], dialect: Dialect, sources: &Sources) -> bool {
    let mut met: HashMap<String, usize> = HashMap::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.is_identifier()) {
        if !tokens.get(at + 1).is_some_and(|next| next.is(".")) {
            *met.entry(fold_token(token, dialect).to_lowercase()).or_default() += 1;
        }
    }
    sources.tables.iter().any(|name| met.get(name).copied() > sources.introduced.get(name).copied())
}
