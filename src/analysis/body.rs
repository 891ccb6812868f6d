//! Code that a database keeps: the bodies of functions and triggers, the queries behind views.
//!
//! In: its text and its language. Out: what it mentions, which is a superset of what it may write; or its statements, if each of
//! them can be told, for those that only read.

use std::collections::BTreeSet;

use super::facts::{Dialect, Facts};
use super::fold::{chain, fold_token};
use super::lexer::{self, TokenKind};
use super::mode::SqlMode;
use super::name::Name;
use crate::reason::{Reason, Refusal};

/// What a body of code mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Every identifier, folded, each part of a qualified name on its own; key words among them.
    pub identifiers: BTreeSet<String>,
    /// The names that stand where those of tables do.
    pub tables: BTreeSet<Name>,
    /// Why it may do anything, whatever it mentions.
    pub opaque: Option<&'static str>,
}

/// The language of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Statements of SQL, or in MySQL what stands in a routine.
    Sql,
    /// PL/pgSQL.
    PlPgSql,
}

/// What a body mentions: all tables that it may write are among its identifiers, unless it is opaque.
pub(crate) fn mentioned(text: &str, dialect: Dialect, mode: SqlMode) -> Body {
    // What runs a text, changes the schema, or calls what is not named as a function is.
    const OPAQUE: &[&str] = &[
        "alter",
        "attach",
        "call",
        "cluster",
        "create",
        "detach",
        "drop",
        "execute",
        "grant",
        "handler",
        "immediate",
        "import",
        "load",
        "prepare",
        "reassign",
        "refresh",
        "rename",
        "revoke",
        "security",
        "vacuum",
    ];
    let Some(spelled) = mode.respell(text) else {
        return Body { opaque: Some("is written for another sql_mode"), ..Body::default() };
    };
    let tokens = lexer::tokens(&spelled, dialect);
    let tokens: Vec<_> = tokens.into_iter().filter(|token| !token.is_blank()).collect();
    let mut body = Body::default();
    for (at, token) in tokens.iter().enumerate() {
        if matches!(token.kind, TokenKind::Broken | TokenKind::Executable) {
            body.opaque.get_or_insert("cannot be read");
        }
        if token.is_any(OPAQUE) {
            body.opaque.get_or_insert("may run a text, or change the schema");
        }
        if token.is_identifier() {
            body.identifiers.insert(fold_token(token, dialect));
        }
        let before_table =
            ["from", "join", "into", "update", "table", "using", "only", "truncate", "ignore", "straight_join"];
        if token.is_any(&before_table)
            && let Some((name, _)) = chain(&tokens, at + 1, dialect)
        {
            body.tables.insert(name);
        }
    }
    body
}

/// The statements that a body runs, each a read to which its text has no objection, or why that cannot be told. Whatever it evaluates is in one of
/// them.
pub(crate) fn reads_of(
    _text: &str,
    _language: Language,
    _dialect: Dialect,
    _mode: SqlMode,
) -> Result<Vec<Facts>, Refusal> {
    Err(Refusal::new(Reason::UserFunction, "its body is not read."))
}

/// The query in `CREATE VIEW v AS query`.
pub(crate) fn query_of_view(_sql: &str, _dialect: Dialect) -> Option<String> {
    None
}
