//! Reads the text of a statement: which tables it reads and writes, and whether its result may be kept.
//!
//! In: SQL text, a dialect, and how the session reads texts. Out: [`Facts`].
//! It never connects to a database, never fails, and never guesses: what it cannot understand it calls unknown.
//!
//! | file | question |
//! |---|---|
//! | `mode` | how does the session read the text? |
//! | `lexer`, `fold` | where does a token end, and what is its name? |
//! | `normal_form` | which texts are the same statement? |
//! | `statement`, `definition`, `utility` | what does the first word say? |
//! | `parse`, `desugar` | is there a syntax tree to trust? |
//! | `walk`, `scope`, `targets` | which tables does the tree read and write? |
//! | `calls`, `functions`, `operators`, `types`, `dates`, `words` | what objects to caching? |
//! | `body` | what does code mention that a database keeps? |
//! | `columns` | may it read columns that it does not name? |
//! | `combined` | which columns of MySQL meet other values? |
//! | `cross_check`, `guess` | was a table missed, and what if nothing was understood? |
//! | `verdict` | what is the answer? |

mod body;
mod calls;
mod columns;
mod combined;
mod cross_check;
mod dates;
mod definition;
mod desugar;
mod facts;
mod fold;
mod functions;
mod guess;
mod lexer;
mod mode;
mod name;
mod normal_form;
mod operators;
mod parse;
mod scope;
mod statement;
mod targets;
mod types;
mod utility;
mod verbs;
mod verdict;
mod walk;
mod word_set;
mod words;

pub(crate) use body::{Body, Language, mentioned, reads_of};
#[cfg(feature = "sqlite")]
pub(crate) use body::{query_of_view, trigger_of};
pub use facts::{Dialect, Facts, Fingerprint, Kind, Mentions, Outcome, SessionEffect, TransactionControl, Writes};
#[cfg(feature = "mysql")]
pub(crate) use functions::not_built_in;
pub use mode::SqlMode;
pub use name::Name;
pub use verbs::Verbs;

use std::borrow::Cow;

use crate::reason::Reason;
use lexer::{Token, TokenKind};
use statement::Statement;
use verdict::Findings;

/// Analyses one statement text, for a session in the default [`SqlMode`].
///
/// ```
/// use larder::analysis::{Dialect, Name, Verbs, Writes, analyze};
///
/// let facts = analyze("SELECT name FROM shop.users WHERE id = $1", Dialect::Postgres);
/// assert!(facts.cacheable());
/// assert!(facts.reads.contains(&Name::new(["shop", "users"])));
///
/// let facts = analyze("SELECT now(), name FROM users", Dialect::Postgres);
/// assert_eq!(facts.refusals[0].to_string(), "now() may change its answer while no table changes.");
///
/// let facts = analyze("UPDATE users SET name = $1", Dialect::Postgres);
/// assert_eq!(facts.writes, Writes::Tables([(Name::new(["users"]), Verbs::UPDATE)].into()));
/// ```
pub fn analyze(sql: &str, dialect: Dialect) -> Facts {
    analyze_in(sql, dialect, SqlMode::default())
}

/// Analyses one statement text, for a session that reads it as `mode` says.
pub fn analyze_in(sql: &str, dialect: Dialect, mode: SqlMode) -> Facts {
    parse::reserve_stack();
    let spelled = mode.respell(sql);
    let tokens = lexer::tokens(spelled.as_deref().unwrap_or(sql), dialect);
    let mut found = match &spelled {
        None => {
            Findings::opaque(Kind::Write, "The sql_mode or the character set of the session may change what it means.")
        }
        // Which server it is decides whether it runs them, and so where the tokens after them end.
        Some(_) if tokens.iter().any(|token| token.kind == TokenKind::Executable) => {
            unreadable("It holds a comment that some servers run.")
        }
        Some(spelled) => find(spelled, &tokens, dialect),
    };
    let sets = |token: &Token<'_>| token.kind == TokenKind::Hint && token.text.to_ascii_lowercase().contains("set_var");
    if dialect == Dialect::MySql && tokens.iter().any(sets) {
        found.refuse(Reason::Variable, "A hint changes settings while it runs.");
    }
    // Columns are named after the text as it was written. It is as good a key as any.
    let normal_form = match spelled {
        Some(Cow::Borrowed(_)) => normal_form::normal_form(&tokens, dialect),
        _ => sql.to_owned(),
    };
    found.into_facts(normal_form, normal_form::fingerprint(&tokens))
}

/// A text of MySQL in which nobody knows where the tokens end: it may hold any number of statements.
fn unreadable(sentence: &str) -> Findings {
    let mut found = Findings::opaque(Kind::Write, sentence);
    found.refuse(Reason::SeveralStatements, "It may hold several statements.");
    found.transaction = Some(TransactionControl::End);
    found
}

fn find(sql: &str, tokens: &[Token<'_>], dialect: Dialect) -> Findings {
    let visible: Vec<Token<'_>> = tokens.iter().copied().filter(|token| !token.is_blank()).collect();
    let whole = Statement { text: sql, tokens: &visible, dialect, depth: 0 };
    let mut pieces: Vec<Findings> = Vec::new();
    let mut start = 0;
    while start < visible.len() {
        let rest = whole.from(start);
        // The statements in the body of a function or trigger are not run now.
        let length = match rest.tokens.iter().position(|token| token.is(";")) {
            Some(end) if !holds_a_body(rest) => end,
            _ => rest.tokens.len(),
        };
        if length > 0 {
            pieces.push(statement::analyse(rest.part(0, length)));
        }
        start += length + 1;
    }
    let several = pieces.len() > 1;
    let found = pieces.into_iter().reduce(|mut all, piece| {
        all.merge(piece);
        all
    });
    let mut found = found.unwrap_or_else(|| Findings::new(Kind::Other));
    if several {
        found.refuse(Reason::SeveralStatements, "The text holds several statements.");
    }
    found
}

/// The text behind a [`Fingerprint`], for people: words in lower case, and `?` for all that may be a literal.
///
/// It has none, whatever the text: what cannot be read, and all that comes after it, is left out.
///
/// ```
/// use larder::analysis::{Dialect, without_literals};
///
/// let text = without_literals("SELECT name FROM users WHERE id IN (1, 2) AND city = 'Rome'", Dialect::Postgres);
/// assert_eq!(text, "select name from users where id in (?) and city = ?");
/// ```
pub fn without_literals(sql: &str, dialect: Dialect) -> String {
    without_literals_in(sql, dialect, SqlMode::default())
}

/// The same for a session that reads the text as `mode` says.
pub(crate) fn without_literals_in(sql: &str, dialect: Dialect, mode: SqlMode) -> String {
    let spelled = mode.respell(sql);
    normal_form::without_literals(&lexer::tokens(spelled.as_deref().unwrap_or(sql), dialect), dialect)
}

/// Whether semicolons may stand inside the statement.
fn holds_a_body(statement: Statement<'_>) -> bool {
    const BODIES: &[&str] = &["trigger", "function", "procedure", "event", "rule", "package"];
    // The first word for an object says what is defined; later ones may be names of columns.
    const OTHERS: &[&str] = &["table", "view", "index"];
    let object = statement.part(1, 12).tokens.iter().find(|token| token.is_any(BODIES) || token.is_any(OTHERS));
    let defines = statement.word_at(0, &["create", "alter"]) && object.is_some_and(|object| object.is_any(BODIES));
    defines || (statement.word_at(0, &["begin"]) && statement.word_at(1, &["not"]))
}
